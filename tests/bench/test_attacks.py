from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch
from torch import nn

from hfscan.bench.attacks import (
    ATTACKS,
    SSBA,
    Attack,
    BadNets,
    Blended,
    CoveringAttack,
    FittedAttack,
    LowFrequency,
    WaNet,
)
from hfscan.bench.poison import attacked, poison, triggered
from hfscan.bench.smoke import tiny
from hfscan.cosines import cosines
from hfscan.metrics import asr
from hfscan.types import ImageSet, silent

TARGET = 1


def fitted(name: str, train: ImageSet, net: nn.Module) -> Attack:
    """An entry of the registry, its trigger found in a moment."""
    attack = tiny(ATTACKS[name]())
    if isinstance(attack, FittedAttack):
        return attack.fit(train, clean_net=net, target=TARGET, progress=silent)
    return attack


@pytest.fixture(params=ATTACKS)
def attack(request: pytest.FixtureRequest, tiny_set: ImageSet, tiny_net: nn.Module) -> Attack:
    return fitted(request.param, tiny_set, tiny_net)


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
    relabelled = poisoned.labels != tiny_set.labels
    assert relabelled.sum() == 10
    assert (poisoned.labels[relabelled] == TARGET).all()
    expected = attacked(tiny_set.subset(relabelled), attack, target=TARGET)
    assert torch.equal(poisoned.images[relabelled], expected.images)
    covered = changed(poisoned, tiny_set) & ~relabelled
    assert covered.any() == isinstance(attack, CoveringAttack)
    assert torch.equal(tiny_set.images, before[0])
    assert torch.equal(tiny_set.labels, before[1])


def test_attacked(attack: Attack, tiny_set: ImageSet) -> None:
    others = tiny_set.without(TARGET)
    result = attacked(tiny_set, attack, target=TARGET)
    assert len(result) == 30
    assert torch.equal(result.labels, others.labels)
    assert changed(result, others).all()


def test_in_batches(attack: Attack) -> None:
    pixels = torch.randint(0, 256, (1001, 3, 8, 8), dtype=torch.uint8)
    difference = triggered(pixels, attack)[-1:].int() - triggered(pixels[-1:], attack).int()
    assert difference.abs().max() <= 1  # a convolution may round differently
    assert triggered(pixels[:0], attack).shape == (0, 3, 8, 8)


@pytest.mark.parametrize("size", [(8, 8), (12, 20)])
def test_any_size(name_of_plain: str, size: tuple[int, int]) -> None:
    images = torch.rand(2, 3, *size)
    assert ATTACKS[name_of_plain]().trigger(images).shape == images.shape


@pytest.fixture(params=[n for n, make in ATTACKS.items() if not isinstance(make(), FittedAttack)])
def name_of_plain(request: pytest.FixtureRequest) -> str:
    return str(request.param)


FITTED = [name for name, make in ATTACKS.items() if isinstance(make(), FittedAttack)]


@pytest.mark.parametrize("name", FITTED)
def test_a_trigger_must_be_found_first(name: str) -> None:
    with pytest.raises(ValueError, match="must be fitted first"):
        ATTACKS[name]().trigger(torch.rand(1, 3, 8, 8))


@pytest.mark.parametrize("name", FITTED)
def test_what_was_found_can_be_kept(name: str, tiny_set: ImageSet, tiny_net: nn.Module) -> None:
    state = {key: value.clone() for key, value in tiny_net.state_dict().items()}
    attack, again = (fitted(name, tiny_set, tiny_net) for _ in range(2))
    assert isinstance(attack, FittedAttack)
    restored = tiny(ATTACKS[name]())
    assert isinstance(restored, FittedAttack)
    restored = restored.with_tensors(attack.tensors())
    images = torch.rand(4, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    assert torch.equal(restored.trigger(images), attack.trigger(images))
    assert torch.equal(again.trigger(images), attack.trigger(images))  # the seed decides
    assert all(torch.equal(value, state[key]) for key, value in tiny_net.state_dict().items())


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


def test_cover_images(tiny_set: ImageSet) -> None:
    attack = WaNet(cover_ratio=2)
    poisoned = poison(tiny_set, attack, target=TARGET, rate=0.1, seed=0)
    relabelled = poisoned.labels != tiny_set.labels
    covered = changed(poisoned, tiny_set) & ~relabelled
    assert relabelled.sum() == 4
    assert covered.sum() == 8
    same = poison(tiny_set, attack, target=TARGET, rate=0.1, seed=0)
    assert torch.equal(same.images, poisoned.images)
    with pytest.raises(ValueError, match="40 cover images are needed, 36 images are left"):
        poison(tiny_set, WaNet(cover_ratio=10), target=TARGET, rate=0.1, seed=0)


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


# --- Blended


def test_blended_is_a_fifth_of_a_photograph() -> None:
    black, white = Blended().trigger(torch.zeros(1, 3, 16, 16)), torch.ones(1, 3, 16, 16)
    pattern = black / 0.2
    assert torch.allclose(Blended().trigger(white), 0.8 + black, atol=1e-6)
    assert 0.1 < pattern.mean() < 0.9
    assert pattern.std() > 0.1  # a picture, not a color
    assert not torch.equal(Blended(picture="flower.jpg").trigger(white), 0.8 + black)


# --- WaNet


def ramp() -> torch.Tensor:
    """An image whose red is x and whose green is y, in pixels, scaled to [0, 1]."""
    y, x = torch.meshgrid(torch.arange(32.0), torch.arange(32.0), indexing="ij")
    return torch.stack([x, y, torch.zeros(32, 32)])[None] / 31


def test_wanet_displaces_by_a_quarter_of_a_pixel() -> None:
    moved = (WaNet().trigger(ramp()) - ramp())[:, :2] * 31
    assert 0.1 < moved.abs().mean() < 0.4  # s / 2 pixels at the control points, less between them
    assert moved.abs().max() < 1.0
    inside = moved[..., 4:-4, 4:-4]  # at the border, the warp must not leave the image
    assert (inside[..., 1:] - inside[..., :-1]).abs().max() < 0.15  # smooth
    doubled = (WaNet(strength=1.0).trigger(ramp()) - ramp())[..., 4:-4, 4:-4]
    assert torch.allclose(doubled[:, :2] * 31, 2 * inside, atol=1e-3)


def test_the_warp_is_the_seeds() -> None:
    assert torch.equal(WaNet(seed=1).trigger(ramp()), WaNet(seed=1).trigger(ramp()))
    assert not torch.equal(WaNet(seed=1).trigger(ramp()), WaNet(seed=2).trigger(ramp()))


def test_cover_images_are_warped_and_noisy() -> None:
    images = ramp().expand(2, -1, -1, -1)
    cover = WaNet().cover(images, torch.Generator().manual_seed(0))
    noise = (cover - WaNet().trigger(images))[:, :2] * 31
    assert 0.15 < noise.abs().mean() < 0.35  # uniform up to half a pixel
    assert not torch.equal(cover[0], cover[1])


# --- Low frequency


def test_low_frequency_has_nothing_else(tiny_set: ImageSet, tiny_net: nn.Module) -> None:
    attack = LowFrequency(cutoff=0.25, norm=0.5, steps=5).fit(
        tiny_set, clean_net=tiny_net, target=TARGET
    )
    assert attack.perturbation is not None
    basis = cosines(8)
    spectrum = (basis @ attack.perturbation[0] @ basis.T).square()
    assert spectrum[:, :2, :2].sum() > 0.999 * spectrum.sum() > 0
    assert float(attack.perturbation.norm()) <= 0.5 + 1e-4


def test_low_frequency_leads_a_clean_network_astray(
    tiny_set: ImageSet, tiny_net: nn.Module
) -> None:
    attack = LowFrequency(norm=8.0, steps=60, lr=0.3, batch_size=32).fit(
        tiny_set, clean_net=tiny_net, target=TARGET
    )
    assert asr(tiny_net, attacked(tiny_set, attack, target=TARGET), TARGET) > 0.6
    with pytest.raises(ValueError, match="benign network"):
        LowFrequency().fit(tiny_set, clean_net=None, target=TARGET)


# --- SSBA


def test_ssba_hides_bits_that_can_be_read(tiny_set: ImageSet) -> None:
    attack = SSBA(bits=4, width=8, steps=150, batch_size=16).fit(tiny_set)
    psnr, bit_accuracy = attack.quality(tiny_set)
    assert bit_accuracy > 0.9
    assert psnr > 15
    pixels = tiny_set.images[:2].float() / 255
    residual = attack.trigger(pixels) - pixels
    assert not torch.allclose(residual[0], residual[1], atol=1e-4)  # sample-specific
    assert torch.equal(attack.message, SSBA(bits=4).message)
