"""Try defenses on victims, cell by cell."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby, product
from typing import Any, cast

from hfscan.bench.poison import attacked
from hfscan.bench.results import settings_of
from hfscan.bench.tasks import Task, usual_epochs
from hfscan.bench.victims import Victim, Victims, VictimSpec
from hfscan.metrics import coverage, measure, tac
from hfscan.train import FitConfig
from hfscan.types import (
    Cell,
    Defense,
    FloatArray,
    ImageSet,
    Metrics,
    Progress,
    RepairSettings,
    Trial,
    silent,
)

TAC_IMAGES = 500
"""Test images that the trigger-activated change is measured on."""


def cells(
    *,
    datasets: Sequence[str],
    attacks: Sequence[str],
    defenses: Sequence[str],
    epochs: int | None = None,
    architecture: str = "preactresnet18",
    width: int = 16,
    poison_rates: Sequence[float] = (0.1,),
    clean_rates: Sequence[float] = (0.1,),
    seeds: Sequence[int] = (0,),
    victim_seed: int = 0,
    target: int = 0,
) -> list[Cell]:
    """All combinations, in an order that needs each victim once.

    Args:
        datasets: Names of the tasks.
        attacks: Keys.
        defenses: Keys.
        epochs: Of all victims; None for `usual_epochs`.
        architecture: Of all victims.
        width: Of all victims.
        poison_rates: Of the victims.
        clean_rates: Shares of the clean training images that the defenses are given.
        seeds: Of the defenses.
        victim_seed: Of all victims.
        target: Of all victims.
    """
    return [
        Cell(
            dataset,
            attack,
            defense,
            architecture=architecture,
            width=width,
            poison_rate=poison_rate,
            clean_rate=clean_rate,
            seed=seed,
            victim_seed=victim_seed,
            target=target,
            epochs=epochs or usual_epochs(dataset, attack),
        )
        for dataset, attack, poison_rate in product(datasets, attacks, poison_rates)
        for clean_rate, seed, defense in product(clean_rates, seeds, defenses)
    ]


@dataclass(frozen=True, eq=False)
class Subject:
    """A victim, and everything about it that its trials share.

    Args:
        victim: With its attack.
        test: Clean test images.
        attacked: Those of other classes with the trigger, with their true labels.
        before: The victim on both.
        sensitivity: From `hfscan.metrics.tac`.
    """

    victim: Victim
    test: ImageSet
    attacked: ImageSet
    before: Metrics
    sensitivity: Mapping[str, FloatArray]


def run(
    wanted: Iterable[Cell],
    defenses: Mapping[str, Defense],
    *,
    load: Callable[[str], Task],
    victims: Victims,
    progress: Progress = silent,
) -> Iterator[Trial]:
    """Yield one trial per cell; what fails is yielded with the reason, and the rest goes on.

    A defense is given the network and clean training images, nothing else.

    Args:
        wanted: Cells; neighbors with the same victim share the work on it.
        defenses: Key -> defense, for all cells.
        load: Name of a task -> its images.
        victims: Where victims come from.
        progress: Wraps the loops inside a trial.
    """
    task: Task | None = None
    for spec, group in groupby(wanted, victim_of):
        try:
            task = task if task is not None and task.name == spec.dataset else load(spec.dataset)
            subject = prepare(victims.get(spec, task, progress=progress), task)
        except Exception as error:  # recorded; other victims may work
            yield from (Trial(cell, error=_described(error)) for cell in group)
            continue
        for cell in group:
            yield _attempt(cell, defenses[cell.defense], subject, task, progress)


def victim_of(cell: Cell) -> VictimSpec:
    """The victim that a cell is about."""
    return VictimSpec(
        cell.dataset,
        cell.attack,
        cell.epochs,
        architecture=cell.architecture,
        width=cell.width,
        poison_rate=cell.poison_rate,
        target=cell.target,
        seed=cell.victim_seed,
    )


def prepare(victim: Victim, task: Task) -> Subject:
    """Measure a victim before any defense."""
    assert victim.attack is not None, "a benign network is no subject"
    target = victim.spec.target
    triggered = attacked(task.test, victim.attack, target=target)
    others = task.test.without(target)
    some = slice(0, TAC_IMAGES)
    return Subject(
        victim,
        task.test,
        triggered,
        before=measure(victim.model.net, task.test, triggered, target),
        sensitivity=tac(victim.model.net, _part(others, some), _part(triggered, some)),
    )


def _part(images: ImageSet, part: slice) -> ImageSet:
    return replace(images, images=images.images[part], labels=images.labels[part])


def _attempt(
    cell: Cell, defense: Defense, subject: Subject, task: Task, progress: Progress
) -> Trial:
    defense = adapted(defense, flip=task.settings.flip)
    trial = Trial(cell, before=subject.before, settings=settings_of(defense))
    clean = task.train.sample(round(len(task.train) * cell.clean_rate), seed=cell.seed)
    started, busy = time.monotonic(), time.process_time()
    try:
        repaired = defense.repair(
            subject.victim.model.net, clean, seed=cell.seed, progress=progress
        )
        trial = replace(
            trial, seconds=time.monotonic() - started, cpu_seconds=time.process_time() - busy
        )
        after = measure(repaired.net, subject.test, subject.attacked, cell.target)
    except Exception as error:  # recorded; other defenses may work
        return replace(trial, error=_described(error))
    erased = repaired.erased
    touched = {layer: v for layer, v in subject.sensitivity.items() if erased.get(layer)}
    return replace(
        trial,
        after=after,
        coverage=coverage(erased, subject.sensitivity),
        local_coverage=coverage(erased, touched) if touched else None,
        erased=sum(map(len, erased.values())),
    )


def adapted(defense: Defense, *, flip: bool) -> Defense:
    """A defense that mirrors images only where these keep their class, which any defender knows."""
    parts = {k: v for k, v in vars(defense).items() if isinstance(v, FitConfig | RepairSettings)}
    changed: dict[str, Any] = {name: replace(part, flip=flip) for name, part in parts.items()}
    adapted: Defense = replace(cast(Any, defense), **changed)
    return adapted


def _described(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
