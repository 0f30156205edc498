"""In which precision a network is tested: half where the machine has it fast and it changes no answers."""

from __future__ import annotations

import contextlib
import copy
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from hfscan.channels import conv_layers
from hfscan.errors import UsageError
from hfscan.fmt.memory import give_back
from hfscan.fmt.reverse import reverse_features, start
from hfscan.half import fast_half
from hfscan.models.classifier import Classifier
from hfscan.models.layout import channels_last
from hfscan.types import AuditSettings, ImageSet, Precision

PRECISIONS: dict[Precision, torch.dtype] = {
    "fp32": torch.float32,
    "bf16": torch.bfloat16,
    "fp16": torch.float16,
}
"""Name -> type of weights and feature maps."""

NAMES = {dtype: name for name, dtype in PRECISIONS.items()}

MIN_WEIGHTS = 100_000
"""A network with fewer is done so soon that half precision is not worth its rounding."""

MAX_MACS = 5e10
"""What comparing the answers may cost, in multiply-accumulate operations: a second or so."""

COMPARED, LAYERS, MAX_STEPS, BATCH = 32, 4, 4, 16
"""Most clean images that are compared, layers whose first channel is tested with half of them, steps; images per pass."""


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
        net: float32 ``(B, 3, H, W)`` in [0, 1] -> logits ``(B, K)``, with weights of any precision; it is left
            as it was.
        precision: Key of `PRECISIONS`. Normalization of the images stays in float32.
    """
    made = copy.deepcopy(net).eval().requires_grad_(False)
    if not isinstance(made, Classifier):
        made = Classifier(made, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)).to(next(net.parameters()).device)
        made.eval()
    made.net.to(PRECISIONS[precision])
    return channels_last(made)


def choose_precision(net: nn.Module, images: ImageSet, settings: AuditSettings) -> Choice:
    """Settle ``settings.precision``.

    ``auto`` takes half precision where the device computes it faster (`hfscan.half.fast_half`) and at least
    ``settings.min_agreement`` of clean and of reverse-generated images keep their class. It does not look at
    a clock: the same network, images and settings get the same precision on a busy machine.

    Raises:
        UsageError: A precision that was asked for does not keep the network's answers.
    """
    wanted = settings.precision
    name = _fast(net) if wanted == "auto" else wanted
    if name == "fp32":
        return Choice("fp32")
    pixels = images.images[:COMPARED].to(next(net.parameters()).device).float().div_(255)
    choice = Choice(name, _agreement(net, name, pixels, settings))
    if choice.agreement >= settings.min_agreement:
        return choice
    if wanted == "auto":
        return Choice("fp32")
    raise UsageError(
        f"--precision {wanted} changes this network's answers", "leave it at auto, or fp32"
    )


def _fast(net: nn.Module) -> Precision:
    """The precision that is fastest where the network is; float32 for a small one."""
    weights = sum(weight.numel() for weight in net.parameters())
    half = fast_half(next(net.parameters()).device)
    return NAMES[half] if half is not None and weights >= MIN_WEIGHTS else "fp32"


def _agreement(net: nn.Module, name: Precision, pixels: Tensor, settings: AuditSettings) -> float:
    """Share of clean and reverse-generated images that get the class that float32 gives them.

    It is 0 if the network cannot compute in that precision.

    Args:
        net: The network.
        name: The precision to compare.
        pixels: Clean images; a large network is compared with fewer.
        settings: Of feature reverse generation.
    """
    plain = working_copy(net, "fp32")
    macs = sum(layer.macs for layer in conv_layers(net, pixels[:1]))
    affordable = int(MAX_MACS / max(1, macs) / (1 + 2 * LAYERS))
    samples = _samples(plain, pixels[: max(4, affordable)], settings)
    half = working_copy(net, name)
    try:
        with torch.inference_mode():
            same = [
                plain(batch).argmax(1) == half(batch).argmax(1) for batch in samples.split(BATCH)
            ]
    except (RuntimeError, TypeError, NotImplementedError):  # no such kernel
        return 0.0
    finally:
        give_back()
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
