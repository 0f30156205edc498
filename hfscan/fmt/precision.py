"""In which precision a network is tested: half where the machine has it fast and it changes no answers."""

from __future__ import annotations

import contextlib
import copy
import time
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from hfscan.channels import conv_layers
from hfscan.errors import UsageError
from hfscan.fmt.reverse import reverse_features, start
from hfscan.models.classifier import Classifier
from hfscan.types import AuditSettings, ImageSet, Precision

PRECISIONS: dict[Precision, torch.dtype] = {
    "fp32": torch.float32,
    "bf16": torch.bfloat16,
    "fp16": torch.float16,
}
"""Name -> type of weights and feature maps."""

MIN_SPEEDUP = 1.2
"""Half precision that is not faster by so much is not worth its rounding."""

MIN_SECONDS = 0.02
"""Nor is it for a network that is done with all images of the measurement in less."""

IMAGES = 32
"""Clean images of the measurement."""

LAYERS, IMAGES_PER_LAYER = 4, 16
"""Layers whose first channel is tested for it, and with how many of the images."""


@dataclass(frozen=True)
class Choice:
    """A precision, and how well it keeps the network's answers.

    Args:
        name: Key of `PRECISIONS`.
        agreement: Share of clean and perturbed images that get the same class as in float32, in [0, 1].
    """

    name: Precision
    agreement: float = 1.0


def working_copy(net: nn.Module, precision: Precision) -> nn.Module:
    """A copy to compute with: eval mode, no gradients of parameters, channels_last, in a precision.

    Args:
        net: float32 ``(B, 3, H, W)`` in [0, 1] -> logits ``(B, K)``; it is left as it was.
        precision: Key of `PRECISIONS`. Normalization of the images stays in float32.
    """
    made = copy.deepcopy(net).eval().requires_grad_(False)
    dtype = PRECISIONS[precision]
    if not isinstance(made, Classifier):
        made = Classifier(made, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)).to(next(net.parameters()).device)
        made.eval()
    if dtype is not torch.float32:
        made.net.to(dtype)
    return made.to(memory_format=torch.channels_last)


def choose_precision(net: nn.Module, images: ImageSet, settings: AuditSettings) -> Choice:
    """Settle ``settings.precision``.

    ``auto`` takes bfloat16 or float16, whichever is faster here, if it is faster than float32 by a fifth
    and at least ``settings.min_agreement`` of clean and of perturbed images keep their class.

    Raises:
        UsageError: A precision that was asked for does not keep the network's answers.
    """
    if settings.precision == "fp32":
        return Choice("fp32")
    plain = working_copy(net, "fp32")
    pixels = _samples(plain, images, settings)
    wanted = settings.precision
    names: tuple[Precision, ...] = ("bf16", "fp16") if wanted == "auto" else (wanted,)
    seconds, classes = _measure(plain, pixels)
    if wanted == "auto" and seconds < MIN_SECONDS:
        return Choice("fp32")
    found: list[tuple[float, Choice]] = []
    for name in names:
        try:
            took, answers = _measure(working_copy(net, name), pixels)
        except (RuntimeError, TypeError, NotImplementedError):
            continue  # a layer has no such kernel
        found.append((took, Choice(name, float((answers == classes).float().mean()))))
    kept = [each for each in found if each[1].agreement >= settings.min_agreement]
    if wanted != "auto":
        if not kept:
            raise UsageError(
                f"--precision {wanted} changes this network's answers", "leave it at auto, or fp32"
            )
        return kept[0][1]
    fast = [each for each in kept if each[0] * MIN_SPEEDUP < seconds]
    return min(fast, key=lambda each: each[0])[1] if fast else Choice("fp32")


def _samples(net: nn.Module, images: ImageSet, settings: AuditSettings) -> Tensor:
    """Clean images, and reverse-generated ones of a channel of some layers."""
    device = next(net.parameters()).device
    pixels = images.images[:IMAGES].to(device).float().div_(255)
    noise = torch.rand(pixels.shape, generator=torch.Generator().manual_seed(settings.seed))
    noise = (2 * noise.to(device) - 1) * settings.step_size
    samples = [pixels]
    layers = [layer for layer in conv_layers(net, pixels[:1]) if not layer.skipped]
    for layer in layers[:: max(1, len(layers) // LAYERS)]:
        with contextlib.suppress(RuntimeError):  # such a layer is reported later
            begin = start(net, layer.name, pixels[:IMAGES_PER_LAYER], noise[:IMAGES_PER_LAYER])
            samples += [made for made, _ in reverse_features(net, begin, [0], settings)]
    return torch.cat(samples).contiguous(memory_format=torch.channels_last)


def _measure(net: nn.Module, pixels: Tensor) -> tuple[float, Tensor]:
    """Seconds of the fastest of three passes, and the predicted classes."""
    best = float("inf")
    with torch.inference_mode():
        for _ in range(3):
            began = time.perf_counter()
            classes = torch.cat([net(batch).argmax(1) for batch in pixels.split(IMAGES)]).cpu()
            best = min(best, time.perf_counter() - began)
    return best, classes
