"""What every defense promises, over the registry."""

from __future__ import annotations

import ast
import copy
import dataclasses
import inspect
from pathlib import Path

import pytest
import torch
from torch import nn

import hfscan
from hfscan.bench.defenses import DEFENSES, Defense, Repaired
from hfscan.channels import erase, feature_map, one_image
from hfscan.metrics import accuracy
from hfscan.train import FitConfig
from hfscan.types import ImageSet

from .support import quick

SOURCES = sorted((Path(hfscan.__file__).parent / "bench" / "defenses").glob("*.py"))


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.name)
def test_no_defense_reaches_the_attack(path: Path) -> None:
    """It may import hfscan's product and its own package, nothing else of the benchmark."""
    for node in ast.walk(ast.parse(path.read_text())):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        for name in names:
            if name.startswith("hfscan.bench"):
                assert name.startswith("hfscan.bench.defenses"), name
            assert name.partition(".")[0] != "importlib"


@pytest.mark.parametrize("make", DEFENSES.values(), ids=DEFENSES)
def test_the_signature_has_nothing_of_the_attack(make: type[Defense]) -> None:
    names = list(inspect.signature(make.repair).parameters)
    assert names == ["self", "net", "clean", "seed", "progress"]


@pytest.mark.parametrize("make", DEFENSES.values(), ids=DEFENSES)
def test_hyper_parameters_are_frozen_fields_with_defaults(make: type[Defense]) -> None:
    defense = make()
    assert dataclasses.is_dataclass(defense)
    assert defense == make()
    hash(defense)
    for field in dataclasses.fields(defense):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(defense, field.name, None)


def repaired(name: str, net: nn.Module, clean: ImageSet, seed: int = 0) -> Repaired:
    return quick(name).repair(net, clean, seed=seed)


@pytest.mark.parametrize("name", DEFENSES)
def test_the_network_is_left_as_it_was(
    name: str, planted_net: nn.Module, tiny_set: ImageSet
) -> None:
    planted_net.train()
    before = copy.deepcopy(planted_net.state_dict())
    random_state = torch.random.get_rng_state()
    result = repaired(name, planted_net, tiny_set)
    assert all(torch.equal(before[key], value) for key, value in planted_net.state_dict().items())
    assert all(module.training for module in planted_net.modules())
    assert all(p.requires_grad and p.grad is None for p in planted_net.parameters())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in planted_net.modules())
    assert torch.equal(torch.random.get_rng_state(), random_state)
    assert not {id(p) for p in planted_net.parameters()} & {id(p) for p in result.net.parameters()}


@pytest.mark.parametrize("name", DEFENSES)
def test_the_result_is_an_ordinary_network(
    name: str, planted_net: nn.Module, tiny_set: ImageSet
) -> None:
    result = repaired(name, planted_net, tiny_set)
    assert not any(module.training for module in result.net.modules())
    assert all(parameter.requires_grad for parameter in result.net.parameters())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in result.net.modules())
    keys = result.net.state_dict().keys()
    assert keys == planted_net.state_dict().keys()
    assert {tensor.dtype for tensor in result.net.parameters()} == {torch.float32}
    if name != "fmt-tac":  # a network with one channel for a class can lose it
        assert accuracy(result.net, tiny_set) > 0.9
    assert result.how.startswith("per layer" if name == "fmt-flow" else f"{name.upper()}: ")
    assert all(result.erased.values())  # no layer without a channel
    erase(planted_net, result.erased, one_image(planted_net, tiny_set))  # they exist


@pytest.mark.parametrize("name", DEFENSES)
def test_the_seed_decides(name: str, planted_net: nn.Module, tiny_set: ImageSet) -> None:
    results = []
    for global_seed in (1, 2):
        torch.manual_seed(global_seed)  # whatever the global random state is
        results.append(repaired(name, planted_net, tiny_set, seed=3))
    states = [result.net.state_dict() for result in results]
    assert results[0].erased == results[1].erased
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])


@pytest.mark.parametrize("name", ["fp", "clp", "fmt"])
def test_erased_maps_are_zero(name: str, planted_net: nn.Module, tiny_set: ImageSet) -> None:
    defense = quick(name)
    if name == "fmt":
        untuned = FitConfig(epochs=0)
        defense = dataclasses.replace(defense, tuning=untuned)
    result = defense.repair(planted_net, tiny_set, seed=0)
    assert result.erased
    for layer, channels in result.erased.items():
        for module in (layer, "bn1") if layer == "conv1" else (layer,):
            maps = feature_map(result.net, module, tiny_set.images[:4] / 255)
            assert not maps[:, channels].any()
            assert maps.any()
