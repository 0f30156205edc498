"""Trials on disk: one JSON object per line, written as they come."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import is_dataclass
from pathlib import Path
from typing import Any

from hfscan.errors import DataError
from hfscan.jsonl import append_line, read_lines
from hfscan.types import Cell, Trial


def read_trials(path: Path) -> list[Trial]:
    """Read trials; of several for the same cell, the last one counts.

    A last line that is cut off, as a killed process leaves it, is left out.

    Raises:
        DataError: The file cannot be read, or has other lines.
    """
    trials: dict[Cell, Trial] = {}
    for number, line in read_lines(path, "hfscan bench run"):
        try:
            trial = Trial.from_dict(json.loads(line))
        except (ValueError, DataError, AttributeError, RecursionError) as error:
            raise DataError(
                f"line {number} of {path} is not a trial ({str(error)[:100]})", "remove the line"
            ) from error
        if not (trial.error or _is_measured(trial)):
            raise DataError(f"line {number} of {path} has no figures", "remove the line")
        trials[trial.cell] = trial
    return list(trials.values())


def _is_measured(trial: Trial) -> bool:
    figures = (trial.before, trial.after)
    return all(each is not None and None not in (each.asr, each.ra) for each in figures)


def append_trial(path: Path, trial: Trial) -> None:
    """Add a trial to the file, which is made if it is not there.

    Raises:
        DataError: It cannot be written.
    """
    append_line(path, trial.to_dict())


def remaining(
    cells: Iterable[Cell], trials: Iterable[Trial], settings: Callable[[Cell], Mapping[str, Any]]
) -> list[Cell]:
    """The cells without a trial that worked, with the settings that its defense has now.

    Args:
        cells: That are wanted.
        trials: That were made.
        settings: Of a cell's defense, as `settings_of` gives them.
    """
    done = {trial.cell: trial for trial in trials if not trial.error}
    return [
        cell
        for cell in cells
        if cell not in done
        or not agree(done[cell].settings, json.loads(json.dumps(settings(cell))))
    ]


def agree(kept: Any, wanted: Any) -> bool:
    """Whether two settings are the same as far as both are known: fields may have come since."""
    if isinstance(kept, Mapping) and isinstance(wanted, Mapping):
        return all(agree(kept[key], wanted[key]) for key in kept.keys() & wanted.keys())
    return bool(kept == wanted)


def settings_of(thing: object) -> dict[str, Any]:
    """The hyper-parameters of an attack or a defense: those of its fields that are plain data.

    What decides a result beside them, such as the calibration of an audit in a defense, is not among them.
    """
    found: dict[str, Any] = {}
    for name, value in vars(thing).items():
        if value is None or isinstance(value, int | float | str | tuple):
            found[name] = value
        elif is_dataclass(value):
            found[name] = settings_of(value)
    return found
