"""What an audit makes of a network that is no file: which class, if any, it suspects."""

from __future__ import annotations

import torch
from torch import nn

from hfscan.channels import one_image, probing
from hfscan.models.classifier import architecture_of
from hfscan.pipeline.calibrating import Calibrated
from hfscan.pipeline.testing import run_tests
from hfscan.types import HubModel, ImageSet, Progress, silent


def suspected(
    net: nn.Module, clean: ImageSet, *, seed: int, progress: Progress = silent
) -> int | None:
    """The class that the tests of the network as a whole suspect, if they do; its channels are not tested."""
    calibrated = Calibrated.of(as_model(net, clean).facts, None)
    tests = run_tests(net, clean, seed=seed, progress=progress)
    return calibrated.conclude(tests).target


@torch.no_grad()
def as_model(net: nn.Module, clean: ImageSet) -> HubModel:
    """What an audit wants to know of a network that is no file."""
    with probing(net):
        classes = net(one_image(net, clean)).shape[1]
    return HubModel(
        ref="",
        revision=None,
        architecture=architecture_of(net),
        input_size=(3, *clean.size),
        num_classes=classes,
        label_names=clean.classes if len(clean.classes) == classes else (),
        weights_sha256="",
        net=net,
    )
