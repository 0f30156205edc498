"""WaNet (Nguyen and Tran, "WaNet - Imperceptible Warping-based Backdoor Attack", ICLR 2021)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class WaNet:
    """A smooth elastic warp, the same for all images (section 3.2), and the noise mode (section 3.3).

    Cover images are warped by the same field plus a random one and keep their labels: without them a
    network learns the artifacts of warping, not the warp. Deviation: which images are poisoned or
    cover is decided once, not anew for each batch; the schedule is otherwise the attacker's own.

    Args:
        control: k, the warp has ``k x k`` control points.
        strength: s, mean displacement of a control point in half pixels.
        cover_ratio: Cover images per poisoned image (``rho_n / rho_a``).
        seed: Of the warp.
    """

    control: int = 4
    strength: float = 0.5
    cover_ratio: float = 2.0
    seed: int = 0

    def trigger(self, images: Tensor) -> Tensor:
        """Warp images ``(B, 3, H, W)`` in [0, 1]; returns new images."""
        return _sample(images, self._grid(images).expand(len(images), -1, -1, -1))

    def cover(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Warp images ``(B, 3, H, W)`` in [0, 1] by the warp and noise; returns new images."""
        shape = (len(images), *images.shape[2:], 2)
        noise = (torch.rand(shape, generator=generator) * 2 - 1).to(images)
        return _sample(images, self._grid(images) + noise / _extent(images))

    def _grid(self, images: Tensor) -> Tensor:
        """Where each pixel comes from, ``(1, H, W, 2)`` as x and y in [-1, 1]."""
        height, width = images.shape[2:]
        generator = torch.Generator().manual_seed(self.seed)
        points = torch.rand((1, 2, self.control, self.control), generator=generator) * 2 - 1
        points = points / points.abs().mean()
        field = F.interpolate(points, (height, width), mode="bicubic", align_corners=True)
        y, x = torch.meshgrid(
            torch.linspace(-1, 1, height), torch.linspace(-1, 1, width), indexing="ij"
        )
        identity = torch.stack([x, y], dim=-1)[None].to(images)
        return identity + self.strength * field.permute(0, 2, 3, 1).to(images) / _extent(images)


def _extent(images: Tensor) -> Tensor:
    """Width and height in pixels, as divisors of displacements in x and y."""
    return images.new_tensor([images.shape[3], images.shape[2]])


def _sample(images: Tensor, grid: Tensor) -> Tensor:
    warped = F.grid_sample(images, grid.clamp(-1, 1), mode="bilinear", align_corners=True)
    return warped.clamp(0, 1)
