"""What an attack is: a trigger, and what some attacks do besides."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol, TypeVar, runtime_checkable

import torch
from torch import Tensor, nn

from hfscan.types import ImageSet, Progress

Own = TypeVar("Own", bound="FittedAttack")


@runtime_checkable
class Attack(Protocol):
    """What every attack can do. Labels and the choice of images are up to `hfscan.bench.poison`."""

    def trigger(self, images: Tensor) -> Tensor:
        """Images ``(B, 3, H, W)`` in [0, 1] -> the same with the trigger, as new tensors."""


@runtime_checkable
class CoveringAttack(Attack, Protocol):
    """An attack that also trains on cover images: nearly a trigger, and their true labels."""

    @property
    def cover_ratio(self) -> float:
        """Cover images per poisoned image."""

    def cover(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Images ``(B, 3, H, W)`` in [0, 1] -> cover images, as new tensors."""


@runtime_checkable
class FittedAttack(Attack, Protocol):
    """An attack whose trigger is found on clean training images before anything is poisoned."""

    @property
    def needs_clean_net(self) -> bool:
        """Whether `fit` looks at a benign network of the same task."""

    def fit(
        self: Own,
        train: ImageSet,
        *,
        clean_net: nn.Module | None,
        target: int,
        progress: Progress,
    ) -> Own:
        """Find the trigger; the attack itself stays as it was.

        Args:
            train: The clean training images.
            clean_net: A benign network if ``needs_clean_net``; it is left as it was.
            target: The class that the trigger shall lead to.
            progress: Wraps the loop over steps.
        """

    def tensors(self) -> dict[str, Tensor]:
        """What `fit` found, to be kept as safetensors."""

    def with_tensors(self: Own, tensors: Mapping[str, Tensor]) -> Own:
        """The attack with what `tensors` returned."""
