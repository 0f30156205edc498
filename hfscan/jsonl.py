"""Files of one JSON object per line that a killed process leaves readable."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from hfscan.errors import DataError


def read_lines(path: Path, maker: str) -> Iterator[tuple[int, str]]:
    """The lines with their numbers, from 1; without a last one that is cut off, and without empty ones.

    Args:
        path: The file.
        maker: The command that writes such files, for the error's hint.

    Raises:
        DataError: The file cannot be read.
    """
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(
            f"{path} cannot be read as results ({str(error)[:100]})",
            f"name a file that {maker} wrote",
        ) from error
    for number, line in enumerate(lines, start=1):
        if line.strip() and (number < len(lines) or not _is_cut_off(line)):
            yield number, line


def append_line(path: Path, data: Mapping[str, Any]) -> None:
    """Add a line to the file, which is made if it is not there.

    Raises:
        DataError: It cannot be written, or is no such file.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a+b") as stream:
            if stream.tell() and not _ends_with_newline(path):
                _end_last_line(path)
            stream.write(json.dumps(data).encode() + b"\n")
    except OSError as error:
        raise DataError(
            f"{path} cannot be written ({error.strerror or error})", "choose another --out"
        ) from error


def _is_cut_off(line: str) -> bool:
    """Whether it is the beginning of an object, as `append_line` leaves it when it is killed."""
    return line.startswith("{") and not _is_json(line)


def _is_json(line: str) -> bool:
    try:
        json.loads(line)
    except (ValueError, RecursionError):
        return False
    return True


def _ends_with_newline(path: Path) -> bool:
    with path.open("rb") as stream:
        stream.seek(-1, 2)
        return stream.read(1) == b"\n"


def _end_last_line(path: Path) -> None:
    """Cut off what a killed process left unfinished; a whole line only lacks its end."""
    head, end, last = path.read_bytes().rpartition(b"\n")
    line = last.decode(errors="replace")
    cut_off = _is_cut_off(line)
    if line.strip() and not (cut_off or _is_json(line)):
        raise DataError(f"{path} is not a file of JSON lines", "choose another file to write to")
    with path.open("r+b") as stream:
        if cut_off:
            stream.truncate(len(head + end))
        else:
            stream.seek(0, 2)
            stream.write(b"\n")
