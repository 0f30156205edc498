"""Is it the model, and are these the images, that a report is about?"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from hfscan.report.text import percent, plural
from hfscan.types import AuditReport, HubModel, ImageSet
from hfscan.verify.check import Check, share_moved

ACCURACY = 0.01
"""Largest difference of the clean accuracy that agrees."""


def weights(model: HubModel, report: AuditReport) -> Check:
    """Whether the model is the one of the report, bit by bit."""
    ours, theirs = model.weights_sha256, report.model.weights_sha256
    if ours == theirs:
        return Check("weights", True, f"sha256 {ours[:12]}")
    return Check("weights", False, f"sha256 {ours[:12]}, the report has {theirs[:12]}")


def images(clean: ImageSet, report: AuditReport) -> Check:
    """Whether the images are those of the report, bit by bit."""
    ours, theirs = clean.facts.fingerprint, report.data.fingerprint
    if ours == theirs:
        return Check(
            "clean images", True, f"{plural(len(clean), 'image')}, fingerprint {ours[:12]}"
        )
    return Check(
        "clean images",
        False,
        f"fingerprint {ours[:12]} of {plural(len(clean), 'image')}, "
        f"the report has {theirs[:12]} of {report.data.images}",
    )


def clean_images(looked: AuditReport, report: AuditReport) -> Iterator[Check]:
    """Whether the network predicts of the images what the report says."""
    found = looked.clean_accuracy
    yield Check(
        "clean accuracy",
        abs(found - report.clean_accuracy) <= ACCURACY,
        f"{percent(found)}, the report has {percent(report.clean_accuracy)} "
        f"(may differ by {percent(ACCURACY, 0)})",
    )
    counts = np.asarray(looked.clean_predictions)
    moved = share_moved(counts, np.asarray(report.clean_predictions))
    yield Check(
        "predictions of clean images",
        moved <= ACCURACY,
        f"{percent(moved)} of {plural(int(counts.sum()), 'image')} are of other classes "
        f"(may be {percent(ACCURACY, 0)})",
    )
