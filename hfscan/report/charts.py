"""What the HTML report draws, as plain data: bars, heat map and pictures. All text is printable."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from hfscan.report import findings
from hfscan.report.text import number, percent, plural, printable, tail

if TYPE_CHECKING:
    from hfscan.types import AuditReport, LayerAudit, Picture, RepairReport, TestResult

_SHOWN_CLASSES = 20
_SHOWN_LAYERS = 40
_CELLS = 24
_LEVELS = 9
_LAYER_WIDTH = 40
_SMALL_SIDE = 64


@dataclass(frozen=True)
class ClassRow:
    """One class of a chart.

    Args:
        name: Of the class.
        figure: Its statistic as text.
        share: Length of the bar, in [0, 1].
        target: Whether it is the suspected class.
    """

    name: str
    figure: str
    share: float
    target: bool


@dataclass(frozen=True)
class ClassChart:
    """One test, class by class, the largest figure first.

    Args:
        name: Of the test.
        unit: Heading of the figures.
        caption: What is shown.
        shown: The first classes.
        others: The rest.
    """

    name: str
    unit: str
    caption: str
    shown: tuple[ClassRow, ...]
    others: tuple[ClassRow, ...]


@dataclass(frozen=True)
class LayerRow:
    """One layer of the heat map.

    Args:
        name: The end of its name.
        levels: How hot each cell is, in [0, 9]: from the channels with the lowest accuracy to the highest.
        lowest: Accuracy as text.
        median: Likewise.
        into: Largest share of a channel's images that went to the suspected class; empty without one.
        flagged: How many channels, and of how many.
    """

    name: str
    levels: tuple[int, ...]
    lowest: str
    median: str
    into: str
    flagged: str


@dataclass(frozen=True)
class HeatMap:
    """Layers by channels.

    Args:
        shown: The most interesting layers, in order of execution.
        others: The rest.
        target: Name of the suspected class; empty without one.
        caption: What is shown.
    """

    shown: tuple[LayerRow, ...]
    others: tuple[LayerRow, ...]
    target: str
    caption: str


@dataclass(frozen=True)
class Part:
    """A piece of a caption; ``hit`` if it names the suspected class."""

    text: str
    hit: bool = False


@dataclass(frozen=True)
class Shown:
    """A picture with its caption.

    Args:
        png: Base64, checked by `Picture`.
        width: In pixels.
        height: In pixels.
        small: Whether its pixels shall stay visible.
        title: What it is.
        caption: More of it.
        alt: Both in a sentence.
    """

    png: str
    width: int
    height: int
    small: bool
    title: str
    caption: tuple[Part, ...]
    alt: str


@dataclass(frozen=True)
class ChannelCard:
    """The pictures of one channel, and where its images went."""

    name: str
    pictures: tuple[Shown, ...]
    text: str


def coordinate(share: float) -> str:
    """A share as a length of 100; what is not in [0, 1] is cut off."""
    return f"{100 * min(max(share, 0.0), 1.0):.4g}" if math.isfinite(share) else "0"


def class_charts(report: AuditReport) -> list[ClassChart]:
    """The chart of each model-level test, the one that says most first."""
    leading = findings.leading_test(report)
    made = [test for test in report.tests if test.class_statistics and not test.skipped]
    ordered = sorted(made, key=lambda test: test is not leading)
    return [_chart(report, test) for test in ordered]


def _chart(
    report: AuditReport, test: TestResult, suffix: str = "", top: float | None = None
) -> ClassChart:
    """A chart whose longest bar is ``top``, or the largest figure."""
    ranked = findings.ranked_classes(test)
    top = _top(test) if top is None else top
    rows = tuple(
        ClassRow(
            printable(findings.label(report, index)),
            number(value),
            value / top if top and math.isfinite(value) else 0.0,
            index == report.target,
        )
        for index, value in ranked
    )
    name = f"{printable(test.name)} test{suffix}"
    caption = f"What the {name} measured of each class, the largest figure first."
    unit = printable(test.unit).capitalize()
    return ClassChart(name, unit, caption, rows[:_SHOWN_CLASSES], rows[_SHOWN_CLASSES:])


def _top(test: TestResult) -> float:
    first = findings.ranked_classes(test)[0][1]
    return first if math.isfinite(first) and first > 0 else 0.0


def repair_charts(report: RepairReport) -> list[tuple[ClassChart, ClassChart]]:
    """The charts of each test that was made twice: before and after, at the same scale."""
    after = {test.name: test for test in report.tests_after if test.class_statistics}
    pairs = [
        (test, after[test.name])
        for test in report.tests_before
        if test.class_statistics and test.name in after
    ]
    return [
        (
            _chart(report.audit, before, " before the repair", max(_top(before), _top(then))),
            _chart(report.audit, then, " after the repair", max(_top(before), _top(then))),
        )
        for before, then in pairs
    ]


def heat_map(report: AuditReport) -> HeatMap:
    """Layers by their channels' accuracy."""
    summaries = findings.summarize_layers(report)
    tested = {layer.layer: layer for layer in report.layers if not layer.skipped}
    kept = findings.most_interesting(summaries, _SHOWN_LAYERS)
    shown = [_layer(report, one, tested[one.layer]) for one in kept]
    others = [_layer(report, one, tested[one.layer]) for one in summaries if one not in kept]
    target = ""
    if report.target is not None:
        target = printable(findings.label(report, report.target), 24)
    caption = f"{plural(len(summaries), 'layer')} in order of execution"
    return HeatMap(tuple(shown), tuple(others), target, caption)


def _layer(report: AuditReport, summary: findings.LayerSummary, layer: LayerAudit) -> LayerRow:
    into = ""
    if report.target is not None:
        counts = layer.predictions[:, -1]
        shares = counts[:, report.target] / np.maximum(counts.sum(1), 1)
        into = percent(float(shares.max()), 0)
    return LayerRow(
        tail(layer.layer, _LAYER_WIDTH),
        _levels(layer.accuracy[:, -1]),
        percent(summary.lowest),
        percent(summary.median),
        into,
        f"{summary.flagged:,} / {summary.channels:,}",
    )


def _levels(accuracy: np.ndarray) -> tuple[int, ...]:
    """Sorted accuracies ``(C,)`` as cells: one per channel, or quantiles where there are many."""
    known = np.sort(accuracy[np.isfinite(accuracy)])
    if len(known) > _CELLS:
        known = np.quantile(known, np.linspace(0, 1, _CELLS))
    hot = 1 - np.clip(known, 0, 1)
    return tuple(int(level) for level in np.ceil(hot * _LEVELS - 1e-9))


def channel_cards(report: AuditReport) -> list[ChannelCard]:
    """The pictures of channels, grouped, in the order of the report's list."""
    groups: dict[tuple[str, int], list[Picture]] = {}
    for picture in report.pictures:
        if picture.channel is not None and picture.role not in ("trigger", "triggered"):
            groups.setdefault((picture.layer, picture.channel), []).append(picture)
    known = {
        (one.layer, one.channel): one
        for one in findings.suspicious_channels(report, len(groups) + 10)
    }
    return [
        ChannelCard(
            f"{tail(layer, _LAYER_WIDTH)} [{channel}]",
            tuple(_shown(report, picture) for picture in pictures),
            _where(report, known.get((layer, channel))),
        )
        for (layer, channel), pictures in groups.items()
    ]


def _where(report: AuditReport, one: findings.SuspiciousChannel | None) -> str:
    if one is None:
        return ""
    return f"Accuracy {percent(one.accuracy)}. Images went to {moves(report, one)}."


def moves(report: AuditReport, one: findings.SuspiciousChannel) -> str:
    """Where a channel's images went, and in brackets where the clean ones went."""
    return ", ".join(
        f"{printable(findings.label(report, move.label))} {percent(move.share, 0)}"
        f" ({percent(move.clean_share, 0)})"
        for move in one.moves
    )


def trigger_pictures(report: AuditReport) -> list[Shown]:
    """Inverted triggers, and images that carry them."""
    return [_shown(report, one) for one in report.pictures if one.role in ("trigger", "triggered")]


_TITLES = {
    "clean": "Clean",
    "reversed": "Reversed",
    "difference": "Difference",
    "trigger": "Inverted trigger",
    "triggered": "With the trigger",
}


def _shown(report: AuditReport, picture: Picture) -> Shown:
    width, height = picture.size
    parts = tuple(_parts(report, picture))
    title = _TITLES[picture.role]
    return Shown(
        picture.png,
        width,
        height,
        max(width, height) <= _SMALL_SIDE,
        title,
        parts,
        " ".join([f"{title}:", *(part.text for part in parts)]) if parts else title,
    )


def _parts(report: AuditReport, picture: Picture) -> list[Part]:
    parts = [Part(printable(picture.family))] if picture.family else []
    if picture.role == "difference":
        return [*parts, Part(f"{picture.gain:g} times amplified")]
    if picture.label is not None and picture.role == "clean":
        parts.append(Part(printable(findings.label(report, picture.label))))
        if picture.predicted == picture.label:
            return parts
    if picture.predicted is not None:
        parts.append(_seen(report, picture))
    return parts


def _seen(report: AuditReport, picture: Picture) -> Part:
    assert picture.predicted is not None
    name = printable(findings.label(report, picture.predicted))
    hit = picture.predicted == report.target
    if picture.share is not None:
        return Part(f"leads {percent(picture.share, 0)} of the images to {name}", hit)
    return Part(f"seen as {name}", hit)
