"""Do channels respond as a report says, and does its detector flag those that it flags?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from hfscan.channels import ConvLayer
from hfscan.detectors import DETECTORS
from hfscan.fmt.engine import Engine, Responses, make_engine
from hfscan.fmt.profile import PASS_ERRORS
from hfscan.fmt.screen import image_order
from hfscan.pipeline.flagging import low_outliers, named_detector
from hfscan.reasons import LAYER_OUT_OF_TIME
from hfscan.report.text import percent, plural
from hfscan.types import AuditReport, HubModel, ImageSet, LayerAudit, Precision, Progress
from hfscan.verify.check import Check, share_moved

MOVED: Mapping[Precision, float] = {"fp32": 0.03, "bf16": 0.1, "fp16": 0.1}
"""Precision -> how far a channel may be from what the report says, on average over channels: the share of its
predictions that are of other classes, or the difference of its accuracy if that is larger.

Measured with the example network and 60 channels, with other threads and batch sizes than in the audit: 0.0 % in
fp32, 0.1 % in bf16. A report in bf16 that was tested again in fp32 came to 5.1 % (200 channels).
"""

FLAGS = 0.01
"""Largest share of channels that may be flagged otherwise."""


def channels_again(
    model: HubModel,
    sample: ImageSet,
    report: AuditReport,
    chosen: Sequence[tuple[LayerAudit, int]],
    memory: int | None,
    progress: Progress,
) -> Check:
    """Whether some channels send their images where the report says."""
    precision = report.settings.precision
    if not chosen:
        return Check("channels", None, "no channel was tested")
    if precision == "auto":
        return Check(
            "channels", False, "the report does not say in which precision they were tested"
        )
    try:
        engine = make_engine(model.net, sample, report.settings, memory=memory)
        layers = {layer.name: layer for layer in engine.layers}
        moved = [
            _moved_of_channel(engine, layers[layer.layer], layer, channel, sample)
            for layer, channel in progress(chosen, "testing channels again", len(chosen))
        ]
    except KeyError as error:
        return Check("channels", False, f"the network has no conv layer {error}")
    except PASS_ERRORS as error:
        reason = (str(error).splitlines() or [""])[0][:100]
        return Check("channels", None, f"their passes fail in {precision} ({reason})")
    bound = MOVED[precision]
    worst = int(np.argmax(moved))
    return Check(
        "channels",
        float(np.mean(moved)) <= bound,
        f"{plural(len(chosen), 'channel')} in {precision}: {percent(float(np.mean(moved)))} of the predictions or of "
        f"the accuracy differ (may be {percent(bound, 0)}), at most {percent(moved[worst])}, in "
        f"{chosen[worst][0].layer} {chosen[worst][1]}",
    )


def choose(report: AuditReport, count: int, seed: int) -> list[tuple[LayerAudit, int]]:
    """Channels that were tested, chosen at random: every one is as likely.

    Args:
        report: Of an audit.
        count: How many, at most.
        seed: Which ones.
    """
    tested = [
        (layer, int(channel))
        for layer in report.layers
        if not layer.skipped
        for channel in np.flatnonzero(layer.tested)
    ]
    generator = np.random.default_rng(seed)
    order = generator.permutation(len(tested))[:count]
    return [tested[index] for index in sorted(order)]


def _moved_of_channel(
    engine: Engine, layer: ConvLayer, reported: LayerAudit, channel: int, sample: ImageSet
) -> float:
    """Share of a channel's predictions that are of other classes than in the report, or how far its accuracy is off.

    A channel was tested with all images or with the first of them, in the order of the screen; in the latter case
    its accuracy is an estimate, and not compared.
    """
    settings = engine.settings
    responses = Responses.empty(max(layer.channels, channel + 1), len(sample), settings.steps)
    order = image_order(sample, settings.seed)[: int(reported.tested[channel])]
    for _ in engine.test(layer, responses, [channel], order.tolist()):
        pass
    moved = share_moved(responses.counts(engine.classes)[channel], reported.predictions[channel])
    if len(order) < len(sample):
        return moved
    right = responses.predicted[channel] == sample.labels.numpy()[:, None]
    return max(moved, float(np.abs(right.mean(0) - reported.accuracy[channel]).max()))


def flags(report: AuditReport) -> Check:
    """Whether the detector makes the report's flags of the report's own accuracy profiles."""
    tested = [layer for layer in report.layers if not layer.skipped]
    name = report.settings.detector
    if name not in DETECTORS or not tested:
        reason = "no layer was tested" if not tested else "the detector is not one of hfscan's"
        return Check("flags", None, reason)
    detector = named_detector(report.settings)
    whole = _images_of_a_channel(report)
    other = sum(
        int(
            (
                (low_outliers(detector, layer.accuracy) & (layer.tested == whole)) ^ layer.flagged
            ).sum()
        )
        for layer in tested
    )
    total = sum(layer.channels for layer in tested)
    return Check(
        "flags",
        other <= FLAGS * total,
        f"{other} of {plural(total, 'channel')} are flagged otherwise by {name} "
        f"(may be {percent(FLAGS, 0)})",
    )


def _images_of_a_channel(report: AuditReport) -> int:
    """How many images a channel is tested with that is tested with all of them."""
    return min(report.settings.images, report.data.images)


def covered(report: AuditReport) -> Check:
    """Whether the report's account of how many channels were tested is that of its layers."""
    whole = _images_of_a_channel(report)
    nothing = np.zeros(0, np.int64)
    tested = np.concatenate([nothing, *(e.tested for e in report.layers if not e.skipped)])
    verified = int((tested == whole).sum())
    found = (len(tested), verified, int((tested > 0).sum()) - verified)
    said = report.coverage
    return Check(
        "coverage",
        found == (said.channels, said.verified, said.screened),
        f"{found[1]} of {plural(found[0], 'channel')} tested with all images, {found[2]} with some of them; "
        f"the report says {said.verified} of {said.channels}, {said.screened}",
    )


def layers(ours: Sequence[ConvLayer], report: AuditReport) -> Check:
    """Whether the report has all of the network's conv layers, each tested or left out for a reason that holds here."""
    found = {layer.name: layer.channels for layer in ours}
    same = found == {layer.layer: layer.channels for layer in report.layers}
    said = f"{plural(len(found), 'layer')}, the report has {len(report.layers)}"
    if not same:
        return Check("layers", False, said)
    reasons = {layer.name: layer.skipped for layer in ours}
    for layer in report.layers:
        if layer.skipped and layer.skipped not in (reasons[layer.layer], LAYER_OUT_OF_TIME):
            why = f"{layer.layer} was not tested in the report, which cannot be checked here"
            return Check("layers", None, f"{said}; {why}: {layer.skipped[:100]}")
    return Check("layers", True, said)
