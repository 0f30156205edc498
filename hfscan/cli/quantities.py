"""Sizes and durations as people type them."""

from __future__ import annotations

import re

from hfscan.errors import UsageError

SIZES = {"kb": 1e3, "mb": 1e6, "gb": 1e9, "kib": 2**10, "mib": 2**20, "gib": 2**30}
"""Unit -> bytes."""

DURATIONS = {"s": 1, "m": 60, "h": 3600}
"""Unit -> seconds."""


def parse_size(text: str) -> int:
    """``4GB``, ``512MB`` or ``1.5GiB`` as bytes.

    Raises:
        UsageError: It is neither.
    """
    return int(_parse(text, SIZES, "--memory", "4GB or 512MB"))


def parse_duration(text: str, option: str = "--budget") -> float:
    """``90s``, ``2m``, ``1h`` or ``1h30m`` as seconds; a bare number is seconds.

    Args:
        text: As typed.
        option: Where it was typed, for the error.

    Raises:
        UsageError: It is neither.
    """
    parts = re.findall(r"[\d.]+\s*[a-z]*", text.strip().lower())
    if not parts or "".join(parts) != text.strip().lower():
        parts = [text]
    return sum(_parse(part, {**DURATIONS, "": 1}, option, "90s, 2m or 1h30m") for part in parts)


def _parse(text: str, units: dict[str, float], option: str, examples: str) -> float:
    match = re.fullmatch(r"(\d{1,12}(?:\.\d{1,9})?)\s*([a-z]*)", text.strip().lower())
    if match is None or match[2] not in units or float(match[1]) <= 0:
        raise UsageError(f"{option} cannot be {text!r:.40}", f"write {examples}")
    return float(match[1]) * units[match[2]]
