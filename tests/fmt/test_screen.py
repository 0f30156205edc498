from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from torch import nn

from hfscan.clock import Clock
from hfscan.fmt import profile
from hfscan.fmt.engine import Engine, Responses
from hfscan.fmt.screen import CONTROL, Plan, Round, Screened, exact, halving, plan
from hfscan.types import AuditSettings, ImageSet

EXACT = AuditSettings(images=40, steps=3, step_size=0.1, eps=0.3, precision="fp32")
FAST = replace(EXACT, mode="fast", effort=0.3)
CHANNEL, TARGET = 6, 2


def test_halving() -> None:
    rounds = halving(4, 32).rounds
    assert rounds == (Round(4, 1.0), Round(8, 0.5), Round(16, 0.25), Round(32, 0.125))
    assert halving(4, 32).cost() == pytest.approx((4 + 4 / 2 + 8 / 4 + 16 / 8) / 32)
    assert halving(3, 10).rounds == (Round(3, 1.0), Round(6, 0.5), Round(10, 0.25))
    assert halving(4, 32, share=0.5).cost() == pytest.approx(halving(4, 32).cost() / 2)


def test_exact() -> None:
    assert exact(32) == Plan((Round(32, 1.0),))
    assert exact(32).cost() == 1
    assert plan(1.0, 32) == plan(2.0, 32) == exact(32)
    assert plan(0.1, 1) == exact(1)


@pytest.mark.parametrize("images", [2, 8, 32, 33, 500])
@pytest.mark.parametrize("effort", [0.001, 0.03, 0.15, 0.3, 0.6, 0.9])
def test_a_plan_keeps_to_the_effort(effort: float, images: int) -> None:
    made = plan(effort, images)
    assert made.cost() <= effort * 1.001
    assert made.rounds[-1].images == images
    if effort >= 0.15 and images >= 32:
        assert made.control == CONTROL
        assert made.rounds[0].keep == 1
        assert made.cost() > 0.7 * effort


def test_more_effort_more_images() -> None:
    first = [plan(effort, 64).rounds[0].images for effort in (0.1, 0.2, 0.4, 0.8)]
    assert first == sorted(first)
    assert first[0] < first[-1]


def screened(predicted: list[list[int]]) -> Screened:
    """One step; -1 where an image was not tested."""
    array = np.array(predicted)[:, :, None]
    tested = (array[:, :, 0] >= 0).sum(1)
    nothing = np.zeros(len(array), np.bool_)
    return Screened(Responses(array, np.zeros(array.shape)), tested, nothing, nothing)


def test_accuracy_is_exact_where_all_images_were_tested() -> None:
    seen = screened([[0, 0, 0, 1], [0, 1, 1, 1], [0, -1, -1, -1], [1, -1, -1, -1], [-1] * 4])
    accuracy = seen.accuracy(np.zeros(4, np.int64))[:, 0]
    assert accuracy[:2].tolist() == [0.75, 0.25]
    assert accuracy[3] < accuracy[4] < accuracy[2]  # an image right, nothing known, an image wrong
    assert abs(accuracy[2:] - accuracy[4]).max() < 0.2
    assert accuracy.dtype == np.float32


def test_the_planted_channel_is_verified(planted_net: nn.Module, tiny_set: ImageSet) -> None:
    for target in (None, TARGET):
        found = next(iter(profile(planted_net, tiny_set, FAST, target=target)))
        whole = next(iter(profile(planted_net, tiny_set, EXACT)))
        assert found.verified[CHANNEL]
        assert found.found[CHANNEL]
        assert not found.verified.all()
        np.testing.assert_array_equal(
            found.accuracy[found.verified], whole.accuracy[found.verified]
        )
        np.testing.assert_array_equal(
            found.predictions[found.verified], whole.predictions[found.verified]
        )
        assert found.accuracy[:, -1].argmin() == CHANNEL


def test_what_was_tested_is_told(planted_net: nn.Module, tiny_set: ImageSet) -> None:
    for layer in profile(planted_net, tiny_set, FAST):
        assert (layer.predictions.sum(2) == layer.tested[:, None]).all()
        assert (layer.verified == (layer.tested == 40)).all()
        assert layer.tested.min() > 0
        assert layer.control.sum() == 1
        assert layer.verified[layer.control | layer.found].all()
        assert layer.tested.sum() < 0.6 * 8 * 40  # few channels: one of eight is much


def test_the_same_seed_does_the_same(planted_net: nn.Module, tiny_set: ImageSet) -> None:
    one, other = (list(profile(planted_net, tiny_set, FAST)) for _ in range(2))
    for first, second in zip(one, other, strict=True):
        np.testing.assert_array_equal(first.accuracy, second.accuracy)
        np.testing.assert_array_equal(first.tested, second.tested)


@pytest.fixture
def time_passes(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Every look at the clock takes so many seconds."""
    now = [0.0]

    def set_speed(seconds: float) -> None:
        def look() -> float:
            now[0] += seconds
            return now[0]

        monkeypatch.setattr(time, "perf_counter", look)

    return set_speed


def test_when_time_is_up(
    planted_net: nn.Module, tiny_set: ImageSet, time_passes: Callable[[float], None]
) -> None:
    time_passes(1.0)
    first, second = profile(planted_net, tiny_set, EXACT, clock=Clock(6), batch_size=40)
    assert not first.skipped
    assert 0 < first.tested.sum() < 8 * 40  # what is there counts
    assert "time budget ended" in second.skipped


def test_plenty_of_time_is_exact(planted_net: nn.Module, tiny_set: ImageSet) -> None:
    for layer in profile(planted_net, tiny_set, FAST, clock=Clock(1e6)):
        assert layer.verified.all()
        assert not layer.control.any()


def test_little_time_covers_every_layer(
    planted_net: nn.Module, tiny_set: ImageSet, time_passes: Callable[[float], None]
) -> None:
    time_passes(0.01)
    layers = list(profile(planted_net, tiny_set, FAST, clock=Clock(0.5), batch_size=8))
    assert len(layers) == 2
    for layer in layers:
        assert layer.tested.sum() > 0
        assert not layer.verified.all()


def test_too_little_time_for_one_channel_with_all_images(
    planted_net: nn.Module, tiny_set: ImageSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Engine, "measure_rate", lambda self: 0.01)
    for layer in profile(planted_net, tiny_set, FAST, clock=Clock(1000)):
        assert 0 < layer.tested.sum() < len(tiny_set)
        assert not layer.verified.any()
        assert not layer.found.any()
