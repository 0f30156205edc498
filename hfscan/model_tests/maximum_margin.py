"""The maximum-margin test: a backdoor's target class can be made abnormally certain.

Wang, Xiang, Miller and Kesidis, "MM-BD: Post-Training Detection of Backdoor Attacks with Arbitrary
Backdoor Pattern Types Using a Maximum Margin Statistic", IEEE S&P 2024.

Deviations: the ascent is Adam's, on logits divided by their spread, so that it does not depend on their scale,
instead of gradient ascent with momentum; and the null distribution is a location-scale family in log space instead of an
exponential of the margins, so that the p-value does not depend on that scale either and the spread
of the other classes counts.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from hfscan.model_tests.outlier import stands_out, too_few
from hfscan.types import FloatArray, ImageSet, Progress, TestResult, silent

NAME = "maximum-margin"
SPREAD_IMAGES = 16
"""Of the random starts, to see how large the logits are."""


@dataclass(frozen=True)
class MaximumMargin:
    """For each class c, maximizes ``logit_c - max_{k != c} logit_k`` over images in [0, 1].

    It needs no clean images, only their size.

    Args:
        starts: Random images to start from, per class.
        kept: How many of them go on after ``scouting`` steps: those with the largest margins.
        scouting: Steps with all of them.
        steps: Of the ascent.
        lr: Step size in units of [0, 1], annealed to 0.
        min_spread: Smallest standard deviation of log margins among clean classes that is believed.
        batch_size: Images per pass.
    """

    starts: int = 8
    kept: int = 2
    scouting: int = 25
    steps: int = 100
    lr: float = 0.1
    min_spread: float = 0.1
    batch_size: int = 256

    name: ClassVar[str] = NAME
    tolerates_half: ClassVar[bool] = True

    def run(
        self, net: nn.Module, clean: ImageSet, *, seed: int, progress: Progress = silent
    ) -> TestResult:
        """Test a network; see `hfscan.model_tests.ModelTest`."""
        began = time.perf_counter()
        margins = self.margins(net, clean.size, seed=seed, progress=progress)
        result = outlier(margins, self.min_spread)
        seconds = time.perf_counter() - began
        unit = "logits"
        shown = margins if np.isfinite(margins).all() else ()
        figures = tuple(round(float(margin), 4) for margin in shown)
        if isinstance(result, str):
            return TestResult(NAME, None, None, None, figures, unit, result, seconds)
        statistic, p_value, target = result
        return TestResult(NAME, statistic, p_value, target, figures, unit, seconds=seconds)

    def margins(
        self, net: nn.Module, size: tuple[int, int], *, seed: int, progress: Progress = silent
    ) -> FloatArray:
        """The largest margin found for each class, ``(K,)``."""
        device = next(net.parameters()).device
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            classes = net(torch.full((1, 3, *size), 0.5, device=device)).shape[1]
        batches = torch.arange(classes).split(max(1, self.batch_size // self.starts))
        best = torch.full((classes,), -math.inf)
        total = len(batches) * self.steps
        for step in progress(range(total), "maximum margins", total):
            batch, index = batches[step // self.steps], step % self.steps
            if index == 0:
                wanted = batch.repeat_interleave(self.starts).to(device)
                images = torch.rand(len(wanted), 3, *size, generator=generator).to(device)
                spread, reached = _spread(net, images), torch.zeros(len(wanted))
            elif index == self.scouting and self.kept < self.starts:
                rows = _largest(reached.view(len(batch), self.starts), self.kept)
                images, wanted = images.detach()[rows], wanted[rows]
            if index in (0, self.scouting):
                images.requires_grad_()
                optimizer = torch.optim.Adam([images], lr=self.lr)
            optimizer.param_groups[0]["lr"] = self.lr * (1 - index / self.steps)
            reached = _ascend(net, images, wanted, optimizer, spread, self.batch_size)
            best.scatter_reduce_(0, wanted.cpu(), reached.cpu(), "amax")
        return best.numpy()


def _largest(margins: Tensor, kept: int) -> Tensor:
    """Where the largest margins of each row ``(classes, starts)`` are in it when it is flat."""
    columns = margins.topk(kept).indices
    rows = torch.arange(len(margins), device=margins.device)[:, None]
    return (rows * margins.shape[1] + columns).flatten()


@torch.no_grad()
def _spread(net: nn.Module, images: Tensor) -> float:
    """Mean standard deviation of an image's logits; divided by it, they do not depend on the last layer's scale."""
    found = float(net(images[:SPREAD_IMAGES]).float().std(1).mean())
    return found if 0 < found < math.inf else 1.0


def _ascend(
    net: nn.Module,
    images: Tensor,
    wanted: Tensor,
    optimizer: torch.optim.Optimizer,
    spread: float,
    batch_size: int,
) -> Tensor:
    """One step uphill, in place; returns the margins before it, ``(B,)``."""
    margins, gradients = [], []
    for some, classes in zip(images.split(batch_size), wanted.split(batch_size), strict=True):
        found = margin(net(some), classes)
        gradients += torch.autograd.grad(-found.sum() / spread, some)
        margins.append(found.detach().float())
    images.grad = torch.cat(gradients)
    optimizer.step()
    with torch.no_grad():
        images.clamp_(0, 1)
    return torch.cat(margins)


def margin(logits: Tensor, wanted: Tensor) -> Tensor:
    """``logit_c - max_{k != c} logit_k`` for logits ``(B, K)`` and classes c ``(B,)``."""
    own = logits.gather(1, wanted[:, None]).squeeze(1)
    others = logits.scatter(1, wanted[:, None], -math.inf)
    return own - others.max(1).values


def outlier(margins: FloatArray, min_spread: float) -> tuple[float, float, int] | str:
    """How far the largest margin lies above the others.

    The logs of the other classes' margins give a location (median) and a scale (MAD, at least
    ``min_spread``); their standardized excess is compared with Student's t of K - 2 degrees of
    freedom, and the p-value is that of the largest of K.

    Args:
        margins: ``(K,)``.
        min_spread: Smallest scale that is believed.

    Returns:
        Statistic, p-value and class; or why there is none.
    """
    classes = len(margins)
    if reason := too_few(classes):
        return reason
    if not np.isfinite(margins).all():
        return "the network's outputs are not finite"
    target = int(margins.argmax())
    others = np.delete(margins, target).astype(np.float64)
    if np.median(others) <= 0:
        return "for most classes no image is classified as the class at all"
    floor = 0.01 * np.median(others)
    return stands_out(np.log(np.maximum(margins.astype(np.float64), floor)), min_spread)
