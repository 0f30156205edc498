"""What holds for every model-level test of the registry."""

from __future__ import annotations

import copy
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import hfscan
from hfscan.model_tests import TESTS, FeatureMaps, ModelTest, TriggerInversion
from hfscan.pipeline import run_tests
from hfscan.types import ImageSet, TestResult


@pytest.fixture(params=TESTS)
def test(request: pytest.FixtureRequest) -> ModelTest:
    return TESTS[request.param](256)


def run(test: ModelTest, net: nn.Module, clean: ImageSet, seed: int = 0) -> TestResult:
    (result,) = run_tests(net.eval(), clean, [test], seed=seed)
    return result


def test_contract(test: ModelTest, tiny_net: nn.Module, tiny_set: ImageSet) -> None:
    result = run(test, tiny_net, tiny_set)
    assert result.name == test.name in TESTS
    assert result.unit
    if result.skipped:
        assert result.statistic is result.p_value is result.target is None
    else:
        assert len(result.class_statistics) == 4
        assert result.seconds > 0
        assert np.isfinite(result.statistic)
        assert result.p_value is None or 0 <= result.p_value <= 1
        only_calibrated = isinstance(test, FeatureMaps | TriggerInversion)  # of four classes
        assert (result.p_value is None) == only_calibrated
        assert result.target in range(4)


def test_same_seed_same_result(test: ModelTest, tiny_net: nn.Module, tiny_set: ImageSet) -> None:
    one, other = (run(test, tiny_net, tiny_set, seed=3) for _ in range(2))
    assert one.class_statistics == other.class_statistics
    assert one.p_value == other.p_value


def test_the_network_is_left_as_it_was(
    test: ModelTest, tiny_net: nn.Module, tiny_set: ImageSet
) -> None:
    tiny_net.train()
    before = copy.deepcopy(tiny_net.state_dict())
    random_state = torch.random.get_rng_state()
    run_tests(tiny_net, tiny_set, [test], seed=0)
    assert all(torch.equal(before[key], value) for key, value in tiny_net.state_dict().items())
    assert all(module.training for module in tiny_net.modules())
    assert all(p.requires_grad and p.grad is None for p in tiny_net.parameters())
    assert torch.equal(torch.random.get_rng_state(), random_state)


@pytest.mark.parametrize("factor", [0.01, 1000.0])
def test_a_factor_of_the_last_layer_changes_nothing(
    test: ModelTest, planted_net: nn.Module, tiny_set: ImageSet, factor: float
) -> None:
    before = run(test, planted_net, tiny_set)
    with torch.no_grad():
        planted_net.fc.weight *= factor
        planted_net.fc.bias *= factor
    after = run(test, planted_net, tiny_set)
    assert after.target == before.target
    assert after.skipped == before.skipped
    assert after.statistic == pytest.approx(before.statistic, rel=0.02)
    assert after.p_value == (before.p_value and pytest.approx(before.p_value, rel=0.05))


class Twice(nn.Module):
    """Returns a tuple, as networks with an auxiliary head do."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        return self.net(images), images


class Gray(nn.Module):
    """Sees a gray image; four classes of brightness."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3, padding=1)
        self.fc = nn.Linear(4, 4)
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.copy_(torch.linspace(-1, 1, parameter.numel()).view_as(parameter))

    def forward(self, images: Tensor) -> Tensor:
        return self.fc(self.conv(images).relu().mean((2, 3)))


SHAPES: dict[str, Callable[[nn.Module], nn.Module]] = {
    "softmax": lambda net: nn.Sequential(net, nn.Softmax(1)),
    "log-softmax": lambda net: nn.Sequential(net, nn.LogSoftmax(1)),
    "tuple": Twice,
    "half precision": lambda net: copy.deepcopy(net).half(),
    "gray": lambda net: Gray(),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_however_a_network_is_built(
    test: ModelTest, shape: str, planted_net: nn.Module, tiny_set: ImageSet
) -> None:
    channels = 1 if shape == "gray" else 3
    net = SHAPES[shape](planted_net)
    model = hfscan.wrap(net, input_size=(channels, 8, 8), num_classes=4)
    result = run(test, model.net, tiny_set)
    assert result.skipped or np.isfinite(result.statistic)
    if shape in ("log-softmax", "tuple"):
        plain = run(test, planted_net, tiny_set)
        assert result.target == plain.target
        assert result.statistic == pytest.approx(plain.statistic, rel=0.02)


@pytest.mark.parametrize("classes", [2, 3])
def test_too_few_classes(test: ModelTest, tiny_set: ImageSet, classes: int) -> None:
    net = nn.Sequential(
        nn.Conv2d(3, 2, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2, classes)
    )
    result = run(test, net, tiny_set.subset((tiny_set.labels < classes).nonzero().flatten()))
    assert f"{classes} classes are too few" in result.skipped
    assert result.statistic is result.p_value is result.target is None


def test_a_collapsed_network_has_no_statistic_or_a_finite_one(
    test: ModelTest, tiny_net: nn.Module, tiny_set: ImageSet
) -> None:
    with torch.no_grad():
        tiny_net.fc.weight.zero_()
        tiny_net.fc.bias.copy_(torch.tensor([0.0, 5.0, 0.0, 0.0]))
    result = run(test, tiny_net, tiny_set)
    if test.name == "feature-maps":
        assert result.p_value is None or result.p_value > 0.05
    else:
        assert result.skipped
