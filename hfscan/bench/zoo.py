"""The zoo: clean and backdoored networks of several families, which a calibration learns its nulls from.

One part of it fits the thresholds, and is what the tests were developed on; the other part, of seeds of its own, which
nothing is chosen on, measures them. Both parts have every family and every attack; targets are spread over the
classes, poison rates go down to 1 %.
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
"""Clean networks of each architecture and width that fit, training images, epochs."""

CLEAN_MEASURING = 3
"""Clean networks of each architecture and width that measure: a null distribution needs more networks than a rate."""

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
    """All networks: for each part, architecture and width some benign ones, and one with each attack.

    Args:
        dataset: Name of the task that they are trained on.
        classes: K; targets are among them.
        epochs: Of training; more for low poison rates, slow triggers and some clean networks.
        clean: Benign networks of each architecture and width that fit; at most `CLEAN_MEASURING` more measure.
        attacks: Keys of `ATTACKS`.
    """
    kinds = [(name, width) for name, widths in FAMILIES.items() for width in widths]
    animals = []
    for kind, (architecture, width) in enumerate(kinds):
        usual = epochs * LONGER.get(architecture, 1)
        benign = VictimSpec(dataset, BENIGN, usual, architecture, width, poison_rate=0.0)
        for held_out in (False, True):
            first = clean if held_out else 0
            for number in range(min(clean, CLEAN_MEASURING) if held_out else clean):
                length = CLEAN_LENGTHS[number % len(CLEAN_LENGTHS)]
                spec = dataclasses.replace(benign, seed=first + number, epochs=length * usual)
                animals.append(Animal(spec, held_out))
            for index, attack in enumerate(attacks):
                target = (3 * index + 2 * kind + 1 + held_out * (classes // 2)) % classes
                spec = _backdoored(benign, attack, POISON_RATES[attack][kind], target, first)
                animals.append(Animal(spec, held_out))
    return animals


def _backdoored(benign: VictimSpec, attack: str, rate: float, target: int, seed: int) -> VictimSpec:
    return dataclasses.replace(
        benign,
        attack=attack,
        epochs=round(benign.epochs * USUAL_RATE / rate * LONGER.get(attack, 1)),
        poison_rate=rate,
        target=target,
        seed=seed,
    )


def smaller(task: Task, images: int = IMAGES) -> Task:
    """The task with fewer training images, and a name that says so: other victims are made from all of them."""
    if images >= len(task.train):
        return task
    return dataclasses.replace(
        task, name=f"{task.name}-{images}", train=task.train.sample(images, seed=0)
    )
