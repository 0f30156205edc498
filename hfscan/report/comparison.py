"""A comparison of two audits in words and tables, and these as Markdown or JSON."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from hfscan.report import json
from hfscan.report.text import code_span, markdown, number, p_value, percent

if TYPE_CHECKING:
    from hfscan.comparison import Comparison, LayerChange, TestChange
    from hfscan.types import AuditReport

SHOWN = 10
"""Classes, layers and channels; JSON has all of them."""

CAPTION = (
    "Accuracy of reverse-generated images after the last step. Which channels are flagged is hardly "
    "reproducible, even for the same weights: this says where to look, and decides nothing."
)

Quote = Callable[[str], str]
Rows = list[list[str]]


@dataclass(frozen=True)
class Section:
    """A table with a title.

    Args:
        title: May be empty.
        columns: Headings; ``>`` at the end means figures, to be set flush right.
        rows: Cells, already safe to show.
        caption: What to know when reading it.
    """

    title: str
    columns: tuple[str, ...]
    rows: Rows
    caption: str = ""


def headline(comparison: Comparison) -> str:
    """What it comes to."""
    if comparison.worse:
        return f"Worse: {comparison.worse}."
    if comparison.after.verdict.value == "INCONCLUSIVE":
        return "The second audit is inconclusive: nothing can be said."
    return "Not worse: the verdict is no more severe, and no other class is suspected."


def sections(comparison: Comparison, quote: Quote, code: Quote) -> list[Section]:
    """Facts, tests, classes, layers, channels; those without rows left out.

    Args:
        comparison: Two audits.
        quote: Makes names and prose safe to show.
        code: Makes identifiers safe to show.
    """
    before, after = comparison.before, comparison.after
    found = [
        Section("", ("", "Before", "After"), _facts(before, after, quote, code)),
        Section(
            "Model-level tests",
            ("Test", "Statistic>", "after>", "p-value>", "after>", "Top class", "after"),
            [_test(test, before, quote) for test in comparison.tests],
        ),
        *(_classes(test, before, quote) for test in comparison.tests),
        Section(
            "Layers whose channels moved most",
            ("Layer", "Channels>", "Flagged>", "after>", "New>", "Gone>", "Mean move>"),
            [_layer(layer, code) for layer in _most_moved(comparison.layers)],
        ),
        Section(
            "Channels that moved most",
            ("Layer", "Channel>", "Accuracy>", "after>", "Flagged", "after"),
            list(_channels(comparison.layers, code)),
            CAPTION,
        ),
    ]
    return [section for section in found if section.rows]


def _facts(before: AuditReport, after: AuditReport, quote: Quote, code: Quote) -> Rows:
    rows = [
        ["Verdict", *(report.verdict.value for report in (before, after))],
        ["Suspected class", *(_class(report, report.target, quote) for report in (before, after))],
        ["Clean accuracy", *(percent(report.clean_accuracy) for report in (before, after))],
        ["Model", *(code(report.model.ref) for report in (before, after))],
        ["Revision", *(code(report.model.revision or "none") for report in (before, after))],
        ["sha256", *(code(report.model.weights_sha256[:12]) for report in (before, after))],
        ["Clean data", *(code(report.data.name) for report in (before, after))],
    ]
    accepted = [report.suppression for report in (before, after)]
    if any(accepted):
        rows.append(
            ["Suppressed", *("no" if one is None else quote(one.reason) for one in accepted)]
        )
    return rows


def _class(report: AuditReport, index: int | None, quote: Quote) -> str:
    return "none" if index is None else quote(report.model.label(index))


def _test(test: TestChange, report: AuditReport, quote: Quote) -> list[str]:
    one, other = test.before, test.after
    figures = [number(one.statistic), number(other.statistic)]
    figures += [p_value(one.p_value), p_value(other.p_value)]
    return [quote(one.name), *figures, *(_class(report, t.target, quote) for t in (one, other))]


def _classes(test: TestChange, report: AuditReport, quote: Quote) -> Section:
    rows = [
        [
            quote(report.model.label(one.label)),
            number(one.before),
            number(one.after),
            f"{one.change:+,.2f}",
        ]
        for one in test.classes[:SHOWN]
        if one.change
    ]
    title = f"Classes in the {quote(test.before.name)} test ({quote(test.before.unit)})"
    return Section(title, ("Class", "Before>", "After>", "Change>"), rows)


def _most_moved(layers: Sequence[LayerChange]) -> list[LayerChange]:
    moved = [layer for layer in layers if layer.gained or layer.lost or _mean(layer) > 0]
    return sorted(moved, key=_mean, reverse=True)[:SHOWN]


def _mean(layer: LayerChange) -> float:
    """How far the accuracy of its channels moved on average."""
    known = np.abs(layer.moved)[np.isfinite(layer.moved)]
    return float(known.mean()) if known.size else 0.0


def _layer(layer: LayerChange, code: Quote) -> list[str]:
    flagged = [int(one.flagged.sum()) for one in (layer.before, layer.after)]
    counts = [layer.before.channels, *flagged, len(layer.gained), len(layer.lost)]
    return [code(layer.layer), *(f"{count:,}" for count in counts), percent(_mean(layer))]


def _channels(layers: Sequence[LayerChange], code: Quote) -> Iterator[list[str]]:
    moves = [
        (abs(float(change)), layer, channel)
        for layer in layers
        for channel, change in enumerate(layer.moved)
        if np.isfinite(change) and change != 0
    ]
    for _, layer, channel in sorted(moves, key=lambda move: -move[0])[:SHOWN]:
        both = (layer.before, layer.after)
        accuracies = [percent(float(one.accuracy[channel, -1])) for one in both]
        flags = ["yes" if one.flagged[channel] else "no" for one in both]
        yield [code(layer.layer), str(channel), *accuracies, *flags]


def render_markdown(comparison: Comparison) -> str:
    """Write a comparison as a section of Markdown that starts with a heading of level 2."""
    blocks = ["## hfscan diff", f"**{headline(comparison)}**"]
    for section in sections(comparison, markdown, code_span):
        blocks += [f"### {section.title}"] * bool(section.title)
        blocks += [_table(section), section.caption]
    warnings = [f"- {markdown(warning, 300)}" for warning in comparison.warnings]
    blocks += ["### Warnings", "\n".join(warnings)] * bool(warnings)
    return "\n\n".join(block for block in blocks if block) + "\n"


def _table(section: Section) -> str:
    lines = [
        [column.removesuffix(">") for column in section.columns],
        ["---:" if column.endswith(">") else "---" for column in section.columns],
        *section.rows,
    ]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def render_json(comparison: Comparison) -> str:
    """Write ``comparison.to_dict()`` as JSON."""
    return json.render_data(comparison.to_dict())
