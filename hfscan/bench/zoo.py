"""The zoo: clean and backdoored networks of several families, which a calibration learns its nulls from.

One half of it fits the thresholds, the other half, which nothing is chosen on, measures them. Both halves have
every family and every attack; targets are spread over the classes, poison rates go down to 1 %.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

from hfscan.bench.attacks import ATTACKS
from hfscan.bench.tasks import Task
from hfscan.bench.victims import BENIGN, VictimSpec

FAMILIES = {
    "preactresnet18": (8, 16),
    "smallvgg": (16,),
    "smallresnet": (16,),
    "smallmobilenet": (16,),
}
"""Architecture -> widths of the networks in the zoo."""

POISON_RATES = {
    "badnets": (0.01, 0.1, 0.1, 0.05, 0.1),
    "blended": (0.1, 0.1, 0.1, 0.1, 0.1),
    "lowfreq": (0.1, 0.1, 0.1, 0.1, 0.1),
    "ssba": (0.05, 0.1, 0.1, 0.1, 0.1),
    "wanet": (0.1, 0.1, 0.1, 0.1, 0.1),
}
"""Attack -> poison rate of each architecture and width, in the order of `FAMILIES`."""

USUAL_RATE = 0.1
"""A trigger is learned from how often it is seen: at a lower rate, training takes as many times more epochs."""

LONGER = {"blended": 2, "wanet": 3, "smallvgg": 2}
"""Attack or architecture -> times as many epochs: these triggers are the slowest to be learned from few images,
and networks without norms learn slowly."""

MIN_ASR = 0.5
"""A network that obeys its trigger less often than not has no backdoor to find, and is left out."""

CLEAN, IMAGES, EPOCHS = 5, 20_000, 6
"""Clean networks of each architecture and width, training images, epochs."""

CLEAN_LENGTHS = (1, 1, 1, 1, 2)
"""Times as many epochs of the clean networks, in turn: backdoored ones are trained longer, too."""


@dataclass(frozen=True)
class Animal:
    """A network of the zoo.

    Args:
        spec: What it is.
        held_out: Whether it measures; otherwise it fits.
    """

    spec: VictimSpec
    held_out: bool


def zoo(
    dataset: str,
    classes: int,
    *,
    epochs: int = EPOCHS,
    clean: int = CLEAN,
    attacks: Sequence[str] = tuple(ATTACKS),
) -> list[Animal]:
    """All networks: for each architecture and width ``clean`` benign ones, and one with each attack.

    Args:
        dataset: Name of the task that they are trained on.
        classes: K; targets are among them.
        epochs: Of training; more for low poison rates, slow triggers and some clean networks.
        clean: Benign networks of each architecture and width.
        attacks: Keys of `ATTACKS`.
    """
    kinds = [(name, width) for name, widths in FAMILIES.items() for width in widths]
    animals = []
    for kind, (architecture, width) in enumerate(kinds):
        usual = epochs * LONGER.get(architecture, 1)
        benign = VictimSpec(dataset, BENIGN, usual, architecture, width, poison_rate=0.0)
        for seed in range(clean):
            length = CLEAN_LENGTHS[seed % len(CLEAN_LENGTHS)]
            spec = dataclasses.replace(benign, seed=seed, epochs=length * usual)
            animals.append(Animal(spec, held_out=(kind + seed) % 2 == 1))
        for index, attack in enumerate(attacks):
            spec = _backdoored(benign, attack, kind, index, classes)
            animals.append(Animal(spec, held_out=(kind + index) % 2 == 1))
    return animals


def _backdoored(benign: VictimSpec, attack: str, kind: int, index: int, classes: int) -> VictimSpec:
    rate = POISON_RATES[attack][kind]
    return dataclasses.replace(
        benign,
        attack=attack,
        epochs=round(benign.epochs * USUAL_RATE / rate * LONGER.get(attack, 1)),
        poison_rate=rate,
        target=(3 * index + 2 * kind + 1) % classes,
    )


def smaller(task: Task, images: int = IMAGES) -> Task:
    """The task with fewer training images, and a name that says so: other victims are made from all of them."""
    if images >= len(task.train):
        return task
    return dataclasses.replace(
        task, name=f"{task.name}-{images}", train=task.train.sample(images, seed=0)
    )
