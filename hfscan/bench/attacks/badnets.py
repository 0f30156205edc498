"""BadNets (Gu, Dolan-Gavitt and Garg, "BadNets", 2017): a small patch in a corner."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class BadNets:
    """A white square in the lower right corner.

    Args:
        size: Edge of the square in pixels.
        value: Its color, in [0, 1].
    """

    size: int = 3
    value: float = 1.0

    def trigger(self, images: Tensor) -> Tensor:
        """Put the patch on images ``(B, 3, H, W)`` in [0, 1]; returns new images."""
        triggered = images.clone()
        triggered[:, :, -self.size :, -self.size :] = self.value
        return triggered
