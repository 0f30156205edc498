"""FP: prune what sleeps on clean images, then fine-tune.

Liu, Dolan-Gavitt and Garg, "Fine-Pruning: Defending Against Backdooring Attacks on Deep Neural Networks",
RAID 2018, section 3: a backdoor hides in neurons that clean images do not activate. The channels of the
last convolution are pruned in order of their average activation, the least active first, until the
accuracy on clean images falls by more than the defender allows; then the pruned network is fine-tuned.

Deviations: the channels are pruned in steps of 5 % of the layer and at most 90 % of them (as the FMT paper's
evaluation), not one by one, and the accuracy is measured on a sample. The activation is the part above zero
of what the norm behind the convolution returns (of the convolution's output where it has none), as a ReLU
would let it pass, wherever in the network the ReLU is. In a residual network the shortcut around the
last convolution stays.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.func import functional_call

from hfscan.bench.defenses.ft import TUNING
from hfscan.channels import (
    ConvLayer,
    erasable_layers,
    erase,
    feature_map,
    kept_rows,
    one_image,
    probing,
)
from hfscan.metrics import accuracy
from hfscan.train import FitConfig, Objective, fit
from hfscan.types import Channels, ImageSet, Progress, Repaired, silent


@dataclass(frozen=True)
class FinePruning:
    """Fine-Pruning: erase the last convolution's least active channels while accuracy holds, then fine-tune.

    Cost: at most ``1 + most / step`` passes over ``images`` images to prune, and ``tuning.epochs``
    passes over the clean images.

    Args:
        max_drop: Largest loss of clean accuracy by pruning, in [0, 1].
        step: Share of the channels to prune at a time, in (0, 1).
        most: Share of the channels that may be pruned, in (0, 1).
        images: At most so many clean images measure activation and accuracy.
        tuning: How to fine-tune; its seed is replaced. Erased channels stay erased.
    """

    max_drop: float = 0.04
    step: float = 0.05
    most: float = 0.9
    images: int = 500
    tuning: FitConfig = TUNING

    def repair(
        self, net: nn.Module, clean: ImageSet, *, seed: int, progress: Progress = silent
    ) -> Repaired:
        """Prune, fine-tune.

        Raises:
            AuditError: There is no layer whose channels can be erased.
        """
        image = one_image(net, clean)
        layers = erasable_layers(net, image)
        sample = clean.sample(self.images, seed=seed)
        erased = self._sleeping(net, layers[-1], sample, progress)
        tuned = erase(net, erased, image)
        config = replace(self.tuning, seed=seed)
        objective = staying_erased(kept_rows(net, erased, image))
        fit(tuned, clean, config, objective=objective, progress=progress)
        how = f"FP: the least active channels of the last conv layer ({layers[-1].name}), then fine-tuned"
        return Repaired(tuned, erased, how)

    def _sleeping(
        self, net: nn.Module, layer: ConvLayer, sample: ImageSet, progress: Progress
    ) -> Channels:
        """As many of the least active channels as the accuracy allows."""
        order = activations(net, layer, sample).argsort(stable=True).tolist()
        steps = range(1, round(self.most / self.step) + 1)
        least = accuracy(net, sample) - self.max_drop
        image = one_image(net, sample)
        found: Channels = {}
        for number in progress(steps, "pruning", len(steps)):
            pruned = {layer.name: sorted(order[: round(number * self.step * layer.channels)])}
            if accuracy(erase(net, pruned, image), sample) < least:
                break
            found = pruned
        return {name: channels for name, channels in found.items() if channels}


@torch.no_grad()
def activations(net: nn.Module, layer: ConvLayer, images: ImageSet) -> Tensor:
    """The average activation of each channel, ``(C,)``."""
    device = next(net.parameters()).device
    total = torch.zeros(layer.channels, device=device)
    where = (layer.name, *layer.norms)[-1]
    with probing(net):
        for pixels, _ in images.batches(256):
            maps = feature_map(net, where, pixels.to(device))
            if maps.shape[1] != layer.channels:
                maps = maps.movedim(-1, 1)  # a norm of the last axis, as ConvNeXt's
            total += maps.relu().mean((2, 3)).sum(0)
    return total / len(images)


def staying_erased(masks: dict[str, Tensor]) -> Objective:
    """Cross-entropy of a network whose erased channels get no gradient and stay zero."""

    def objective(net: nn.Module, pixels: Tensor, labels: Tensor) -> Tensor:
        parameters = dict(net.named_parameters())
        kept = {name: parameters[name] * mask for name, mask in masks.items()}
        logits: Tensor = functional_call(net, kept, (pixels,))
        return nn.functional.cross_entropy(logits.float(), labels)

    return objective
