"""Feature reverse generation (FMT, Algorithm 1)."""

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

    Args:
        layer: Name of the conv layer.
        images: x, float32 ``(N, 3, H, W)`` in [0, 1].
        clean: F(x), ``(N, C, h, w)``.
        noisy: x + noise, ``(N, 3, H, W)``, a leaf of the graph. The squared distance has a gradient of
            zero at x itself.
        maps: F(x + noise), ``(N, C, h, w)``, with its graph.
    """

    layer: str
    images: Tensor
    clean: Tensor
    noisy: Tensor
    maps: Tensor


def start(net: nn.Module, layer: str, images: Tensor, noise: Tensor) -> Start:
    """Compute what the channels of a layer share.

    Args:
        net: The network, inside `hfscan.channels.probing`.
        layer: Name of the conv layer.
        images: x, float32 ``(N, 3, H, W)`` in [0, 1].
        noise: To add for the start, ``(N, 3, H, W)``.
    """
    with torch.no_grad():
        clean = feature_map(net, layer, images).clone()
    noisy = (images + noise).requires_grad_()
    return Start(layer, images, clean, noisy, feature_map(net, layer, noisy))


def reverse_features(
    net: nn.Module, begin: Start, channels: list[int], settings: AuditSettings
) -> Iterator[tuple[Tensor, Tensor]]:
    """Perturb the images so that a channel's feature map moves away from its clean one.

    The images of several channels make one batch: a sample's own channel alone enters its loss, and
    no layer mixes samples in eval mode, so each gradient is what it would be by itself. The pass that
    classifies x' also gives the feature maps for the next step.

    Args:
        net: The network, inside `hfscan.channels.probing`.
        begin: From `start`.
        channels: The c channels to test.
        settings: Steps, step size alpha and bound eps.

    Yields:
        After each step x', float32 ``(c * N, 3, H, W)`` in [0, 1], channel by channel, and the
        logits of x', ``(c * N, K)``.

    References:
        Huang et al., "FMT: Removing Backdoor Feature Maps via Feature Map Testing in Deep Neural
        Networks", section III-D, Algorithm 1.
    """
    samples = len(begin.images)
    images = begin.images.repeat(len(channels), 1, 1, 1)
    clean = torch.cat([begin.clean[:, channel] for channel in channels])
    row = torch.arange(len(images), device=images.device)
    column = torch.tensor(channels, device=images.device).repeat_interleave(samples)
    gradient = torch.cat([_first_gradient(begin, channel) for channel in channels])
    perturbed = begin.noisy.detach().repeat(len(channels), 1, 1, 1)
    for step in range(settings.steps):
        moved = perturbed + settings.step_size * gradient.sign()
        delta = (moved - images).clamp_(-settings.eps, settings.eps)
        perturbed = (images + delta).clamp_(0, 1)
        if step + 1 == settings.steps:
            with torch.inference_mode():
                yield perturbed, net(perturbed)
            return
        perturbed.requires_grad_()
        maps, logits = watch(net, begin.layer, perturbed, lambda output: output[row, column])
        (gradient,) = torch.autograd.grad((clean - maps).square().sum(), perturbed)
        perturbed = perturbed.detach()
        yield perturbed, logits


def _first_gradient(begin: Start, channel: int) -> Tensor:
    loss = (begin.clean[:, channel] - begin.maps[:, channel]).square().sum()
    return torch.autograd.grad(loss, begin.noisy, retain_graph=True)[0]
