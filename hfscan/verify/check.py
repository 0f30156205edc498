"""One comparison of a report with what is found here."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Check:
    """One comparison.

    Args:
        name: What was compared.
        agrees: None if it could not be compared.
        details: What was found, and what would have been let through.
    """

    name: str
    agrees: bool | None
    details: str


def share_moved(ours: np.ndarray, theirs: np.ndarray) -> float:
    """Share of the predictions that are of other classes, at least: counts ``(..., K)``."""
    return float(np.abs(ours - theirs).sum() / 2 / max(1, theirs.sum()))
