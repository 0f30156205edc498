from __future__ import annotations

import sys
from pathlib import Path

import pytest

from hfscan.bench.plot import plot
from hfscan.errors import DataError, UsageError
from hfscan.types import Trial

from .conftest import trial

pytest.importorskip("matplotlib")

TRIALS = [
    trial(attack, defense, dataset=dataset)
    for attack in ("badnets", "wanet")
    for defense in ("ft", "fmt")
    for dataset in ("cifar10", "gtsrb")
]


def test_what_there_is_data_for(tmp_path: Path) -> None:
    files = plot(TRIALS, tmp_path / "figures")
    assert [path.name for path in files] == ["cost.svg", "accuracy-asr.svg"]
    rates = [trial(poison_rate=0.01), trial(clean_rate=0.2)]
    files = plot([*TRIALS, *rates], tmp_path)
    assert [path.stem for path in files] == ["cost", "accuracy-asr", "poison-rate", "clean-rate"]
    assert all("<svg" in path.read_text()[:500] for path in files)


def test_the_same_trials_give_the_same_bytes(tmp_path: Path) -> None:
    one, other = (plot(TRIALS, tmp_path / name)[0].read_bytes() for name in "ab")
    assert one == other


def test_png(tmp_path: Path) -> None:
    (path, _) = plot(TRIALS, tmp_path, image_format="png")
    assert path.read_bytes().startswith(b"\x89PNG")


def test_nothing_to_draw(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no trial to draw"):
        plot([Trial(trial().cell, error="RuntimeError: no")], tmp_path)
    assert [path.name for path in plot([trial(poison_rate=0.01)], tmp_path)] == []


def test_without_matplotlib(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(UsageError, match="need matplotlib") as error:
        plot(TRIALS, tmp_path)
    assert "'.[plot]'" in error.value.hint
