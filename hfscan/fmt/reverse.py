"""Feature reverse generation (FMT, Algorithm 1).

Deviation, the default: the gradient at the start serves every step, as in the authors' release, where the steps
are alpha, 2 alpha and so on along its sign. It saves a pass forth and back per channel and step.
``settings.gradient = "every"`` is Algorithm 1 to the letter: a new gradient for each step.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from hfscan.channels import feature_map, watch
from hfscan.types import AuditSettings


@dataclass(frozen=True, eq=False)
class Start:
    """What the channels of a layer share: the clean maps, and the pass over the noisy images.

    The noisy images may be in it several times, so that one backward pass serves as many channels: with few
    images, a batch of them would be too small to be fast.

    Args:
        layer: Name of the conv layer.
        images: x, float32 ``(N, 3, H, W)`` in [0, 1].
        clean: F(x), ``(N, C, h, w)``.
        noisy: x + noise, ``(copies * N, 3, H, W)``, a leaf of the graph. The squared distance has a gradient
            of zero at x itself.
        maps: F(x + noise), ``(copies * N, C, h, w)``, with its graph.
    """

    layer: str
    images: Tensor
    clean: Tensor
    noisy: Tensor
    maps: Tensor

    @property
    def copies(self) -> int:
        """How many channels a backward pass serves."""
        return len(self.noisy) // len(self.images)


def start(net: nn.Module, layer: str, images: Tensor, noise: Tensor, *, copies: int = 1) -> Start:
    """Compute what the channels of a layer share.

    Args:
        net: The network, inside `hfscan.channels.probing`.
        layer: Name of the conv layer.
        images: x, float32 ``(N, 3, H, W)`` in [0, 1].
        noise: To add for the start, ``(N, 3, H, W)``.
        copies: How many channels one backward pass shall serve.
    """
    with torch.no_grad():
        clean = feature_map(net, layer, images).clone()
    noisy = (images + noise).repeat(copies, 1, 1, 1).requires_grad_()
    return Start(layer, images, clean, noisy, feature_map(net, layer, noisy))


def reverse_features(
    net: nn.Module, begin: Start, channels: list[int], settings: AuditSettings
) -> Iterator[tuple[Tensor, Tensor]]:
    """Perturb the images so that a channel's feature map moves away from its clean one.

    The images of several channels make one batch: a sample's own channel alone enters its loss, and
    no layer mixes samples in eval mode, so each gradient is what it would be by itself. Where a step needs
    a gradient of its own, the pass that classifies x' also gives the feature maps for it.

    Args:
        net: The network, inside `hfscan.channels.probing`.
        begin: From `start`.
        channels: The c channels to test.
        settings: Steps, step size alpha, bound eps, and which gradients.

    Yields:
        After each step x', float32 ``(c * N, 3, H, W)`` in [0, 1], channel by channel, and the
        logits of x', ``(c * N, K)``.

    References:
        Huang et al., "FMT: Removing Backdoor Feature Maps via Feature Map Testing in Deep Neural
        Networks", section III-D, Algorithm 1.
    """
    images = begin.images.repeat(len(channels), 1, 1, 1)
    noisy = begin.noisy.detach()[: len(begin.images)]
    perturbed = noisy.repeat(len(channels), 1, 1, 1)
    parts = [channels[i : i + begin.copies] for i in range(0, len(channels), begin.copies)]
    direction = torch.cat([_first_gradients(begin, part) for part in parts]).sign_()
    for step in range(1, settings.steps + 1):
        moved = perturbed + settings.step_size * direction
        delta = (moved - images).clamp_(-settings.eps, settings.eps)
        perturbed = (images + delta).clamp_(0, 1)
        if settings.gradient == "every" and step < settings.steps:
            direction, logits = _next_gradient(net, begin, channels, perturbed)
            yield perturbed, logits
        else:
            with torch.inference_mode():
                logits = net(perturbed)
            yield perturbed, logits


def _first_gradients(begin: Start, channels: list[int]) -> Tensor:
    """Of each channel's squared distance with respect to the noisy images, up to a positive factor.

    The factor keeps small distances within the range of half precision; only signs are used.

    Args:
        begin: From `start`.
        channels: At most ``begin.copies``.

    Returns:
        ``(c * N, 3, H, W)``, channel by channel.
    """
    images = len(begin.images)
    seed = torch.zeros_like(begin.maps)
    for copy, channel in enumerate(channels):
        rows = slice(copy * images, (copy + 1) * images)
        distance = (begin.maps.detach()[rows, channel] - begin.clean[:, channel]).float()
        scaled = distance / distance.abs().max().clamp_min(1e-30)
        seed[rows, channel] = scaled.to(seed.dtype)
    (gradient,) = torch.autograd.grad(begin.maps, begin.noisy, seed, retain_graph=True)
    return gradient[: len(channels) * images]


def _next_gradient(
    net: nn.Module, begin: Start, channels: list[int], perturbed: Tensor
) -> tuple[Tensor, Tensor]:
    """The signs of the gradients at x', and the logits of x'."""
    row = torch.arange(len(perturbed), device=perturbed.device)
    column = torch.tensor(channels, device=perturbed.device).repeat_interleave(len(begin.images))
    clean = torch.cat([begin.clean[:, channel] for channel in channels])
    leaf = perturbed.detach().requires_grad_()
    maps, logits = watch(net, begin.layer, leaf, lambda output: output[row, column])
    (gradient,) = torch.autograd.grad((clean - maps).float().square().sum(), leaf)
    return gradient.sign_(), logits
