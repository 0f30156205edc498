"""Blends: a picture that shines through all images.

The family of Chen et al., "Targeted Backdoor Attacks on Deep Learning Systems Using Data Poisoning", 2017,
section 4.2. What is sought is coarse: fine patterns that no attacker planted lead a benign network astray too.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class Blend:
    """The picture at ``grid x grid`` points, ``(1, 3, grid, grid)`` in [0, 1], interpolated between them.

    Args:
        ratio: Share of the picture in the image, in (0, 1).
        grid: Control points of each axis.
        lr: First step of Adam.
    """

    ratio: float = 0.2
    grid: int = 8
    lr: float = 0.1

    name: ClassVar[str] = "blend"
    unit: ClassVar[str] = "mean distance of the picture from gray"

    def start(self, size: tuple[int, int], generator: torch.Generator) -> Tensor:
        """Plain gray."""
        return torch.full((1, 3, self.grid, self.grid), 0.5)

    def apply(self, images: Tensor, parameters: Tensor) -> Tensor:
        """Blend images ``(B, 3, H, W)`` with the picture."""
        size = (images.shape[2], images.shape[3])
        picture = F.interpolate(parameters, size, mode="bilinear", align_corners=True)
        return (1 - self.ratio) * images + self.ratio * picture

    def bounded(self, parameters: Tensor) -> Tensor:
        """A picture."""
        return parameters.clamp(0, 1)

    def size(self, parameters: Tensor) -> float:
        """How far it is from plain gray."""
        return float((parameters - 0.5).abs().mean())
