"""A sweep as Markdown: how many of each kind, and a line about each model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hfscan.report.text import code_span, markdown, p_value, percent, plural
from hfscan.sweep.record import Record

REASON = 300
"""Longest reason that is shown."""


@dataclass(frozen=True)
class Group:
    """Models of which the same is to be said.

    Args:
        title: What.
        records: The models, in alphabetical order.
    """

    title: str
    records: tuple[Record, ...]


GROUPS = {
    "BACKDOORED": "Backdoored",
    "SUSPICIOUS": "Suspicious",
    "failed": "Failed",
    "INCONCLUSIVE": "Inconclusive",
    "unsupported": "Not supported",
    "NO_BACKDOOR_FOUND": "No backdoor found",
}
"""Key of a record -> title of its group, the worst first."""


def grouped(records: Sequence[Record]) -> list[Group]:
    """The groups that are not empty."""
    found: dict[str, list[Record]] = {key: [] for key in GROUPS}
    for record in sorted(records, key=lambda record: record.model):
        found[_key(record)].append(record)
    return [Group(GROUPS[key], tuple(group)) for key, group in found.items() if group]


def _key(record: Record) -> str:
    if record.status in GROUPS:
        return record.status
    return record.verdict if record.verdict in GROUPS else "failed"


def headline(records: Sequence[Record], total: int) -> str:
    """One sentence: ``5 models: 1 backdoored, 1 failed, 3 no backdoor found``."""
    parts = [f"{len(group.records)} {group.title.lower()}" for group in grouped(records)]
    missing = total - len(records)
    if missing > 0:
        parts.append(f"{missing} not audited yet")
    return f"{plural(total, 'model')}: {', '.join(parts) or 'none audited'}"


def cells(record: Record) -> tuple[str, str, str, str]:
    """Suspected class, p-value, clean accuracy and time, as text that is not yet printable."""
    return (
        record.target or "",
        p_value(record.p_value) if record.p_value is not None else "",
        percent(record.clean_accuracy) if record.clean_accuracy is not None else "",
        f"{record.seconds:.0f} s",
    )


def said(record: Record) -> str:
    """The reason, with the hint if there is one."""
    return f"{record.reason} ({record.hint})" if record.hint else record.reason


def render(records: Sequence[Record], total: int) -> str:
    """The whole summary, for a job summary or a file.

    Args:
        records: Of the models that are done.
        total: How many there are.
    """
    blocks = ["## hfscan sweep", f"{headline(records, total)}."]
    for group in grouped(records):
        blocks += [f"### {group.title}", _table(group.records)]
    return "\n\n".join(blocks) + "\n"


def _table(records: Sequence[Record]) -> str:
    lines = [
        "| Model | Class | p | Clean accuracy | Time | Reason |",
        "|---|---|--:|--:|--:|---|",
    ]
    for record in records:
        target, p, accuracy, time = cells(record)
        row = [code_span(record.model, 120), markdown(target), p, accuracy, time]
        lines.append(f"| {' | '.join([*row, markdown(said(record), REASON)])} |")
    return "\n".join(lines)
