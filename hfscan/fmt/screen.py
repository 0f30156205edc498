"""Fast mode: screen all channels with few images, and spend the work on those that stay suspicious.

Sequential halving (Karnin, Koren and Somekh, "Almost Optimal Exploration in Multi-Armed Bandits", ICML
2013): every round doubles the images and keeps the more suspicious half of the channels; the last one tests
what is left with all images, which is exactly what exact mode does. Deviation: half of the places may go to
channels whose images flow into a suspected class, and a random control sample is tested in full too.

The screen ranks by accuracy, as the detector does, and equal ones by their mean margin; ranking by the margin
alone finds fewer of the channels that exact mode flags (see examples/benchmarks.md).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from hfscan.channels import ConvLayer
from hfscan.fmt.engine import Engine, Responses
from hfscan.types import BoolArray, FloatArray, ImageSet, IntArray, stratified_order

CONTROL = 0.02
"""Share of a layer's channels, chosen at random, that are tested with all images whatever the screen says."""

SHRINKAGE = 8.0
"""Images that a screened channel's accuracy is worth less than its own: the weight of the layer's mean."""


@dataclass(frozen=True)
class Round:
    """One round of the screen.

    Args:
        images: How many of the N images its channels have been tested with at the end of it.
        keep: Share of the layer's channels that are in it.
    """

    images: int
    keep: float


@dataclass(frozen=True)
class Plan:
    """What to do with a layer.

    Args:
        rounds: In order.
        control: Share of the channels in the control sample.
    """

    rounds: tuple[Round, ...]
    control: float = 0.0

    def cost(self) -> float:
        """As a share of testing every channel with every image; control channels count in full."""
        total, before = 0.0, 0
        for each in self.rounds:
            total += (each.images - before) * each.keep
            before = each.images
        return total / before + self.control

    def pairs(self, channels: int) -> int:
        """About how many pairs of channel and image a layer of so many channels takes."""
        total, before = 0, 0
        for each in self.rounds:
            total += (each.images - before) * max(1, round(each.keep * channels))
            before = each.images
        return total + before * math.ceil(self.control * channels)


def exact(images: int) -> Plan:
    """Every channel with every image."""
    return Plan((Round(images, 1.0),))


def halving(first: int, images: int, *, control: float = 0.0, share: float = 1.0) -> Plan:
    """Rounds that begin with ``first`` images, and end with all N ``images``.

    Args:
        first: Images of the first round.
        images: N.
        control: Share of the channels in the control sample.
        share: Of the channels that take part at all.
    """
    rounds = [Round(first, share)]
    while rounds[-1].images < images:
        last = rounds[-1]
        rounds.append(Round(min(2 * last.images, images), last.keep / 2))
    return Plan(tuple(rounds), control)


def plan(effort: float, images: int) -> Plan:
    """The plan that comes nearest to a share ``effort`` of exact mode's work without exceeding it.

    Args:
        effort: In (0, 1]. Below what one image for every channel takes, a random part of the channels is
            tested at all, and there is no control sample.
        images: N.
    """
    if effort >= 1 or images == 1:
        return exact(images)
    plans = [halving(first, images, control=CONTROL) for first in range(1, images)]
    fitting = [each for each in plans if each.cost() <= effort]
    if fitting:
        return fitting[-1]
    smallest = halving(1, images)
    return halving(1, images, share=min(1.0, effort / smallest.cost()))


def single(images: int, channels: int) -> Plan:
    """One channel of the layer with so many images: where time is too short for one with all of them."""
    return Plan((Round(images, 1 / channels),))


@dataclass(frozen=True, eq=False)
class Screened:
    """One layer after its rounds.

    Args:
        responses: What was seen.
        tested: With how many images each channel was tested, int64 ``(C,)``.
        found: Which channels the screen itself tested with all images, bool ``(C,)``.
        control: Which ones were chosen at random for that, bool ``(C,)``.
    """

    responses: Responses
    tested: IntArray
    found: BoolArray
    control: BoolArray

    def accuracy(self, labels: IntArray) -> FloatArray:
        """Accuracy float32 ``(C, S)``: exact where all images were tested, an estimate elsewhere.

        An estimate is the layer's mean, moved by how much better or worse than the others the channel did
        with the images that it was tested with, and shrunk as these are few.

        Args:
            labels: ``(N,)``.
        """
        seen = self.responses.predicted >= 0
        correct = np.where(seen, self.responses.predicted == labels[:, None], np.nan)
        typical = _typical(correct)
        moved = np.where(seen, correct - typical, 0.0).sum(1)  # (C, S)
        values = typical.mean(0) + moved / (self.tested + SHRINKAGE)[:, None]
        full = self.tested == len(labels)
        values[full] = correct[full].mean(1)
        return np.asarray(values.clip(0, 1), np.float32)


def _typical(correct: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """How often each image is classified correctly, ``(C, N, S)`` -> ``(N, S)``.

    An image that no channel was tested with is taken for an average one.
    """
    known = ~np.isnan(correct)
    seen = known.sum(0)
    mean = np.where(known, correct, 0.0).sum(0) / np.maximum(seen, 1)
    return np.asarray(np.where(seen > 0, mean, np.nanmean(correct, (0, 1))), np.float64)


@dataclass
class Screen:
    """Runs the rounds of one layer.

    Args:
        engine: The network and the images.
        layer: The layer.
        plan: From `plan`.
        order: Of the images, int64 ``(N,)``, from `image_order`.
        target: The suspected class, or None.
    """

    engine: Engine
    layer: ConvLayer
    plan: Plan
    order: IntArray
    target: int | None = None
    responses: Responses = field(init=False)

    def __post_init__(self) -> None:
        steps = self.engine.settings.steps
        self.responses = Responses.empty(self.layer.channels, len(self.order), steps)
        seed = (self.engine.settings.seed, len(self.layer.name), self.layer.channels)
        self._found: IntArray = np.zeros(0, np.int64)
        self._shuffled: IntArray = np.random.default_rng(seed).permutation(self.layer.channels)

    def run(self) -> Iterator[int]:
        """Test; yields how many pairs of channel and image each batch held."""
        alive, before = self._shuffled, 0
        control = self._control()
        for each in self.plan.rounds:
            count = max(1, round(each.keep * self.layer.channels))
            alive = self._most_suspicious(alive, count) if before else alive[:count]
            channels = np.union1d(alive, control).tolist()
            images = self.order[before : each.images].tolist()
            yield from self.engine.test(self.layer, self.responses, channels, images)
            before = each.images
        if before == len(self.order):
            self._found = alive

    def _control(self) -> IntArray:
        """The last of the shuffled channels: a random sample, also of those never screened."""
        count = math.ceil(self.plan.control * len(self._shuffled))
        return self._shuffled[len(self._shuffled) - count :]

    def _most_suspicious(self, alive: IntArray, count: int) -> IntArray:
        """The channels of the lowest accuracy; half of the places are for those with the most flow."""
        labels = self.engine.labels.cpu().numpy()[:, None]
        correct = (self.responses.predicted[alive] == labels).sum((1, 2))
        margin = np.nanmean(self.responses.margin[alive], (1, 2))
        by_accuracy = alive[np.lexsort((margin, correct))]
        if self.target is None:
            return by_accuracy[:count]
        flow = (self.responses.predicted[alive] == self.target).sum((1, 2))
        by_flow = alive[np.argsort(-flow, kind="stable")]
        kept = by_flow[: count // 2]
        return np.concatenate([kept, by_accuracy[~np.isin(by_accuracy, kept)][: count - len(kept)]])

    def result(self) -> Screened:
        """What came out, after `run`."""
        everything = np.arange(self.layer.channels)
        tested = np.asarray((self.responses.predicted[:, :, 0] >= 0).sum(1), np.int64)
        return Screened(
            self.responses,
            tested,
            np.isin(everything, self._found),
            np.isin(everything, self._control()),
        )


def image_order(images: ImageSet, seed: int) -> IntArray:
    """An order of images in which every beginning has all classes about equally often, ``(N,)``."""
    return np.asarray(stratified_order(images.labels, seed).numpy(), np.int64)
