"""Accuracy profiles: what a network makes of each channel's reverse-generated images (FMT, III-E)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from torch import nn

from hfscan.channels import ConvLayer
from hfscan.fmt.engine import Engine, Responses, make_engine
from hfscan.types import AuditSettings, FloatArray, ImageSet, IntArray, Progress, silent

TICKS = 1000
"""Steps of the progress bar: layers deep in the network cost more than the first ones."""


@dataclass(frozen=True, eq=False)
class LayerProfile:
    """The profile of one layer.

    Args:
        layer: The layer.
        accuracy: float32 ``(C, S)`` in [0, 1].
        predictions: int64 counts ``(C, S, K)``.
        skipped: Why there is no profile; empty when there is.
    """

    layer: ConvLayer
    accuracy: FloatArray
    predictions: IntArray
    skipped: str = ""


def profile(
    net: nn.Module,
    images: ImageSet,
    settings: AuditSettings,
    *,
    memory: int | None = None,
    batch_size: int | None = None,
    progress: Progress = silent,
) -> Iterator[LayerProfile]:
    """Test every conv channel of a network with every image, layer by layer in order of execution.

    The network is left exactly as it was found: weights, buffers, modes, hooks and the global random
    state.

    Args:
        net: float32 ``(B, 3, H, W)`` in [0, 1] -> logits ``(B, K)``.
        images: The N clean images of the test.
        settings: Steps, step size, eps, seed and precision.
        memory: Bytes to use beside the model; None for 1 GiB or a quarter of what is free.
        batch_size: Most images per pass; None for what the device likes and memory allows.
        progress: Wraps the work, cut into a thousand parts of about the same length.

    Yields:
        A profile per layer; one that cannot be tested, or whose passes fail, has the reason.

    Raises:
        UsageError: The precision does not keep the network's answers.
    """
    engine = make_engine(net, images, settings, memory=memory, batch_size=batch_size)
    total = sum(layer.channels * engine.cost(layer) for layer in engine.layers if not layer.skipped)
    ticks = Ticks(progress, "testing channels", total * len(images))
    for layer in engine.layers:
        yield failed(layer, layer.skipped) if layer.skipped else _profile(engine, layer, ticks)
    ticks.finish()


def _profile(engine: Engine, layer: ConvLayer, ticks: Ticks) -> LayerProfile:
    samples = range(len(engine.pixels))
    responses = Responses.empty(layer.channels, len(samples), engine.settings.steps)
    cost = engine.cost(layer)
    left = layer.channels * len(samples)
    try:
        for done in engine.test(layer, responses, range(layer.channels), samples):
            ticks.advance(done * cost)
            left -= done
    except PASS_ERRORS as error:
        ticks.advance(left * cost)
        return failed(layer, why(error))
    correct = responses.predicted == engine.labels.cpu().numpy()[:, None]
    accuracy = correct.mean(1, dtype=np.float32)
    return LayerProfile(layer, accuracy, responses.counts(engine.classes))


PASS_ERRORS = (RuntimeError, ValueError, NotImplementedError)
"""What a pass through a strange layer may raise."""


def failed(layer: ConvLayer, reason: str) -> LayerProfile:
    """A layer without a profile."""
    return LayerProfile(layer, np.zeros((0, 0), np.float32), np.zeros((0, 0, 0), np.int64), reason)


def why(error: Exception) -> str:
    """An error of a pass as a reason."""
    return f"its passes fail ({(str(error).splitlines() or [''])[0]:.100})"


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
