from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from hfscan.bench.attacks import Blended
from hfscan.bench.results import append_trial, read_trials, remaining, settings_of
from hfscan.errors import DataError
from hfscan.train import FitConfig
from hfscan.types import Cell, Metrics, Trial

from .conftest import trial


def test_round_trip(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "results.jsonl"
    trials = [trial(), trial("wanet"), Trial(trial("ssba").cell, error="ValueError: no")]
    for one in trials:
        append_trial(path, one)
    assert read_trials(path) == trials
    assert len(path.read_text().splitlines()) == 3
    line = json.loads(path.read_text().splitlines()[0])
    assert line["attack"] == "badnets"
    assert line["after"]["asr"] == 0.1


def test_the_last_trial_of_a_cell_counts(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    append_trial(path, Trial(trial().cell, error="RuntimeError: once"))
    append_trial(path, trial())
    assert read_trials(path) == [trial()]


def test_what_a_killed_process_left_is_dropped(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    append_trial(path, trial())
    whole = path.read_text()
    path.write_text(whole + whole[:50])
    assert read_trials(path) == [trial()]
    append_trial(path, trial("wanet"))
    assert read_trials(path) == [trial(), trial("wanet")]


@pytest.mark.parametrize("line", ["nonsense", "[]", '{"dataset": "cifar10"}'])
def test_lines_that_are_no_trials(tmp_path: Path, line: str) -> None:
    path = tmp_path / "results.jsonl"
    path.write_text(line + "\n")
    with pytest.raises(DataError, match="line 1 of"):
        read_trials(path)


@pytest.mark.parametrize("part", ["before", "after"])
def test_a_trial_that_worked_has_figures(tmp_path: Path, part: str) -> None:
    for figures in (None, Metrics(0.9, images=100)):
        path = tmp_path / "results.jsonl"
        path.unlink(missing_ok=True)
        append_trial(path, dataclasses.replace(trial(), **{part: figures}))
        with pytest.raises(DataError, match="has no figures"):
            read_trials(path)


def test_wrong_types_are_no_trial() -> None:
    data = trial().to_dict()
    for key, value in {"seed": "0", "after": [1], "erased": 1.5, "settings": 3}.items():
        with pytest.raises(DataError, match="not a trial"):
            Trial.from_dict({**data, key: value})


def test_a_figure_that_came_later_has_its_default() -> None:
    data = trial().to_dict()
    del data["cpu_seconds"]
    assert Trial.from_dict(data).cpu_seconds == 0


def test_files_that_cannot_be_used(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read"):
        read_trials(tmp_path / "nothing")
    with pytest.raises(DataError, match="cannot be written"):
        append_trial(tmp_path, trial())


def test_remaining() -> None:
    cells = [trial(seed=seed).cell for seed in range(3)]
    failed = Trial(cells[1], error="RuntimeError: no")
    now = trial().settings

    def left(*trials: Trial, settings: Mapping[str, Any] = now) -> list[Cell]:
        return remaining(cells, trials, lambda _: settings)

    assert left(trial(seed=0), failed) == cells[1:]
    assert left(dataclasses.replace(failed, error="")) == [cells[0], cells[2]]
    assert left(trial(seed=0), settings=dict.fromkeys(now, "other")) == cells
    assert left(trial(seed=0), settings={**now, "later": 1}) == cells[1:]


def test_settings() -> None:
    assert settings_of(Blended()) == {"ratio": 0.2, "picture": "china.jpg"}

    @dataclasses.dataclass
    class Nested:
        tuning: FitConfig
        callback: object = print

    assert settings_of(Nested(FitConfig(epochs=3)))["tuning"]["epochs"] == 3
    json.dumps(settings_of(Nested(FitConfig())))
