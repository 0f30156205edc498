"""Which channels to erase, given what an audit saw.

The paper erases what its outlier detector flags. Deviation: when a target class is suspected, the
channels are those whose reverse-generated images flow most into that class. A detector of low
accuracy flags the channels that hurt in any way; on small networks that left a BadNets backdoor whole
(attack success rate 1.0), the flow removed it.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from hfscan.types import AuditReport, Channels, FloatArray, LayerAudit

ONLY_UNLEARNED = "no channel: the suspected class is only unlearned"
"""How channels are chosen where none is to be erased."""


def select_channels(report: AuditReport, erase_rate: float) -> tuple[Channels, str]:
    """The channels to erase, and how they were chosen.

    Args:
        report: With a suspected class: the channels with the largest flow into it. Without: those that
            are flagged.
        erase_rate: Share of each layer's channels, at least one, where there is a suspected class; 0 is
            none.
    """
    if report.target is None:
        return report.flagged, f"the channels flagged by the {report.settings.detector} detector"
    if erase_rate == 0:
        return {}, ONLY_UNLEARNED
    flows = {
        layer.layer: flow(layer, report.clean_predictions, report.target)
        for layer in report.layers
        if not layer.skipped
    }
    name = report.model.label(report.target)
    method = f"per layer the {erase_rate:.0%} of channels whose images flow most into class {name}"
    return largest(flows, erase_rate), method


def flow(layer: LayerAudit, clean_predictions: tuple[int, ...], target: int) -> FloatArray:
    """How many more of a channel's images are predicted as ``target`` than of the clean ones.

    Returns:
        float32 ``(C,)``: a share of the N images, averaged over the steps; minus infinity for channels
        that were not tested with all of them.
    """
    images = sum(clean_predictions)
    share = layer.predictions[:, :, target].mean(1) / images
    moved = np.asarray(share - clean_predictions[target] / images, np.float32)
    return np.where(layer.tested == images, moved, np.float32(-np.inf))


def largest(values: Mapping[str, FloatArray], rate: float) -> Channels:
    """A share ``rate`` of each layer's channels: those with the largest values, at least one of those that are finite."""
    found = {}
    for layer, row in values.items():
        count = min(max(1, round(rate * len(row))), int(np.isfinite(row).sum()))
        if count:
            found[layer] = sorted(np.argsort(-row, kind="stable")[:count].tolist())
    return found
