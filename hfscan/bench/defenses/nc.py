"""NC: invert a trigger for each class, unlearn the one that is abnormally small.

Wang et al., "Neural Cleanse: Identifying and Mitigating Backdoor Attacks in Neural Networks", IEEE S&P 2019: for
each class a mask m and a pattern p are sought with which ``(1 - m) * x + m * p`` is taken for that class
and the L1 norm of m is small (equation 3), its weight being adjusted so that the success stays above 99 %. A
class whose norm is below the median by more than 2 of the consistent median absolute deviations is suspected
(section IV-B). Unlearning: the network is fine-tuned with the inverted trigger on 20 % of the images, which
keep their true labels (section VI-B). Where no class is suspected, the paper sees no backdoor, and the network
is returned as it was.

Deviations: 100 steps of Adam on batches of 32 for each class, not many passes over the data: there are up to a
hundred classes. The network is fine-tuned with the configuration that the FMT paper gives all defenses.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from scipy import stats
from torch import Tensor, nn

from hfscan.bench.defenses.ft import TUNING
from hfscan.channels import one_image, probing
from hfscan.half import autocast
from hfscan.train import FitConfig, fit
from hfscan.types import FloatArray, ImageSet, Progress, Repaired, silent


@dataclass(frozen=True, eq=False)
class Trigger:
    """What leads images to a class.

    Args:
        target: The class.
        mask: ``(1, 1, H, W)`` in [0, 1].
        pattern: ``(1, 3, H, W)`` in [0, 1].
        success: Share of images of other classes that it leads to the class, in [0, 1].
    """

    target: int
    mask: Tensor
    pattern: Tensor
    success: float

    def stamp(self, pixels: Tensor) -> Tensor:
        """Images ``(B, 3, H, W)`` in [0, 1] with the trigger."""
        return (1 - self.mask) * pixels + self.mask * self.pattern


@dataclass(frozen=True)
class NeuralCleanse:
    """Neural Cleanse: invert a patch for each class, and unlearn one that is abnormally small.

    Cost: for each class ``steps`` passes with gradient over ``batch_size`` images; ``tuning.epochs``
    passes over the clean images.

    Args:
        steps: Of Adam, for each class.
        batch_size: Images per step.
        lr: Of Adam.
        weight: Of the mask's norm at the start.
        success: Share of images that a trigger has to lead to its class, in [0, 1].
        patience: So many steps in a row above or below ``success`` adjust the weight.
        factor: By which it grows; it shrinks by this to the power of 1.5.
        index: A larger anomaly index is suspicious.
        share: Of the images that carry the trigger while it is unlearned, in [0, 1].
        autocast: Compute in bfloat16 where the CPU or GPU has it fast.
        tuning: How to fine-tune; its seed is replaced.
    """

    steps: int = 100
    batch_size: int = 32
    lr: float = 0.1
    weight: float = 1e-3
    success: float = 0.99
    patience: int = 5
    factor: float = 1.5
    index: float = 2.0
    share: float = 0.2
    autocast: bool = True
    tuning: FitConfig = TUNING

    def repair(
        self, net: nn.Module, clean: ImageSet, *, seed: int, progress: Progress = silent
    ) -> Repaired:
        """Invert, find, unlearn; a network without a suspicious class is only copied."""
        triggers = self.invert_all(net, clean, seed=seed, progress=progress)
        norms = np.array([float(trigger.mask.sum()) for trigger in triggers], np.float32)
        found = [triggers[target] for target in suspects(norms, self.index)]
        repaired = copy.deepcopy(net).eval()
        if not found:
            return Repaired(
                repaired, how="NC: no class has an abnormally small trigger, left as it was"
            )
        carrier = _Stamps(found, self.share)
        config = replace(self.tuning, seed=seed)
        fit(repaired, clean, config, unlearning=carrier, progress=progress)
        names = ", ".join(_name(clean, trigger.target) for trigger in found)
        how = f"NC: unlearned the abnormally small trigger of {names}"
        return Repaired(repaired, how=how)

    def invert_all(
        self, net: nn.Module, clean: ImageSet, *, seed: int, progress: Progress = silent
    ) -> list[Trigger]:
        """One trigger for each class."""
        with probing(net):
            with torch.no_grad():
                classes = net(one_image(net, clean)).shape[1]
            targets = progress(range(classes), "inverting triggers", classes)
            return [self.invert(net, clean, target, seed=seed) for target in targets]

    def invert(self, net: nn.Module, clean: ImageSet, target: int, *, seed: int) -> Trigger:
        """The smallest trigger on the way that leads enough images to a class.

        Args:
            net: The network, inside `probing`.
            clean: Clean images.
            target: The class.
            seed: Of the start and of the choice of images.
        """
        generator = torch.Generator().manual_seed(seed)
        others = clean.without(target)
        like = one_image(net, clean)
        start = torch.randn((1, 4, *clean.size), generator=generator).to(like.device)
        latent = start.requires_grad_()
        optimizer = torch.optim.Adam([latent], lr=self.lr, betas=(0.5, 0.9))
        weight = _Weight(self.weight, self)
        best: Trigger | None = None
        for _ in range(self.steps):
            chosen = torch.randint(len(others), (self.batch_size,), generator=generator)
            pixels = others.images[chosen].to(like.device).float() / 255
            mask, pattern = _unfold(latent)
            logits = self._logits(net, (1 - mask) * pixels + mask * pattern)
            wanted = torch.full((len(pixels),), target, device=like.device)
            loss = F.cross_entropy(logits, wanted) + weight.value * mask.sum()
            (latent.grad,) = torch.autograd.grad(loss, latent)
            success = float((logits.argmax(1) == target).float().mean())
            now = Trigger(target, mask.detach(), pattern.detach(), success)
            best = _better(best, now, self.success)
            weight.adjust(success)
            optimizer.step()
        assert best is not None
        return best

    def _logits(self, net: nn.Module, pixels: Tensor) -> Tensor:
        pixels = pixels.contiguous(memory_format=torch.channels_last)
        with autocast(pixels.device, wanted=self.autocast):
            logits: Tensor = net(pixels)
        return logits.float()


def _unfold(latent: Tensor) -> tuple[Tensor, Tensor]:
    """Free values ``(1, 4, H, W)`` -> mask ``(1, 1, H, W)`` and pattern ``(1, 3, H, W)`` in [0, 1]."""
    values = (latent.tanh() + 1) / 2
    return values[:, :1], values[:, 1:]


def _better(best: Trigger | None, now: Trigger, success: float) -> Trigger:
    """Of those with success the smallest; of those without the most successful."""

    def quality(trigger: Trigger) -> tuple[float, float]:
        return min(trigger.success, success), -float(trigger.mask.sum())

    return now if best is None or quality(now) > quality(best) else best


class _Weight:
    """The weight of the mask's norm; it grows while the trigger succeeds and shrinks while it fails."""

    def __init__(self, value: float, settings: NeuralCleanse) -> None:
        self.value, self.settings = value, settings
        self.above = self.below = 0

    def adjust(self, success: float) -> None:
        above = success >= self.settings.success
        self.above, self.below = (self.above + 1, 0) if above else (0, self.below + 1)
        if self.above >= self.settings.patience:
            self.value, self.above = self.value * self.settings.factor, 0
        elif self.below >= self.settings.patience:
            self.value, self.below = self.value / self.settings.factor**1.5, 0


def anomaly_indices(norms: FloatArray) -> FloatArray:
    """How far each class's norm ``(K,)`` is below the median, in consistent deviations ``(K,)``."""
    below = np.median(norms) - norms
    deviation = float(stats.median_abs_deviation(norms, scale="normal"))
    return np.asarray(below / max(deviation, 1e-12), np.float32)


def suspects(norms: FloatArray, index: float) -> list[int]:
    """The classes whose norm is abnormally small, the most abnormal first."""
    indices = anomaly_indices(norms)
    return [int(target) for target in np.argsort(-indices) if indices[target] > index]


@dataclass(frozen=True, eq=False)
class _Stamps:
    """Lets a share of the images carry one of the triggers."""

    triggers: Sequence[Trigger]
    share: float

    def renew(self, net: nn.Module) -> None:
        """They stay as they are."""

    def carry(self, pixels: Tensor, generator: torch.Generator) -> Tensor:
        count = int(len(pixels) * self.share)
        chosen = int(torch.randint(len(self.triggers), (1,), generator=generator))
        return torch.cat([self.triggers[chosen].stamp(pixels[:count]), pixels[count:]])


def _name(clean: ImageSet, target: int) -> str:
    return f"class {clean.classes[target] if target < len(clean.classes) else target}"
