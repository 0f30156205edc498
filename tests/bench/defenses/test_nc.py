from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from hfscan.bench.defenses.nc import (
    NeuralCleanse,
    Trigger,
    _Weight,
    anomaly_indices,
    suspects,
)
from hfscan.metrics import accuracy
from hfscan.train import Carrier
from hfscan.types import ImageSet

from .support import TUNING

DEFENSE = NeuralCleanse(steps=100, batch_size=16, tuning=replace(TUNING, epochs=20))
TARGET = 2


def stamped(trigger: Trigger, images: ImageSet, net: nn.Module) -> float:
    """Share of the images of other classes that the trigger leads to its class."""
    others = images.images[images.labels != trigger.target] / 255
    with torch.no_grad():
        return float((net(trigger.stamp(others)).argmax(1) == trigger.target).float().mean())


def test_it_names_the_planted_class(planted_net: nn.Module, tiny_set: ImageSet) -> None:
    triggers = DEFENSE.invert_all(planted_net, tiny_set, seed=0)
    norms = np.array([float(trigger.mask.sum()) for trigger in triggers])
    assert norms.argmin() == TARGET
    assert suspects(norms, 2.0) == [TARGET]
    assert [trigger.target for trigger in triggers] == [0, 1, 2, 3]
    assert stamped(triggers[TARGET], tiny_set, planted_net) > 0.9


def test_it_unlearns_the_trigger(planted_net: nn.Module, tiny_set: ImageSet) -> None:
    result = DEFENSE.repair(planted_net, tiny_set, seed=0)
    trigger = DEFENSE.invert_all(planted_net, tiny_set, seed=0)[TARGET]
    assert "blue" in result.how
    assert stamped(trigger, tiny_set, planted_net) > 0.9
    assert stamped(trigger, tiny_set, result.net) < 0.5
    assert accuracy(result.net, tiny_set) > 0.95


def test_without_a_suspect_the_network_is_left_as_it_was(
    planted_net: nn.Module, tiny_set: ImageSet
) -> None:
    result = replace(DEFENSE, steps=2, index=1e9).repair(planted_net, tiny_set, seed=0)
    assert "left as it was" in result.how
    for name, tensor in result.net.state_dict().items():
        assert torch.equal(tensor, planted_net.state_dict()[name])


def test_success_makes_the_norm_weigh_more() -> None:
    weight = _Weight(8.0, replace(DEFENSE, patience=2, factor=4.0, success=0.9))
    values = []
    for success in (0.9, 1.0, 1.0, 0.8, 0.8, 1.0, 0.8, 0.0):
        weight.adjust(success)
        values.append(weight.value)
    assert values == [8, 32, 32, 32, 4, 4, 4, 0.5]


def test_a_share_of_the_images_is_stamped(
    planted_net: nn.Module, tiny_set: ImageSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[Carrier] = []
    monkeypatch.setattr(
        "hfscan.bench.defenses.nc.fit", lambda *_, unlearning, **__: given.append(unlearning)
    )
    replace(DEFENSE, share=0.2).repair(planted_net, tiny_set, seed=0)
    (carrier,) = given
    pixels = tiny_set.images / 255
    changed = carrier.carry(pixels, torch.Generator().manual_seed(0)) != pixels
    assert changed.flatten(1).any(1).sum() == 8  # of 40


def test_the_anomaly_index() -> None:
    """(60 - 10) / (1.482602 * 10): the median is 60, the deviations are 50, 10, 0, 10 and 40."""
    norms = np.array([10, 50, 60, 70, 100], np.float32)
    assert anomaly_indices(norms)[0] == pytest.approx(50 / 14.82602)
    assert anomaly_indices(norms)[4] == pytest.approx(-40 / 14.82602)
    assert suspects(norms, 2.0) == [0]  # large norms are no anomaly
    assert suspects(norms, 4.0) == []


def test_equal_norms_are_no_anomaly() -> None:
    assert suspects(np.full(10, 3.0, np.float32), 2.0) == []


def test_a_stamp() -> None:
    mask = torch.zeros(1, 1, 2, 2)
    mask[..., 0, 0], mask[..., 1, 1] = 1.0, 0.5
    out = Trigger(0, mask, torch.ones(1, 3, 2, 2), 1.0).stamp(torch.zeros(5, 3, 2, 2))
    assert torch.equal(out, torch.tensor([[1.0, 0.0], [0.0, 0.5]]).expand(5, 3, 2, 2))
