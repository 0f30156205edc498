"""Smooth patterns: the same sum of slow waves on all images, of bounded L2 norm.

The family of Zeng et al., "Rethinking the Backdoor Attacks' Triggers: A Frequency Perspective", ICCV 2021, section 5.
Deviation: the waves are the first of the discrete cosine transform, not those that pass a Gaussian's band.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from hfscan.cosines import slow_waves
from hfscan.inversion.additive import within


@dataclass(frozen=True)
class Smooth:
    """Heights of the waves, ``(1, 3, rows, columns)``.

    Args:
        norm: Largest L2 norm of the pattern, of images in [0, 1].
        cutoff: Share of the frequencies of each axis, in (0, 1].
        lr: First step of Adam.
    """

    norm: float = 2.0
    cutoff: float = 0.4
    lr: float = 0.1

    name: ClassVar[str] = "smooth"
    unit: ClassVar[str] = "L2 norm"

    def start(self, size: tuple[int, int], generator: torch.Generator) -> Tensor:
        """Nothing is added."""
        return torch.zeros(1, 3, *(max(2, round(edge * self.cutoff)) for edge in size))

    def apply(self, images: Tensor, parameters: Tensor) -> Tensor:
        """Add the waves to images ``(B, 3, H, W)``."""
        return (images + slow_waves(parameters, (images.shape[2], images.shape[3]))).clamp(0, 1)

    def bounded(self, parameters: Tensor) -> Tensor:
        """Scaled down to the largest norm; the waves are orthonormal, so theirs is that of the pattern."""
        return within(self.norm, parameters)

    def size(self, parameters: Tensor) -> float:
        """The norm."""
        return float(parameters.norm())
