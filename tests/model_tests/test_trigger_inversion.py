from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import hfscan
from hfscan import metrics
from hfscan.inversion import Blend
from hfscan.inversion.halving import Halving, Round
from hfscan.model_tests import ModelTest, TriggerInversion
from hfscan.model_tests.sample import take
from hfscan.model_tests.trigger_inversion import _divided
from hfscan.types import AuditSettings, ImageSet, Verdict

TARGET = 2
TEST = TriggerInversion(
    Blend(ratio=0.1, grid=4), Halving((Round(None, 20, 8, 8), Round(2, 40, 16, 16)))
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
    assert result.unit == "share of images reached by one blend trigger"
    assert result.statistic is not None
    assert result.statistic > 3
    assert result.p_value is None  # among four classes, not even this is suspicious
    assert result.seconds > 0
    assert result.evidence is not None
    assert (result.evidence.family, result.evidence.success) == ("blend", 1.0)
    assert 0 < result.evidence.size <= 0.5
    triggered, change = result.evidence.pictures
    assert (triggered.role, triggered.predicted, triggered.share) == ("triggered", TARGET, 1.0)
    assert (change.role, change.family, change.size) == ("trigger", "blend", (8, 8))


def test_no_class_stands_out_without_one(tiny_net: nn.Module, tiny_set: ImageSet) -> None:
    result = TEST.run(tiny_net, tiny_set, seed=0)
    assert result.class_statistics == (0, 0, 0, 0)
    assert result.statistic is not None
    assert result.statistic < 1  # of the classes, some were measured with fewer images


def test_same_seed_same_result(shaded: nn.Module, tiny_set: ImageSet) -> None:
    test = replace(TEST, search=Halving((Round(None, 3, 4, 8),)))
    results = [replace(test.run(shaded, tiny_set, seed=4), seconds=0) for _ in range(2)]
    assert results[0] == results[1]


def test_small_batches_change_nothing_but_memory(shaded: nn.Module, tiny_set: ImageSet) -> None:
    passes: list[int] = []
    shaded.register_forward_pre_hook(lambda _, given: passes.append(len(given[0])))
    results = []
    for batch_size in (64, 3):
        passes.clear()
        search = replace(TEST.search, batch_size=batch_size)
        results.append(replace(TEST, search=search).run(shaded, tiny_set, seed=0))
        assert max(passes) <= batch_size
    large, small = results
    assert small.class_statistics == large.class_statistics
    assert small.target == large.target


def test_it_is_a_model_test_for_an_audit(shaded: nn.Module, tiny_set: ImageSet) -> None:
    test: ModelTest = TEST
    settings = AuditSettings(images=4, steps=1)
    model = hfscan.wrap(shaded, input_size=(3, 8, 8), num_classes=4)
    report = hfscan.audit(model, tiny_set, settings=settings, tests=[test])
    assert [result.name for result in report.tests] == ["blend-inversion"]
    assert report.tests[0].target == TARGET
    assert report.verdict is Verdict.INCONCLUSIVE  # four classes, and no calibration
    assert "blend-inversion: it has a p-value here only with" in report.reason
    assert any("tests do not count: blend-inversion." in note for note in report.notes)
    assert hfscan.AuditReport.from_dict(report.to_dict()).tests == report.tests
    assert report.tests[0].evidence is not None
    assert report.tests[0].evidence.pictures == ()
    shown = {one.role for one in report.pictures} & {"trigger", "triggered"}
    assert bool(shown) == (report.target == TARGET)


def test_triggers_of_many_classes_are_searched_in_groups(
    shaded: nn.Module, tiny_set: ImageSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hfscan.inversion.halving.GROUP_BYTES", 400)  # two blends of 4 x 4 points
    monkeypatch.setattr("hfscan.inversion.halving.SHOWN", 0)
    result = TEST.run(shaded, tiny_set, seed=0)
    assert (result.target, result.class_statistics) == (TARGET, (0, 0, 1, 0))
    assert result.evidence is not None


def test_too_few_images_are_a_reason(shaded: nn.Module, tiny_set: ImageSet) -> None:
    result = TEST.run(shaded, tiny_set.subset(torch.arange(4)), seed=0)
    assert "3 images of other classes are too few" in result.skipped
    assert result.statistic is result.p_value is result.target is None


def test_images_of_one_class_first(tiny_net: nn.Module, tiny_set: ImageSet) -> None:
    """Of 14 images, ten of one class, five are held back: the last of these only is of another."""
    mostly_red = tiny_set.subset(torch.cat([torch.arange(0, 40, 4), torch.tensor([1, 2, 3, 5])]))
    own = take(tiny_net, mostly_red, 14, 64, seed=6).own[9:]
    assert own[:, 0].tolist() == [True] * 4 + [False]
    rounds = (Round(None, 3, 4, 4), Round(2, 3, 4, 5))
    result = replace(TEST, search=Halving(rounds)).run(tiny_net, mostly_red, seed=6)
    assert not result.skipped
    assert len(result.class_statistics) == 4


@pytest.mark.parametrize("measured", [8, 100])
def test_other_images_keep_their_order(
    tiny_net: nn.Module, tiny_set: ImageSet, measured: int
) -> None:
    sample = take(tiny_net, tiny_set, 40, 64, seed=0)
    images = _divided(sample, measured)
    assert torch.equal(torch.cat([images.seen, images.held_back]), sample.pixels)
    assert torch.equal(torch.cat([images.seen_as, images.held_back_as]), sample.own)


class Edge(nn.Module):
    """Has an infinite slope, which NaN comes of."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.net(images)
        return logits + (0 * images).sqrt().sum()


def test_gradients_that_are_not_finite_are_a_reason(
    tiny_net: nn.Module, tiny_set: ImageSet
) -> None:
    test = replace(TEST, search=Halving((Round(None, 1, 4, 8),)))
    result = test.run(Edge(tiny_net), tiny_set, seed=0)
    assert result.skipped == "the network's gradients are not finite"
