"""One p-value of several tests that are not independent."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

LEAST = 1e-12
"""Smaller p-values are not told apart."""


def bonferroni(p_values: Sequence[float]) -> float:
    """The smallest p-value, corrected for their number: holds however the tests depend on each other."""
    return min(1.0, min(p_values) * len(p_values))


def evidence(p_values: Sequence[float]) -> float:
    """How strongly several p-values speak against a clean network, at least 0: of it a null distribution is known.

    The negative logarithm (base 10) of the harmonic mean of the p-values: one very small p-value suffices, several
    that are small count for a little more, one near 1 does not hurt. What it is among clean networks
    is measured, so that nothing has to be assumed of how the tests depend on each other.

    References:
        Wilson, "The harmonic mean p-value for combining dependent tests", PNAS 2019.
    """
    smallest = np.maximum(np.asarray(p_values, np.float64), LEAST)
    return max(0.0, float(-np.log10(len(smallest) / (1 / smallest).sum())))


def suspected(votes: Sequence[tuple[float, int]]) -> int:
    """The class that most speaks for: each test's p-value counts, as its negative logarithm, for the class it names.

    Args:
        votes: p-value and class of each test, at least one.
    """
    weights: dict[int, float] = {}
    for p, target in votes:
        weights[target] = weights.get(target, 0.0) - float(np.log(max(p, LEAST)))
    return max(weights, key=lambda target: weights[target])
