"""The figures of the paper, to put beside one's own.

``paper.csv`` has tables I to IV of Huang et al., "FMT: Removing Backdoor Feature Maps via Feature Map Testing
in Deep Neural Networks", in percent. The caption of table I gives a clean rate of 100 %, section IV-A one
of 10 %; its rows of FMT are those of table IV at 10 %, which is what is assumed here.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files

from hfscan.types import Metrics

NONE, MEAN = "none", "mean"
"""The row without a defense, and the column of the mean over attacks."""


@dataclass(frozen=True)
class Place:
    """Where a figure is in the paper.

    Args:
        table: 1 to 4.
        dataset: Name of the task.
        attack: Key, or ``"mean"``.
        defense: Key, or ``"none"``.
        poison_rate: Share of the training images.
        clean_rate: Share of the training images.
    """

    table: int
    dataset: str
    attack: str
    defense: str
    poison_rate: float = 0.1
    clean_rate: float = 0.1


@dataclass(frozen=True)
class PaperFigures:
    """What the paper says there, as fractions; None where it says nothing."""

    accuracy: float | None
    asr: float | None
    ra: float | None
    coverage: float | None

    @property
    def metrics(self) -> Metrics | None:
        """The figures of tables I, III and IV."""
        if self.accuracy is None:
            return None
        return Metrics(self.accuracy, self.asr, self.ra)


@lru_cache
def paper_figures() -> dict[Place, PaperFigures]:
    """All figures of tables I to IV."""
    text = (files("hfscan.bench") / "paper.csv").read_text(encoding="utf-8")
    return {_place(row): _figures(row) for row in csv.DictReader(text.splitlines())}


def _place(row: dict[str, str]) -> Place:
    return Place(
        int(row["table"]),
        row["dataset"],
        row["attack"],
        row["defense"],
        float(row["poison_rate"]),
        float(row["clean_rate"]),
    )


def _figures(row: dict[str, str]) -> PaperFigures:
    names = ("accuracy", "asr", "ra", "coverage")
    return PaperFigures(
        *(round(float(row[name]) / 100, 6) if row[name] else None for name in names)
    )
