"""Which channels to erase when a class is suspected: those that triggers inverted for it move.

Where it leaves the FMT paper (Huang et al., sections III-D and III-E): the paper erases what an outlier detector flags,
and counts as right the channels that the true trigger moves most (section IV-D). Here triggers that are inverted for
the suspected class stand in for the true one, and the channels are those that they move most, compared with how far one
clean image is from another: a channel that clean images move as well is one that the network needs.
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

LEAST = 1e-3
"""Of the mean of a layer's usual changes, added to each: some channels hardly ever change."""


def inverted_tac(
    net: nn.Module, clean: ImageSet, triggers: Sequence[Trigger], *, batch_size: int = 100
) -> dict[str, FloatArray]:
    """Trigger-activated change with inverted triggers: how far they move each feature map.

    Args:
        net: The network; it is left as it was.
        clean: Clean images, at least one of another class than the triggers'.
        triggers: At least one, all toward the same class.
        batch_size: Pairs of images at once.

    Returns:
        Conv layer -> float32 ``(C,)``: mean over the triggers of the change, in units of the change from one clean image
        to another and of the layer's mean; layers that cannot be erased are left out.

    References:
        `hfscan.metrics.tac`, of which this is the estimate that needs no true trigger.
    """
    others = clean.without(triggers[0].target)
    sample = others.sample(IMAGES, seed=0)

    def change(other: ImageSet) -> dict[str, FloatArray]:
        return tac(net, sample, other, batch_size=batch_size)

    usual = change(replace(sample, images=sample.images.roll(1, 0)))
    changes = [_relative(change(_carrying(sample, each)), usual) for each in triggers]
    return {layer: np.mean([each[layer] for each in changes], axis=0) for layer in usual}


def largest(values: Mapping[str, FloatArray], rate: float, *, least: int = 0) -> Channels:
    """A share of each layer's channels: those with the largest values.

    Args:
        values: Conv layer -> ``(C,)``.
        rate: Of each layer's channels, in [0, 1]; rounded, so that small layers may lose none.
        least: Channels of each layer, at least.
    """
    found = {}
    for layer, row in values.items():
        if count := max(least, round(rate * len(row))):
            found[layer] = sorted(np.argsort(-row, kind="stable")[:count].tolist())
    return found


def _carrying(images: ImageSet, trigger: Trigger) -> ImageSet:
    with torch.no_grad():
        pixels = trigger.apply(images.images.float() / 255)
    return replace(images, images=pixels.mul(255).round().to(torch.uint8))


def _relative(
    changes: Mapping[str, FloatArray], usual: Mapping[str, FloatArray]
) -> dict[str, FloatArray]:
    """Changes in units of the usual ones, and of their mean in the layer."""
    found = {}
    for layer, values in changes.items():
        ratios = values / np.maximum(usual[layer] + LEAST * usual[layer].mean(), 1e-12)
        found[layer] = ratios / max(float(ratios.mean()), 1e-12)
    return found
