from __future__ import annotations

import pytest
import timm
import torch
from torch import nn

import hfscan
from hfscan.channels import conv_layers, erasable_layers

NETWORKS = {"smallvgg": 7, "smallresnet": 15, "smallmobilenet": 19}
"""Name -> number of convolutions."""


@pytest.mark.parametrize("name", NETWORKS)
def test_every_conv_can_be_tested_and_erased(name: str) -> None:
    net = timm.create_model(name, width=4, num_classes=5).eval()
    image = torch.rand(1, 3, 32, 32)
    layers = conv_layers(net, image)
    assert len(layers) == NETWORKS[name]
    assert all(not layer.skipped for layer in layers)
    assert erasable_layers(net, image) == layers
    assert net(image).shape == (1, 5)
    edge = 4 if name == "smallmobilenet" else 8  # its stem has stride 2
    assert net.forward_features(image).shape == (1, 16, edge, edge)


def test_the_vgg_has_no_norm_and_keeps_its_signal() -> None:
    torch.manual_seed(0)
    net = timm.create_model("smallvgg", width=8).eval()
    assert not any(isinstance(module, nn.BatchNorm2d) for module in net.modules())
    features = net.forward_features(torch.rand(8, 3, 32, 32))
    assert features.std() > 0.05


@pytest.mark.parametrize("name", NETWORKS)
def test_timms_interface(name: str) -> None:
    net = timm.create_model(name, width=4)
    net.reset_classifier(3)
    assert net(torch.rand(2, 3, 32, 32)).shape == (2, 3)
    net.reset_classifier(0)
    assert net(torch.rand(2, 3, 32, 32)).shape == (2, 16)
    assert net.get_classifier() is net.fc


@pytest.mark.parametrize("name", NETWORKS)
def test_gray_images(name: str) -> None:
    net = timm.create_model(name, width=4, in_chans=1)
    assert net(torch.rand(2, 1, 32, 32)).shape == (2, 10)


def test_hfscan_knows_them() -> None:
    assert set(NETWORKS) <= set(timm.list_models())
    assert hfscan.models.SmallNet.__module__ == "hfscan.models.small"
