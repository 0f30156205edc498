"""One shape for every network: images in [0, 1] in, logits out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from hfscan.errors import ModelError

Output = Literal["logits", "probabilities"]

LUMA = (0.299, 0.587, 0.114)


class Classifier(nn.Module):
    """Puts normalization in front of a network, and logits behind it.

    ``float32 (B, 3, H, W)`` in [0, 1] -> logits ``(B, K)``. A network with one input channel gets the
    luma of the image. Of a tuple, a list or a dict of outputs, the first tensor of shape ``(B, K)`` is
    taken (a dict's ``logits`` before others); the log of probabilities stands in for logits.

    Args:
        net: The network itself; its parameters are shared, not copied.
        mean: Per input channel, of images in [0, 1].
        std: Per input channel.
        output: What the network returns.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        net: nn.Module,
        mean: Sequence[float],
        std: Sequence[float],
        output: Output = "logits",
    ) -> None:
        super().__init__()
        self.net = net
        self.output = output
        self.register_buffer("mean", torch.tensor(mean).view(1, -1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, -1, 1, 1), persistent=False)

    @property
    def _dtype(self) -> torch.dtype:
        """Of the network's weights; half precision is no business of those who call it."""
        floating = (p.dtype for p in self.net.parameters() if p.is_floating_point())
        return next(floating, torch.float32)

    def forward(self, images: Tensor) -> Tensor:
        """Images ``(B, 3, H, W)`` in [0, 1] -> float32 logits ``(B, K)``."""
        if self.mean.shape[1] == 1:
            weights = images.new_tensor(LUMA).view(1, 3, 1, 1)
            images = (images * weights).sum(1, keepdim=True)
        normalized = (images - self.mean) / self.std
        out = first_tensor(self.net(normalized.to(self._dtype))).float()
        return out if self.output == "logits" else out.clamp_min(torch.finfo(out.dtype).tiny).log()


def first_tensor(output: Any) -> Tensor:
    """The logits among a network's outputs.

    Raises:
        ModelError: There is no tensor of two dimensions.
    """
    if isinstance(output, dict):
        output = [output[key] for key in sorted(output, key=lambda key: key != "logits")]
    candidates = output if isinstance(output, list | tuple) else [output]
    for candidate in candidates:
        if isinstance(candidate, Tensor) and candidate.ndim == 2:
            return candidate
    raise ModelError(
        f"the network returns {type(output).__name__}, no tensor of shape (images, classes)",
        "hfscan audits image classifiers only",
    )


def returns_probabilities(logits: Tensor) -> bool:
    """Whether outputs ``(B, K)`` look like the result of a softmax: in [0, 1], each row sums to 1."""
    sums = logits.sum(1)
    in_range = bool((logits >= 0).all()) and bool((logits <= 1).all())
    return in_range and bool(torch.allclose(sums, torch.ones_like(sums), atol=1e-3))


def inner(net: nn.Module) -> nn.Module:
    """The network without its `Classifier`: its layers have the names that its author gave them."""
    return net.net if isinstance(net, Classifier) else net


def architecture_of(net: nn.Module) -> str:
    """timm's name of a network's architecture, or the name of its class where timm did not make it."""
    net = inner(net)
    cfg = getattr(net, "pretrained_cfg", None)
    name = cfg.get("architecture") if isinstance(cfg, Mapping) else None
    return name if name and isinstance(name, str) else type(net).__name__
