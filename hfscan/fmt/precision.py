"""In which precision a network is tested: half where the machine has it fast and it changes no answers."""

from __future__ import annotations

import contextlib
import copy
import time
from dataclasses import dataclass, replace

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

TIMED = 16
"""Images of the pass that is timed."""

MIN_SECONDS = 0.004
"""Nor is it for a network that is done with them in less."""

MAX_SECONDS = 3.0
"""What comparing the answers may take, about."""

COMPARED, LAYERS, MAX_STEPS = 32, 4, 4
"""Most clean images that are compared, layers whose first channel is tested with half of them, steps."""


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

    ``auto`` takes what is fastest here: float32, bfloat16, or on a GPU float16. Half precision must be faster by
    a fifth, and at least ``settings.min_agreement`` of clean and of reverse-generated images keep their class.

    Raises:
        UsageError: A precision that was asked for does not keep the network's answers.
    """
    wanted = settings.precision
    if wanted == "fp32":
        return Choice("fp32")
    plain = working_copy(net, "fp32")
    pixels = images.images[:COMPARED].to(next(net.parameters()).device).float().div_(255)
    seconds = seconds_of_pass(plain, pixels[:TIMED])
    if wanted != "auto":
        choice = Choice(wanted, _agreement(net, plain, wanted, pixels, seconds, settings))
        if choice.agreement < settings.min_agreement:
            raise UsageError(
                f"--precision {wanted} changes this network's answers", "leave it at auto, or fp32"
            )
        return choice
    half = _fastest_half(net, pixels[:TIMED], seconds)
    if half is None:
        return Choice("fp32")
    choice = Choice(half, _agreement(net, plain, half, pixels, seconds, settings))
    return choice if choice.agreement >= settings.min_agreement else Choice("fp32")


def _fastest_half(net: nn.Module, pixels: Tensor, seconds: float) -> Precision | None:
    """The fastest half precision, if it beats ``seconds`` of float32 by enough."""
    if seconds < MIN_SECONDS:
        return None
    found = time_halves(net, pixels)
    best = min(found, key=lambda name: found[name], default=None)
    return best if best is not None and found[best] * MIN_SPEEDUP < seconds else None


def time_halves(net: nn.Module, pixels: Tensor) -> dict[Precision, float]:
    """Seconds of a pass in each half precision that the network's device has.

    Args:
        net: float32 ``(B, 3, H, W)`` in [0, 1] -> logits ``(B, K)``.
        pixels: The images, where the network is.
    """
    names: tuple[Precision, ...] = ("bf16",) if pixels.device.type == "cpu" else ("bf16", "fp16")
    found: dict[Precision, float] = {}
    for name in names:
        with contextlib.suppress(RuntimeError, TypeError, NotImplementedError):  # no such kernel
            found[name] = seconds_of_pass(working_copy(net, name), pixels)
    return found


def _agreement(
    net: nn.Module,
    plain: nn.Module,
    name: Precision,
    pixels: Tensor,
    seconds: float,
    settings: AuditSettings,
) -> float:
    """Share of clean and reverse-generated images that get the class that float32 gives them.

    Args:
        net: The network.
        plain: Its working copy in float32.
        name: The precision to compare.
        pixels: Clean images.
        seconds: What float32 takes for `TIMED` of them; a slow network is compared with fewer.
        settings: Of feature reverse generation.
    """
    affordable = int(MAX_SECONDS * TIMED / seconds / (1 + 2 * LAYERS))
    samples = _samples(plain, pixels[: max(4, affordable)], settings)
    half = working_copy(net, name)
    with torch.inference_mode():
        same = [plain(batch).argmax(1) == half(batch).argmax(1) for batch in samples.split(TIMED)]
    return float(torch.cat(same).float().mean())


def _samples(net: nn.Module, pixels: Tensor, settings: AuditSettings) -> Tensor:
    """Clean images, and reverse-generated ones of a channel of some layers."""
    noise = torch.rand(pixels.shape, generator=torch.Generator().manual_seed(settings.seed))
    noise = (2 * noise.to(pixels.device) - 1) * settings.step_size
    half = max(1, len(pixels) // 2)
    settings = replace(settings, steps=min(settings.steps, MAX_STEPS))
    samples = [pixels]
    layers = [layer for layer in conv_layers(net, pixels[:1]) if not layer.skipped]
    for layer in layers[:: max(1, len(layers) // LAYERS)]:
        with contextlib.suppress(RuntimeError):  # such a layer is reported later
            begin = start(net, layer.name, pixels[:half], noise[:half])
            samples += [made for made, _ in reverse_features(net, begin, [0], settings)]
    return torch.cat(samples).contiguous(memory_format=torch.channels_last)


def seconds_of_pass(net: nn.Module, pixels: Tensor) -> float:
    """Of the fastest of three passes."""
    pixels = pixels.contiguous(memory_format=torch.channels_last)
    best = float("inf")
    with torch.inference_mode():
        for _ in range(3):
            began = time.perf_counter()
            net(pixels).argmax(1).cpu()
            best = min(best, time.perf_counter() - began)
    return best
