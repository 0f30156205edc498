"""Channel-level outlier detectors: which of a layer's channels have abnormal accuracy profiles.

A detector is any object with scikit-learn's ``fit_predict(X) -> labels``: ``X`` is a layer's accuracy
profile ``(C, S)``, the labels ``(C,)`` are -1 for outliers and 1 for the others. Scikit-learn's own
outlier estimators work as they are. Flags on channels of *high* accuracy are dropped by the pipeline.
"""

from __future__ import annotations

from collections.abc import Callable

from hfscan.detectors.elliptic import Elliptic
from hfscan.detectors.kmeans import TwoMeans
from hfscan.detectors.protocol import Detector

DETECTORS: dict[str, Callable[[float, int], Detector]] = {
    "elliptic": lambda tau, seed: Elliptic(tau=tau, seed=seed),
    "kmeans": lambda tau, seed: TwoMeans(seed=seed),
}
"""Name -> maker, given tau and a seed."""

__all__ = ["DETECTORS", "Detector", "Elliptic", "TwoMeans"]
