"""Labelled images, and where they came from."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from hfscan.errors import DataError


@dataclass(frozen=True)
class DataFacts:
    """Where clean images came from.

    Args:
        name: Dataset id or folder, as it can be loaded again.
        revision: Commit sha on the Hub, or None.
        split: Name of the split.
        fingerprint: sha256 of images and labels as they were used.
        images: How many images (N).
        classes: Names of the K classes, in order of the label.
        image_column: Where the images are in it; None where they did not come from a data set.
        label_column: Where the labels are in it.
        label_map: Class name or label of the data set -> label of the model; None if they are the same.
    """

    name: str
    revision: str | None
    split: str
    fingerprint: str
    images: int
    classes: tuple[str, ...]
    image_column: str | None = None
    label_column: str | None = None
    label_map: Mapping[str, int] | None = None


@dataclass(frozen=True, eq=False)
class ImageSet:
    """Labelled images of one size.

    Args:
        name: Where they come from.
        images: uint8 ``(N, 3, H, W)`` in [0, 255].
        labels: int64 ``(N,)`` in [0, K).
        classes: Names of the K classes; empty where the source has none.
        revision: Commit sha of the dataset on the Hub, or None.
        split: Name of the split.
        image_column: Where the images were in the data set, if they are of one.
        label_column: Where the labels were.
        label_map: How its labels became those of the model, if they were mapped.

    Raises:
        DataError: Shapes or types do not fit.
    """

    name: str
    images: Tensor
    labels: Tensor
    classes: tuple[str, ...] = ()
    revision: str | None = None
    split: str = ""
    image_column: str | None = None
    label_column: str | None = None
    label_map: Mapping[str, int] | None = None

    def __post_init__(self) -> None:
        if self.images.dtype != torch.uint8 or self.images.ndim != 4 or self.images.shape[1] != 3:
            shape = tuple(self.images.shape)
            raise DataError(
                f"images must be uint8 (N, 3, H, W), not {self.images.dtype} {shape}",
                "see ImageSet.from_arrays",
            )
        if self.labels.dtype != torch.int64 or self.labels.shape != self.images.shape[:1]:
            shape = tuple(self.labels.shape)
            raise DataError(
                f"labels must be int64 (N,), not {self.labels.dtype} {shape}",
                "one label per image",
            )
        if len(self) and int(self.labels.min()) < 0:
            raise DataError(
                f"label {int(self.labels.min())} of {self.name} is negative",
                "unlabelled images (label -1) cannot be used; choose a labelled split",
            )

    @classmethod
    def from_arrays(
        cls,
        images: npt.ArrayLike,
        labels: npt.ArrayLike,
        classes: Sequence[str] = (),
        *,
        name: str = "arrays",
    ) -> ImageSet:
        """Make a set from arrays of your own.

        Args:
            images: uint8 ``(N, 3, H, W)`` or ``(N, H, W, 3)``.
            labels: integers ``(N,)``.
            classes: Names of the K classes, in order of the label.
            name: What to call the set in reports.

        Raises:
            DataError: The arrays do not have these shapes or types.
        """
        pixels, targets = np.asarray(images), np.asarray(labels)
        if pixels.ndim == 4 and pixels.shape[1] != 3 and pixels.shape[3] == 3:
            pixels = pixels.transpose(0, 3, 1, 2)
        if pixels.dtype != np.uint8:
            raise DataError(
                f"images must be uint8 in [0, 255], not {pixels.dtype}",
                "multiply floats in [0, 1] by 255 and call .astype('uint8')",
            )
        if not np.issubdtype(targets.dtype, np.integer):
            raise DataError(
                f"labels must be integers, not {targets.dtype}", "classes are numbered from 0"
            )
        return cls(
            name=name,
            images=torch.from_numpy(np.ascontiguousarray(pixels)),
            labels=torch.from_numpy(targets.astype(np.int64)),
            classes=tuple(classes),
        )

    def __len__(self) -> int:
        return int(self.images.shape[0])

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return int(self.images.shape[2]), int(self.images.shape[3])

    @property
    def facts(self) -> DataFacts:
        """Provenance as plain data."""
        digest = hashlib.sha256(np.ascontiguousarray(self.images.numpy()).data)
        digest.update(np.ascontiguousarray(self.labels.numpy()).data)
        return DataFacts(
            name=self.name,
            revision=self.revision,
            split=self.split,
            fingerprint=digest.hexdigest(),
            images=len(self),
            classes=self.classes,
            image_column=self.image_column,
            label_column=self.label_column,
            label_map=self.label_map,
        )

    def subset(self, indices: Tensor) -> ImageSet:
        """The images at ``indices``, int64 ``(n,)``, in that order."""
        return replace(self, images=self.images[indices], labels=self.labels[indices])

    def without(self, label: int) -> ImageSet:
        """The images of all other classes."""
        return self.subset((self.labels != label).nonzero().flatten())

    def resized(self, size: tuple[int, int]) -> ImageSet:
        """The images at another height and width (bilinear, antialiased); itself if they have it."""
        if size == self.size:
            return self
        batches = [
            F.interpolate(batch.float(), size, mode="bilinear", antialias=True)
            for batch in self.images.split(256)
        ]
        pixels = torch.cat(batches).round().clamp(0, 255).to(torch.uint8)
        return replace(self, images=pixels)

    def split_at(self, fraction: float, *, seed: int) -> tuple[ImageSet, ImageSet]:
        """Divide into two sets; each class is divided, as far as it can be, in the same proportion.

        Args:
            fraction: Share of the images in the first set, in (0, 1).
            seed: Which images go where.

        Returns:
            The first set and the rest; both keep the original order.
        """
        order, rank = _shuffled(self.labels, seed)
        share = (rank + 0.5) / self.labels.bincount()[self.labels[order]]
        order = order[share.argsort(stable=True)]
        cut = round(len(self) * fraction)
        return self.subset(order[:cut].sort().values), self.subset(order[cut:].sort().values)

    def sample(self, images: int, *, seed: int) -> ImageSet:
        """At most ``images`` images, the classes as equally often as they allow."""
        if images >= len(self):
            return self
        return self.subset(stratified_order(self.labels, seed)[:images].sort().values)

    def batches(
        self, batch_size: int, *, generator: torch.Generator | None = None
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield float32 images ``(B, 3, H, W)`` in [0, 1] and labels ``(B,)``.

        Args:
            batch_size: B; the last batch may be smaller.
            generator: Shuffles the images; None keeps their order.
        """
        order = (
            torch.arange(len(self))
            if generator is None
            else torch.randperm(len(self), generator=generator)
        )
        for indices in order.split(batch_size):
            yield self.images[indices].float().div_(255), self.labels[indices]


def stratified_order(labels: Tensor, seed: int) -> Tensor:
    """A shuffled order of ``labels`` in which every prefix has the classes about equally often.

    Args:
        labels: int64 ``(N,)``.
        seed: Which images of a class come first.

    Returns:
        int64 ``(N,)``, a permutation.
    """
    order, rank = _shuffled(labels, seed)
    return order[rank.argsort(stable=True)]


def _shuffled(labels: Tensor, seed: int) -> tuple[Tensor, Tensor]:
    """A permutation of ``labels``, and for each place in it, how many of its class come before, both ``(N,)``."""
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(labels), generator=generator)
    shuffled = labels[order]
    rank = torch.zeros_like(shuffled)
    for label in shuffled.unique():
        members = shuffled == label
        rank[members] = torch.arange(int(members.sum()))
    return order, rank
