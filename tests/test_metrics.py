from __future__ import annotations

import pytest
import torch
from torch import nn

from hfscan.metrics import accuracy, asr, predict, ra
from hfscan.types import ImageSet


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
