"""A plain re-creation of the published procedure of feature map testing: the peer that the engine is timed against.

One layer at a time; hooks on every convolution; whole passes through the network, in float32 and its
usual memory layout; per channel a backward pass on a retained graph, then a forward pass at each of the step
lengths alpha, 2 alpha and so on. Written from the paper's arithmetic (Algorithm 1 and section III-E); no
batching of channels, no shared prefix, no half precision.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from hfscan.types import AuditSettings


def naive_profile(
    net: nn.Module,
    images: Tensor,
    noise: Tensor,
    settings: AuditSettings,
    layers: list[str] | None = None,
    channels: int | None = None,
) -> Iterator[tuple[str, Tensor]]:
    """Predicted classes for every channel.

    Args:
        net: float32 ``(B, 3, H, W)`` in [0, 1] -> logits ``(B, K)``, in eval mode.
        images: ``(N, 3, H, W)`` in [0, 1].
        noise: To add for the start, ``(N, 3, H, W)``.
        settings: Steps, step size and eps.
        layers: Names of convolutions; all in order of registration if None.
        channels: About so many of each layer, spread evenly, for an estimate; all if None.

    Yields:
        A layer's name, and predictions int64 ``(C, S, N)``.
    """
    maps: dict[str, Tensor] = {}
    hooks = [
        module.register_forward_hook(lambda _, __, output, name=name: maps.update({name: output}))
        for name, module in net.named_modules()
        if isinstance(module, nn.Conv2d)
    ]
    try:
        for name in layers or list(_convolutions(net)):
            with torch.no_grad():
                net(images)
            clean = maps[name].clone()
            noisy = (images + noise).requires_grad_()
            net(noisy)
            start = maps[name]
            count = start.shape[1]
            chosen = torch.arange(count)[:: max(1, count // channels)] if channels else range(count)
            rows = [
                _test(net, images, noisy, clean[:, c], start[:, c], settings)
                for c in map(int, chosen)
            ]
            yield name, torch.stack(rows)
    finally:
        for hook in hooks:
            hook.remove()


def _convolutions(net: nn.Module) -> Iterator[str]:
    return (name for name, module in net.named_modules() if isinstance(module, nn.Conv2d))


def _test(
    net: nn.Module,
    images: Tensor,
    noisy: Tensor,
    clean: Tensor,
    start: Tensor,
    settings: AuditSettings,
) -> Tensor:
    """One channel: int64 ``(S, N)``."""
    loss = (clean - start).square().sum()
    (gradient,) = torch.autograd.grad(loss, noisy, retain_graph=True)
    predictions = []
    for step in range(1, settings.steps + 1):
        moved = noisy.detach() + step * settings.step_size * gradient.sign()
        delta = (moved - images).clamp(-settings.eps, settings.eps)
        predictions.append(net((images + delta).clamp(0, 1)).detach().argmax(1))
    return torch.stack(predictions)
