"""What a detector looks like."""

from __future__ import annotations

from typing import Protocol

from hfscan.types import FloatArray, IntArray


class Detector(Protocol):
    """Scikit-learn's interface for outlier detection."""

    def fit_predict(self, X: FloatArray) -> IntArray:
        """Accuracy profiles ``(C, S)`` -> -1 (outlier) or 1, ``(C,)``."""
