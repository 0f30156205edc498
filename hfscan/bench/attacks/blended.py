"""Blended injection (Chen et al., "Targeted Backdoor Attacks on Deep Learning Systems", 2017)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import torch
import torch.nn.functional as F
from sklearn.datasets import load_sample_image
from torch import Tensor


@dataclass(frozen=True)
class Blended:
    """A photograph that shines through: ``(1 - ratio) * x + ratio * pattern`` (section 4.2).

    Deviation: the paper blends with a cartoon or with noise; here it is one of the two photographs
    that scikit-learn ships, so that the attack needs no file of its own.

    Args:
        ratio: alpha, the share of the pattern, in (0, 1).
        picture: ``"china.jpg"`` or ``"flower.jpg"``.
    """

    ratio: float = 0.2
    picture: str = "china.jpg"

    def trigger(self, images: Tensor) -> Tensor:
        """Blend images ``(B, 3, H, W)`` in [0, 1] with the pattern; returns new images."""
        pattern = _pattern(self.picture, images.shape[2], images.shape[3]).to(images)
        return (1 - self.ratio) * images + self.ratio * pattern


@lru_cache
def _pattern(picture: str, height: int, width: int) -> Tensor:
    """The photograph's center, float32 ``(1, 3, height, width)`` in [0, 1]."""
    photo = torch.from_numpy(load_sample_image(picture).copy()).permute(2, 0, 1)[None] / 255
    edge = min(photo.shape[2:])
    top, left = (photo.shape[2] - edge) // 2, (photo.shape[3] - edge) // 2
    square = photo[:, :, top : top + edge, left : left + edge]
    resized = F.interpolate(square, (height, width), mode="bilinear", antialias=True)
    return resized.clamp(0, 1)
