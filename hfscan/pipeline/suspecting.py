"""What an audit makes of a network that is no file: which class, if any, it suspects."""

from __future__ import annotations

import torch
from torch import nn

from hfscan.channels import one_image, probing
from hfscan.metrics import predict
from hfscan.models.classifier import architecture_of
from hfscan.pipeline.calibrating import Calibrated
from hfscan.pipeline.testing import make_tests, run_as_audit
from hfscan.types import AuditSettings, HubModel, ImageSet, Progress, silent
from hfscan.verdict import disordered, obstacle


def suspected(
    net: nn.Module, clean: ImageSet, *, settings: AuditSettings, progress: Progress = silent
) -> int | None:
    """The class that an audit's tests of the network as a whole suspect, if they do; its channels are not tested.

    None also where an audit would be inconclusive: the network does not know the images, or by other labels.
    """
    model = as_model(net, clean)
    classified = predict(net, clean)
    share = float((classified == clean.labels).float().mean())
    if obstacle(share, len(clean), model.num_classes) or disordered(clean.labels, classified):
        return None
    tests = make_tests(settings.tests, net, clean)
    found = run_as_audit(net, clean, tests, settings, progress)
    return Calibrated.of(model.facts, None).conclude(found).target


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
