"""The paper's evaluation: attacks and how they poison a data set."""
