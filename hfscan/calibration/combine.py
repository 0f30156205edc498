"""One p-value of several tests that are not independent."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

LEAST = 1e-12
"""Smaller p-values are not told apart."""


def bonferroni(p_values: Sequence[float]) -> float:
    """The smallest p-value, corrected for their number: holds however the tests depend on each other."""
    return min(1.0, min(p_values) * len(p_values))


Vote = tuple[float, int]
"""A test's p-value, and the class that it names."""


def evidence(votes: Sequence[Vote]) -> float:
    """How strongly several tests speak against a clean network, at least 0: of it a null distribution is known.

    For each class, Fisher's statistic of the tests that name it (the sum of the negative logarithms, base 10, of
    their p-values); of all classes, the largest. One very small p-value suffices, several that are small count if
    they agree on a class. What it is among clean networks is measured, so that nothing has to be assumed of how the
    tests depend on each other.

    Args:
        votes: Of each test, at least one.

    References:
        Fisher, "Statistical Methods for Research Workers", 1932, section 21.1.
    """
    return max(_per_class(votes).values())


def suspected(votes: Sequence[Vote]) -> int:
    """The class that most speaks for."""
    found = _per_class(votes)
    return max(found, key=lambda target: found[target])


def _per_class(votes: Sequence[Vote]) -> dict[int, float]:
    found: dict[int, float] = {}
    for p, target in votes:
        found[target] = found.get(target, 0.0) - float(np.log10(min(1.0, max(p, LEAST))))
    return found
