from __future__ import annotations

import pytest
import torch
from torch import nn

from hfscan.inversion import Additive
from hfscan.inversion.halving import Halving, Images, Round

CLASSES, IMAGES = 40, 40


@pytest.mark.parametrize("seed", [8, 10, 14])
def test_what_was_dropped_does_not_go_on(seed: int) -> None:
    """The measure of the next round can make one that was left behind look best again."""
    torch.manual_seed(seed)
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, CLASSES))
    pixels = torch.rand(IMAGES, 3, 8, 8)
    seen_as, held_back_as = torch.eye(CLASSES).bool()[:24], torch.zeros(16, CLASSES).bool()
    images = Images(pixels[:24], pixels[24:], seen_as, held_back_as)
    search = Halving((Round(None, 1, 4, 1), Round(3, 1, 4, 16), Round(2, 1, 4, 16)))
    entries = search.search(
        net.requires_grad_(False), images, Additive(norm=0.02), spread=1.0, seed=seed
    )
    assert sum(entry.rounds == 3 for entry in entries) == 2
