"""Figures from trials: cost (the paper's figure 4), accuracy against success rate, sensitivity.

matplotlib is an extra: ``pip install '.[plot]'`` in a clone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import product
from pathlib import Path
from statistics import mean
from typing import TYPE_CHECKING, Literal

from hfscan.bench.figure import new_figure, write_figure
from hfscan.bench.order import CLEAN_RATE, POISON_RATE, attacks_in, defenses_in, networks_in, usual
from hfscan.bench.tables import check_alike
from hfscan.errors import DataError
from hfscan.types import Trial

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ImageFormat = Literal["svg", "png"]

MARKERS = "osD^v<>pP*X"


def plot(trials: Sequence[Trial], folder: Path, *, image_format: ImageFormat = "svg") -> list[Path]:
    """Draw every figure that the trials have data for.

    Args:
        trials: Those that failed are left out.
        folder: Where to write the figures to.
        image_format: Of the files.

    Returns:
        The files.

    Raises:
        UsageError: matplotlib is not installed.
        DataError: No trial worked, or nothing can be written.
    """
    worked = [trial for trial in trials if not trial.error and trial.after is not None]
    if not worked:
        raise DataError("there is no trial to draw", "did all of them fail?")
    written = []
    for name, draw in FIGURES.items():
        figure = draw(worked)
        if figure is not None:
            written.append(write_figure(figure, folder / f"{name}.{image_format}"))
    return written


def cost(trials: Sequence[Trial]) -> Figure | None:
    """CPU seconds of each defense, one panel per data set and network (the paper's figure 4)."""
    trials = usual(trials)
    parts = _by_network(trials)
    if not parts:
        return None
    attacks = attacks_in(trials)
    figure, panels = new_figure(len(parts))
    for panel, (title, some) in zip(panels, parts.items(), strict=True):
        defenses = defenses_in(some)
        width = 0.8 / len(attacks)
        for index, attack in enumerate(attacks):
            heights = [_mean(_where(some, attack, name), _seconds) for name in defenses]
            places = [position + index * width for position in range(len(defenses))]
            panel.bar(places, heights, width, color=f"C{index}")
        panel.set_xticks(
            [position + 0.4 for position in range(len(defenses))], defenses, rotation=45, ha="right"
        )
        panel.set(title=title, ylabel="CPU seconds", yscale="log")
    _legend(figure, {attack: ("s", f"C{index}") for index, attack in enumerate(attacks)})
    return figure


def scatter(trials: Sequence[Trial]) -> Figure | None:
    """Accuracy against attack success rate after each defense, one panel per data set and network."""
    trials = usual(trials)
    parts = _by_network(trials)
    if not parts:
        return None
    colors = {name: f"C{index}" for index, name in enumerate(defenses_in(trials))}
    markers = dict(zip(attacks_in(trials), MARKERS, strict=False))
    figure, panels = new_figure(len(parts))
    for panel, (title, some) in zip(panels, parts.items(), strict=True):
        for (defense, color), (attack, marker) in product(colors.items(), markers.items()):
            if found := _where(some, attack, defense):
                x, y = 100 * _mean(found, _asr), 100 * _mean(found, _accuracy)
                panel.scatter(x, y, marker=marker, color=color, alpha=0.8)
        panel.set(title=title, xlabel="attack success rate, %", ylabel="accuracy, %")
    of_defenses = {name: ("s", color) for name, color in colors.items()}
    _legend(figure, of_defenses | {name: (marker, "black") for name, marker in markers.items()})
    return figure


def _legend(figure: Figure, entries: Mapping[str, tuple[str, str]]) -> None:
    """Right of the panels, which it must not cover: each name with a marker and a color."""
    from matplotlib.lines import Line2D

    handles = [
        Line2D([], [], linestyle="", marker=marker, color=color, label=name)
        for name, (marker, color) in entries.items()
    ]
    figure.legend(handles=handles, loc="outside right upper", fontsize="small")


def poison_rates(trials: Sequence[Trial]) -> Figure | None:
    """What is left of the attack at different poison rates (the paper's table III)."""
    some = [trial for trial in trials if trial.cell.clean_rate == CLEAN_RATE]
    return _curves(some, "poison rate, %", lambda trial: trial.cell.poison_rate)


def clean_rates(trials: Sequence[Trial]) -> Figure | None:
    """What is left of the attack with more or fewer clean images (the paper's table IV)."""
    some = [trial for trial in trials if trial.cell.poison_rate == POISON_RATE]
    return _curves(some, "clean images, % of the training set", lambda t: t.cell.clean_rate)


def _curves(trials: Sequence[Trial], label: str, rate: Callable[[Trial], float]) -> Figure | None:
    """Accuracy and success rate over a rate, for defenses that were tried at several rates."""
    several: dict[str, dict[str, list[Trial]]] = {}
    for title, some in _by_network(trials).items():
        for defense, attack in product(defenses_in(some), attacks_in(some)):
            found = _where(some, attack, defense)
            if len({rate(trial) for trial in found}) > 1:
                several.setdefault(f"{title}, {defense}", {})[attack] = found
    if not several:
        return None
    figure, panels = new_figure(len(several) * len(_SHOWN))
    shown = attacks_in(t for curves in several.values() for some in curves.values() for t in some)
    markers = {
        name: (mark, f"C{index}")
        for index, (mark, name) in enumerate(zip(MARKERS, shown, strict=False))
    }
    pairs = product(several.items(), _SHOWN.items())
    for panel, ((title, curves), (name, pick)) in zip(panels, pairs, strict=True):
        ticks = sorted({100 * rate(trial) for some in curves.values() for trial in some})
        for attack, some in curves.items():
            rates = sorted({rate(trial) for trial in some})
            values = [100 * _mean([t for t in some if rate(t) == value], pick) for value in rates]
            marker, color = markers[attack]
            panel.plot([100 * r for r in rates], values, marker=marker, color=color)
        panel.set(title=title, xlabel=label, ylabel=f"{name}, %", xscale="log", ylim=(-2, 102))
        panel.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
        panel.minorticks_off()
    _legend(figure, markers)
    return figure


def _by_network(trials: Sequence[Trial]) -> dict[str, list[Trial]]:
    """Title of a panel -> the trials on one data set with one kind of network."""
    networks = networks_in(trials)
    parts = {}
    for network in networks:
        dataset, architecture, width = network
        alone = [each[0] for each in networks].count(dataset) == 1
        title = dataset if alone else f"{dataset}, {architecture}, width {width}"
        parts[title] = [
            t for t in trials if (t.cell.dataset, t.cell.architecture, t.cell.width) == network
        ]
        check_alike(parts[title])
    return parts


FIGURES: dict[str, Callable[[Sequence[Trial]], Figure | None]] = {
    "cost": cost,
    "accuracy-asr": scatter,
    "poison-rate": poison_rates,
    "clean-rate": clean_rates,
}
"""File name -> what draws it; None where there is no data for it."""


def _seconds(trial: Trial) -> float:
    return trial.cpu_seconds


def _accuracy(trial: Trial) -> float:
    return trial.after.accuracy if trial.after else 0.0


def _asr(trial: Trial) -> float:
    return (trial.after.asr or 0.0) if trial.after else 0.0


_SHOWN = {"accuracy": _accuracy, "attack success rate": _asr}


def _mean(trials: Sequence[Trial], pick: Callable[[Trial], float]) -> float:
    return mean(map(pick, trials)) if trials else float("nan")


def _where(trials: Sequence[Trial], attack: str, defense: str) -> list[Trial]:
    return [t for t in trials if (t.cell.attack, t.cell.defense) == (attack, defense)]
