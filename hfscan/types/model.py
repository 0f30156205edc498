"""A model, with and without its weights."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path

from torch import nn


@dataclass(frozen=True)
class ModelFacts:
    """What is known of a model, without its weights.

    Args:
        ref: The reference as the user can type it again, without a revision.
        revision: Commit sha on the Hub, or None for a folder or a module.
        architecture: timm's name, or the class name of a module of the caller's own.
        input_size: ``(channels, height, width)`` that the network wants.
        num_classes: K.
        label_names: Names of the K classes; empty where the model has none.
        weights_sha256: Of the weights file, or of the tensors of a wrapped module.
        weights_file: Name of the weights file in the repository; empty for a wrapped module.
        mean: Per input channel, of images in [0, 1].
        std: Per input channel.
        interpolation: How images are resized to ``input_size``.
        crop_pct: Share of the resized image that the center crop keeps, in (0, 1].
        notes: Peculiarities worth a line in the report.
    """

    ref: str
    revision: str | None
    architecture: str
    input_size: tuple[int, int, int]
    num_classes: int
    label_names: tuple[str, ...]
    weights_sha256: str
    weights_file: str = ""
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    interpolation: str = "bicubic"
    crop_pct: float = 1.0
    notes: tuple[str, ...] = ()

    def label(self, index: int) -> str:
        """The name of class ``index``, or ``class 7`` where the model has no names."""
        return self.label_names[index] if index < len(self.label_names) else f"class {index}"


@dataclass(frozen=True, eq=False, kw_only=True)
class HubModel(ModelFacts):
    """A model that is ready to be audited.

    Args:
        net: float32 ``(B, 3, H, W)`` in [0, 1] -> logits ``(B, K)``; normalization is inside.
        folder: The repository's files on disk, or None for a module of the caller's own.
    """

    net: nn.Module
    folder: Path | None = None

    @property
    def facts(self) -> ModelFacts:
        """The same without net and folder."""
        return ModelFacts(**{f.name: getattr(self, f.name) for f in fields(ModelFacts)})
