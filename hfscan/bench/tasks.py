"""The data sets of the paper's evaluation, and how victims are trained on them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from hfscan.bench.attacks import ATTACKS, CoveringAttack
from hfscan.data import load_images
from hfscan.errors import UsageError
from hfscan.train import FitConfig
from hfscan.types import ImageSet


@dataclass(frozen=True)
class TaskSettings:
    """What is peculiar to a data set.

    Args:
        label_column: Where it has several.
        epochs: Of training a victim.
        cover_epochs: The same for attacks with cover images, whose trigger is learned late: about 4,200 steps.
        flip: Whether mirrored images keep their class.
    """

    label_column: str | None = None
    epochs: int = 9
    cover_epochs: int = 12
    flip: bool = True


TASKS = {
    "cifar10": TaskSettings(epochs=9, cover_epochs=12),
    "cifar100": TaskSettings(label_column="fine_label", epochs=16, cover_epochs=27),
    "gtsrb": TaskSettings(epochs=12, cover_epochs=40, flip=False),
}
"""In the order of the paper's tables."""

LR, LR_WITHOUT_NORM = 0.2, 0.05
"""Peak learning rates."""

WIDE, MAX_NORM = 32, 1.0
"""From this width on gradients are clipped to this L2 norm: of width 64 some victims did not survive the warm-up."""

WITHOUT_NORM = ("smallvgg",)
"""Architectures of ours without norm layers."""

SIZE = (32, 32)


@dataclass(frozen=True, eq=False)
class Task:
    """A data set in memory.

    Args:
        name: Its key in `TASKS`, or a name of the caller's own.
        train: Clean training images.
        test: Clean test images.
        settings: How to train on it.
    """

    name: str
    train: ImageSet
    test: ImageSet
    settings: TaskSettings

    def recipe(self, architecture: str, *, width: int, epochs: int, seed: int) -> FitConfig:
        """How a victim is trained.

        Crops move an image by two pixels at most: with the usual four, half of them would cut a
        trigger in the corner off.
        """
        return FitConfig(
            epochs=epochs,
            lr=LR_WITHOUT_NORM if architecture in WITHOUT_NORM else LR,
            batch_size=128,
            schedule="one-cycle",
            padding=2,
            flip=self.settings.flip,
            autocast=True,
            max_norm=MAX_NORM if width >= WIDE else None,
            seed=seed,
        )


def usual_epochs(dataset: str, attack: str) -> int:
    """How long a victim of a data set in `TASKS` is trained."""
    covers = attack in ATTACKS and isinstance(ATTACKS[attack](), CoveringAttack)
    return TASKS[dataset].cover_epochs if covers else TASKS[dataset].epochs


def load_task(name: str, data: Path | None = None) -> Task:
    """Load a data set of the evaluation.

    Args:
        name: Key in `TASKS`.
        data: A folder that has the data set in a folder of this name; None takes it from the Hub.

    Raises:
        UsageError: There is no such task.
        DataError: The images cannot be read.
    """
    if name not in TASKS:
        raise UsageError(f"there is no data set {name!r:.40}", f"choose from {', '.join(TASKS)}")
    source = name if data is None else str((data / name).resolve())
    column = TASKS[name].label_column
    train, test = (
        load_images(source, split=split, size=SIZE, label_column=column)
        for split in ("train", "test")
    )
    return Task(name, train, test, TASKS[name])
