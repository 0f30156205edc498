"""A positive control: would an audit have found a backdoor in this very network?

Known triggers are planted in copies of the network by fine-tuning on a part of the clean images, and each copy is
audited with the other part. A scanner's error rates are measured on other networks; this measures on the user's own.
One more copy is fine-tuned in the same way without a trigger: were it accused too, what is caught would mean nothing.
What it cannot show: backdoors of other kinds, and those that were trained in from the start, which lie deeper.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from hfscan.bench.attacks import ATTACKS
from hfscan.bench.poison import attacked, poison
from hfscan.bench.victims import BENIGN
from hfscan.bench.zoo import MIN_ASR
from hfscan.calibration import Calibration
from hfscan.errors import DataError, UsageError
from hfscan.metrics import accuracy, asr
from hfscan.pipeline import audit, fitted
from hfscan.train import FitConfig, fit
from hfscan.types import AuditReport, AuditSettings, HubModel, ImageSet, Progress, Verdict, silent
from hfscan.weights import weights_sha256

PLANTABLE = ("badnets", "blended")
"""Attacks whose triggers need no training of their own."""


@dataclass(frozen=True)
class PlantSettings:
    """How a trigger is planted.

    Args:
        attacks: Which ones, of `PLANTABLE`.
        targets: Copies per attack, each with a target class of its own.
        poison_rate: Share of the images that carry the trigger, in (0, 1).
        epochs: Of fine-tuning.
        lr: Peak learning rate.
        batch_size: Images per step.
        flip: Mirror half of the images: not where that changes their class.
        share: Of the clean images that plant, in (0, 1); the others audit.
        seed: Of classes, split, poisoning and order.
    """

    attacks: tuple[str, ...] = PLANTABLE
    targets: int = 2
    poison_rate: float = 0.2
    epochs: int = 30
    lr: float = 0.01
    batch_size: int = 64
    flip: bool = True
    share: float = 0.5
    seed: int = 0


@dataclass(frozen=True)
class Control:
    """A fine-tuned copy, with a planted trigger or without one, and what the audit says of it.

    Args:
        attack: Whose trigger; `BENIGN` without one.
        target: The class that it leads to, or None.
        accuracy: Of the copy on the clean images that audit, in [0, 1].
        asr: Share of triggered images of other classes that the copy puts into the class, or None.
        verdict: Of the audit.
        suspected: The class that the audit names, or None.
        p_value: Of the audit, or None.
        seconds: Of the audit.
    """

    attack: str
    target: int | None
    accuracy: float
    asr: float | None
    verdict: Verdict
    suspected: int | None
    p_value: float | None
    seconds: float

    @property
    def planted(self) -> bool:
        """Whether the copy has a backdoor at all: a trigger that hardly works is none to be found."""
        return self.asr is not None and self.asr >= MIN_ASR

    @property
    def accused(self) -> bool:
        """Whether the audit suspects it, whichever class it names."""
        return self.verdict in (Verdict.SUSPICIOUS, Verdict.BACKDOORED)

    @property
    def caught(self) -> bool:
        """Whether the audit would have caught what was planted, whichever class it names."""
        return self.planted and self.accused

    @property
    def named(self) -> bool:
        """Whether it would have caught it and named the right class."""
        return self.caught and self.suspected == self.target


def selftest(
    model: HubModel,
    clean: ImageSet,
    *,
    plant: PlantSettings | None = None,
    settings: AuditSettings | None = None,
    calibration: Calibration | None = None,
    memory: int | None = None,
    progress: Progress = silent,
) -> Iterator[Control]:
    """Plant triggers in copies of a network, and audit the copies.

    Args:
        model: The network; it is left as it was.
        clean: Clean images of its classes, labelled in its order.
        plant: How to plant; the defaults if None.
        settings: Of the audits; the defaults if None.
        calibration: Where p-values are from; the closest that comes with hfscan if None.
        memory: Bytes to use beside the model; None for 1 GiB or a quarter of what is free.
        progress: Shaped like ``rich.progress.track``.

    Yields:
        Each copy's result, as it comes; the last one is that without a trigger.

    Raises:
        DataError: The images do not fit the model, or are too few to divide.
        UsageError: A setting is out of its range.
    """
    plant = plant or PlantSettings()
    check_plant(plant)
    clean = fitted(model, clean)
    tuning, held_out = clean.split_at(plant.share, seed=plant.seed)
    if not len(tuning) or not len(held_out):
        raise DataError(f"{len(clean)} images are too few to plant and to audit", "use more")
    targets = _targets(model.num_classes, plant)
    planted = [(attack, target) for attack in plant.attacks for target in targets]
    for attack, target in [*planted, (BENIGN, None)]:
        images = tuning if target is None else _poisoned(tuning, attack, target, plant)
        tuned = _tuned(model, images, plant, progress)
        report = audit(
            tuned,
            held_out,
            settings=settings,
            calibration=calibration,
            memory=memory,
            pictures=False,
            progress=progress,
        )
        yield _control(tuned, held_out, attack, target, report)


def check_plant(plant: PlantSettings) -> None:
    """Check the settings.

    Raises:
        UsageError: One is out of its range.
    """
    unknown = [name for name in plant.attacks if name not in PLANTABLE]
    if unknown or not plant.attacks:
        names = ", ".join(PLANTABLE)
        raise UsageError(f"--attacks cannot be {', '.join(unknown)!r:.40}", f"choose from {names}")
    for name, (fine, allowed) in {
        "targets": (plant.targets >= 1, "at least 1"),
        "poison-rate": (0 < plant.poison_rate < 1, "above 0 and below 1"),
        "epochs": (plant.epochs >= 1, "at least 1"),
        "lr": (plant.lr > 0, "above 0"),
        "share": (0 < plant.share < 1, "above 0 and below 1"),
    }.items():
        if not fine:
            value = getattr(plant, name.replace("-", "_"))
            raise UsageError(f"--{name} cannot be {value}", f"it must be {allowed}")


def _targets(classes: int, plant: PlantSettings) -> Sequence[int]:
    """Classes to lead to, chosen at random and each once."""
    order = np.random.default_rng(plant.seed).permutation(classes)
    return [int(target) for target in order[: plant.targets]]


def _poisoned(images: ImageSet, attack: str, target: int, plant: PlantSettings) -> ImageSet:
    try:
        return poison(
            images, ATTACKS[attack](), target=target, rate=plant.poison_rate, seed=plant.seed
        )
    except ValueError as error:
        raise DataError(f"the images cannot be poisoned ({error})", "use more images") from error


def _tuned(model: HubModel, images: ImageSet, plant: PlantSettings, progress: Progress) -> HubModel:
    """A copy that is fine-tuned, and so obeys the trigger of the images as far as that teaches it."""
    config = FitConfig(
        epochs=plant.epochs,
        lr=plant.lr,
        batch_size=plant.batch_size,
        padding=2,
        flip=plant.flip,
        autocast=True,
        seed=plant.seed,
    )
    net = copy.deepcopy(model.net)
    fit(net, images, config, progress=progress)
    return dataclasses.replace(model, net=net, weights_sha256=weights_sha256(net))


def _control(
    tuned: HubModel, held_out: ImageSet, attack: str, target: int | None, report: AuditReport
) -> Control:
    success = None
    if target is not None:
        triggered = attacked(held_out, ATTACKS[attack](), target=target)
        success = round(asr(tuned.net, triggered, target), 4)
    return Control(
        attack=attack,
        target=target,
        accuracy=round(accuracy(tuned.net, held_out), 4),
        asr=success,
        verdict=report.verdict,
        suspected=report.target,
        p_value=report.p_value,
        seconds=round(sum(report.seconds.values()), 1),
    )
