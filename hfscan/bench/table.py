"""A table of figures, and how it is written: text, Markdown, CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass

from hfscan.bench.markdown import markdown_table

Figures = tuple[float | None, ...]
"""One figure per metric of a table: fractions, or seconds."""

EFFECT = ("ACC", "ASR", "RA", "DER")
COVERAGE = ("coverage", "local coverage")
COST = ("seconds", "CPU seconds")


@dataclass(frozen=True)
class Row:
    """One line of a table.

    Args:
        label: The defense, or the rate.
        source: ``"here"``, ``"paper"``, or the seed.
        cells: One per column of the table.
    """

    label: str
    source: str
    cells: tuple[Figures, ...]


@dataclass(frozen=True)
class Table:
    """A table of the paper.

    Args:
        title: What it shows.
        columns: Attacks, and their mean.
        metrics: What the figures of each cell are.
        rows: In the paper's order.
    """

    title: str
    columns: tuple[str, ...]
    metrics: tuple[str, ...]
    rows: tuple[Row, ...]


def texts(table: Table) -> tuple[list[str], list[list[str]]]:
    """Header and lines of a table as text: the figures of a cell side by side, in percent or seconds."""
    header = ["", "", *table.columns]
    lines: list[list[str]] = []
    before = ""
    for row in table.rows:
        label, before = "" if row.label == before else row.label, row.label
        lines.append([label, row.source, *(_text(cell, table.metrics) for cell in row.cells)])
    return header, lines


def _text(cell: Figures, metrics: Sequence[str]) -> str:
    scale, digits = (1.0, 1) if tuple(metrics) == COST else (100.0, 2)
    shown = ["-" if value is None else f"{value * scale:.{digits}f}" for value in cell]
    return " / ".join(shown) or "-"


def legend(table: Table) -> str:
    """What the figures of a cell are."""
    names = " / ".join(table.metrics)
    return names if table.metrics == COST else f"{names} in %"


def markdown(table: Table) -> str:
    """A table as Markdown."""
    body = markdown_table(*texts(table), labels=2)
    return f"**{table.title}**: {legend(table)}\n\n{body}\n"


def comma_separated(made: Sequence[Table]) -> str:
    """Tables as CSV: one figure per column, fractions or seconds."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    for table in made:
        figures = [f"{c} {metric}" for c in table.columns for metric in table.metrics]
        writer.writerow(["table", "row", "source", *figures])
        for row in table.rows:
            cells = [cell or (None,) * len(table.metrics) for cell in row.cells]
            values = [_plain(value) for cell in cells for value in cell]
            writer.writerow([table.title, row.label, row.source, *values])
    return stream.getvalue()


def _plain(value: float | None) -> str:
    return "" if value is None else f"{value:.6g}"
