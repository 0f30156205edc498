"""The engine of feature map testing: many channels and images through one network, within bounds of memory.

What makes it fast, without a change of what is computed: the pass over the noisy images ends at the layer
and is shared by its channels; x' of several channels and images fill whole batches; the network is a copy
in the machine's fastest precision and memory layout; nothing is kept but predictions and margins.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from hfscan.channels import ConvLayer, conv_layers, one_image
from hfscan.fmt.memory import Limits, default_memory, measure_limits
from hfscan.fmt.precision import choose_precision, working_copy
from hfscan.fmt.reverse import reverse_features, start
from hfscan.types import AuditSettings, FloatArray, ImageSet, IntArray

BACKWARD = 1.2
"""Cost of a backward pass to the images, in forward passes (measured on PreActResNet18, CPU)."""


@dataclass(frozen=True, eq=False)
class Responses:
    """What the network made of the reverse-generated images of one layer's channels.

    Args:
        predicted: int64 ``(C, N, S)``, the predicted class; -1 where a channel was not tested with an image.
        margin: float32 ``(C, N, S)``, the label's logit minus the largest other one; NaN likewise.
    """

    predicted: IntArray
    margin: FloatArray

    @classmethod
    def empty(cls, channels: int, images: int, steps: int) -> Responses:
        """Nothing tested yet."""
        shape = (channels, images, steps)
        return cls(np.full(shape, -1, np.int64), np.full(shape, np.nan, np.float32))

    def counts(self, classes: int) -> IntArray:
        """How often each class was predicted, int32 ``(C, S, K)``; what was not tested does not count."""
        channel, image, step = (self.predicted >= 0).nonzero()
        found = np.zeros((len(self.predicted), self.predicted.shape[2], classes), np.int32)
        np.add.at(found, (channel, step, self.predicted[channel, image, step]), 1)
        return found


class Engine:
    """A network, N clean images and their noise, ready to test channels.

    Args:
        net: float32 ``(B, 3, H, W)`` in [0, 1] -> logits ``(B, K)``, in the precision to compute in; see
            `hfscan.fmt.precision.working_copy`. Nothing else may use it meanwhile.
        images: The N clean images.
        settings: Steps, step size, eps and seed.
        limits: Of memory.
    """

    def __init__(
        self, net: nn.Module, images: ImageSet, settings: AuditSettings, limits: Limits
    ) -> None:
        self.net, self.settings, self.limits = net, settings, limits
        device = next(net.parameters()).device
        pixels = images.images.to(device).float().div_(255)
        self.pixels = pixels.contiguous(memory_format=torch.channels_last)
        self.labels = images.labels.to(device)
        generator = torch.Generator().manual_seed(settings.seed)
        noise = torch.rand(pixels.shape, generator=generator).to(device)
        self.noise = (2 * noise - 1) * settings.step_size
        self.layers: list[ConvLayer] = conv_layers(net, self.pixels[:1])
        with torch.no_grad():
            self.classes = int(net(self.pixels[:1]).shape[1])

    def cost(self, layer: ConvLayer) -> float:
        """Of testing one channel with one image, in forward passes of the network."""
        macs = [each.macs for each in self.layers]
        end = [each.name for each in self.layers].index(layer.name) + 1
        prefix = sum(macs[:end]) / max(1, sum(macs))
        passes = self.settings.steps if self.settings.gradient == "every" else 1
        return self.settings.steps + BACKWARD * prefix * passes

    def measure_rate(self) -> float:
        """Forward passes per second, of one batch."""
        batch = self.pixels[:1].repeat(self.limits.batch, 1, 1, 1)
        best = float("inf")
        with torch.inference_mode():
            for _ in range(2):
                began = time.perf_counter()
                self.net(batch).argmax(1).cpu()
                best = min(best, time.perf_counter() - began)
        return len(batch) / best

    def test(
        self,
        layer: ConvLayer,
        responses: Responses,
        channels: Sequence[int],
        images: Sequence[int],
    ) -> Iterator[int]:
        """Test channels of a layer with images, and enter what comes out.

        Args:
            layer: One of ``layers``.
            responses: Of that layer; changed in place.
            channels: Which channels.
            images: Which of the N images.

        Yields:
            After each batch, how many pairs of channel and image it held.
        """
        group, chunk = self.limits.sizes(len(images))
        for which in torch.as_tensor(images).split(group):
            copies = self.limits.copies(len(which), len(channels))
            pixels, noise = self.pixels[which], self.noise[which]
            begin = start(self.net, layer.name, pixels, noise, copies=copies)
            labels = self.labels[which]
            for first in range(0, len(channels), chunk):
                some = list(channels[first : first + chunk])
                passes = reverse_features(self.net, begin, some, self.settings)
                for step, (_, logits) in enumerate(passes):
                    logits = logits.view(len(some), len(which), -1)
                    place = np.ix_(some, which.numpy(), [step])
                    responses.predicted[place] = _array(logits.argmax(2))
                    responses.margin[place] = _array(_margin(logits, labels))
                yield len(some) * len(which)


def make_engine(
    net: nn.Module,
    images: ImageSet,
    settings: AuditSettings,
    *,
    memory: int | None = None,
    batch_size: int | None = None,
) -> Engine:
    """An engine on a copy of ``net``, in the precision of the settings and within ``memory`` bytes.

    Raises:
        UsageError: The precision does not keep the network's answers.
    """
    precision = settings.precision
    if precision == "auto":
        precision = choose_precision(net, images, settings).name
    copied = working_copy(net, precision)
    limits = measure_limits(
        copied,
        one_image(net, images),
        default_memory() if memory is None else memory,
        batch_size,
        retained=settings.gradient == "every",
    )
    return Engine(copied, images, settings, limits)


def _array(values: Tensor) -> np.ndarray:
    return values.cpu().numpy()[..., None]


def _margin(logits: Tensor, labels: Tensor) -> Tensor:
    """The label's logit minus the largest other one: ``(c, n, K)`` and ``(n,)`` -> ``(c, n)``."""
    index = labels.expand(len(logits), -1)[..., None]
    own = logits.gather(2, index).squeeze(2)
    return own - logits.scatter(2, index, -torch.inf).amax(2)
