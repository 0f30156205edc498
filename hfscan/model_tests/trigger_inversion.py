"""The trigger-inversion test: is one class reached by a small universal trigger that reaches no other?

After Wang et al., "Neural Cleanse: Identifying and Mitigating Backdoor Attacks in Neural Networks", IEEE S&P
2019: there the classes are compared by how small a patch has to be. Deviations: several families of triggers are
sought, inside hard bounds, and the classes are compared by how many images theirs leads to them.

It is not one of the tests that an audit runs by itself: its null distribution has not been calibrated.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from hfscan.channels import one_image, probing
from hfscan.inversion import FAMILIES, Family, Search
from hfscan.inversion.search import MIN_IMAGES
from hfscan.model_tests.maximum_margin import MIN_CLASSES, stands_out
from hfscan.types import FloatArray, ImageSet, Progress, TestResult, silent

NAME = "trigger-inversion"


def each_family() -> tuple[Family, ...]:
    """One of each, with their own bounds."""
    return tuple(make() for make in FAMILIES.values())


@dataclass(frozen=True)
class TriggerInversion:
    """For each class and family, inverts a trigger and counts the images that it leads to the class.

    Args:
        families: Of triggers.
        search: How to look for one.
        images: Clean images of other classes for each class, at most.
        min_spread: Smallest standard deviation of the success's log odds among clean classes that is
            believed.
    """

    families: Sequence[Family] = field(default_factory=each_family)
    search: Search = field(default_factory=Search)
    images: int = 120
    min_spread: float = 1.0

    name: ClassVar[str] = NAME

    def run(
        self, net: nn.Module, clean: ImageSet, *, seed: int, progress: Progress = silent
    ) -> TestResult:
        """Test a network; see `hfscan.model_tests.ModelTest`.

        The p-value is the smallest of the families', corrected for their number (Bonferroni); the class
        statistics are the successes of that family.
        """
        began = time.perf_counter()
        with probing(net), torch.no_grad():
            classes = net(one_image(net, clean)).shape[1]
        others = [self._others(net, clean, target, seed) for target in range(classes)]
        reason = _obstacle(others)
        if reason:
            return TestResult(NAME, None, None, None, (), "", reason)
        success = self.successes(net, others, seed=seed, progress=progress)
        found = [stands_out(self._log_odds(row, others), self.min_spread) for row in success]
        best = min(range(len(found)), key=lambda family: found[family][1])
        statistic, p_value, target = found[best]
        return TestResult(
            NAME,
            statistic,
            min(1.0, p_value * len(found)),
            target,
            tuple(round(float(share), 4) for share in success[best]),
            f"share of images reached by one {self.families[best].name}",
            seconds=time.perf_counter() - began,
        )

    def successes(
        self,
        net: nn.Module,
        others: Sequence[Tensor],
        *,
        seed: int,
        progress: Progress = silent,
    ) -> FloatArray:
        """The success of each family's trigger for each class, ``(families, K)`` in [0, 1].

        Args:
            net: The network; it is left as it was.
            others: For each of the K classes, images of other classes ``(B, 3, H, W)`` in [0, 1].
            seed: Of the searches.
            progress: Wraps the loop over families and classes.
        """
        todo = [(family, target) for family in self.families for target in range(len(others))]
        found = [
            self.search.invert(net, others[target], target, family=family, seed=seed).success
            for family, target in progress(todo, "inverting triggers", len(todo))
        ]
        return np.array(found, np.float32).reshape(len(self.families), len(others))

    def _others(self, net: nn.Module, clean: ImageSet, target: int, seed: int) -> Tensor:
        others = clean.subset((clean.labels != target).nonzero().flatten())
        chosen = others.sample(min(self.images, len(others)), seed=seed).images
        return chosen.to(next(net.parameters()).device).float() / 255

    def _log_odds(self, success: FloatArray, others: Sequence[Tensor]) -> FloatArray:
        """Success as log odds ``(K,)``, of half an image more on either side: finite at 0 and 1."""
        held = np.array([max(1, round(self.search.held_back * len(o))) for o in others])
        reached = success * held
        return np.asarray(np.log((reached + 0.5) / (held - reached + 0.5)), np.float32)


def _obstacle(others: Sequence[Tensor]) -> str:
    """Why the test cannot be made; empty if it can."""
    if len(others) < MIN_CLASSES:
        return f"{len(others)} classes are too few: the others are the null distribution"
    fewest = min(map(len, others))
    if fewest < MIN_IMAGES:
        return f"{fewest} images of other classes are too few to find a trigger with"
    return ""
