"""CLP: prune the channels that are too sensitive, without any data.

Zheng et al., "Data-free Backdoor Removal based on Channel Lipschitzness", ECCV 2022: the Lipschitz constant
of a channel is bounded by the spectral norm of its kernel, reshaped to (input channels, height * width),
times the scale |gamma / std| of the batch norm behind it (section 4.2). Channels above mean + u * std of
their layer are pruned (section 4.3); u = 3.

Deviations: only a norm that consumes the convolution's very output counts as the one behind it. In a
pre-activation network half of the convolutions write into a sum instead and have none; their bound is the
kernel's norm alone, where releases take the next norm in the order of registration. As all channels of a
layer are compared with each other only, this is a bound too. A norm without running statistics (layer or
group norm) counts with its scale gamma.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from hfscan.channels import ConvLayer, erasable_layers, erase, one_image
from hfscan.models.classifier import inner
from hfscan.types import Channels, ImageSet, Progress, Repaired, silent


@dataclass(frozen=True)
class LipschitzPruning:
    """Channel Lipschitz Pruning: erase the channels whose Lipschitz bound stands out in their layer.

    Cost: one singular value for each channel; no image is passed but one, to pair convs and norms.

    Args:
        u: How many standard deviations above the mean.
    """

    u: float = 3.0

    def repair(
        self, net: nn.Module, clean: ImageSet, *, seed: int, progress: Progress = silent
    ) -> Repaired:
        """Erase; ``clean`` only says how large images are, nothing is random.

        Raises:
            AuditError: There is no layer whose channels can be erased.
        """
        image = one_image(net, clean)
        layers = erasable_layers(net, image)
        erased: Channels = {}
        for layer in progress(layers, "bounding channels", len(layers)):
            if found := _above(lipschitz_bounds(net, layer), self.u):
                erased[layer.name] = found
        how = (
            f"CLP: the channels whose Lipschitz bound is above mean + {self.u:g} std of their layer"
        )
        return Repaired(erase(net, erased, image).eval(), erased, how)


@torch.no_grad()
def lipschitz_bounds(net: nn.Module, layer: ConvLayer) -> Tensor:
    """Upper bounds of the channels' Lipschitz constants, ``(C,)``."""
    kernels = inner(net).get_parameter(f"{layer.name}.weight").flatten(2)  # (C, inputs, h * w)
    bounds: Tensor = torch.linalg.matrix_norm(kernels, ord=2)
    scales = [_scale(inner(net).get_submodule(name)) for name in layer.norms]
    return bounds * torch.stack(scales).amax(0) if scales else bounds


def _scale(norm: Any) -> Tensor:
    """By how much a norm magnifies each channel, ``(C,)``."""
    scale: Tensor = norm.weight.abs()
    if getattr(norm, "running_var", None) is not None:
        scale = scale / (norm.running_var + norm.eps).sqrt()
    return scale


def _above(bounds: Tensor, u: float) -> list[int]:
    threshold = bounds.mean() + u * bounds.std()
    found: list[int] = (bounds > threshold).nonzero().flatten().tolist()
    return found
