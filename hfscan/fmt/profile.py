"""Accuracy profiles: what a network makes of each channel's reverse-generated images (FMT, III-E)."""

from __future__ import annotations

import time
from collections.abc import Callable, Container, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from torch import nn

from hfscan.channels import ConvLayer
from hfscan.clock import Clock
from hfscan.fmt.engine import Engine, make_engine
from hfscan.fmt.memory import give_back
from hfscan.fmt.screen import Plan, Screen, image_order, plan, single
from hfscan.reasons import LAYER_OUT_OF_TIME, PASSES_FAIL
from hfscan.types import (
    AuditSettings,
    BoolArray,
    FloatArray,
    ImageSet,
    IntArray,
    Progress,
    silent,
)

TESTING = "testing channels"
"""What the progress bar says."""

TICKS = 1000
"""Steps of the progress bar: layers deep in the network cost more than the first ones."""


@dataclass(frozen=True, eq=False)
class LayerProfile:
    """The profile of one layer.

    Args:
        layer: The layer.
        accuracy: float32 ``(C, S)`` in [0, 1]; an estimate for channels that were not tested with all images.
        predictions: counts ``(C, S, K)`` of the images that were tested.
        verified: Which channels were tested with all images, bool ``(C,)``.
        tested: With how many images each channel was tested, int64 ``(C,)``.
        found: Which channels were tested with all images because nothing spoke against it, bool ``(C,)``.
        control: Which ones were because they were chosen at random for it, bool ``(C,)``.
        skipped: Why there is no profile; empty when there is.
    """

    layer: ConvLayer
    accuracy: FloatArray = field(default_factory=lambda: np.zeros((0, 0), np.float32))
    predictions: IntArray = field(default_factory=lambda: np.zeros((0, 0, 0), np.int64))
    verified: BoolArray = field(default_factory=lambda: np.zeros(0, np.bool_))
    tested: IntArray = field(default_factory=lambda: np.zeros(0, np.int64))
    found: BoolArray = field(default_factory=lambda: np.zeros(0, np.bool_))
    control: BoolArray = field(default_factory=lambda: np.zeros(0, np.bool_))
    skipped: str = ""


Recall = Callable[[ConvLayer], LayerProfile | None]


def profile(
    net: nn.Module,
    images: ImageSet,
    settings: AuditSettings,
    *,
    target: int | None = None,
    clock: Clock | None = None,
    recall: Recall | None = None,
    only: Container[str] | None = None,
    memory: int | None = None,
    batch_size: int | None = None,
    progress: Progress = silent,
) -> Iterator[LayerProfile]:
    """Test the conv channels of a network, layer by layer in order of execution.

    The network is left exactly as it was found: weights, buffers, modes, hooks and the global random
    state. In exact mode every channel is tested with every image. In fast mode it is screened as far as
    ``settings.effort`` goes, or as the clock allows.

    Args:
        net: float32 ``(B, 3, H, W)`` in [0, 1] -> logits ``(B, K)``.
        images: The N clean images of the test.
        settings: Mode and effort, steps, step size, eps, seed and precision.
        target: The suspected class, if there is one: fast mode looks for the flow into it too.
        clock: When to be done; None for whenever it is.
        recall: Gives the profile of a layer that an earlier run with the same arguments has made.
        only: Names of the layers to test; None for all.
        memory: Bytes to use beside the model; None for 1 GiB or a quarter of what is free.
        batch_size: Most images per pass; None for what the device likes and memory allows.
        progress: Wraps the work, cut into a thousand parts of about the same length.

    Yields:
        A profile per layer; one that cannot be tested, or whose passes fail, has the reason.

    Raises:
        UsageError: The precision does not keep the network's answers.
    """
    engine = make_engine(net, images, settings, memory=memory, batch_size=batch_size)
    layers = [layer for layer in engine.layers if only is None or layer.name in only]
    budget = Pace(engine, layers, clock or Clock(None), progress)
    order = image_order(images, settings.seed)
    for layer in layers:
        if layer.skipped:
            yield LayerProfile(layer, skipped=layer.skipped)
        elif recall and (known := recall(layer)):
            budget.leave(layer)
            yield known
        elif budget.over():
            yield LayerProfile(layer, skipped=LAYER_OUT_OF_TIME)
        else:
            yield _profile(Screen(engine, layer, budget.plan(layer), order, target), budget)
    budget.finish()


def _profile(screen: Screen, budget: Pace) -> LayerProfile:
    layer, engine = screen.layer, screen.engine
    try:
        for done in screen.run():
            budget.advance(done)
            if budget.over():
                break  # what is there counts
    except PASS_ERRORS as error:
        return LayerProfile(layer, skipped=failure(error))
    finally:
        budget.leave(layer)
        give_back()
    seen = screen.result()
    return LayerProfile(
        layer,
        seen.accuracy(engine.labels.cpu().numpy()),
        seen.responses.counts(engine.classes),
        seen.tested == len(engine.labels),
        seen.tested,
        seen.found,
        seen.control,
    )


PASS_ERRORS = (RuntimeError, ValueError, NotImplementedError)
"""What a pass through a strange layer may raise."""


def failure(error: Exception) -> str:
    """One of `PASS_ERRORS` as a reason in one line."""
    return f"{PASSES_FAIL} ({(str(error).splitlines() or [''])[0]:.100})"


class Pace:
    """How much of the work is done, how fast it goes, and how much of it fits into the time that is left.

    Args:
        engine: What does the work.
        layers: All that there is to do.
        clock: When to be done.
        progress: Shaped like ``rich.progress.track``.
    """

    def __init__(
        self, engine: Engine, layers: Sequence[ConvLayer], clock: Clock, progress: Progress
    ) -> None:
        self._engine, self._clock = engine, clock
        settings, images = engine.settings, len(engine.pixels)
        self._effort = 1.0 if settings.mode == "exact" else settings.effort
        usual = plan(self._effort, images)
        layers = [layer for layer in layers if not layer.skipped]
        costs = {layer.name: engine.cost(layer) for layer in layers}
        self._exact = {e.name: e.channels * images * costs[e.name] for e in layers}
        self._planned = {e.name: usual.pairs(e.channels) * costs[e.name] for e in layers}
        self._left = sum(self._exact.values())
        self._ticks = Ticks(progress, TESTING, sum(self._planned.values()))
        self._layer, self._done = 0.0, 0.0
        self._cost = 1.0
        self._began = time.perf_counter()

    def plan(self, layer: ConvLayer) -> Plan:
        """What to do with this layer, which is the next one, so that there is time for all others, too."""
        self._cost = self._engine.cost(layer)
        images = len(self._engine.pixels)
        if self._clock.seconds is None or self._engine.settings.mode == "exact":
            return plan(self._effort, images)
        effort = min(1.0, SAFETY * self._clock.left() * self._rate() / self._left)
        pairs = int(effort * layer.channels * images)
        return plan(effort, images) if pairs >= images else single(max(1, pairs), layer.channels)

    def _rate(self) -> float:
        """Forward passes per second: so far, or of one batch if there is nothing yet."""
        seconds = time.perf_counter() - self._began
        if self._done and seconds > 1:
            return self._done / seconds
        return self._engine.measure_rate()

    def advance(self, pairs: int) -> None:
        """So many pairs of channel and image of the layer are done."""
        self._done += pairs * self._cost
        self._layer += pairs * self._cost
        self._ticks.advance(pairs * self._cost if self._clock.seconds is None else 0)

    def over(self) -> bool:
        """Whether time is up."""
        return self._clock.left() <= 0

    def leave(self, layer: ConvLayer) -> None:
        """The layer is done, whatever was left out of it."""
        shown = self._layer if self._clock.seconds is None else 0.0
        self._left -= self._exact[layer.name]
        self._ticks.advance(max(0.0, self._planned[layer.name] - shown))
        self._layer = 0.0

    def finish(self) -> None:
        """Everything is done."""
        self._ticks.finish()


SAFETY = 0.9
"""Share of the time that is left which is planned for: rounds are whole images and channels."""


class Ticks:
    """A progress bar for work whose parts are not equally long.

    Args:
        progress: Shaped like ``rich.progress.track``.
        description: What is being done.
        total: All of the work, in any unit.
    """

    def __init__(self, progress: Progress, description: str, total: float) -> None:
        self._bar = iter(progress(range(TICKS), description, TICKS))
        self._total, self._done, self._shown = total, 0.0, 0
        next(self._bar, None)  # shows the bar: an item is done when the next one is asked for

    def advance(self, work: float) -> None:
        """So much more of ``total`` is done."""
        self._done += work
        wanted = min(TICKS, int(TICKS * self._done / self._total)) if self._total else TICKS
        for _ in range(self._shown, wanted):
            next(self._bar, None)
        self._shown = max(self._shown, wanted)

    def finish(self) -> None:
        """Everything is done."""
        self.advance(self._total)
