from __future__ import annotations

import pytest
import torch
from torch import nn

from hfscan.onednn import safe_weight_gradients


def shortcut(channels: int, stride: int = 2, kernel: int = 1) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(channels, 8, kernel, stride=stride), nn.Flatten())


@pytest.mark.parametrize("channels", [1, 3, 4, 6, 12])
def test_gradients_of_narrow_strided_shortcuts(channels: int) -> None:
    net = shortcut(channels).to(memory_format=torch.channels_last)
    images = torch.rand(12, channels, 16, 15).contiguous(memory_format=torch.channels_last)
    exact = shortcut(channels).double()
    exact(images.double()).square().sum().backward()
    with safe_weight_gradients(net):
        for _ in range(20):  # unsafe ones end the process sooner or later
            net.zero_grad()
            net(images).square().sum().backward()
    for mine, right in zip(net.parameters(), exact.parameters(), strict=True):
        torch.testing.assert_close(mine.grad.double(), right.grad, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize(
    ("net", "meanwhile"),
    [
        (shortcut(4), (1, 1)),
        (shortcut(64), (2, 2)),
        (shortcut(4, stride=1), (1, 1)),
        (shortcut(4, kernel=3), (2, 2)),
    ],
)
def test_only_those_convolutions_and_only_meanwhile(
    net: nn.Sequential, meanwhile: tuple[int, int]
) -> None:
    images = torch.rand(2, net[0].in_channels, 8, 8)
    before, stride = net(images), net[0].stride
    with safe_weight_gradients(net):
        assert net[0].stride == meanwhile
        torch.testing.assert_close(net(images), before)
    assert net[0].stride == stride
    torch.testing.assert_close(net(images), before, rtol=0, atol=0)


def test_interrupted() -> None:
    net = shortcut(4)
    with pytest.raises(KeyboardInterrupt):
        interrupted_training(net)
    assert net[0].stride == (2, 2)
    assert not net[0]._forward_pre_hooks


def interrupted_training(net: nn.Module) -> None:
    with safe_weight_gradients(net):
        raise KeyboardInterrupt
