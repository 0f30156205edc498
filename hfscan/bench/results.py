"""Trials on disk: one JSON object per line, written as they come."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import is_dataclass
from pathlib import Path
from typing import Any

from hfscan.errors import DataError
from hfscan.types import Cell, Trial


def read_trials(path: Path) -> list[Trial]:
    """Read trials; of several for the same cell, the last one counts.

    A last line that is cut off, as a killed process leaves it, is left out.

    Raises:
        DataError: The file cannot be read, or has other lines.
    """
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(
            f"{path} cannot be read as results ({str(error)[:100]})",
            "name a file that hfscan bench run wrote",
        ) from error
    trials: dict[Cell, Trial] = {}
    for number, line in enumerate(lines, start=1):
        if not line.strip() or (number == len(lines) and not _is_json(line)):
            continue
        try:
            trial = Trial.from_dict(json.loads(line))
        except (ValueError, DataError, AttributeError, RecursionError) as error:
            raise DataError(
                f"line {number} of {path} is not a trial ({str(error)[:100]})", "remove the line"
            ) from error
        trials[trial.cell] = trial
    return list(trials.values())


def append_trial(path: Path, trial: Trial) -> None:
    """Add a trial to the file, which is made if it is not there.

    Raises:
        DataError: It cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a+b") as stream:
            if stream.tell() and not _ends_with_newline(path):
                _drop_last_line(path)
            stream.write(json.dumps(trial.to_dict()).encode() + b"\n")
    except OSError as error:
        raise DataError(
            f"{path} cannot be written ({error.strerror or error})", "choose another --out"
        ) from error


def remaining(cells: Iterable[Cell], trials: Iterable[Trial]) -> list[Cell]:
    """The cells without a trial that worked."""
    done = {trial.cell for trial in trials if not trial.error}
    return [cell for cell in cells if cell not in done]


def settings_of(thing: object) -> dict[str, Any]:
    """The hyper-parameters of an attack or a defense: those of its fields that are plain data."""
    found: dict[str, Any] = {}
    for name, value in vars(thing).items():
        if isinstance(value, int | float | str):
            found[name] = value
        elif is_dataclass(value):
            found[name] = settings_of(value)
    return found


def _is_json(line: str) -> bool:
    try:
        json.loads(line)
    except ValueError:
        return False
    return True


def _ends_with_newline(path: Path) -> bool:
    with path.open("rb") as stream:
        stream.seek(-1, 2)
        return stream.read(1) == b"\n"


def _drop_last_line(path: Path) -> None:
    """Cut off what a killed process left unfinished."""
    whole = path.read_bytes()
    with path.open("r+b") as stream:
        stream.truncate(whole.rfind(b"\n") + 1)
