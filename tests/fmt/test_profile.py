from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import timm
import torch
from torch import Tensor, nn

from hfscan.fmt import LayerProfile, profile
from hfscan.fmt.engine import BACKWARD, Engine, Responses, make_engine
from hfscan.fmt.memory import Limits
from hfscan.fmt.precision import working_copy
from hfscan.types import AuditSettings, ImageSet

SETTINGS = AuditSettings(images=40, steps=3, step_size=0.1, eps=0.3)
CHANNEL, TARGET = 6, 2


def by_name(results: list[LayerProfile]) -> dict[str, LayerProfile]:
    return {result.layer.name: result for result in results}


def test_the_planted_channel_is_found(planted_net: nn.Module, tiny_set: ImageSet) -> None:
    found = by_name(list(profile(planted_net, tiny_set, SETTINGS)))["conv1"]
    assert found.accuracy[:, -1].argmin() == CHANNEL
    assert found.accuracy[CHANNEL, -1] < 0.5 < np.delete(found.accuracy[:, -1], CHANNEL).min()
    flow = found.predictions[:, -1, TARGET]
    assert flow.argmax() == CHANNEL
    assert flow[CHANNEL] > 0.75 * len(tiny_set) > np.delete(flow, CHANNEL).max()


def test_a_network_without_the_channel(tiny_net: nn.Module, tiny_set: ImageSet) -> None:
    for layer in profile(tiny_net, tiny_set, SETTINGS):
        assert layer.accuracy[CHANNEL].min() > 0.5


def test_shapes_types_and_counts(planted_net: nn.Module, tiny_set: ImageSet) -> None:
    for layer in profile(planted_net, tiny_set, SETTINGS):
        assert layer.accuracy.shape == (8, 3)
        assert layer.accuracy.dtype == np.float32
        assert layer.predictions.shape == (8, 3, 4)
        assert layer.predictions.dtype == np.int32
        assert (layer.predictions.sum(2) == len(tiny_set)).all()
        assert not layer.skipped


def test_accuracy_and_predictions_agree(planted_net: nn.Module, tiny_set: ImageSet) -> None:
    one_class = tiny_set.subset((tiny_set.labels == 1).nonzero().flatten())
    for layer in profile(planted_net, one_class, SETTINGS):
        expected = layer.predictions[:, :, 1] / len(one_class)
        np.testing.assert_allclose(layer.accuracy, expected, atol=1e-6)


@pytest.mark.parametrize("batch_size", [1, 80, 120, 10_000])
def test_batch_size_does_not_change_the_result(
    planted_net: nn.Module, tiny_set: ImageSet, batch_size: int
) -> None:
    expected = list(profile(planted_net, tiny_set, SETTINGS))
    results = list(profile(planted_net, tiny_set, SETTINGS, batch_size=batch_size))
    for one, other in zip(results, expected, strict=True):
        assert one.layer == other.layer
        np.testing.assert_array_equal(one.predictions, other.predictions)
        np.testing.assert_array_equal(one.accuracy, other.accuracy)


def test_the_seed_decides(planted_net: nn.Module, tiny_set: ImageSet) -> None:
    def counts(seed: int) -> list[Any]:
        settings = AuditSettings(images=40, steps=1, step_size=0.2, eps=0.2, seed=seed)
        return [layer.predictions.tolist() for layer in profile(planted_net, tiny_set, settings)]

    assert counts(0) == counts(0)
    assert counts(0) != counts(1)


def test_order_is_that_of_execution(tiny_set: ImageSet) -> None:
    net = timm.create_model("preactresnet18", width=2, num_classes=4)
    images = tiny_set.subset(torch.arange(2))
    names = [layer.layer.name for layer in profile(net, images, AuditSettings(steps=1))]
    assert names[:3] == ["conv1", "layer1.0.conv1", "layer1.0.conv2"]
    at = names.index("layer2.0.shortcut")
    assert names[at + 1 : at + 3] == ["layer2.0.conv1", "layer2.0.conv2"]
    assert names[-1] == "layer4.1.conv2"


def test_progress_is_in_proportion_to_the_work(tiny_net: nn.Module, tiny_set: ImageSet) -> None:
    seen: list[int] = []

    def progress(sequence: Any, description: str, total: float) -> Any:
        assert total == 1000
        for item in sequence:
            seen.append(item)
            yield item

    layers = profile(tiny_net, tiny_set, SETTINGS, batch_size=40, progress=progress)
    shares = [len(seen) / 1000 for _ in layers]
    macs = np.array([8 * 3 * 9, 8 * 8 * 9])
    cost = SETTINGS.steps + BACKWARD * macs.cumsum() / macs.sum()
    assert shares[0] == pytest.approx(cost[0] / cost.sum(), abs=0.01)
    assert seen == list(range(1000))


@pytest.mark.parametrize("limits", [Limits(1, 1), Limits(7, 3), Limits(64, 16)])
def test_memory_does_not_change_the_result(
    planted_net: nn.Module, tiny_set: ImageSet, limits: Limits
) -> None:
    copied = working_copy(planted_net, "fp32")
    engine = Engine(copied, tiny_set, SETTINGS, limits)
    for layer, expected in zip(
        engine.layers, profile(planted_net, tiny_set, SETTINGS), strict=True
    ):
        responses = Responses.empty(layer.channels, len(tiny_set), SETTINGS.steps)
        done = sum(engine.test(layer, responses, range(8), range(len(tiny_set))))
        assert done == 8 * len(tiny_set)
        np.testing.assert_array_equal(responses.counts(4), expected.predictions)


def test_some_channels_and_images(planted_net: nn.Module, tiny_set: ImageSet) -> None:
    engine = make_engine(planted_net, tiny_set, SETTINGS)
    layer = engine.layers[0]
    everything = Responses.empty(8, 40, 3)
    list(engine.test(layer, everything, range(8), range(40)))
    some = Responses.empty(8, 40, 3)
    list(engine.test(layer, some, [CHANNEL, 1], [3, 30, 4]))
    tested = np.ix_([CHANNEL, 1], [3, 30, 4])
    np.testing.assert_array_equal(some.predicted[tested], everything.predicted[tested])
    np.testing.assert_allclose(some.margin[tested], everything.margin[tested], atol=1e-4)
    assert (some.predicted >= 0).sum() == 2 * 3 * 3
    assert np.isfinite(some.margin).sum() == 2 * 3 * 3


# --- the network stays as it was


class Hostile(nn.Module):
    """A convolution whose backward pass fails."""

    def __init__(self) -> None:
        super().__init__()
        self.before = nn.Conv2d(3, 8, 3)
        self.norm = nn.BatchNorm2d(8)
        self.integer = nn.Conv2d(8, 8, 3)
        self.after = nn.Conv2d(8, 8, 3)
        self.drop = nn.Dropout(0.5)
        self.fc = nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(self.before(x))
        y = self.integer(x.detach().round())
        return self.fc(self.drop(self.after(x) + y[:, :, 1:-1, 1:-1].mean()).mean((2, 3)))


def test_a_failing_layer_does_not_stop_the_others(tiny_set: ImageSet) -> None:
    torch.manual_seed(0)
    results = by_name(list(profile(Hostile(), tiny_set, SETTINGS)))
    assert list(results) == ["before", "integer", "after"]
    assert "its passes fail" in results["integer"].skipped
    assert results["integer"].accuracy.size == 0
    assert not results["before"].skipped
    assert results["after"].accuracy.shape == (8, 3)


def test_unsupported_layers_come_with_their_reason(tiny_set: ImageSet) -> None:
    net = nn.Sequential(
        nn.ConvTranspose2d(3, 4, 3), nn.Conv2d(4, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    )
    results = by_name(list(profile(net, tiny_set, SETTINGS)))
    assert results["0"].skipped == "ConvTranspose2d is not supported"
    assert results["1"].accuracy.shape == (4, 3)


def everything(net: nn.Module) -> list[object]:
    """Weights, buffers, modes, gradients and hooks."""
    state = [tensor.clone() for tensor in net.state_dict().values()]
    hooks = [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in net.modules()]
    gradients = [(p.requires_grad, p.grad is None) for p in net.parameters()]
    return [*hooks, *gradients, *(module.training for module in net.modules()), *state]


def same(one: list[object], other: list[object]) -> bool:
    return all(
        torch.equal(a, b) if isinstance(a, Tensor) and isinstance(b, Tensor) else a == b
        for a, b in zip(one, other, strict=True)
    )


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("make", [Hostile, None], ids=["hostile", "planted"])
def test_the_network_is_left_as_it_was(
    planted_net: nn.Module, tiny_set: ImageSet, make: Callable[[], nn.Module] | None, training: bool
) -> None:
    net = make() if make else planted_net
    net.train(training)
    net.fc.bias.requires_grad_(False)
    before = everything(net)
    random_state = torch.random.get_rng_state()
    list(profile(net, tiny_set, SETTINGS))
    assert same(everything(net), before)
    assert torch.equal(torch.random.get_rng_state(), random_state)


def test_the_network_is_left_as_it_was_when_the_reader_stops(
    planted_net: nn.Module, tiny_set: ImageSet
) -> None:
    planted_net.train()
    before = everything(planted_net)
    results = profile(planted_net, tiny_set, SETTINGS)
    next(iter(results))
    results.close()
    assert same(everything(planted_net), before)
