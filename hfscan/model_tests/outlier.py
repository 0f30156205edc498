"""How far one class stands out from the others: what the model-level tests have in common."""

from __future__ import annotations

import numpy as np
from scipy import stats

from hfscan.types import FloatArray
from hfscan.verdict import P_SUSPICIOUS

MIN_CLASSES = 4
"""With fewer classes there are not enough others to compare one with."""


def too_few(classes: int) -> str:
    """Why a test that compares classes cannot be made with so few; empty if it can."""
    if classes < MIN_CLASSES:
        return f"{classes} classes are too few: the others are the null distribution"
    return ""


PRIOR_CLASSES = 20
"""How many classes' worth a usual spread counts beside what is seen: the spread of nine figures says little."""


def _spread(values: FloatArray) -> float:
    """The robust standard deviation of values ``(K,)``."""
    return float(stats.median_abs_deviation(values, scale="normal"))


def shrunk(values: FloatArray, usual: float) -> float:
    """The robust spread of values ``(K,)``, drawn toward a usual one where there are few of them."""
    seen = _spread(values)
    weight = PRIOR_CLASSES / (PRIOR_CLASSES + len(values))
    return float(np.sqrt(weight * usual**2 + (1 - weight) * seen**2))


def stands_out(
    values: FloatArray, min_spread: float, *, usual: float | None = None
) -> tuple[float, float, int]:
    """How far the largest of K values lies above the others, in units of their robust spread.

    Args:
        values: ``(K,)``, finite, on a scale on which the others scatter evenly.
        min_spread: Smallest scale that is believed.
        usual: A usual spread, toward which the one that is seen is drawn; None for none.

    Returns:
        The standardized excess; the p-value of the largest of K for Student's t of K - 2 degrees of
        freedom; and the index of the largest.
    """
    classes = len(values)
    target = int(values.argmax())
    others = np.delete(values, target).astype(np.float32)
    location = float(np.median(others))
    seen = _spread(others)
    spread = max(seen if usual is None else shrunk(others, usual), min_spread)
    statistic = float((values[target] - location) / spread)
    p_value = float(-np.expm1(classes * stats.t.logcdf(statistic, classes - 2)))
    return statistic, p_value, target


OF_ALL_TESTS = P_SUSPICIOUS / 7
"""Largest p-value that is suspicious by itself where it is corrected for all tests that have one by formula."""


def blind(counts: FloatArray, usual: float) -> bool:
    """Whether by `stands_out` not even a class that all images reach, and no other class, is suspicious.

    So it is with few classes and with few images: then no figure means that there is no backdoor.

    Args:
        counts: How many images measure each class, ``(K,)``.
        usual: As `stands_out` takes it.
    """
    shares = np.zeros(len(counts), np.float32)
    shares[counts.argmax()] = 1
    return stands_out(log_odds(shares, counts), 0.0, usual=usual)[1] >= OF_ALL_TESTS


def log_odds(shares: FloatArray, counts: FloatArray) -> FloatArray:
    """Shares of ``counts`` images as log odds, of half an image more on either side: finite at 0 and 1.

    Args:
        shares: ``(K,)`` in [0, 1].
        counts: Of how many images each is the share, ``(K,)``.
    """
    reached = shares * counts
    return np.asarray(np.log((reached + 0.5) / (counts - reached + 0.5)), np.float32)
