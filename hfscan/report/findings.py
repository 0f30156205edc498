"""What of an audit is worth showing, in which order. Numbers only: no text, no layout."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:  # hfscan.types loads torch, and the command line reads FORMATS for --help
    from hfscan.types import AuditReport, FloatArray, IntArray, LayerAudit, RepairReport, TestResult

HISTOGRAM_BINS = 10

Outcome = Literal["good", "standing out", "untested", "backdoored", "costly"]


@dataclass(frozen=True)
class LayerSummary:
    """One tested layer in a line.

    Args:
        layer: Name of the module.
        channels: C.
        flagged: How many of them the detector flagged.
        median: Of the channels' accuracy after the last step, in [0, 1]; None if unknown.
        lowest: The smallest of them.
        histogram: How many channels have an accuracy in each tenth of [0, 1].
        interest: Of its most suspicious channel; larger is more suspicious.
    """

    layer: str
    channels: int
    flagged: int
    median: float | None
    lowest: float | None
    histogram: tuple[int, ...]
    interest: float


@dataclass(frozen=True)
class Move:
    """How many images are predicted as one class.

    Args:
        label: The class.
        share: Of the reverse-generated images, in [0, 1].
        clean_share: Of the clean images.
    """

    label: int
    share: float
    clean_share: float


@dataclass(frozen=True)
class SuspiciousChannel:
    """One channel, and where the images that were reverse-generated for it went.

    Args:
        layer: Name of the module.
        channel: Index.
        accuracy: After the last step, in [0, 1].
        moves: The class that gained most predictions compared with clean images, and the
            suspected target class if that is another one.
        score: What the channels are ranked by; larger is more suspicious.
    """

    layer: str
    channel: int
    accuracy: float
    moves: tuple[Move, ...]
    score: float


def label(report: AuditReport, index: int) -> str:
    """The name of a class: the model's, else the data's, else ``class 7``; not yet printable."""
    return _name(report, index) or f"class {index}"


def target_phrase(report: AuditReport, index: int) -> str:
    """``class airplane``, or ``class 7`` where there are no names; not yet printable."""
    return f"class {_name(report, index) or index}"


def _name(report: AuditReport, index: int) -> str:
    for names in (report.model.label_names, report.data.classes):
        if 0 <= index < len(names) and names[index].strip():
            return names[index]
    return ""


def leading_test(report: AuditReport) -> TestResult | None:
    """The model-level test that says most: about the suspected class, with the least p-value."""
    made = [test for test in report.tests if not test.skipped]
    agreeing = [test for test in made if test.target == report.target]
    p_values = {id(test): 1.0 if test.p_value is None else test.p_value for test in made}
    return min(agreeing or made, key=lambda test: p_values[id(test)], default=None)


def ranked_classes(test: TestResult) -> list[tuple[int, float]]:
    """Classes with their statistic, the largest first; what is not finite is last."""
    # A report that went through JSON has None where a statistic was not finite.
    values = [math.nan if value is None else value for value in test.class_statistics]
    order = sorted(range(len(values)), key=lambda index: _last_if_nan(values[index]))
    return [(index, values[index]) for index in order]


def _last_if_nan(value: float) -> float:
    return -value if math.isfinite(value) else math.inf


def summarize_layers(report: AuditReport) -> list[LayerSummary]:
    """All tested layers in order of execution."""
    return [_summary(report, layer) for layer in report.layers if _tested(layer)]


def most_interesting(layers: Sequence[LayerSummary], limit: int) -> list[LayerSummary]:
    """At most ``limit`` layers with the most suspicious channels, in order of execution."""
    ranked = sorted(range(len(layers)), key=lambda index: -layers[index].interest)
    return [layers[index] for index in sorted(ranked[:limit])]


def suspicious_channels(report: AuditReport, limit: int) -> list[SuspiciousChannel]:
    """The most suspicious channels of all layers.

    With a suspected target class these are the ones whose images flow into it most, if any do,
    on average over the steps. Without one these are the ones with the lowest accuracy.

    Args:
        report: The audit.
        limit: How many at most.
    """
    found = [
        _channel(report, layer, int(channel))
        for layer in report.layers
        if _tested(layer)
        for channel in np.argsort(-_scores(report, layer), kind="stable")[:limit]
    ]
    ranked = sorted(found, key=lambda one: _last_if_nan(one.score))[:limit]
    return [one for one in ranked if report.target is None or one.score > 0]


def skipped_layers(report: AuditReport) -> dict[str, list[str]]:
    """Reason -> the layers that were not tested for it."""
    reasons: dict[str, list[str]] = {}
    for layer in report.layers:
        if layer.skipped:
            reasons.setdefault(layer.skipped, []).append(layer.layer)
    return reasons


def erased_of(report: RepairReport) -> list[tuple[str, int, int | None]]:
    """Per layer: name, how many channels were erased, and of how many (None if unknown)."""
    channels = {layer.layer: layer.channels for layer in report.audit.layers}
    return [(name, len(erased), channels.get(name)) for name, erased in report.erased.items()]


def drop_allowed(report: RepairReport) -> bool:
    """Whether the repair cost no more accuracy than its settings allow."""
    return report.accuracy_drop <= report.settings.max_accuracy_drop


def repair_outcome(report: RepairReport) -> Outcome:
    """What a repair comes to: the worst that can be said of it."""
    if not drop_allowed(report):
        return "costly"
    match report.verdict_after.value:
        case "NO_BACKDOOR_FOUND":
            return "good"
        case "INCONCLUSIVE":
            return "untested"
        case "BACKDOORED":
            return "backdoored"
        case _:
            return "standing out"


def class_statistic(test: TestResult, index: int | None) -> float | None:
    """A test's figure for one class, or None."""
    if index is None or not 0 <= index < len(test.class_statistics):
        return None
    return test.class_statistics[index]


def _tested(layer: LayerAudit) -> bool:
    return not layer.skipped and layer.accuracy.size > 0


def _summary(report: AuditReport, layer: LayerAudit) -> LayerSummary:
    accuracy = layer.accuracy[:, -1]
    known = accuracy[np.isfinite(accuracy)]
    return LayerSummary(
        layer=layer.layer,
        channels=layer.channels,
        flagged=int(layer.flagged.sum()),
        median=float(np.median(known)) if known.size else None,
        lowest=float(known.min()) if known.size else None,
        histogram=tuple(np.histogram(known, HISTOGRAM_BINS, (0.0, 1.0))[0].tolist()),
        interest=float(np.nan_to_num(_scores(report, layer), nan=-1.0).max()),
    )


def _scores(report: AuditReport, layer: LayerAudit) -> FloatArray:
    """``(C,)``: the flow into the target class if there is one, else minus the accuracy.

    NaN for channels that were tested with fewer images than others.
    """
    if report.target is None:
        scores = -layer.accuracy[:, -1]
    else:
        share = _shares(layer.predictions)[:, :, report.target].mean(1)
        scores = share - _clean_shares(report)[report.target]
    whole = layer.tested == max(int(each.tested.max(initial=0)) for each in report.layers)
    return np.asarray(np.where(whole, scores, np.nan), np.float32)


def _channel(report: AuditReport, layer: LayerAudit, channel: int) -> SuspiciousChannel:
    shares, clean = _shares(layer.predictions[channel, -1]), _clean_shares(report)
    gained = int(np.argmax(shares - clean))
    labels = [gained] if report.target in (None, gained) else [gained, report.target]
    return SuspiciousChannel(
        layer=layer.layer,
        channel=channel,
        accuracy=float(layer.accuracy[channel, -1]),
        moves=tuple(Move(one, float(shares[one]), float(clean[one])) for one in labels),
        score=float(_scores(report, layer)[channel]),
    )


def _shares(counts: IntArray) -> FloatArray:
    """Counts of predictions ``(..., K)`` as shares of the images."""
    return np.asarray(counts / np.maximum(counts.sum(-1, keepdims=True), 1), np.float32)


def _clean_shares(report: AuditReport) -> FloatArray:
    """Predicted classes of the clean images as shares, ``(K,)``; zeros if they are not known."""
    counts = np.asarray(report.clean_predictions, np.int64)
    known = counts.shape == (report.model.num_classes,)
    return _shares(counts) if known else np.zeros(report.model.num_classes, np.float32)
