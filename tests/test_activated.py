from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import hfscan
from hfscan.activated import inverted_tac, largest
from hfscan.bench.attacks import BadNets
from hfscan.bench.poison import attacked
from hfscan.inversion import Additive, Patch, Search, Trigger
from hfscan.metrics import coverage, tac
from hfscan.types import ImageSet

EXAMPLES = Path(__file__).parents[1] / "examples"


def spots(size: tuple[int, int], target: int) -> Trigger:
    """Noise of each pixel."""
    family = Additive(norm=2.0)
    noise = torch.randn(1, 3, *size, generator=torch.Generator().manual_seed(0))
    return Trigger(family, target, family.bounded(noise), 1.0)


def test_the_channels_that_a_trigger_moves_and_clean_images_do_not(tiny_set: ImageSet) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 6, 3, padding=1), nn.Flatten(), nn.LazyLinear(4))
    net(tiny_set.images[:1] / 255)
    with torch.no_grad():
        net[0].weight[2] = 0  # sees nothing
        net[0].weight[3] *= 100  # sees much, in clean images too
        net[0].weight[4] = torch.tensor([1.0, -2.0, 1.0])[:, None]  # flat images do not move it
    trigger = spots(tiny_set.size, target=1)
    found = inverted_tac(net, tiny_set, [trigger, trigger])
    (values,) = found.values()
    assert values.dtype == np.float32
    assert values.mean() == pytest.approx(1.0)
    assert (values.argmin(), values.argmax()) == (2, 4)
    assert values[2] == 0
    assert largest(found, 0.2) == {"0": [4]}


@pytest.mark.parametrize(
    ("rate", "expected"),
    [(0.0, []), (0.1, []), (0.2, [2]), (0.4, [1, 2]), (1.0, [0, 1, 2, 3])],
)
def test_a_share_of_each_layer_is_rounded(rate: float, expected: list[int]) -> None:
    changes = {"conv": np.array([0.0, 1.0, 2.0, 1.0], np.float32)}
    assert largest(changes, rate) == ({"conv": expected} if expected else {})


def test_at_least_so_many_of_each_layer() -> None:
    changes = {"conv": np.array([0.0, 1.0, 2.0, 1.0], np.float32)}
    assert largest(changes, 0.01, least=1) == {"conv": [2]}
    assert largest(changes, 0.5, least=1) == {"conv": [1, 2]}


def test_a_patch_inverted_for_a_real_backdoor_moves_its_channels() -> None:
    """The example network and its true trigger, which no repair knows."""
    net = hfscan.load(str(EXAMPLES / "badnets-cifar10")).net
    clean = hfscan.load_images(str(EXAMPLES / "cifar10-clean")).sample(150, seed=0)
    others = clean.without(0)
    search = Search(steps=40, batch_size=32)
    trigger = search.invert(net, others.images / 255, 0, family=Patch(), seed=0)
    erased = largest(inverted_tac(net, clean, [trigger]), 0.1)
    true = tac(net, others, attacked(others, BadNets(), target=0))
    assert coverage(erased, true) > 0.3  # by chance 0.1
