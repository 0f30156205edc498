"""All-to-one poisoning: which images get the trigger, and what label."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from hfscan.bench.attacks import Attack
from hfscan.types import ImageSet


def poison(images: ImageSet, attack: Attack, *, target: int, rate: float, seed: int) -> ImageSet:
    """Put the trigger on a share of the images and label these as the target.

    Args:
        images: The clean training set.
        attack: Whose trigger.
        target: The class that the trigger shall lead to.
        rate: Share of all images, in [0, 1]; they are drawn from the other classes.
        seed: Which images.

    Returns:
        A new set of the same size and order.

    Raises:
        ValueError: There are fewer images of other classes than ``rate`` asks for.
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
    return replace(images, images=pixels, labels=labels)


def attacked(images: ImageSet, attack: Attack, *, target: int) -> ImageSet:
    """The images of all classes but the target, with the trigger and their original labels."""
    others = images.subset((images.labels != target).nonzero().flatten())
    return replace(others, images=triggered(others.images, attack))


def triggered(pixels: Tensor, attack: Attack) -> Tensor:
    """Apply a trigger to uint8 images ``(N, 3, H, W)`` as an attacker who stores 8-bit images."""
    batches = [
        attack.trigger(batch.float() / 255).mul(255).round().clamp(0, 255).to(torch.uint8)
        for batch in pixels.split(1000)
    ]
    return torch.cat(batches) if batches else pixels.clone()
