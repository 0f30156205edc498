from __future__ import annotations

import json
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import torch
from torch import nn

from hfscan.bench.defenses import DEFENSES
from hfscan.bench.results import settings_of
from hfscan.bench.run import adapted, cells, run, victim_of
from hfscan.bench.tasks import Task
from hfscan.bench.victims import Victims
from hfscan.train import FitConfig
from hfscan.types import Cell, ImageSet, Repaired, Trial

from .conftest import Eraser


def tiny_cells(**key: object) -> list[Cell]:
    return cells(
        datasets=["tiny"],
        epochs=1,
        attacks=["badnets"],
        width=4,
        **{"defenses": ["eraser"], **key},  # type: ignore[arg-type]
    )


def run_all(wanted: list[Cell], task: Task, victims: Victims, **defenses: Eraser) -> list[Trial]:
    found = {"eraser": Eraser(), **defenses}
    return list(run(wanted, found, load=lambda name: task, victims=victims))


def test_all_combinations_one_victim_after_the_other() -> None:
    wanted = cells(
        datasets=["a", "b"],
        epochs=2,
        attacks=["x", "y"],
        defenses=["d", "e"],
        poison_rates=[0.1, 0.01],
        clean_rates=[0.1, 0.2],
        seeds=[0, 1, 2],
    )
    assert len(set(wanted)) == len(wanted) == 2 * 2 * 2 * 2 * 2 * 3
    specs = [victim_of(cell) for cell in wanted]
    changes = sum(one != other for one, other in pairwise(specs))
    assert changes == len(set(specs)) - 1 == 7
    assert {cell.epochs for cell in wanted} == {2}
    usual = cells(datasets=["cifar10", "gtsrb"], attacks=["badnets", "wanet"], defenses=["d"])
    assert [cell.epochs for cell in usual] == [9, 12, 12, 40]


def test_a_trial(task: Task, victims: Victims, given: list[tuple[ImageSet, int]]) -> None:
    (cell,) = tiny_cells(seeds=[3], clean_rates=[0.25])
    (trial,) = run_all([cell], task, victims)
    assert trial.error == ""
    assert trial.cell == cell
    assert trial.settings == {"layer": "conv1", "fails": False}
    assert trial.before is not None
    assert trial.before.images == len(task.test)
    assert trial.before == trial.after  # this defense changes nothing
    assert trial.erased == 1
    assert trial.local_coverage in (0.0, 1.0)  # of conv1's one backdoor channel
    assert trial.coverage is not None
    assert trial.coverage < 0.1
    ((clean, seed),) = given
    assert seed == 3
    assert len(clean) == 100
    assert clean.labels.bincount().tolist() == [25] * 4


def test_the_seed_chooses_the_images(
    task: Task, victims: Victims, given: list[tuple[ImageSet, int]]
) -> None:
    run_all(tiny_cells(seeds=[0, 1], clean_rates=[0.1]), task, victims)
    assert not torch.equal(given[0][0].images, given[1][0].images)


def test_a_defense_that_fails_is_recorded(task: Task, victims: Victims) -> None:
    wanted = tiny_cells(defenses=["broken", "eraser"])
    broken, fine = run_all(wanted, task, victims, broken=Eraser(fails=True))
    assert broken.error == "RuntimeError: no channel"
    assert broken.after is None
    assert broken.before is not None
    assert fine.error == ""


def test_a_victim_that_fails_is_recorded(task: Task, victims: Victims) -> None:
    (cell,) = tiny_cells()
    wanted = [replace(cell, architecture="nothing"), cell]
    broken, fine = run_all(wanted, task, victims)
    assert broken.error.startswith("ModelError: timm does not know the architecture 'nothing'")
    assert broken.before is None
    assert fine.error == ""


def test_mirrored_only_where_the_class_survives_it(task: Task, victims: Victims) -> None:
    flips: list[bool] = []

    @dataclass(frozen=True)
    class Tuned(Eraser):
        tuning: FitConfig = FitConfig()  # noqa: RUF009

        def repair(self, net: nn.Module, clean: ImageSet, **options: Any) -> Repaired:
            flips.append(self.tuning.flip)
            return super().repair(net, clean, **options)

    unlike = replace(task, settings=replace(task.settings, flip=False))
    (trial,) = run_all(tiny_cells(), unlike, victims, eraser=Tuned())
    assert trial.settings["tuning"]["flip"] is False
    assert flips == [False]
    assert adapted(Tuned(), flip=False) == Tuned(tuning=FitConfig(flip=False))
    assert adapted(Tuned(), flip=True) == Tuned()
    for make in DEFENSES.values():
        assert '"flip": true' not in json.dumps(settings_of(adapted(make(), flip=False)))
    assert adapted(Eraser(), flip=False) == Eraser()
