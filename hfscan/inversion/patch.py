"""Patches: a few pixels of all images are replaced.

The family of BadNets (Gu et al., 2017), sought as in Wang et al., "Neural Cleanse: Identifying and Mitigating
Backdoor Attacks in Neural Networks", IEEE S&P 2019, equations 1-3: a mask and a pattern. Deviation: the
mask's L1 norm is bounded by projection, not penalized.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor


@dataclass(frozen=True)
class Patch:
    """Mask and pattern, ``(1, 4, H, W)`` in [0, 1]; the mask is the first channel.

    Args:
        area: Largest L1 norm of the mask, as a share of the image's pixels, in (0, 1].
        lr: First step of Adam.
    """

    area: float = 0.012
    lr: float = 0.1

    name: ClassVar[str] = "patch"
    unit: ClassVar[str] = "share of the pixels"

    def start(self, size: tuple[int, int], generator: torch.Generator) -> Tensor:
        """The mask is everywhere and thin, the pattern random."""
        pattern = torch.rand((1, 3, *size), generator=generator)
        return torch.cat([torch.full((1, 1, *size), self.area), pattern], dim=1)

    def apply(self, images: Tensor, parameters: Tensor) -> Tensor:
        """Replace what the mask covers in images ``(B, 3, H, W)``."""
        mask, pattern = parameters[:, :1], parameters[:, 1:]
        return (1 - mask) * images + mask * pattern

    def bounded(self, parameters: Tensor) -> Tensor:
        """The nearest mask in [0, 1] of at most the largest area; the pattern in [0, 1]."""
        mask, pattern = parameters[:, :1], parameters[:, 1:].clamp(0, 1)
        return torch.cat([_nearest(mask, self.area * mask[0].numel()), pattern], dim=1)

    def size(self, parameters: Tensor) -> float:
        """The mask's L1 norm, as a share of the pixels."""
        return float(parameters[:, :1].mean())


def _nearest(mask: Tensor, total: float) -> Tensor:
    """Lower all values of each mask by what leaves a sum of at most ``total`` in [0, 1], found by bisection."""
    low, high = torch.zeros_like(mask[:, :1, :1, :1]), mask.amax((1, 2, 3), keepdim=True)
    fits = mask.clamp(0, 1).sum((1, 2, 3), keepdim=True) <= total
    if bool(fits.all()):
        return mask.clamp(0, 1)
    for _ in range(30):
        middle = (low + high) / 2
        above = (mask - middle).clamp(0, 1).sum((1, 2, 3), keepdim=True) > total
        low, high = torch.where(above, middle, low), torch.where(above, high, middle)
    return (mask - high.where(~fits, torch.zeros_like(high))).clamp(0, 1)
