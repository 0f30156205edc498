from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from hfscan.errors import DataError
from hfscan.types import ImageSet, stratified_order


def image_set(labels: list[int], size: tuple[int, int] = (4, 6)) -> ImageSet:
    images = torch.arange(len(labels), dtype=torch.uint8)[:, None, None, None]
    return ImageSet("set", images.expand(-1, 3, *size).contiguous(), torch.tensor(labels))


def numbers(images: ImageSet) -> list[int]:
    """Which images of `image_set` these are."""
    return images.images[:, 0, 0, 0].tolist()


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (torch.zeros(2, 3, 4, 4), torch.zeros(2).long(), "images must be uint8"),
        (torch.zeros(2, 1, 4, 4).byte(), torch.zeros(2).long(), "images must be uint8"),
        (torch.zeros(3, 4, 4).byte(), torch.zeros(3).long(), "images must be uint8"),
        (torch.zeros(2, 3, 4, 4).byte(), torch.zeros(2), "labels must be int64"),
        (torch.zeros(2, 3, 4, 4).byte(), torch.zeros(3).long(), "labels must be int64"),
        (torch.zeros(2, 3, 4, 4).byte(), torch.zeros(2, 1).long(), "labels must be int64"),
        (torch.zeros(2, 3, 4, 4).byte(), torch.tensor([0, -1]), "label -1 of set is negative"),
    ],
)
def test_wrong_shapes_and_types(images: torch.Tensor, labels: torch.Tensor, message: str) -> None:
    with pytest.raises(DataError, match=message):
        ImageSet("set", images, labels)


def test_from_arrays() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (5, 4, 6, 3), np.uint8)
    last = ImageSet.from_arrays(pixels, [0, 1, 2, 1, 0], ["a", "b", "c"], name="mine")
    first = ImageSet.from_arrays(pixels.transpose(0, 3, 1, 2), np.array([0, 1, 2, 1, 0], np.int32))
    assert torch.equal(last.images, first.images)
    assert last.images[1, 2, 3, 4] == pixels[1, 3, 4, 2]
    assert last.labels.tolist() == first.labels.tolist() == [0, 1, 2, 1, 0]
    assert (last.name, last.classes, last.size, len(last)) == ("mine", ("a", "b", "c"), (4, 6), 5)


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (np.zeros((2, 4, 4, 3)), [0, 1], "images must be uint8 in"),
        (np.zeros((2, 4, 4, 3), np.uint8), [0.0, 1.0], "labels must be integers"),
        (np.zeros((2, 4, 4, 4), np.uint8), [0, 1], "images must be uint8"),
        (np.zeros((2, 4, 4, 3), np.uint8), [0, 1, 2], "labels must be int64"),
    ],
)
def test_arrays_that_do_not_fit(images: Any, labels: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        ImageSet.from_arrays(images, labels)


def test_batches() -> None:
    images = image_set([0, 1, 0, 1, 0])
    batches = list(images.batches(2))
    assert [len(labels) for _, labels in batches] == [2, 2, 1]
    pixels = torch.cat([pixels for pixels, _ in batches])
    assert pixels.dtype == torch.float32
    torch.testing.assert_close(pixels[:, 0, 0, 0], torch.arange(5) / 255)


def test_batches_are_shuffled_by_the_generator() -> None:
    images = image_set(list(range(20)))
    orders = [
        torch.cat([y for _, y in images.batches(6, generator=torch.Generator().manual_seed(seed))])
        for seed in (0, 0, 1)
    ]
    assert orders[0].tolist() == orders[1].tolist() != orders[2].tolist()
    assert sorted(orders[0].tolist()) == list(range(20))


def test_stratified_order() -> None:
    labels = torch.tensor([0] * 50 + [1] * 10 + [2] * 3)
    order = stratified_order(labels, seed=0)
    assert sorted(order.tolist()) == list(range(63))
    assert torch.bincount(labels[order[:9]]).tolist() == [3, 3, 3]
    assert torch.bincount(labels[order[:23]]).tolist() == [10, 10, 3]
    assert order.tolist() == stratified_order(labels, seed=0).tolist()
    assert order.tolist() != stratified_order(labels, seed=1).tolist()


def test_sample() -> None:
    images = image_set([0, 0, 0, 0, 0, 0, 1, 1, 2, 2])
    sample = images.sample(6, seed=0)
    assert torch.bincount(sample.labels).tolist() == [2, 2, 2]
    assert numbers(sample) == sorted(numbers(sample))
    assert images.sample(10, seed=0) is images


@pytest.mark.parametrize(("fraction", "expected"), [(0.8, 16), (0.5, 10), (0.01, 0), (0.99, 20)])
def test_split(fraction: float, expected: int) -> None:
    images = image_set([0, 1] * 10)
    first, rest = images.split_at(fraction, seed=0)
    assert (len(first), len(rest)) == (expected, 20 - expected)
    assert sorted(numbers(first) + numbers(rest)) == list(range(20))
    counts = torch.bincount(first.labels, minlength=2)
    assert abs(int(counts[0] - counts[1])) <= 1


def test_split_keeps_the_rare_classes_in_both() -> None:
    images = image_set([0] * 100 + [1] * 10 + [2] * 5)
    first, rest = images.split_at(0.8, seed=0)
    assert torch.bincount(first.labels).tolist() == [80, 8, 4]
    assert torch.bincount(rest.labels).tolist() == [20, 2, 1]


def test_resized() -> None:
    images = image_set([0, 1, 2])
    resized = images.resized((8, 12))
    assert resized.size == (8, 12)
    assert resized.images.dtype == torch.uint8
    assert numbers(resized) == [0, 1, 2]
    assert images.resized((4, 6)) is images


def test_the_fingerprint_is_of_pixels_and_labels() -> None:
    images = image_set([0, 1, 2])
    prints = {
        images.facts.fingerprint,
        replace(images, name="other", split="train").facts.fingerprint,
    }
    assert len(prints) == 1
    prints.add(replace(images, labels=torch.tensor([0, 1, 1])).facts.fingerprint)
    prints.add(replace(images, images=images.images + 1).facts.fingerprint)
    assert len(prints) == 3


def test_without_a_class(tiny_set: ImageSet) -> None:
    others = tiny_set.without(2)
    assert len(others) == 30
    assert 2 not in others.labels
    assert torch.equal(others.images, tiny_set.images[tiny_set.labels != 2])
