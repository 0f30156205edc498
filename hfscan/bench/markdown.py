"""Tables as Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def markdown_table(header: Sequence[str], lines: Iterable[Sequence[str]], labels: int = 1) -> str:
    """A Markdown table.

    Args:
        header: Names of the columns.
        lines: Rows of cells.
        labels: How many columns stay on the left; figures are set to the right.
    """
    rule = ["---"] * labels + ["---:"] * (len(header) - labels)
    return "\n".join("| " + " | ".join(row) + " |" for row in [header, rule, *lines])
