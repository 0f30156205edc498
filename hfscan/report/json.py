"""The report as one JSON object: ASCII only, no NaN or Infinity, a line per channel."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hfscan.types import AuditReport, RepairReport

_WIDTH = 100
_INDENT = "  "


def render(report: AuditReport) -> str:
    """The whole report as one JSON object, for programs.

    It is ``report.to_dict()``. What is short stays on one line, and so does each channel's row, however long: a report has
    thousands of them. A float that is not finite becomes null.

    Args:
        report: The audit.

    Returns:
        ASCII text that ends in a line break; `AuditReport.from_dict` reads it back.
    """
    return _layout(_finite(report.to_dict()), "") + "\n"


def render_repair(report: RepairReport) -> str:
    """Write a repair, the audit included, as `render` writes an audit.

    Args:
        report: The repair.
    """
    return _layout(_finite(report.to_dict()), "") + "\n"


def render_data(data: Mapping[str, Any]) -> str:
    """Write JSON-ready data as `render` writes an audit."""
    return _layout(_finite(data), "") + "\n"


def _finite(value: Any) -> Any:
    match value:
        case float():
            return value if math.isfinite(value) else None
        case Mapping():
            return {str(key): _finite(item) for key, item in value.items()}
        case list() | tuple():
            return [_finite(item) for item in value]
        case _:
            return value


def _layout(value: Any, indent: str) -> str:
    compact = json.dumps(value, ensure_ascii=True, allow_nan=False)
    if len(indent) + len(compact) <= _WIDTH or _is_row(value):
        return compact
    inner = indent + _INDENT
    if isinstance(value, dict):
        items = [f"{json.dumps(key)}: {_layout(item, inner)}" for key, item in value.items()]
        return _bracketed("{}", items, indent)
    return _bracketed("[]", [_item(item, inner) for item in value], indent)


def _is_row(value: Any) -> bool:
    """Whether the value is for machines: scalars and lists of numbers are never broken."""
    if isinstance(value, list):
        return not any(isinstance(item, str | list | dict) for item in value)
    return not isinstance(value, dict)


def _item(item: Any, indent: str) -> str:
    """An item of a long list: lists in lists are rows, and a row is one line."""
    return json.dumps(item) if isinstance(item, list) else _layout(item, indent)


def _bracketed(brackets: str, items: list[str], indent: str) -> str:
    lines = f",\n{indent}{_INDENT}".join(items)
    return f"{brackets[0]}\n{indent}{_INDENT}{lines}\n{indent}{brackets[1]}"
