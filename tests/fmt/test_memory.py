from __future__ import annotations

import pytest
import timm
import torch
from torch import nn

from hfscan.fmt.memory import BACKWARD_BATCH, BEST_BATCH, Limits, default_memory, measure_limits
from hfscan.fmt.precision import working_copy

MAP = 8 * 16 * 16 * 4
"""Bytes of a float32 feature map of 8 channels of 16x16."""


@pytest.fixture
def net() -> nn.Module:
    chain = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 4, 3, padding=1))
    return working_copy(nn.Sequential(chain, nn.AdaptiveAvgPool2d(1), nn.Flatten()), "fp32")


IMAGE = torch.rand(1, 3, 16, 16)


def test_sizes() -> None:
    assert Limits(64, 100).sizes(32) == (32, 2)
    assert Limits(64, 8).sizes(32) == (8, 8)
    assert Limits(64, 100).sizes(1000) == (64, 1)
    assert Limits(1, 1).sizes(5) == (1, 1)


def test_few_images_share_a_backward_pass_with_those_of_other_channels() -> None:
    assert Limits(64, 100).copies(1, 500) == BACKWARD_BATCH
    assert Limits(64, 100).copies(4, 500) == BACKWARD_BATCH // 4
    assert Limits(64, 100).copies(1, 5) == 5  # no more than there are
    assert Limits(64, 3).copies(1, 500) == 3  # nor than fit
    assert Limits(64, 100).copies(1000, 500) == 1


def test_less_memory_smaller_passes(net: nn.Module) -> None:
    whole = measure_limits(net, IMAGE, 1 << 30, None, retained=False)
    assert whole.batch == BEST_BATCH["cpu"]
    assert 10_000 < whole.graph < (1 << 30) / MAP
    part = measure_limits(net, IMAGE, 100 * MAP, None, retained=False)
    assert part.batch < whole.batch
    assert 1 < part.graph < 50
    assert measure_limits(net, IMAGE, 0, None, retained=False) == Limits(1, 1)


def test_graphs_count_where_batches_keep_them(net: nn.Module) -> None:
    free = measure_limits(net, IMAGE, 100 * MAP, 1000, retained=False)
    kept = measure_limits(net, IMAGE, 100 * MAP, 1000, retained=True)
    assert kept.batch == kept.graph == free.graph


def test_large_images_take_more() -> None:
    net = working_copy(timm.create_model("test_resnet"), "fp32")
    sizes = [
        measure_limits(net, torch.rand(1, 3, edge, edge), 1 << 24, None, retained=False).graph
        for edge in (32, 128)
    ]
    assert 8 < sizes[0] / sizes[1] < 24


def test_the_wish_is_an_upper_bound(net: nn.Module) -> None:
    assert measure_limits(net, IMAGE, 1 << 30, 5, retained=False).batch == 5
    assert 0 < default_memory() <= 1 << 30
