"""How likely a statistic is among clean networks, from the few that were tested."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy import stats

MIN_NETWORKS = 8
"""With fewer clean networks nothing is said about others."""

MIN_SPREAD = 0.05
"""Smallest standard deviation of the logarithms that is believed."""


def p_value(null: Sequence[float], statistic: float) -> float:
    """Probability of at least such a statistic in one more clean network.

    Of n clean networks alone, no p-value below 1 / (n + 1) follows. Beyond their largest statistic the tail is a
    model: the logarithm of 1 + statistic is taken to be normal, with mean and variance as uncertain as n networks
    leave them (Student's t of n - 1 degrees of freedom, with the predictive variance). Within their range the
    p-value is at least the empirical one.

    Args:
        null: Statistics of n clean networks, at least `MIN_NETWORKS`.
        statistic: Of the network in question; larger is more suspicious.
    """
    clean = np.asarray(null, np.float64)
    n = len(clean)
    reached = int((clean >= statistic).sum())
    logs = _log(clean)
    scale = max(float(logs.std(ddof=1)), MIN_SPREAD) * np.sqrt(1 + 1 / n)
    excess = (float(_log(np.array([statistic]))[0]) - float(logs.mean())) / scale
    tail = float(stats.t.sf(excess, n - 1))
    empirical = (1 + reached) / (n + 1)
    return max(tail, empirical) if reached else min(tail, empirical)


def threshold(null: Sequence[float], rate: float) -> float:
    """The smallest statistic whose p-value is below a rate, within a thousandth of it."""
    low, high = 0.0, max(1.0, 2 * max(null))
    while p_value(null, high) >= rate:
        low, high = high, 2 * high
    while high - low > 1e-3 * high:
        middle = (low + high) / 2
        low, high = (middle, high) if p_value(null, middle) >= rate else (low, middle)
    return high


def leave_one_out(null: Sequence[float]) -> list[float]:
    """The p-value of each clean network, from the others."""
    return [p_value([*null[:i], *null[i + 1 :]], each) for i, each in enumerate(null)]


def _log(statistics: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return np.asarray(np.log1p(np.maximum(statistics, 0)))
