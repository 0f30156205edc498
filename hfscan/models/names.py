"""The architectures that a model may name: timm's and ours."""

from __future__ import annotations

from collections.abc import Callable

import timm
from torch import nn

import hfscan.models  # noqa: F401  registers our architectures


def architectures() -> dict[str, Callable[..., nn.Module]]:
    """Name -> maker, of everything that timm can build here, in alphabetical order."""
    return {name: timm.model_entrypoint(name) for name in sorted(timm.list_models())}
