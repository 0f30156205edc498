"""Which channels to erase: those that the trigger moves most.

The paper erases what its outlier detector flags (FMT, section III-E), and counts as right the channels that the true
trigger moves most (section IV-D). Deviation, where a class is suspected: triggers inverted for it stand in for the
true one, and the channels that these move most are erased. A detector of low accuracy flags the channels that hurt in
any way, and hardly ever those of the trigger.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import nn

from hfscan.inversion import Trigger
from hfscan.metrics import tac
from hfscan.types import Channels, FloatArray, ImageSet

IMAGES = 200
"""Clean images that show what a trigger moves, at most."""


def inverted_tac(
    net: nn.Module, clean: ImageSet, triggers: Sequence[Trigger]
) -> dict[str, FloatArray]:
    """Trigger-activated change with inverted triggers: how far they move each feature map.

    Args:
        net: The network; it is left as it was.
        clean: Clean images, at least one of another class than the triggers'.
        triggers: At least one, all toward the same class.

    Returns:
        Conv layer -> float32 ``(C,)``: mean over the triggers of the change in units of the layer's mean; layers that
        cannot be erased are left out.

    References:
        `hfscan.metrics.tac`, of which this is the estimate that needs no true trigger.
    """
    others = clean.subset((clean.labels != triggers[0].target).nonzero().flatten())
    sample = others.sample(IMAGES, seed=0)
    changes = [_in_layers_means(tac(net, sample, _carrying(sample, each))) for each in triggers]
    return {layer: np.mean([each[layer] for each in changes], axis=0) for layer in changes[0]}


def most_moved(changes: Mapping[str, FloatArray], rate: float) -> Channels:
    """A share ``rate`` of each layer's channels, at least one: those with the largest changes."""
    return {
        layer: sorted(
            np.argsort(-values, kind="stable")[: max(1, round(rate * len(values)))].tolist()
        )
        for layer, values in changes.items()
    }


def _carrying(images: ImageSet, trigger: Trigger) -> ImageSet:
    with torch.no_grad():
        pixels = trigger.apply(images.images.float() / 255)
    return replace(images, images=pixels.mul(255).round().to(torch.uint8))


def _in_layers_means(changes: Mapping[str, FloatArray]) -> dict[str, FloatArray]:
    return {layer: values / max(float(values.mean()), 1e-12) for layer, values in changes.items()}
