"""The whole evaluation on tiny synthetic data, to see that every cell works."""

from __future__ import annotations

from dataclasses import fields, is_dataclass, replace
from typing import Any, TypeVar

import torch

from hfscan.bench.tasks import Task, TaskSettings
from hfscan.types import ImageSet

T = TypeVar("T")

SYNTHETIC = "synthetic-"
"""Before the name of a data set: its trials are never taken for those of the real one."""

EDGE, CLASSES = 16, 4
WIDTH = 4
EPOCHS = 2

TINY = {"epochs": 1, "steps": 2, "images": 8, "batch_size": 32, "iterations": 2, "rounds": 1}
"""Upper bounds of hyper-parameters that cost time, wherever an attack or a defense has them."""


def smoke_task(name: str) -> Task:
    """Images of colored noise in four classes, under any name."""
    return Task(name, _images(name, 600, 0), _images(name, 80, 1), TaskSettings(epochs=EPOCHS))


def _images(name: str, count: int, seed: int) -> ImageSet:
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % CLASSES
    images = torch.randint(40, 100, (count, 3, EDGE, EDGE), generator=generator, dtype=torch.uint8)
    for channel in range(3):
        images[labels == channel, channel] += 120
    classes = tuple(f"color {index}" for index in range(CLASSES))
    return ImageSet(name=name, images=images, labels=labels, classes=classes)


def tiny(thing: T) -> T:
    """An attack or a defense with little work to do."""
    changed: dict[str, Any] = {}
    for f in fields(thing):  # type: ignore[arg-type]
        value = getattr(thing, f.name)
        if f.name in TINY and isinstance(value, int):
            changed[f.name] = min(value, TINY[f.name])
        elif is_dataclass(value) and not isinstance(value, type):
            changed[f.name] = tiny(value)
    return replace(thing, **changed)  # type: ignore[type-var]
