from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import hfscan
from hfscan.model_tests import MaximumMargin
from hfscan.model_tests.maximum_margin import margin, outlier
from hfscan.types import FloatArray, ImageSet

TARGET = 2
CLASSES = 6


class Linear(nn.Module):
    """Six classes with weights of about one size, which one class can exceed."""

    def __init__(self, boost: float = 1.0) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.weight = nn.Parameter(torch.randn(CLASSES, 3, 8, 8, generator=generator))
        self.norm = nn.BatchNorm2d(3)
        with torch.no_grad():
            self.weight[TARGET] *= boost

    def forward(self, x: Tensor) -> Tensor:
        return torch.einsum("bchw,kchw->bk", self.norm(x), self.weight)


@pytest.fixture
def clean(tiny_set: ImageSet) -> ImageSet:
    return tiny_set


def test_planted_target(planted_net: nn.Module, tiny_net: nn.Module, clean: ImageSet) -> None:
    found = MaximumMargin().run(planted_net, clean, seed=0)
    ordinary = MaximumMargin().run(tiny_net, clean, seed=0)
    assert found.target == TARGET
    assert found.p_value < 0.05 < ordinary.p_value
    assert found.class_statistics[TARGET] > 2 * ordinary.class_statistics[TARGET]


def test_more_classes(clean: ImageSet) -> None:
    found = MaximumMargin().run(Linear(boost=4).eval(), clean, seed=0)
    assert (found.target, found.p_value < 0.01) == (TARGET, True)
    assert MaximumMargin().run(Linear().eval(), clean, seed=0).p_value > 0.1


@pytest.mark.parametrize("boost", [1, 4])
def test_the_scale_of_the_logits_does_not_matter(clean: ImageSet, boost: float) -> None:
    net, scaled = Linear(boost).eval(), Linear(boost).eval()
    with torch.no_grad():
        scaled.weight *= 10
    one, other = (MaximumMargin().run(each, clean, seed=0) for each in (net, scaled))
    assert one.statistic == pytest.approx(other.statistic, rel=1e-3)
    assert one.p_value == pytest.approx(other.p_value, rel=1e-2)
    assert other.class_statistics == pytest.approx([10 * m for m in one.class_statistics], rel=1e-3)


def test_margins_of_a_linear_network(clean: ImageSet) -> None:
    """A linear margin has its largest value in a corner of the cube."""
    net = Linear().eval()
    difference = net.weight[None] - net.weight[:, None]  # [k, c]: weights of c minus those of k
    bound = difference.clamp_min(0).sum((2, 3, 4)) / (1 + net.norm.eps) ** 0.5
    bound.fill_diagonal_(torch.inf)
    margins = torch.from_numpy(MaximumMargin().margins(net, clean.size, seed=0))
    assert (margins <= bound.min(0).values + 1e-3).all()
    assert (margins > 0.5 * bound.min(0).values).all()


def test_batch_size_does_not_matter(clean: ImageSet) -> None:
    net = Linear().eval()
    margins = [MaximumMargin(batch_size=size).margins(net, (8, 8), seed=0) for size in (3, 7, 256)]
    np.testing.assert_allclose(margins[0], margins[2], rtol=0.02)
    np.testing.assert_allclose(margins[1], margins[2], rtol=0.02)


def test_too_few_classes(clean: ImageSet) -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(192, 3))
    result = MaximumMargin(steps=2).run(net, clean, seed=0)
    assert "3 classes are too few" in result.skipped
    assert result.p_value is None
    assert len(result.class_statistics) == 3


@pytest.mark.parametrize("classes", [3, CLASSES])
def test_figures_that_are_not_finite_are_not_reported(clean: ImageSet, classes: int) -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(192, classes))
    with torch.no_grad():
        net[1].bias[0] = torch.inf
    result = MaximumMargin(steps=2).run(net, clean, seed=0)
    assert result.skipped
    assert result.class_statistics == ()


def test_probabilities(planted_net: nn.Module, clean: ImageSet) -> None:
    model = hfscan.wrap(
        nn.Sequential(planted_net, nn.Softmax(1)), input_size=(3, 8, 8), num_classes=4
    )
    found = MaximumMargin().run(model.net, clean, seed=0)
    assert found.target == TARGET
    assert max(found.class_statistics) > 10


def test_margin() -> None:
    logits = torch.tensor([[1.0, 4.0, 2.0], [1.0, 4.0, 2.0], [-1.0, -5.0, -2.0]])
    assert margin(logits, torch.tensor([1, 0, 1])).tolist() == [2.0, -3.0, -4.0]


def test_outlier_numbers() -> None:
    margins = np.exp(np.array([1.0, 1.2, 0.8, 1.4, 0.6, 5.0])).astype(np.float32)
    statistic, p_value, target = outlier(margins, 0.1)
    assert target == 5
    assert statistic == pytest.approx((5.0 - 1.0) / (1.4826 * 0.2), rel=1e-5)
    # 1 - F(t)^6 with Student's t of 4 degrees of freedom at 13.49
    assert p_value == pytest.approx(6 * 8.76e-5, rel=0.02)


def test_outlier_needs_a_believable_spread() -> None:
    equal = np.array([10.0, 10.0, 10.0, 10.0, 11.0], np.float32)
    statistic, p_value, _ = outlier(equal, 0.1)
    assert statistic == pytest.approx(np.log(1.1) / 0.1, rel=1e-5)
    assert p_value > 0.3


@pytest.mark.parametrize(
    ("margins", "reason"),
    [
        ([1.0, 2.0, 3.0], "3 classes are too few"),
        ([1.0, 2.0, np.nan, 3.0], "not finite"),
        ([1.0, 2.0, np.inf, 3.0], "not finite"),
        ([-1.0, -1.0, -2.0, 5.0], "no image is classified"),
    ],
)
def test_outlier_without_a_result(margins: list[float], reason: str) -> None:
    assert reason in str(outlier(np.array(margins, np.float32), 0.1))


def test_a_few_negative_margins_do_not_hurt() -> None:
    margins: FloatArray = np.array([-3.0, 9.0, 10.0, 11.0, 12.0, 10.0], np.float32)
    _, p_value, target = outlier(margins, 0.1)
    assert target == 4
    assert p_value > 0.1
