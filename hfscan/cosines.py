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
