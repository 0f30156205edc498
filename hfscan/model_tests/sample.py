"""The clean images that model-level tests look at, and what the network makes of them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from hfscan.model_tests.outlier import too_few
from hfscan.types import ImageSet

MIN_OTHERS = 4
"""With fewer images that are not of a class there is nothing to lead to it."""


@dataclass(frozen=True, eq=False)
class Sample:
    """Clean images of all classes.

    Args:
        pixels: ``(N, 3, H, W)`` in [0, 1], where the network is.
        own: bool ``(N, K)``: the image has this label, or the network gives it this class already.
        spread: Mean standard deviation of an image's logits.
        logits: ``(N, K)`` of the network.
    """

    pixels: Tensor
    own: Tensor
    spread: float
    logits: Tensor

    @property
    def classes(self) -> int:
        """K."""
        return int(self.logits.shape[1])

    def obstacle(self) -> str:
        """Why a test with these images cannot be made; empty if it can."""
        if not torch.isfinite(self.logits).all():
            return "the network's outputs are not finite"
        if reason := too_few(self.classes):
            return reason
        fewest = int((~self.own).sum(0).min())
        if fewest < MIN_OTHERS:
            return f"{fewest} images of other classes are too few to lead to a class"
        if not self.spread > 0:
            return "the network's outputs are the same for all classes"
        return ""


@torch.no_grad()
def take(net: nn.Module, clean: ImageSet, images: int, batch_size: int, *, seed: int) -> Sample:
    """Take at most so many clean images of all classes, and look at what the network makes of them.

    Args:
        net: In eval mode; float32 ``(B, 3, H, W)`` in [0, 1] -> logits ``(B, K)``.
        clean: Clean images.
        images: N, at most.
        batch_size: Images per pass.
        seed: Which images.
    """
    chosen = clean.sample(images, seed=seed)
    device = next(net.parameters()).device
    order = torch.randperm(len(chosen), generator=torch.Generator().manual_seed(seed))
    pixels = chosen.images[order].to(device).float() / 255
    logits = torch.cat([net(batch) for batch in pixels.split(batch_size)]).float()
    own = torch.zeros_like(logits, dtype=torch.bool)
    own.scatter_(1, logits.argmax(1, keepdim=True), value=True)
    labels = chosen.labels[order].to(device)
    fits = labels < logits.shape[1]
    own[fits.nonzero().flatten(), labels[fits]] = True
    return Sample(pixels, own, float(logits.std(1).mean()), logits)
