"""Additive patterns: the same small perturbation on all images, of bounded L2 norm.

Moosavi-Dezfooli et al., "Universal Adversarial Perturbations", CVPR 2017; for finding backdoors with one small
perturbation toward each class, Wang et al., "Neural Cleanse", IEEE S&P 2019.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor


@dataclass(frozen=True)
class Additive:
    """What is added, ``(1, 3, H, W)``.

    Args:
        norm: Largest L2 norm, of images in [0, 1].
        lr: First step of Adam.
    """

    norm: float = 0.75
    lr: float = 0.1

    name: ClassVar[str] = "additive"
    unit: ClassVar[str] = "L2 norm"

    def start(self, size: tuple[int, int], generator: torch.Generator) -> Tensor:
        """Nothing is added."""
        return torch.zeros(1, 3, *size)

    def apply(self, images: Tensor, parameters: Tensor) -> Tensor:
        """Add it to images ``(B, 3, H, W)``."""
        return (images + parameters).clamp(0, 1)

    def bounded(self, parameters: Tensor) -> Tensor:
        """Scaled down to the largest norm."""
        return within(self.norm, parameters)

    def size(self, parameters: Tensor) -> float:
        """The norm."""
        return float(parameters.norm())


def within(norm: float, parameters: Tensor) -> Tensor:
    """Parameters of P triggers ``(P, C, h, w)``, each scaled down to an L2 norm if its own is larger."""
    norms = parameters.flatten(1).norm(dim=1).view(-1, 1, 1, 1)
    scale: Tensor = (norm / norms).clamp(max=1)
    return parameters * scale
