from __future__ import annotations

import sys
from pathlib import Path

import pytest

from hfscan.bench.plot import cost, plot, poison_rates
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


def test_curves_keep_networks_and_the_other_rate_apart() -> None:
    more = [
        trial(after=(0.8, 0.3, 0.6), poison_rate=0.01),
        trial(after=(0.1, 0.9, 0.1), poison_rate=0.01, clean_rate=0.2),
        trial(after=(0.1, 0.9, 0.1), poison_rate=0.01, dataset="gtsrb"),
    ]
    figure = poison_rates([*TRIALS, *more])
    assert figure is not None
    panels = {(axes.get_title(), axes.get_ylabel()): axes for axes in figure.axes}
    assert {title for title, _ in panels} == {"cifar10, fmt", "gtsrb, fmt"}
    badnets = panels["cifar10, fmt", "attack success rate, %"].lines[0]
    assert list(badnets.get_xdata()) == pytest.approx([1, 10])
    assert list(badnets.get_ydata()) == pytest.approx([30, 10])


def test_networks_have_panels_of_their_own() -> None:
    figure = cost([trial(), trial(width=64)])
    assert figure is not None
    assert [axes.get_title() for axes in figure.axes] == [
        "cifar10, preactresnet18, width 16",
        "cifar10, preactresnet18, width 64",
    ]


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
