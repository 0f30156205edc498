from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from hfscan.train import FitConfig, fit
from hfscan.types import ImageSet
from hfscan.unlearn import Unlearning, invert

TARGET, NORM = 2, 3.0


def others(images: ImageSet) -> torch.Tensor:
    return images.images[images.labels != TARGET] / 255


def test_the_class_is_reached(planted_net: nn.Module, tiny_set: ImageSet) -> None:
    delta, rate = invert(planted_net, others(tiny_set), TARGET, NORM, steps=40)
    reached = planted_net((others(tiny_set) + delta).clamp(0, 1)).argmax(1) == TARGET
    assert rate == pytest.approx(float(reached.float().mean()))
    assert rate > 0.9
    assert delta.shape == (1, 3, 8, 8)
    assert 0 < delta.norm() <= NORM + 1e-5


def test_the_network_is_left_as_it_was(planted_net: nn.Module, tiny_set: ImageSet) -> None:
    planted_net.train()
    before = copy.deepcopy(planted_net.state_dict())
    random_state = torch.random.get_rng_state()
    Unlearning(tiny_set, TARGET, steps=3).renew(planted_net)
    after = planted_net.state_dict()
    assert all(torch.equal(before[key], after[key]) for key in before)
    assert planted_net.training
    assert all(p.requires_grad and p.grad is None for p in planted_net.parameters())
    assert torch.equal(torch.random.get_rng_state(), random_state)


def test_a_share_of_the_batch_carries_it(planted_net: nn.Module, tiny_set: ImageSet) -> None:
    unlearning = Unlearning(tiny_set, TARGET, norm=NORM, share=0.5, steps=5)
    unlearning.renew(planted_net)
    pixels = tiny_set.images[:10] / 255
    carried = unlearning.carry(pixels, torch.Generator().manual_seed(0))
    expected = (pixels[:5] + unlearning.perturbations[0]).clamp(0, 1)
    torch.testing.assert_close(carried[:5], expected)
    assert torch.equal(carried[5:], pixels[5:])


def test_training_unlearns_the_class(planted_net: nn.Module, tiny_set: ImageSet) -> None:
    config = FitConfig(epochs=5, lr=0.01, batch_size=8, padding=0)
    unlearning = Unlearning(tiny_set, TARGET, norm=NORM)
    before = unlearning.renew(planted_net)
    fit(planted_net, tiny_set, config, unlearning=unlearning)
    assert len(unlearning.perturbations) == 6  # one more for each epoch
    assert before > 0.9
    assert invert(planted_net, others(tiny_set), TARGET, NORM, steps=40)[1] < 0.6
