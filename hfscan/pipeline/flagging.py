"""Which channels a detector flags, and how thoroughly channels were tested."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hfscan.detectors import DETECTORS, Detector
from hfscan.errors import AuditError, UsageError
from hfscan.fmt import LayerProfile
from hfscan.types import AuditSettings, BoolArray, Coverage, FloatArray, LayerAudit


def named_detector(settings: AuditSettings) -> Detector:
    """The one that settings name.

    Raises:
        UsageError: There is no such detector.
    """
    if settings.detector not in DETECTORS:
        raise UsageError(
            f"there is no detector {settings.detector!r:.40}", f"choose from {', '.join(DETECTORS)}"
        )
    return DETECTORS[settings.detector](settings.tau, settings.seed)


def flagged(layer: LayerProfile, detector: Detector) -> LayerAudit:
    """A layer with the flags of a detector, among the channels that were tested with all images.

    Raises:
        AuditError: The detector did not return one label per channel.
    """
    name, channels = layer.layer.name, layer.layer.channels
    if layer.skipped:
        return LayerAudit(name, channels, skipped=layer.skipped)
    flags = low_outliers(detector, layer.accuracy) & layer.verified
    return LayerAudit(name, channels, layer.accuracy, layer.predictions, flags, layer.tested)


def low_outliers(detector: Detector, accuracy_profile: FloatArray) -> BoolArray:
    """Channels that a detector flags because their accuracy is low.

    Args:
        detector: Anything with ``fit_predict``.
        accuracy_profile: ``(C, S)``.

    Returns:
        bool ``(C,)``.

    Raises:
        AuditError: The detector fails, or did not return one label per channel.
    """
    if len(accuracy_profile) < 2 or np.ptp(accuracy_profile, axis=0).max() == 0:
        return np.zeros(len(accuracy_profile), np.bool_)  # nothing differs, and many detectors fail
    try:
        labels = np.asarray(detector.fit_predict(accuracy_profile))
    except ValueError as error:
        raise AuditError(
            f"the detector fails on {len(accuracy_profile)} channels ({' '.join(str(error).split())[:120]})",
            "choose another --detector, or make yours answer for layers of any size",
        ) from error
    if labels.shape != accuracy_profile.shape[:1]:
        raise AuditError(
            f"the detector returned shape {labels.shape} for {len(accuracy_profile)} channels",
            "fit_predict must return -1 or 1 for each row",
        )
    mean = accuracy_profile.mean(1)
    return np.asarray((labels == -1) & (mean < np.median(mean)), np.bool_)


def coverage(profiles: Sequence[LayerProfile], layers: Sequence[LayerAudit]) -> Coverage:
    """How thoroughly the channels were tested, all layers together."""
    pairs = [
        (seen, judged) for seen, judged in zip(profiles, layers, strict=True) if not seen.skipped
    ]
    if not pairs:
        return Coverage()
    tested = np.concatenate([seen.tested for seen, _ in pairs])
    control = np.concatenate([seen.control for seen, _ in pairs])
    found = np.concatenate([seen.found for seen, _ in pairs])
    flagged = np.concatenate([judged.flagged for _, judged in pairs])
    verified = np.concatenate([seen.verified for seen, _ in pairs])
    return Coverage(
        channels=len(tested),
        verified=int(verified.sum()),
        screened=int(((tested > 0) & ~verified).sum()),
        control=int(control.sum()),
        control_flagged=int((control & flagged).sum()),
        control_found=int((control & flagged & found).sum()),
    )
