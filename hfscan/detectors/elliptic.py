"""Outliers of a Gaussian (FMT, section III-E)."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
from sklearn.covariance import EllipticEnvelope

from hfscan.types import FloatArray, IntArray

NOISE = 1e-4
"""Standard deviation of the noise, as accuracy."""


@dataclass(frozen=True)
class Elliptic:
    """Scikit-learn's `EllipticEnvelope`: a robust Gaussian fit, the most distant points are outliers.

    Profiles have the accuracy's grid of 1/N, and steps are almost collinear: a little noise, far below
    that grid, keeps the covariance from being singular.

    Args:
        tau: Share of a layer's channels to flag, in (0, 0.5).
        seed: Of the fit and of that noise.
    """

    tau: float = 0.1
    seed: int = 0

    def fit_predict(self, X: FloatArray) -> IntArray:
        """Accuracy profiles ``(C, S)`` -> -1 (outlier) or 1, ``(C,)``.

        A layer with no more channels than a fit needs, or without any difference among its channels,
        has no outliers.
        """
        if X.shape[1] == 1:
            X = np.repeat(X, 2, axis=1)  # scikit-learn fails on two clusters in one dimension
        channels, steps = X.shape
        if channels < 2 * (steps + 1) or np.ptp(X, axis=0).max() == 0:
            return np.ones(channels, np.int64)
        noise = np.random.default_rng(self.seed).normal(size=X.shape)
        estimator = EllipticEnvelope(contamination=self.tau, random_state=self.seed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # determinant of almost collinear steps
            labels = estimator.fit_predict(X / NOISE + noise)  # a covariance near 0 is refused
        return np.asarray(labels, np.int64)
