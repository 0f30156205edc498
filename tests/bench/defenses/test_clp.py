from __future__ import annotations

import pytest
import timm
import torch
from torch import nn

from hfscan.bench.defenses.clp import LipschitzPruning, lipschitz_bounds
from hfscan.channels import ConvLayer
from hfscan.errors import AuditError
from hfscan.types import ImageSet


def preactresnet(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return timm.create_model("preactresnet18", width=16, num_classes=4).eval()


def test_it_finds_the_loud_channels(tiny_set: ImageSet) -> None:
    """One behind a norm, loud through the norm's scale; one that writes into a sum."""
    net = preactresnet()
    with torch.no_grad():
        net.layer3[0].bn2.weight[5] = 4
        net.layer4[1].conv2.weight[7] *= 4
    result = LipschitzPruning(u=5).repair(net, tiny_set, seed=0)
    assert result.erased == {"layer3.0.conv1": [5], "layer4.1.conv2": [7]}
    assert not result.net.layer3[0].bn2.weight[5]


def test_an_even_network_is_left_alone(tiny_set: ImageSet) -> None:
    assert LipschitzPruning(u=5).repair(preactresnet(), tiny_set, seed=0).erased == {}


def test_u_says_how_far_is_too_far(tiny_set: ImageSet) -> None:
    counts = [
        sum(map(len, LipschitzPruning(u).repair(preactresnet(), tiny_set, seed=0).erased.values()))
        for u in (3.0, 1.0, 0.0)
    ]
    assert counts == sorted(counts)
    assert counts[0] < counts[1] < counts[2]


def test_the_bound_of_a_conv_and_its_norm() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)).eval()
    net[1].running_var.fill_(4)
    net[1].weight.data.fill_(-3)
    bounds = lipschitz_bounds(net, ConvLayer("0", 4, ("1",)))
    kernel = net[0].weight[2].reshape(3, 9)
    torch.testing.assert_close(
        bounds[2], torch.linalg.svdvals(kernel)[0] * 3 / 2, rtol=1e-4, atol=0
    )


def test_of_norms_side_by_side_the_largest_counts() -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.BatchNorm2d(4)).eval()
    net[1].weight.data.fill_(10)
    net[2].weight.data.fill_(-20)
    both, last = (lipschitz_bounds(net, ConvLayer("0", 4, norms)) for norms in (("1", "2"), ("2",)))
    torch.testing.assert_close(both, last)


def test_the_norms_epsilon_counts() -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4, eps=1.0)).eval()
    net[1].running_var.zero_()
    bounds = lipschitz_bounds(net, ConvLayer("0", 4, ("1",)))
    assert torch.isfinite(bounds).all()


def test_a_network_without_convs(tiny_set: ImageSet) -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(192, 4))
    with pytest.raises(AuditError, match="no conv layer"):
        LipschitzPruning().repair(net, tiny_set, seed=0)
