"""Accuracy profiles: what a network makes of each channel's reverse-generated images (FMT, III-E)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from hfscan.channels import ConvLayer, conv_layers, probing
from hfscan.fmt.reverse import Start, reverse_features, start
from hfscan.types import AuditSettings, FloatArray, ImageSet, IntArray, Progress, silent


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


@dataclass(frozen=True)
class _Chunk:
    """Channels of one layer that are tested together."""

    layer: ConvLayer
    channels: list[int]

    @property
    def first(self) -> bool:
        return self.channels[0] == 0

    @property
    def last(self) -> bool:
        return self.channels[-1] == self.layer.channels - 1


def profile(
    net: nn.Module,
    images: ImageSet,
    settings: AuditSettings,
    *,
    batch_size: int = 256,
    progress: Progress = silent,
) -> Iterator[LayerProfile]:
    """Test every conv channel of a network, layer by layer in order of execution.

    The network is left exactly as it was found: weights, buffers, modes, hooks and the global random
    state. A layer that fails is yielded with the reason.

    Args:
        net: float32 ``(B, 3, H, W)`` in [0, 1] -> logits ``(B, K)``.
        images: The N clean images of the test.
        settings: Steps, step size, eps and seed.
        batch_size: Images per pass.
        progress: Wraps the loop over chunks of channels.
    """
    device = next(net.parameters()).device
    pixels = images.images.to(device).float().div_(255)
    pixels = pixels.contiguous(memory_format=torch.channels_last)
    tester = _Tester(net, pixels, images.labels.to(device), settings)
    with probing(net):
        layers = conv_layers(net, pixels[:1])
        for layer in layers:
            if layer.skipped:
                yield _failed(layer, layer.skipped)
        chunks = _chunks(layers, max(1, batch_size // len(images)))
        yield from _by_layer(tester, progress(chunks, "testing channels", len(chunks)))


def _chunks(layers: list[ConvLayer], size: int) -> list[_Chunk]:
    return [
        _Chunk(layer, list(range(first, min(first + size, layer.channels))))
        for layer in layers
        if not layer.skipped
        for first in range(0, layer.channels, size)
    ]


def _by_layer(tester: _Tester, chunks: Iterable[_Chunk]) -> Iterator[LayerProfile]:
    """Gather the results of the chunks of each layer; a failure ends the work on its layer."""
    counts: list[IntArray] = []
    accuracy: list[FloatArray] = []
    failure = ""
    for chunk in chunks:
        if chunk.first:
            counts, accuracy, failure = [], [], ""
        if not failure:
            try:
                results = tester.test(chunk)
            except (RuntimeError, ValueError, NotImplementedError) as error:
                failure = f"its passes fail ({(str(error).splitlines() or [''])[0]:.100})"
            else:
                counts.append(results[0])
                accuracy.append(results[1])
        if chunk.last and failure:
            yield _failed(chunk.layer, failure)
        elif chunk.last:
            yield LayerProfile(chunk.layer, np.concatenate(accuracy), np.concatenate(counts))


def _failed(layer: ConvLayer, reason: str) -> LayerProfile:
    return LayerProfile(layer, np.zeros((0, 0), np.float32), np.zeros((0, 0, 0), np.int64), reason)


class _Tester:
    """Tests chunks of channels; what a layer's chunks share is computed once."""

    def __init__(
        self, net: nn.Module, pixels: Tensor, labels: Tensor, settings: AuditSettings
    ) -> None:
        self.net, self.pixels, self.labels, self.settings = net, pixels, labels, settings
        generator = torch.Generator().manual_seed(settings.seed)
        noise = torch.rand(pixels.shape, generator=generator).to(pixels.device)
        self.noise = (2 * noise - 1) * settings.step_size
        self.begin: Start | None = None

    def test(self, chunk: _Chunk) -> tuple[IntArray, FloatArray]:
        """Counts ``(c, S, K)`` and accuracy ``(c, S)`` of a chunk of c channels."""
        if self.begin is None or self.begin.layer != chunk.layer.name:
            self.begin = None  # frees the graph of the layer before
            self.begin = start(self.net, chunk.layer.name, self.pixels, self.noise)
        counts, correct = [], []
        for _, logits in reverse_features(self.net, self.begin, chunk.channels, self.settings):
            predicted = logits.argmax(1).view(len(chunk.channels), -1)
            counts.append(_histogram(predicted, logits.shape[1]))
            correct.append((predicted == self.labels).float().mean(1))
        return torch.stack(counts, 1).cpu().numpy(), torch.stack(correct, 1).cpu().numpy()


def _histogram(predicted: Tensor, classes: int) -> Tensor:
    """How often each class occurs in each row: int64 ``(c, N)`` -> ``(c, K)``."""
    counts = torch.zeros(len(predicted), classes, dtype=torch.int64, device=predicted.device)
    return counts.scatter_add_(1, predicted, torch.ones_like(predicted))
