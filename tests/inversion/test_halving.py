from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from hfscan.inversion import Additive
from hfscan.inversion.halving import Halving, Images, Round

CLASSES, IMAGES = 40, 40
TINY = Additive(norm=0.01)


class Brightness(nn.Module):
    """Takes dark images for class 0, bright ones for class 1."""

    def __init__(self) -> None:
        super().__init__()
        self.searched: list[float] = []

    def forward(self, images: Tensor) -> Tensor:
        brightness = images.mean((1, 2, 3))
        if images.requires_grad:
            self.searched += brightness.tolist()
        return torch.stack([0.5 - brightness, brightness - 0.5], dim=1)


def test_images_held_back_measure() -> None:
    """What searches is black, what measures white."""
    net, nobodys = Brightness(), torch.zeros(6, 2).bool()
    images = Images(torch.zeros(6, 3, 8, 8), torch.ones(6, 3, 8, 8), nobodys, nobodys)
    search = Halving((Round(None, 1, 6, 6), Round(1, 1, 6, 6)))
    dark, bright = search.search(net, images, TINY, spread=1.0, seed=0)
    assert (dark.trigger.success, bright.trigger.success) == (0.0, 1.0)
    assert bright.loss < 0.5 < dark.loss
    assert max(net.searched) < 0.5


def test_the_images_of_a_class_do_not_measure_its_trigger() -> None:
    """All images of class 0 are black, all of class 1 white."""
    net, own = Brightness(), torch.eye(2).bool().repeat(3, 1)
    pixels = torch.eye(2)[1].repeat(3).view(6, 1, 1, 1).expand(6, 3, 8, 8).contiguous()
    search = Halving((Round(None, 1, 6, 6),))
    entries = search.search(net, Images(pixels, pixels, own, own), TINY, spread=1.0, seed=0)
    assert [entry.trigger.success for entry in entries] == [0.0, 0.0]


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
