"""Tiny tasks, victims and trials."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from pathlib import Path

import pytest
from torch import nn

from hfscan.bench.attacks import ATTACKS
from hfscan.bench.smoke import tiny
from hfscan.bench.tasks import Task, TaskSettings
from hfscan.bench.victims import Victims
from hfscan.types import Cell, ImageSet, Metrics, Progress, Repaired, Trial, silent


@pytest.fixture
def task(tiny_set: ImageSet) -> Task:
    """`tiny_set`, often enough for a few steps an epoch."""
    train = tiny_set.subset((tiny_set.labels >= 0).nonzero().flatten().repeat(10))
    return Task("tiny", train, tiny_set, TaskSettings(epochs=3))


@pytest.fixture
def victims(tmp_path: Path) -> Victims:
    """An empty cache, with attacks that are fitted in a moment."""
    return Victims(tmp_path / "cache", {name: tiny(make()) for name, make in ATTACKS.items()})


@dataclass(frozen=True)
class Eraser:
    """A defense that erases the first channel of the first layer, and notes what it was given."""

    layer: str = "conv1"
    fails: bool = False

    def repair(
        self, net: nn.Module, clean: ImageSet, *, seed: int, progress: Progress = silent
    ) -> Repaired:
        if self.fails:
            raise RuntimeError("no\nchannel")
        seen.append((clean, seed))
        return Repaired(copy.deepcopy(net), {self.layer: [0]})


seen: list[tuple[ImageSet, int]] = []


@pytest.fixture
def given() -> list[tuple[ImageSet, int]]:
    """The images and seeds that `Eraser` was given in this test."""
    seen.clear()
    return seen


def trial(
    attack: str = "badnets",
    defense: str = "fmt",
    *,
    after: tuple[float, float, float] = (0.9, 0.1, 0.8),
    **key: object,
) -> Trial:
    """A trial that worked."""
    cell = Cell(**{"dataset": "cifar10", "attack": attack, "defense": defense, **key})  # type: ignore[arg-type]
    return Trial(
        cell,
        before=Metrics(0.92, 1.0, 0.0, 100),
        after=Metrics(*after, 100),
        coverage=0.5,
        local_coverage=0.75,
        erased=7,
        seconds=12.5,
        cpu_seconds=10.0,
        settings={"lr": 0.1, "tuning": {"epochs": 3}},
    )
