"""Bring your own outlier detector: anything with scikit-learn's ``fit_predict``.

python examples/custom_detector.py ./examples/badnets-cifar10 ./examples/cifar10-clean
"""

from __future__ import annotations

import sys

import numpy as np
import numpy.typing as npt
from sklearn.neighbors import LocalOutlierFactor

import hfscan


class LowestTenth:
    """The tenth of a layer's channels with the lowest accuracy after the last step."""

    def fit_predict(self, X: npt.NDArray[np.float32]) -> npt.NDArray[np.int64]:
        return np.where(X[:, -1] <= np.quantile(X[:, -1], 0.1), -1, 1)


def main(ref: str, clean_data: str, images: str = "16") -> None:
    model = hfscan.load(ref)
    clean = hfscan.load_images(clean_data, model=model, images=500)
    settings = hfscan.AuditSettings(images=int(images))
    for detector in (LowestTenth(), LocalOutlierFactor(n_neighbors=5)):
        report = hfscan.audit(model, clean, settings=settings, detector=detector)
        flagged = sum(len(channels) for channels in report.flagged.values())
        print(f"{report.settings.detector}: {flagged} channels flagged, {report.verdict.value}")


if __name__ == "__main__":
    main(*sys.argv[1:])
