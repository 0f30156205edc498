"""Reports: an `AuditReport` as text, in one of several formats.

A format is a function ``render(report) -> str`` in a module of its own and an entry of `FORMATS`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from hfscan.report import console, html, json, markdown, sarif

if TYPE_CHECKING:
    from hfscan.types import AuditReport, RepairReport

__all__ = ["FORMATS", "REPAIR_FORMATS"]

FORMATS: dict[str, Callable[[AuditReport], str]] = {
    "console": console.render,
    "json": json.render,
    "markdown": markdown.render,
    "sarif": sarif.render,
    "html": html.render,
}

REPAIR_FORMATS: dict[str, Callable[[RepairReport], str]] = {
    "console": console.render_repair,
    "json": json.render_repair,
    "markdown": markdown.render_repair,
    "html": html.render_repair,
}
"""Of a repair. There is no SARIF: a repair measures, it has no findings of its own."""
