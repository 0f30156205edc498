"""TOML files that may be anything: huge, not text, nested without end."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

from hfscan.errors import UsageError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

MAX_BYTES = 200_000
"""No settings need more."""

MAX_LINE = 4000
"""In bytes. The memory of tomllib grows with the square of a dotted key: 40 GB for a line of 200 kB."""


def read_toml(path: Path) -> dict[str, Any]:
    """The tables of a file.

    Raises:
        UsageError: It cannot be read, is too large, or is not TOML; with the line where there is one.
    """
    if not path.is_file():
        raise UsageError(f"{path} is not a file", "name a TOML file")
    try:
        with path.open("rb") as stream:
            data = stream.read(MAX_BYTES + 1)
    except OSError as error:
        raise UsageError(
            f"{path} cannot be read ({error.strerror or error})", "check its permissions"
        ) from error
    if len(data) > MAX_BYTES:
        raise UsageError(f"{path} is larger than {MAX_BYTES:,} bytes", "name another file")
    for number, line in enumerate(data.split(b"\n"), 1):
        if len(line) > MAX_LINE:
            raise UsageError(
                f"{path}: line {number} is longer than {MAX_LINE:,} bytes", "break the line"
            )
    return _parsed(path, data)


def _parsed(path: Path, data: bytes) -> dict[str, Any]:
    try:
        return tomllib.loads(data.decode("utf-8"))
    except UnicodeDecodeError as error:
        line = 1 + data.count(b"\n", 0, error.start)
        problem = f"line {line} is not UTF-8"
    except RecursionError:
        problem = "it is nested too deeply"
    except ValueError as error:  # TOMLDecodeError, or a number of thousands of digits
        problem = " ".join(str(error).split())
    raise UsageError(f"{path} is not TOML: {problem:.200}", "see https://toml.io")


def lines_of(path: Path, table: str) -> list[int]:
    """The lines on which entries ``[[table]]`` begin; only right where no text contains such a line."""
    header = re.compile(rf"\s*\[\[\s*[\"']?{re.escape(table)}[\"']?\s*\]\]")
    lines = path.read_text(encoding="utf-8").split("\n")
    return [number for number, line in enumerate(lines, 1) if header.match(line)]
