"""How well a network works, and how well an attack on it works. All are fractions in [0, 1]."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from hfscan.channels import probing
from hfscan.types import ImageSet


@torch.inference_mode()
def predict(net: nn.Module, images: ImageSet, *, batch_size: int = 256) -> Tensor:
    """Predicted classes, int64 ``(N,)`` on the CPU, with ``net`` in eval mode."""
    device = next(net.parameters()).device
    with probing(net):
        batches = [
            net(pixels.to(device)).argmax(1).cpu() for pixels, _ in images.batches(batch_size)
        ]
    return torch.cat(batches) if batches else torch.zeros(0, dtype=torch.int64)


def accuracy(net: nn.Module, images: ImageSet, *, batch_size: int = 256) -> float:
    """Share of the images that are classified as labelled."""
    return float((predict(net, images, batch_size=batch_size) == images.labels).float().mean())


def asr(net: nn.Module, attacked: ImageSet, target: int) -> float:
    """Attack success rate: the share of triggered images of other classes predicted as ``target``."""
    return float((predict(net, attacked) == target).float().mean())


def ra(net: nn.Module, attacked: ImageSet) -> float:
    """Robust accuracy: the share of triggered images predicted as their original label."""
    return accuracy(net, attacked)
