"""Two clusters, as in the authors' release of FMT."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from sklearn.cluster import KMeans

from hfscan.types import FloatArray, IntArray


@dataclass(frozen=True)
class TwoMeans:
    """Scikit-learn's `KMeans` with k = 2; the smaller cluster is the outliers.

    Args:
        seed: Of the initial centers.
    """

    seed: int = 0

    def fit_predict(self, X: FloatArray) -> IntArray:
        """Accuracy profiles ``(C, S)`` -> -1 (outlier) or 1, ``(C,)``.

        A layer without two different profiles has no outliers.
        """
        channels = len(X)
        if len(np.unique(X, axis=0)) < 2:
            return np.ones(channels, np.int64)
        cluster = KMeans(2, n_init=10, random_state=self.seed).fit_predict(X.astype(np.float64))
        smaller = int(np.bincount(cluster, minlength=2).argmin())
        return np.where(cluster == smaller, -1, 1).astype(np.int64)
