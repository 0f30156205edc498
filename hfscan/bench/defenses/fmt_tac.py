"""FMT with the channels of inverted triggers: erase those that a trigger moves and clean images do not, then fine-tune.

Where it leaves the FMT paper (Huang et al., sections III-D and III-E): the paper erases what an outlier detector flags,
and counts as right the channels that the true trigger moves most (section IV-D). Here model-level tests name a
suspected class, triggers that are inverted for it stand in for the true one, and the channels are those that they move
most, compared with how far one clean image is from another: a channel that clean images move as well is one that the
network needs. What is done to them is the paper's: erase, then fine-tune on clean images.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import nn

from hfscan.bench.defenses.ft import TUNING
from hfscan.channels import erase, one_image
from hfscan.fmt import largest
from hfscan.inversion import Search, Trigger
from hfscan.metrics import tac
from hfscan.pipeline.suspecting import suspected
from hfscan.train import FitConfig, fit
from hfscan.types import AuditSettings, FloatArray, ImageSet, Progress, Repaired, silent
from hfscan.unlearn import Unlearning

IMAGES = 200
"""Clean images that show what a trigger moves, at most."""

LEAST = 1e-3
"""Of the mean of a layer's usual changes, added to each: some channels hardly ever change."""


@dataclass(frozen=True)
class TriggerActivatedErasing:
    """FMT with inverted triggers: erase the channels that they move and clean images do not, then fine-tune.

    Cost: the model-level tests, one search for a trigger of each family, and ``tuning.epochs`` passes over the clean
    images.

    Args:
        rate: Share of each layer's channels that is erased, at least one, in (0, 1].
        tuning: How to fine-tune; its seed is replaced.
        target: The suspected class, where an audit has named it already; None looks for it with the tests.
    """

    rate: float = 0.03
    tuning: FitConfig = TUNING
    target: int | None = None

    def repair(
        self, net: nn.Module, clean: ImageSet, *, seed: int, progress: Progress = silent
    ) -> Repaired:
        """Test, invert, erase, fine-tune; a network without a suspected class is only copied."""
        target = self.target
        if target is None:
            target = suspected(net, clean, settings=AuditSettings(seed=seed), progress=progress)
        if target is None:
            how = "FMT-TAC: no class is suspected, left as it was"
            return Repaired(copy.deepcopy(net).eval(), how=how)
        inverted = Unlearning(clean, target, first=Search(), seed=seed)
        inverted.renew(net)
        erased = largest(inverted_tac(net, clean, inverted.triggers), self.rate)
        named = clean.classes[target] if target < len(clean.classes) else target
        tuned = erase(net, erased, one_image(net, clean))
        fit(tuned, clean, replace(self.tuning, seed=seed), progress=progress)
        how = (
            f"FMT-TAC: per layer the {self.rate:.0%} of channels that triggers toward class "
            f"{named} move most, then fine-tuned"
        )
        return Repaired(tuned, erased, how)


def inverted_tac(
    net: nn.Module, clean: ImageSet, triggers: Sequence[Trigger]
) -> dict[str, FloatArray]:
    """Trigger-activated change with inverted triggers: how far they move each feature map.

    Args:
        net: The network; it is left as it was.
        clean: Clean images, at least one of another class than the triggers'.
        triggers: At least one, all toward the same class.

    Returns:
        Conv layer -> float32 ``(C,)``: mean over the triggers of the change, in units of the change from one clean image
        to another and of the layer's mean; layers that cannot be erased are left out.

    References:
        `hfscan.metrics.tac`, of which this is the estimate that needs no true trigger.
    """
    others = clean.without(triggers[0].target)
    sample = others.sample(IMAGES, seed=0)
    usual = tac(net, sample, replace(sample, images=sample.images.roll(1, 0)))
    changes = [_relative(tac(net, sample, _carrying(sample, each)), usual) for each in triggers]
    return {layer: np.mean([each[layer] for each in changes], axis=0) for layer in usual}


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
