"""A fresh network of any architecture that timm knows, ready to be trained."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import timm
import torch
from torch import nn

import hfscan.models  # noqa: F401  registers our architectures
from hfscan.errors import ModelError
from hfscan.hub.load import wrap
from hfscan.models.layout import channels_last
from hfscan.types import HubModel


def untrained(
    architecture: str,
    *,
    input_size: tuple[int, int, int],
    num_classes: int,
    mean: Sequence[float],
    std: Sequence[float],
    label_names: Sequence[str] = (),
    model_args: Mapping[str, int] | None = None,
    seed: int = 0,
) -> HubModel:
    """Build a network with random weights; the global random state is left as it was.

    Args:
        architecture: timm's name.
        input_size: ``(channels, height, width)``.
        num_classes: K.
        mean: Per input channel, of images in [0, 1].
        std: Per input channel.
        label_names: Names of the K classes.
        model_args: Of the architecture, such as ``{"width": 16}``.
        seed: Of the weights.

    Raises:
        ModelError: timm does not know the architecture, or it cannot be built like that.
    """
    if not timm.is_model(architecture):
        raise ModelError(
            f"timm does not know the architecture {architecture!r:.60}", "see timm.list_models()"
        )
    with torch.random.fork_rng([]):
        torch.manual_seed(seed)
        try:
            arguments: dict[str, Any] = {"num_classes": num_classes, **(model_args or {})}
            net: nn.Module = timm.create_model(architecture, **arguments)
        except (TypeError, ValueError) as error:
            raise ModelError(
                f"{architecture} cannot be built ({str(error)[:120]})",
                "choose another --architecture or --width",
            ) from error
    model = wrap(
        channels_last(net),
        input_size=input_size,
        num_classes=num_classes,
        mean=mean,
        std=std,
        label_names=label_names,
    )
    return dataclasses.replace(model, architecture=architecture)
