"""``sweep.jsonl``: what is done already, written as it comes."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable
from pathlib import Path

from hfscan.errors import DataError
from hfscan.jsonl import append_line, read_lines
from hfscan.sweep.record import Record


def read_records(path: Path) -> list[Record]:
    """Read a sweep's file; of several lines about the same model, the last one counts.

    A last line that is cut off, as a killed process leaves it, is left out; a file that is not there has none.

    Raises:
        DataError: The file cannot be read, or has other lines.
    """
    records: dict[str, Record] = {}
    for number, line in read_lines(path, "hfscan sweep") if path.exists() else ():
        try:
            record = Record.from_dict(json.loads(line))
        except (ValueError, DataError, RecursionError) as error:
            raise DataError(
                f"line {number} of {path} is not of a sweep ({str(error)[:100]})",
                "remove the line, or choose another --out",
            ) from error
        records[record.model] = record
    return list(records.values())


def append_record(path: Path, record: Record) -> None:
    """Add a line.

    Raises:
        DataError: It cannot be written.
    """
    append_line(path, record.to_dict())


def remaining(models: Iterable[str], records: Iterable[Record]) -> list[str]:
    """The models without a record."""
    done = {record.model for record in records}
    return [model for model in models if model not in done]


def without(records: Iterable[Record], models: Collection[str]) -> str:
    """The text of a sweep's file that forgets the failures of ``models``, so that they are audited again."""
    kept = [r for r in records if not (r.status == "failed" and r.model in models)]
    return "".join(json.dumps(record.to_dict()) + "\n" for record in kept)
