"""The trigger-inversion tests: is one class reached by a small universal trigger that reaches no other?

After Wang et al., "Neural Cleanse: Identifying and Mitigating Backdoor Attacks in Neural Networks", IEEE S&P
2019: there the classes are compared by how small a patch has to be. Deviations: several families of triggers are
sought, each in a test of its own, inside hard bounds; the classes are compared by how many images theirs leads
to them; and only the most promising classes of a family get a full search (`hfscan.inversion.halving`).
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from hfscan.channels import probing
from hfscan.inversion import Family, Patch, Trigger
from hfscan.inversion.halving import Entry, Halving, Images
from hfscan.inversion.search import laid_out
from hfscan.model_tests.outlier import blind, log_odds, stands_out
from hfscan.model_tests.sample import Sample, take
from hfscan.png import to_png
from hfscan.types import Evidence, FloatArray, ImageSet, Picture, Progress, TestResult, silent

HELD_BACK = 0.35
"""Share of the images that only measures."""

SHOWN = 16
"""So many images are tried for the picture of a trigger."""


@dataclass(frozen=True)
class TriggerInversion:
    """For each class, inverts a trigger of a family and counts the images that it leads to the class.

    Args:
        family: Of triggers.
        search: How to look for them.
        images: Clean images, at most; the same for all classes, without the class's own.
        usual_spread: Usual standard deviation of the success's log odds among clean classes.
    """

    family: Family = field(default_factory=Patch)
    search: Halving = field(default_factory=Halving)
    images: int = 180
    usual_spread: float = 1.5

    tolerates_half: ClassVar[bool] = True

    @property
    def name(self) -> str:
        """Key in the registry."""
        return f"{self.family.name}-inversion"

    def run(
        self, net: nn.Module, clean: ImageSet, *, seed: int, progress: Progress = silent
    ) -> TestResult:
        """Test a network; see `hfscan.model_tests.ModelTest`."""
        began = time.perf_counter()
        unit = f"share of images reached by one {self.family.name} trigger"
        with probing(net):
            sample = take(net, clean, self.images, self.search.batch_size, seed=seed)
            measured = min(round_.measured for round_ in self.search.rounds)
            images = _divided(sample, measured)
            if reason := sample.obstacle() or _obstacle(images, measured):
                return TestResult(self.name, None, None, None, (), unit, reason)
            entries = self.search.search(
                net, images, self.family, spread=sample.spread, seed=seed, progress=progress
            )
            if not all(torch.isfinite(entry.trigger.parameters).all() for entry in entries):
                reason = "the network's gradients are not finite"
                return TestResult(self.name, None, None, None, (), unit, reason)
            counts = self._counts(entries, images)
            shares = np.array([entry.trigger.success for entry in entries], np.float32)
            odds = log_odds(shares, counts)
            statistic, p_value, target = stands_out(odds, 0.0, usual=self.usual_spread)
            evidence = _evidence(net, images, entries[target], self.search.batch_size)
        return TestResult(
            self.name,
            statistic,
            None if blind(counts, self.usual_spread) else p_value,
            target,
            tuple(round(entry.trigger.success, 4) for entry in entries),
            unit,
            seconds=time.perf_counter() - began,
            evidence=evidence,
        )

    def _counts(self, entries: Sequence[Entry], images: Images) -> FloatArray:
        """How many images measured each class's trigger, ``(K,)``."""
        measured = {
            count: (~images.held_back_as[: round_.measured]).sum(0).cpu().numpy()
            for count, round_ in enumerate(self.search.rounds, 1)
        }
        return np.array([measured[entry.rounds][c] for c, entry in enumerate(entries)])


def _divided(sample: Sample, measured: int) -> Images:
    """Some images search, some only measure; the first ``measured`` of these are not all of one class."""
    cut = len(sample.pixels) - max(1, round(HELD_BACK * len(sample.pixels)))
    pixels, own = sample.pixels, sample.own
    order = _others_within(own[cut:], measured)
    return Images(pixels[:cut], pixels[cut:][order], own[:cut], own[cut:][order])


def _others_within(own: Tensor, count: int) -> Tensor:
    """The order of images ``(M,)``; one of other classes comes first where the first ``count`` are all of a class."""
    first = (~own).int().argmax(0)  # for each class
    late = first[first >= count].unique()
    order = torch.arange(len(own), device=own.device)
    return torch.cat([late, order[~torch.isin(order, late)]])


def _obstacle(images: Images, measured: int) -> str:
    fewest = min(
        int((~own).sum(0).min()) for own in (images.seen_as, images.held_back_as[:measured])
    )
    if fewest < 1:
        return "too few images of other classes to search and to measure with"
    return ""


def _evidence(net: nn.Module, images: Images, entry: Entry, batch_size: int) -> Evidence | None:
    trigger = entry.trigger
    if not trigger.parameters.numel():  # of many classes at which nothing succeeds
        return None
    return Evidence(
        family=trigger.family.name,
        size=round(trigger.size, 5),
        unit=trigger.family.unit,
        success=round(trigger.success, 4),
        pictures=_pictures(net, images, trigger, batch_size),
    )


@torch.no_grad()
def _pictures(
    net: nn.Module, images: Images, trigger: Trigger, batch_size: int
) -> tuple[Picture, Picture]:
    """An image that the trigger leads to its class, if there is one, and by how much it changes, amplified."""
    clean = images.held_back[~images.held_back_as[:, trigger.target]][:SHOWN]
    marked = trigger.apply(clean)
    ends = torch.cat([net(laid_out(some)).argmax(1) for some in marked.split(batch_size)])
    best = int((ends == trigger.target).int().argmax())
    change = marked[best] - clean[best]
    gain = 0.5 / max(float(change.abs().max()), 1 / 255)
    share = round(trigger.success, 4)
    family = trigger.family.name
    seen = int(ends[best])
    return (
        Picture("triggered", to_png(marked[best]), predicted=seen, family=family, share=share),
        Picture("trigger", to_png(0.5 + gain * change), gain=gain, family=family),
    )
