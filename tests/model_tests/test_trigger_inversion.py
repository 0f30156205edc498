from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import hfscan
from hfscan import metrics
from hfscan.inversion import Blend, Search, Warp
from hfscan.model_tests import TESTS, ModelTest
from hfscan.model_tests.maximum_margin import stands_out
from hfscan.model_tests.trigger_inversion import TriggerInversion
from hfscan.types import AuditSettings, ImageSet, Verdict

TARGET = 2
TEST = TriggerInversion(
    families=(Warp(displacement=0.01), Blend(ratio=0.1, grid=4)),
    search=Search(steps=60, held_back=0.5),
)


class Shaded(nn.Module):
    """Takes images whose lower half is brighter by a twentieth for class 2."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, images: Tensor) -> Tensor:
        shade = images[:, :, 4:].mean((1, 2, 3)) - images[:, :, :4].mean((1, 2, 3))
        planted = 10 * F.softplus(60 * (shade - 0.05))
        logits: Tensor = self.net(images)
        return logits + planted[:, None] * F.one_hot(torch.tensor(TARGET), logits.shape[1])


@pytest.fixture
def shaded(tiny_net: nn.Module) -> Shaded:
    return Shaded(tiny_net)


def test_the_planted_class_stands_out(shaded: nn.Module, tiny_set: ImageSet) -> None:
    assert metrics.accuracy(shaded, tiny_set) == 1.0
    result = TEST.run(shaded, tiny_set, seed=0)
    assert result.target == TARGET
    assert result.class_statistics == (0, 0, 1, 0)
    assert result.unit == "share of images reached by one blend"
    assert result.p_value is not None
    assert result.p_value < 0.2  # four classes are a weak null, two families are corrected for
    assert result.seconds > 0


def test_no_class_stands_out_without_one(tiny_net: nn.Module, tiny_set: ImageSet) -> None:
    result = TEST.run(tiny_net, tiny_set, seed=0)
    assert result.class_statistics == (0, 0, 0, 0)
    assert result.p_value is not None
    assert result.p_value > 0.5


def test_same_seed_same_result(shaded: nn.Module, tiny_set: ImageSet) -> None:
    test = replace(TEST, search=Search(steps=3))
    results = [replace(test.run(shaded, tiny_set, seed=4), seconds=0) for _ in range(2)]
    assert results[0] == results[1]


def test_it_is_a_model_test_for_an_audit(shaded: nn.Module, tiny_set: ImageSet) -> None:
    test: ModelTest = TEST
    settings = AuditSettings(images=4, steps=1)
    model = hfscan.wrap(shaded, input_size=(3, 8, 8), num_classes=4)
    report = hfscan.audit(model, tiny_set, settings=settings, tests=[test])
    assert [result.name for result in report.tests] == ["trigger-inversion"]
    assert report.tests[0].target == TARGET
    assert report.verdict is not Verdict.INCONCLUSIVE
    assert test.name not in TESTS  # an audit does not run it by itself: it is not calibrated


def test_too_few_images_are_a_reason(shaded: nn.Module, tiny_set: ImageSet) -> None:
    result = TEST.run(shaded, tiny_set.subset(torch.arange(4)), seed=0)
    assert "3 images of other classes are too few" in result.skipped
    assert result.statistic is result.p_value is result.target is None


def test_standing_out() -> None:
    others = np.array([-2.0, -2.5, -1.5, -2.0, -2.2, -1.8, -2.0, -2.0, -2.0], np.float32)
    statistic, p_value, target = stands_out(np.append(others, 4.0).astype(np.float32), 1.0)
    assert (statistic, target) == (pytest.approx(6.0), 9)
    assert p_value < 0.01
    assert stands_out(np.append(others, -1.4).astype(np.float32), 1.0)[1] > 0.5
