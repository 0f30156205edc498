"""Unlearn inverted triggers while fine-tuning.

The paper's repair (FMT, section III-F) erases channels and fine-tunes on clean images; where there are only
a few of these, a backdoor survives that. Deviation, used when an audit suspects a target class: a part of
each batch carries triggers that were inverted for that class, with its true labels, after Wang et al., "Neural
Cleanse", IEEE S&P 2019, section VI. They are from the families that lead images of the network as it was to the
class, and are found anew for each epoch, as in adversarial training. The searches are short, and the network is
computed in bfloat16 where that is fast: longer ones, in float32, repaired no better (``examples/measured.md``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from hfscan.errors import DataError
from hfscan.inversion import FAMILIES, Family, Search, Trigger
from hfscan.inversion.search import MIN_IMAGES
from hfscan.types import ImageSet

APART = 100
"""Between the seeds of two starts."""


def all_families() -> tuple[Family, ...]:
    """One of each, with their own bounds."""
    return tuple(make() for make in FAMILIES.values())


@dataclass
class Unlearning:
    """Triggers toward a class, and how images carry them in training.

    Args:
        images: Clean images to find triggers with.
        target: The class to unlearn.
        families: Of triggers to look for.
        share: Of each batch that carries one, in [0, 1].
        reach: Families whose trigger leads fewer images to the class than this are left out, unless none
            leads more.
        first: How to look for the triggers of the network as it was.
        anew: How to look for them from other starts, if none reaches the class: a search may end in a poor optimum.
        starts: How often to look for them in all, at most.
        again: How to look for those of each epoch; each search goes on from the trigger before.
        sample: Images to look with, at most.
        seed: Of the choice of images.
    """

    images: ImageSet
    target: int
    families: Sequence[Family] = field(default_factory=all_families)
    share: float = 0.25
    reach: float = 0.5
    first: Search = field(default_factory=lambda: Search(steps=30, half=True))
    anew: Search = field(default_factory=lambda: Search(steps=30, half=True, pace=2.0))
    starts: int = 5
    again: Search = field(default_factory=lambda: Search(steps=10, half=True))
    sample: int = 120
    seed: int = 0
    triggers: list[Trigger] = field(default_factory=list)
    newest: list[Trigger] = field(default_factory=list)
    rounds: int = 0

    def renew(self, net: nn.Module) -> float:
        """Find triggers of the network as it is now; the first time, also decide on the families.

        Returns:
            Largest share of the images that one of them leads to the class, in [0, 1].

        Raises:
            DataError: There are too few images of other classes to find triggers with.
        """
        seed = self.seed + self.rounds
        pixels = self._pixels(seed).to(next(net.parameters()).device)
        if not self.rounds:
            found = self._first(net, pixels)
            best = max(trigger.success for trigger in found)
            found = [t for t in found if t.success >= min(self.reach, best)]
        else:
            found = [
                self.again.invert(
                    net, pixels, t.target, family=t.family, seed=seed, start=t.parameters
                )
                for t in self.newest
            ]
        self.newest = found
        self.triggers += found
        self.rounds += 1
        return max(trigger.success for trigger in found)

    def _first(self, net: nn.Module, pixels: Tensor) -> list[Trigger]:
        """The best trigger of each family, from more than one start if none reaches the class."""

        def sought(search: Search, seed: int) -> list[Trigger]:
            return [
                search.invert(net, pixels, self.target, family=family, seed=seed)
                for family in self.families
            ]

        found = sought(self.first, self.seed)
        for start in range(1, self.starts):
            if max(trigger.success for trigger in found) >= self.reach:
                break
            others = sought(self.anew, self.seed + start * APART)
            found = [max(pair, key=lambda t: t.success) for pair in zip(found, others, strict=True)]
        return found

    @property
    def kinds(self) -> list[str]:
        """Names of the families that are unlearned; none before the first search."""
        return list(dict.fromkeys(trigger.family.name for trigger in self.triggers))

    def carry(self, pixels: Tensor, generator: torch.Generator) -> Tensor:
        """Let a part of a batch ``(B, 3, H, W)`` carry the triggers, each image one by chance."""
        count = int(len(pixels) * self.share)
        chosen = torch.randint(len(self.triggers), (count,), generator=generator)
        carried = pixels.clone()
        for index in chosen.unique().tolist():
            (where,) = (chosen == index).nonzero(as_tuple=True)
            carried[where] = self.triggers[index].apply(pixels[where])
        return carried

    def _pixels(self, seed: int) -> Tensor:
        others = self.images.without(self.target)
        if len(others) < MIN_IMAGES:
            raise DataError(
                f"{len(others)} images of other classes than the suspected one are too few to find triggers with",
                "use more clean images, a larger --clean-rate, or --unlearn-norm 0",
            )
        return others.sample(self.sample, seed=seed).images.float().div_(255)
