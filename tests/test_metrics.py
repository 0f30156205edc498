from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import PLANTED_CHANNEL
from torch import nn

from hfscan.metrics import accuracy, asr, coverage, der, measure, predict, ra, tac
from hfscan.types import ImageSet, Metrics


class Constant(nn.Module):
    """Predicts class 1, whatever it sees."""

    def __init__(self) -> None:
        super().__init__()
        self.logits = nn.Parameter(torch.tensor([0.0, 1.0, 0.0, 0.0]))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.logits.expand(len(x), -1)


@pytest.mark.parametrize("batch_size", [1, 7, 256])
def test_predictions(tiny_net: nn.Module, tiny_set: ImageSet, batch_size: int) -> None:
    predicted = predict(tiny_net, tiny_set, batch_size=batch_size)
    assert predicted.dtype == torch.int64
    assert predicted.tolist() == tiny_set.labels.tolist()
    assert accuracy(tiny_net, tiny_set, batch_size=batch_size) == 1.0


def test_fractions(tiny_set: ImageSet) -> None:
    some = tiny_set.subset(torch.tensor([0, 1, 2, 3, 5]))  # labels 0 1 2 3 1
    assert accuracy(Constant(), some) == pytest.approx(0.4)
    assert ra(Constant(), some) == pytest.approx(0.4)
    assert asr(Constant(), some, 1) == 1.0
    assert asr(Constant(), some, 0) == 0.0


def test_no_images(tiny_net: nn.Module, tiny_set: ImageSet) -> None:
    none = tiny_set.subset(torch.arange(0))
    assert predict(tiny_net, none).tolist() == []


def test_the_network_predicts_in_eval_mode_and_stays_as_it_was(
    tiny_net: nn.Module, tiny_set: ImageSet
) -> None:
    tiny_net.train()
    before = tiny_net.bn1.running_mean.clone()
    assert accuracy(tiny_net, tiny_set, batch_size=1) == 1.0
    assert torch.equal(tiny_net.bn1.running_mean, before)
    assert tiny_net.training
    assert tiny_net.bn1.training
    assert all(parameter.requires_grad for parameter in tiny_net.parameters())


# --- what the benchmark adds


def test_measure_says_all_at_once(tiny_set: ImageSet) -> None:
    some = tiny_set.subset(torch.tensor([0, 1, 2, 3, 5]))
    for target, rate in ((1, 1.0), (0, 0.0)):
        found = measure(Constant(), tiny_set, some, target)
        assert (found.accuracy, found.asr, found.images) == (0.25, rate, 40)
        assert found.ra == pytest.approx(0.4)


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ((0.9, 1.0), (0.9, 0.0), 1.0),
        ((0.9, 1.0), (0.9, 1.0), 0.5),
        ((0.9, 1.0), (0.8, 0.2), 0.85),
        ((0.9, 0.5), (0.95, 0.6), 0.5),  # neither gains accuracy nor loses to a worse attack
        ((1.0, 0.0), (0.0, 0.0), 0.0),
    ],
)
def test_der(before: tuple[float, float], after: tuple[float, float], expected: float) -> None:
    assert der(Metrics(*before), Metrics(*after)) == pytest.approx(expected)


def test_der_needs_a_trigger() -> None:
    with pytest.raises(ValueError, match="was not measured"):
        der(Metrics(0.9), Metrics(0.9, 0.1))


def checkered(images: ImageSet) -> ImageSet:
    """The images with the pattern that `planted_net` answers to."""
    y, x = torch.meshgrid(torch.arange(8), torch.arange(8), indexing="ij")
    board = (x + y) % 2 * 120 - 60
    return replace(images, images=(images.images + board).to(torch.uint8))


def test_tac_finds_the_planted_channel(planted_net: nn.Module, tiny_set: ImageSet) -> None:
    found = tac(planted_net, tiny_set, checkered(tiny_set), batch_size=16)
    assert {layer: values.shape for layer, values in found.items()} == {
        "conv1": (8,),
        "conv2": (8,),
    }
    assert all(int(values.argmax()) == PLANTED_CHANNEL for values in found.values())
    at_once = tac(planted_net, tiny_set, checkered(tiny_set))
    assert np.allclose(found["conv1"], at_once["conv1"], rtol=1e-5)


def test_tac_without_a_trigger_is_zero(tiny_net: nn.Module, tiny_set: ImageSet) -> None:
    tiny_net.train()
    found = tac(tiny_net, tiny_set, tiny_set)
    assert not any(values.any() for values in found.values())
    assert tiny_net.training


def test_coverage() -> None:
    sensitivity = {
        "a": np.array([0, 9, 8, 1, 2, 3, 4, 5, 6, 7] * 2, np.float32),  # top 2: 1 and 11
        "b": np.array([3, 1, 2], np.float32),  # at least one: 0
    }
    assert coverage({}, sensitivity) == 0
    assert coverage({"a": [1, 11], "b": [0]}, sensitivity) == 1
    assert coverage({"a": [1, 2, 3]}, sensitivity) == pytest.approx(1 / 3)
    assert coverage({"c": [0]}, sensitivity) == 0
    assert coverage({"a": [1, 11]}, {"a": sensitivity["a"]}) == 1
    assert coverage({"a": [1, 11]}, {"a": sensitivity["a"]}, tau=0.2) == 0.5
    assert coverage({"a": [1]}, {}) == 0
