from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch

from hfscan.bench.attacks import ATTACKS, Attack, BadNets
from hfscan.bench.poison import attacked, poison, triggered
from hfscan.types import ImageSet

TARGET = 1


@pytest.fixture(params=ATTACKS)
def attack(request: pytest.FixtureRequest) -> Attack:
    return ATTACKS[request.param]()


def changed(one: ImageSet, other: ImageSet) -> torch.Tensor:
    """Which images differ, bool ``(N,)``."""
    return (one.images != other.images).flatten(1).any(1)


# --- the contract


def test_trigger(attack: Attack) -> None:
    images = torch.rand(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    before = images.clone()
    result = attack.trigger(images)
    assert torch.equal(images, before)
    assert result.shape == images.shape
    assert result.dtype == torch.float32
    assert result.min() >= 0
    assert result.max() <= 1
    assert (result != images).flatten(1).any(1).all()
    assert torch.equal(attack.trigger(images), result)


def test_poison(attack: Attack, tiny_set: ImageSet) -> None:
    before = tiny_set.images.clone(), tiny_set.labels.clone()
    poisoned = poison(tiny_set, attack, target=TARGET, rate=0.25, seed=0)
    chosen = changed(poisoned, tiny_set)
    assert chosen.sum() == 10
    assert (poisoned.labels[chosen] == TARGET).all()
    assert (tiny_set.labels[chosen] != TARGET).all()
    assert torch.equal(poisoned.labels[~chosen], tiny_set.labels[~chosen])
    assert torch.equal(
        poisoned.images[chosen], attacked(tiny_set.subset(chosen), attack, target=TARGET).images
    )
    assert torch.equal(tiny_set.images, before[0])
    assert torch.equal(tiny_set.labels, before[1])


def test_attacked(attack: Attack, tiny_set: ImageSet) -> None:
    others = tiny_set.subset(tiny_set.labels != TARGET)
    result = attacked(tiny_set, attack, target=TARGET)
    assert len(result) == 30
    assert torch.equal(result.labels, others.labels)
    assert changed(result, others).all()


def test_in_batches(attack: Attack) -> None:
    pixels = torch.randint(0, 256, (1001, 3, 8, 8), dtype=torch.uint8)
    assert torch.equal(triggered(pixels, attack)[-1:], triggered(pixels[-1:], attack))
    assert triggered(pixels[:0], attack).shape == (0, 3, 8, 8)


# --- poisoning


def test_the_seed_decides(tiny_set: ImageSet) -> None:
    chosen = [
        changed(poison(tiny_set, BadNets(), target=0, rate=0.2, seed=seed), tiny_set).tolist()
        for seed in (0, 0, 1)
    ]
    assert chosen[0] == chosen[1] != chosen[2]


def test_no_poison(tiny_set: ImageSet) -> None:
    same = poison(tiny_set, BadNets(), target=0, rate=0, seed=0)
    assert torch.equal(same.images, tiny_set.images)
    assert torch.equal(same.labels, tiny_set.labels)


def test_more_than_there_is(tiny_set: ImageSet) -> None:
    assert (poison(tiny_set, BadNets(), target=0, rate=0.75, seed=0).labels == 0).all()
    with pytest.raises(ValueError, match=r"rate 0\.8 needs 32 images, there are 30"):
        poison(tiny_set, BadNets(), target=0, rate=0.8, seed=0)


# --- BadNets


def test_badnets_patch() -> None:
    result = BadNets().trigger(torch.full((1, 3, 8, 8), 0.5))
    expected = torch.full((1, 3, 8, 8), 0.5)
    expected[..., 5:, 5:] = torch.tensor([[1.0, 0.0, 1.0], [0.0, 1.0, 0.0], [1.0, 0.0, 1.0]])
    assert torch.equal(result, expected)


@dataclass(frozen=True)
class Darker:
    """An attack whose pixels lie between two of 8 bits."""

    def trigger(self, images: torch.Tensor) -> torch.Tensor:
        return images - 0.3 / 255


def test_pixels_are_stored_in_8_bits() -> None:
    pixels = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16).repeat(1, 3, 1, 1)
    assert torch.equal(triggered(pixels, Darker()), pixels)
