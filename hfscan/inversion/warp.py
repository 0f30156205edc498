"""Warps: every pixel comes from a little aside, the same way in all images.

The family of WaNet (Nguyen and Tran, "WaNet - Imperceptible Warping-based Backdoor Attack", ICLR 2021, section
3.2): a coarse grid of displacements, interpolated to a smooth field. Deviation: the grid is searched, not
drawn.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class Warp:
    """Displacements in pixels at ``grid x grid`` points, ``(1, 2, grid, grid)`` as x and y.

    Args:
        grid: Control points of each axis.
        displacement: Largest one of a control point in x or in y, in pixels.
        lr: First step of Adam, in pixels.
    """

    grid: int = 4
    displacement: float = 0.5
    lr: float = 0.1

    name: ClassVar[str] = "warp"
    unit: ClassVar[str] = "pixels of displacement"

    def start(self, size: tuple[int, int], generator: torch.Generator) -> Tensor:
        """A weak random warp: at none at all, bilinear sampling has a kink."""
        points = torch.rand((1, 2, self.grid, self.grid), generator=generator) * 2 - 1
        return 0.2 * self.displacement * points

    def apply(self, images: Tensor, parameters: Tensor) -> Tensor:
        """Sample the images ``(B, 3, H, W)`` where the field points."""
        height, width = images.shape[2:]
        field = F.interpolate(parameters, (height, width), mode="bicubic", align_corners=True)
        y, x = torch.meshgrid(
            torch.linspace(-1, 1, height), torch.linspace(-1, 1, width), indexing="ij"
        )
        pixel = images.new_tensor([2 / max(width - 1, 1), 2 / max(height - 1, 1)])
        where = torch.stack([x, y], dim=-1)[None].to(images) + field.permute(0, 2, 3, 1) * pixel
        where = where.clamp(-1, 1).expand(len(images), -1, -1, -1)
        return F.grid_sample(images, where, mode="bilinear", align_corners=True).clamp(0, 1)

    def bounded(self, parameters: Tensor) -> Tensor:
        """Each displacement at most the largest one."""
        return parameters.clamp(-self.displacement, self.displacement)

    def size(self, parameters: Tensor) -> float:
        """Mean displacement of the control points."""
        return float(parameters.norm(dim=1).mean())
