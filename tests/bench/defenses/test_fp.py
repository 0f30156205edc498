from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from hfscan.bench.defenses.fp import FinePruning, activations
from hfscan.bench.defenses.ft import FineTuning
from hfscan.channels import ConvLayer, feature_map
from hfscan.errors import AuditError
from hfscan.types import ImageSet

from .support import TUNING

DEFENSE = FinePruning(step=1 / 8, tuning=TUNING)


def test_it_prunes_the_channels_that_sleep(planted_net: nn.Module, tiny_set: ImageSet) -> None:
    """The planted channel is one of them; those that carry a color are not, the accuracy holds."""
    result = DEFENSE.repair(planted_net, tiny_set, seed=0)
    assert 6 in result.erased["conv2"]
    assert not {0, 1, 2} & set(result.erased["conv2"])
    maps = feature_map(result.net, "conv2", torch.rand(4, 3, 8, 8))
    assert not maps[:, result.erased["conv2"]].any()  # still, after fine-tuning


def test_it_stops_where_the_accuracy_falls(planted_net: nn.Module, tiny_set: ImageSet) -> None:
    anything = replace(DEFENSE, max_drop=1.0, most=7 / 8)
    assert len(anything.repair(planted_net, tiny_set, seed=0).erased["conv2"]) == 7


def test_fine_tuning_trains_the_other_channels(planted_net: nn.Module, tiny_set: ImageSet) -> None:
    result = DEFENSE.repair(planted_net, tiny_set, seed=0)
    assert not torch.equal(result.net.conv2.weight[0], planted_net.conv2.weight[0])
    assert not torch.equal(result.net.conv1.weight, planted_net.conv1.weight)


def test_without_pruning_it_is_fine_tuning(planted_net: nn.Module, tiny_set: ImageSet) -> None:
    result = replace(DEFENSE, most=0.0).repair(planted_net, tiny_set, seed=0)
    tuned = FineTuning(TUNING).repair(planted_net, tiny_set, seed=0).net.state_dict()
    assert result.erased == {}
    for name, tensor in result.net.state_dict().items():
        assert torch.equal(tensor, tuned[name])


def test_activations_are_behind_the_norm(tiny_net: nn.Module, tiny_set: ImageSet) -> None:
    found = activations(tiny_net, ConvLayer("conv1", 8, ("bn1",)), tiny_set)
    with torch.no_grad():
        maps = tiny_net.bn1(tiny_net.conv1(tiny_set.images / 255)).relu()
    torch.testing.assert_close(found, maps.mean((0, 2, 3)))


def test_a_network_without_convs(tiny_set: ImageSet) -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(192, 4))
    with pytest.raises(AuditError, match="no conv layer"):
        FinePruning().repair(net, tiny_set, seed=0)
