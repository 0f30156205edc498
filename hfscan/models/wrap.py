"""Turn any module into a model that can be audited."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from hfscan.channels import probing
from hfscan.errors import ModelError, UnsupportedModelError
from hfscan.models.classifier import Classifier, Output, returns_probabilities


def classifier(
    net: nn.Module,
    *,
    input_size: tuple[int, int, int],
    num_classes: int,
    mean: Sequence[float],
    std: Sequence[float],
) -> Classifier:
    """Give a network normalization and logits, after a look at what it returns.

    Args:
        net: ``(B, *input_size)``, normalized -> logits or probabilities ``(B, K)``, or a tuple or
            dict that has them.
        input_size: ``(channels, height, width)``; 1 or 3 channels.
        num_classes: K.
        mean: Per input channel, of images in [0, 1].
        std: Per input channel, positive.

    Raises:
        ModelError: The network cannot be used as an image classifier of K classes.
    """
    channels, height, width = input_size
    if channels not in (1, 3):
        raise UnsupportedModelError(
            f"the model wants {channels} input channels", "1 or 3 are supported"
        )
    if not len(mean) == len(std) == channels or min(std) <= 0:
        raise ModelError(
            f"mean {tuple(mean)} and std {tuple(std)} do not fit {channels} input channels",
            "one number per channel; std is positive",
        )
    wrapped = Classifier(net, mean, std)
    parameter = next(net.parameters(), None)
    if parameter is None:
        raise ModelError("the network has no parameters", "there is nothing in it to audit")
    images = torch.rand(4, 3, height, width, generator=torch.Generator().manual_seed(0))
    try:
        with torch.no_grad(), probing(wrapped):
            wrapped.to(parameter.device)
            outputs = wrapped(images.to(parameter.device))
    except (RuntimeError, ValueError, TypeError, IndexError, AssertionError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ModelError(
            f"the network fails on images of {height}x{width} pixels ({reason:.120})",
            "is input_size what it was trained with?",
        ) from error
    if outputs.shape != (4, num_classes):
        raise ModelError(
            f"the network returns {outputs.shape[1]} classes, {num_classes} are declared",
            "num_classes must be what the network returns",
        )
    if not torch.isfinite(outputs).all():
        raise ModelError("the network's outputs are NaN or infinite", "its weights are broken")
    kind: Output = "probabilities" if returns_probabilities(outputs) else "logits"
    return Classifier(net, mean, std, kind).to(parameter.device)
