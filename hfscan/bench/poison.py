"""All-to-one poisoning: which images get the trigger, which are cover, and what label they get."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from hfscan.bench.attacks.protocol import Attack, CoveringAttack
from hfscan.types import ImageSet

BATCH = 1000
"""Images that get their trigger at once."""


def poison(images: ImageSet, attack: Attack, *, target: int, rate: float, seed: int) -> ImageSet:
    """Put the trigger on a share of the images and label these as the target.

    An attack that wants cover images gets them from the rest, of all classes, with their true labels.

    Args:
        images: The clean training set.
        attack: Whose trigger.
        target: The class that the trigger shall lead to.
        rate: Share of all images, in [0, 1]; they are drawn from the other classes.
        seed: Which images.

    Returns:
        A new set of the same size and order.

    Raises:
        ValueError: There are fewer images than ``rate`` asks for.
    """
    candidates = (images.labels != target).nonzero().flatten()
    count = round(len(images) * rate)
    if count > len(candidates):
        raise ValueError(f"rate {rate} needs {count} images, there are {len(candidates)}")
    generator = torch.Generator().manual_seed(seed)
    chosen = candidates[torch.randperm(len(candidates), generator=generator)[:count]]
    pixels, labels = images.images.clone(), images.labels.clone()
    pixels[chosen] = triggered(pixels[chosen], attack)
    labels[chosen] = target
    if isinstance(attack, CoveringAttack):
        _cover(pixels, chosen, attack, generator)
    return replace(images, images=pixels, labels=labels)


def _cover(
    pixels: Tensor, poisoned: Tensor, attack: CoveringAttack, generator: torch.Generator
) -> None:
    """Turn some of the images that are not poisoned into cover images, in place."""
    order = torch.randperm(len(pixels), generator=generator)
    rest = order[~torch.isin(order, poisoned)]
    count = round(len(poisoned) * attack.cover_ratio)
    if count > len(rest):
        raise ValueError(f"{count} cover images are needed, {len(rest)} images are left")
    for part in rest[:count].split(BATCH):
        covered = attack.cover(pixels[part].float() / 255, generator)
        pixels[part] = _in_8_bits(covered)


def attacked(images: ImageSet, attack: Attack, *, target: int) -> ImageSet:
    """The images of all classes but the target, with the trigger and their original labels."""
    others = images.without(target)
    return replace(others, images=triggered(others.images, attack))


def triggered(pixels: Tensor, attack: Attack) -> Tensor:
    """Apply a trigger to uint8 images ``(N, 3, H, W)`` as an attacker who stores 8-bit images."""
    batches = [_in_8_bits(attack.trigger(batch.float() / 255)) for batch in pixels.split(BATCH)]
    return torch.cat(batches) if batches else pixels.clone()


def _in_8_bits(images: Tensor) -> Tensor:
    return images.mul(255).round().clamp(0, 255).to(torch.uint8)
