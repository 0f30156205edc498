"""The discrete cosine transform."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def cosines(edge: int) -> Tensor:
    """The orthonormal basis of the discrete cosine transform (DCT-II), ``(frequencies, pixels)``."""
    position = torch.arange(edge) + 0.5
    basis = torch.cos(math.pi / edge * torch.arange(edge)[:, None] * position)
    basis[0] *= math.sqrt(0.5)
    return basis * math.sqrt(2 / edge)


def slow_waves(heights: Tensor, size: tuple[int, int]) -> Tensor:
    """The sum of the slowest waves, ``(..., rows, columns)`` heights -> ``(..., H, W)`` pixels of the same L2 norm."""
    rows, columns = heights.shape[-2:]
    down, across = (cosines(edge).to(heights) for edge in size)
    return down[:rows].T @ heights @ across[:columns]
