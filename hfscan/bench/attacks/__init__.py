"""Backdoor attacks, for experiments only: an audit never knows the attack."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor

from hfscan.bench.attacks.badnets import BadNets


class Attack(Protocol):
    """What every attack can do."""

    def trigger(self, images: Tensor) -> Tensor:
        """Images ``(B, 3, H, W)`` in [0, 1] -> the same with the trigger, as new tensors."""


ATTACKS: dict[str, type[Attack]] = {"badnets": BadNets}

__all__ = ["ATTACKS", "Attack", "BadNets"]
