"""BadNets (Gu, Dolan-Gavitt and Garg, "BadNets", 2017): a small patch in a corner."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class BadNets:
    """A square of white and black pixels, as on a chessboard, in the lower right corner.

    It is the paper's "pattern backdoor". A white square, which some later benchmarks use, cannot be
    seen on the white background of many photographs.

    Args:
        size: Edge of the square in pixels.
    """

    size: int = 3

    def trigger(self, images: Tensor) -> Tensor:
        """Put the patch on images ``(B, 3, H, W)`` in [0, 1]; returns new images."""
        row = torch.arange(self.size, device=images.device)
        board = (row[:, None] + row + 1) % 2
        triggered = images.clone()
        triggered[:, :, -self.size :, -self.size :] = board.to(images.dtype)
        return triggered
