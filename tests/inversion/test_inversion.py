from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from hfscan.half import fast_half
from hfscan.inversion import FAMILIES, Additive, Blend, Family, Patch, Search, Smooth, Warp

TARGET = 2


@pytest.fixture(params=sorted(FAMILIES))
def family(request: pytest.FixtureRequest) -> Family:
    return FAMILIES[request.param]()


def some_images(height: int = 8, width: int = 8) -> Tensor:
    return torch.rand((12, 3, height, width), generator=torch.Generator().manual_seed(1))


class Trap(nn.Module):
    """Takes an image for class 2 where a score of its pixels exceeds a threshold."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(50.0))

    def score(self, images: Tensor) -> Tensor:
        raise NotImplementedError

    def forward(self, images: Tensor) -> Tensor:
        score = self.scale * self.score(images)
        return torch.stack([torch.zeros_like(score), torch.zeros_like(score), score], dim=1)


class Corner(Trap):
    """A white pixel in the last corner."""

    def score(self, images: Tensor) -> Tensor:
        return images[:, :, -1, -1].mean(1) - 0.8


class Shade(Trap):
    """The lower half brighter than the upper one by a tenth."""

    def score(self, images: Tensor) -> Tensor:
        half = images.shape[2] // 2
        return (images[:, :, half:] - images[:, :, :half]).mean((1, 2, 3)) - 0.1


class Ramp(Trap):
    """A slope of brightness moved by half a pixel to the left; images have the slope."""

    def score(self, images: Tensor) -> Tensor:
        return images[:, 0, :, 3:5].mean((1, 2)) - 0.5 - 0.3 / 8


class Ripple(Trap):
    """A checkerboard of a small amplitude."""

    def score(self, images: Tensor) -> Tensor:
        height, width = images.shape[2:]
        board = (torch.arange(height)[:, None] + torch.arange(width)) % 2 * 2.0 - 1
        return (images * board).mean((1, 2, 3)) - 0.03


def gray() -> Tensor:
    noise = torch.randn((20, 3, 8, 8), generator=torch.Generator().manual_seed(2))
    return (0.4 + 0.01 * noise).clamp(0, 1)


def slope() -> Tensor:
    ramp = (torch.arange(8.0) + 0.5) / 8
    noise = torch.randn((20, 3, 8, 8), generator=torch.Generator().manual_seed(3))
    return (ramp + 0.002 * noise).clamp(0, 1)


PLANTED = [
    (Patch(area=1.5 / 64), Corner(), gray()),
    (Blend(grid=4), Shade(), gray()),
    (Warp(), Ramp(), slope()),
    (Additive(norm=0.75), Ripple(), gray()),
    (Smooth(), Shade(), gray()),
]


@pytest.mark.parametrize(("family", "net", "images"), PLANTED, ids=lambda x: type(x).__name__)
def test_a_planted_trigger_is_found(family: Family, net: nn.Module, images: Tensor) -> None:
    assert (net(images).argmax(1) == TARGET).sum() == 0
    trigger = Search().invert(net, images, TARGET, family=family, seed=0)
    assert trigger.success == 1.0
    assert (net(trigger.apply(images)).argmax(1) == TARGET).all()


@pytest.mark.parametrize(
    ("family", "net", "images"),
    [
        (Warp(), Corner(), gray()),
        (Warp(), Ripple(), gray()),
        (Patch(area=1.5 / 64), Shade(), gray()),
        (Blend(grid=2), Ripple(), gray()),
        (Additive(norm=0.1), Shade(), gray()),
        (Smooth(), Ripple(), gray()),
    ],
    ids=lambda x: type(x).__name__,
)
def test_the_bound_keeps_others_out(family: Family, net: nn.Module, images: Tensor) -> None:
    assert Search().invert(net, images, TARGET, family=family, seed=0).success == 0.0


def test_images_stay_images(family: Family) -> None:
    images = some_images()
    before = images.clone()
    parameters = family.start((8, 8), torch.Generator().manual_seed(0))
    applied = family.apply(images, family.bounded(parameters + 3.0))
    assert applied.shape == images.shape
    assert 0 <= applied.min() <= applied.max() <= 1
    assert torch.equal(images, before)


def test_bounds_hold(family: Family) -> None:
    generator = torch.Generator().manual_seed(0)
    start = family.start((8, 8), generator)
    inside = family.bounded(start)
    torch.testing.assert_close(inside, start)
    far = family.bounded(torch.randn(start.shape, generator=generator) * 10)
    torch.testing.assert_close(family.bounded(far), far)
    assert 0 < family.size(far) <= 2


def test_sizes_of_triggers() -> None:
    huge = torch.full((1, 4, 10, 10), 9.0)
    patch = Patch(area=0.05)
    assert patch.size(patch.bounded(huge)) == pytest.approx(0.05, abs=1e-4)
    assert Additive(norm=2.0).size(Additive(norm=2.0).bounded(huge)) == pytest.approx(2.0)
    assert Warp().bounded(huge).max() == 0.5
    assert Blend().bounded(huge).max() == 1


def test_an_idle_warp_changes_nothing() -> None:
    images = some_images(9, 14)
    torch.testing.assert_close(Warp().apply(images, torch.zeros(1, 2, 4, 4)), images)


def test_a_warp_moves_by_pixels() -> None:
    images = some_images(9, 14)
    shift = torch.zeros(1, 2, 4, 4)
    shift[:, 0] = 0.5  # every pixel comes from half a pixel to the right
    moved = Warp().apply(images, shift)
    expected = (images[..., :-1] + images[..., 1:]) / 2
    torch.testing.assert_close(moved[..., :-1], expected)


@pytest.mark.parametrize("size", [(8, 8), (9, 14), (16, 5)])
def test_the_network_is_left_as_it_was(
    family: Family, planted_net: nn.Module, size: tuple[int, int]
) -> None:
    planted_net.train()
    before = copy.deepcopy(planted_net.state_dict())
    random_state = torch.random.get_rng_state()
    Search(steps=2).invert(planted_net, some_images(*size), TARGET, family=family, seed=0)
    after = planted_net.state_dict()
    assert all(torch.equal(before[key], after[key]) for key in before)
    assert planted_net.training
    assert all(p.requires_grad and p.grad is None for p in planted_net.parameters())
    assert torch.equal(torch.random.get_rng_state(), random_state)


def test_deterministic_for_a_seed(family: Family, planted_net: nn.Module) -> None:
    search = Search(steps=3, batch_size=4)
    one, same, other = (
        search.invert(planted_net, some_images(), TARGET, family=family, seed=seed)
        for seed in (0, 0, 1)
    )
    assert torch.equal(one.parameters, same.parameters)
    assert one.success == same.success
    assert not torch.equal(one.parameters, other.parameters)


class Bright(Trap):
    """An image that is bright on average; notes how bright the images are that are searched with."""

    def __init__(self) -> None:
        super().__init__()
        self.searched: list[float] = []

    def score(self, images: Tensor) -> Tensor:
        brightness = images.mean((1, 2, 3))
        if images.requires_grad:
            self.searched += brightness.tolist()
        return brightness - 0.5


def test_success_is_of_images_held_back(family: Family) -> None:
    """Those that this seed holds back are white, the others black."""
    net, images = Bright(), torch.zeros(12, 3, 8, 8)
    order = torch.randperm(12, generator=torch.Generator().manual_seed(5))
    images[order[:3]] = 1.0
    trigger = Search(steps=3).invert(net, images, TARGET, family=family, seed=5)
    assert len(net.searched) == 3 * 9
    assert max(net.searched) < 0.5
    assert trigger.success == 1.0


def test_no_step_changes_nothing(family: Family, planted_net: nn.Module) -> None:
    start = family.start((8, 8), torch.Generator().manual_seed(0))
    search = Search(steps=0)
    trigger = search.invert(planted_net, some_images(), TARGET, family=family, seed=0, start=start)
    assert torch.equal(trigger.parameters, start)


def test_too_few_images_are_refused(family: Family, planted_net: nn.Module) -> None:
    with pytest.raises(ValueError, match="3 images are too few"):
        Search().invert(planted_net, some_images()[:3], TARGET, family=family, seed=0)


class Watched(Smooth):
    """A family that must not be computed in half precision: in bfloat16 its triggers reach little."""

    def apply(self, images: Tensor, parameters: Tensor) -> Tensor:
        assert not torch.is_autocast_enabled("cpu")
        return super().apply(images, parameters)


class Halved(Bright):
    """Notes whether it is computed in half precision."""

    def score(self, images: Tensor) -> Tensor:
        self.half = torch.is_autocast_enabled("cpu")
        return super().score(images)


@pytest.mark.parametrize("half", [False, True])
def test_only_the_network_is_computed_in_half_precision(half: bool) -> None:
    net = Halved()
    search = Search(steps=1, half=half)
    trigger = search.invert(net, some_images(), TARGET, family=Watched(), seed=0)
    assert trigger.parameters.dtype is torch.float32
    assert net.half is (half and fast_half(torch.device("cpu")) is torch.bfloat16)


def test_registry_names() -> None:
    assert {name: make().name for name, make in FAMILIES.items()} == {n: n for n in FAMILIES}
