"""The plain data that passes between the stages: frozen dataclasses without I/O.

Letters used in shapes: N images, B batch, C channels, S steps, K classes, H and W height and width.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, is_dataclass, replace
from enum import Enum
from pathlib import Path
from typing import Any, Protocol, TypeVar, get_args, get_origin, get_type_hints

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hfscan.errors import AuditError, DataError

SCHEMA = 1
"""Number of the report's JSON layout; it grows with every incompatible change."""

Channels = dict[str, list[int]]
"""Conv layer name -> indices of output channels: the one currency of detect, erase and compare."""

FloatArray = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

T = TypeVar("T")


class Progress(Protocol):
    """Wraps a long loop, shaped like ``rich.progress.track``."""

    def __call__(self, sequence: Iterable[T], description: str, total: float) -> Iterable[T]:
        """Yield the items of ``sequence``, of which there are ``total``."""


def silent(sequence: Iterable[T], description: str, total: float) -> Iterable[T]:
    """The default `Progress`: shows nothing."""
    return sequence


class Verdict(str, Enum):
    """What an audit concludes about the whole model. There is no "clean": absence cannot be proved."""

    NO_BACKDOOR_FOUND = "NO_BACKDOOR_FOUND"
    SUSPICIOUS = "SUSPICIOUS"
    BACKDOORED = "BACKDOORED"
    INCONCLUSIVE = "INCONCLUSIVE"


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
    """

    name: str
    revision: str | None
    split: str
    fingerprint: str
    images: int
    classes: tuple[str, ...]


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

    Raises:
        DataError: Shapes or types do not fit.
    """

    name: str
    images: Tensor
    labels: Tensor
    classes: tuple[str, ...] = ()
    revision: str | None = None
    split: str = ""

    def __post_init__(self) -> None:
        if self.images.dtype != torch.uint8 or self.images.ndim != 4 or self.images.shape[1] != 3:
            shape = tuple(self.images.shape)
            raise DataError(f"images must be uint8 (N, 3, H, W), not {self.images.dtype} {shape}")
        if self.labels.dtype != torch.int64 or self.labels.shape != self.images.shape[:1]:
            shape = tuple(self.labels.shape)
            raise DataError(f"labels must be int64 (N,), not {self.labels.dtype} {shape}")
        if len(self) and int(self.labels.min()) < 0:
            raise DataError(
                f"label {int(self.labels.min())} is negative",
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
            raise DataError(f"labels must be integers, not {targets.dtype}")
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
            self.name, self.revision, self.split, digest.hexdigest(), len(self), self.classes
        )

    def subset(self, indices: Tensor) -> ImageSet:
        """The images at ``indices``, int64 ``(n,)``, in that order."""
        return replace(self, images=self.images[indices], labels=self.labels[indices])

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
        """Divide into two sets, stratified by label.

        Args:
            fraction: Share of the images in the first set, in (0, 1).
            seed: Which images go where.

        Returns:
            The first set and the rest; both keep the original order.
        """
        order = stratified_order(self.labels, seed)
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
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(labels), generator=generator)
    shuffled = labels[order]
    rank = torch.zeros_like(shuffled)
    for label in shuffled.unique():
        members = shuffled == label
        rank[members] = torch.arange(int(members.sum()))
    return order[rank.argsort(stable=True)]


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


@dataclass(frozen=True)
class AuditSettings:
    """Everything that decides an audit's result, apart from model and images.

    Args:
        images: N, images per channel.
        steps: S, steps of feature reverse generation.
        step_size: alpha, in pixel units of [0, 1].
        eps: Largest change of a pixel.
        detector: Name of the channel-level outlier detector.
        tau: Share of a layer's channels that the detector flags, in (0, 0.5).
        seed: Of noise, image choice and detectors.
    """

    images: int = 32
    steps: int = 2
    step_size: float = 0.02
    eps: float = 0.06
    detector: str = "elliptic"
    tau: float = 0.1
    seed: int = 0


@dataclass(frozen=True, eq=False)
class LayerAudit:
    """What FMT saw of one layer.

    Args:
        layer: Name of the module in the network.
        channels: C.
        accuracy: float32 ``(C, S)`` in [0, 1].
        predictions: int64 counts ``(C, S, K)``; each row sums to N.
        flagged: bool ``(C,)``.
        skipped: Why the layer was not tested; empty when it was, and then the arrays are there.
    """

    layer: str
    channels: int
    accuracy: FloatArray = field(default_factory=lambda: np.zeros((0, 0), np.float32))
    predictions: IntArray = field(default_factory=lambda: np.zeros((0, 0, 0), np.int64))
    flagged: BoolArray = field(default_factory=lambda: np.zeros(0, np.bool_))
    skipped: str = ""

    def __post_init__(self) -> None:
        if not self.skipped:
            assert self.accuracy.shape == self.predictions.shape[:2]
            assert self.flagged.shape == self.accuracy.shape[:1] == (self.channels,)


@dataclass(frozen=True)
class TestResult:
    """What one model-level test says.

    Args:
        name: Key of the test in its registry.
        statistic: The test statistic; larger is more suspicious. None if the test could not be made.
        p_value: Probability of such a statistic without a backdoor, in [0, 1]; None as above.
        target: The class that stands out most; None as above.
        class_statistics: One figure per class ``(K,)``.
        unit: What ``class_statistics`` counts.
        skipped: Why the test could not be made; empty when it was.
        seconds: How long it took.
    """

    __test__ = False  # not a pytest class

    name: str
    statistic: float | None
    p_value: float | None
    target: int | None
    class_statistics: tuple[float, ...]
    unit: str
    skipped: str = ""
    seconds: float = 0.0


@dataclass(frozen=True)
class Metrics:
    """Fractions in [0, 1]; None where there is no trigger to measure with, as in every real audit.

    Args:
        accuracy: Share of clean images classified as labelled.
        asr: Attack success rate.
        ra: Robust accuracy: triggered images classified as their original label.
        images: How many images ``accuracy`` was measured on.
    """

    accuracy: float
    asr: float | None = None
    ra: float | None = None
    images: int = 0


@dataclass(frozen=True, eq=False)
class AuditReport:
    """The result of an audit.

    Args:
        model: The audited model.
        data: The clean images.
        settings: What decided the result.
        clean_accuracy: Share of the clean images classified as labelled, in [0, 1].
        clean_predictions: Predicted classes of the N images of FMT, counts ``(K,)``.
        layers: One entry per conv layer, in order of execution.
        tests: One entry per model-level test.
        verdict: The conclusion.
        reason: One sentence that explains the verdict.
        target: The suspected target class; None unless suspicious or backdoored.
        notes: Warnings for the reader.
        seconds: Stage -> duration.
        versions: Package -> version.
    """

    model: ModelFacts
    data: DataFacts
    settings: AuditSettings
    clean_accuracy: float
    clean_predictions: tuple[int, ...]
    layers: tuple[LayerAudit, ...]
    tests: tuple[TestResult, ...]
    verdict: Verdict
    reason: str
    target: int | None = None
    notes: tuple[str, ...] = ()
    seconds: Mapping[str, float] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)

    @property
    def flagged(self) -> Channels:
        """The channels that FMT's outlier detector flagged."""
        found = {layer.layer: np.flatnonzero(layer.flagged).tolist() for layer in self.layers}
        return {layer: channels for layer, channels in found.items() if channels}

    def to_dict(self) -> dict[str, Any]:
        """The report as JSON-ready data; `from_dict` reads it back."""
        target = self.target
        return {
            "schema": SCHEMA,
            "verdict": self.verdict.value,
            "target": None
            if target is None
            else {"index": target, "name": self.model.label(target)},
            "reason": self.reason,
            "model": asdict(self.model),
            "data": asdict(self.data),
            "settings": asdict(self.settings),
            "clean_accuracy": self.clean_accuracy,
            "clean_predictions": list(self.clean_predictions),
            "tests": [asdict(test) for test in self.tests],
            "layers": [_layer_to_dict(layer) for layer in self.layers],
            "notes": list(self.notes),
            "seconds": dict(self.seconds),
            "versions": dict(self.versions),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> AuditReport:
        """Read what `to_dict` wrote.

        Raises:
            AuditError: The data is not a report of this schema.
        """
        schema = data.get("schema") if isinstance(data, Mapping) else None
        if schema != SCHEMA:
            raise AuditError(
                f"not an hfscan audit report of schema {SCHEMA} (schema: {schema!r:.40})",
                "run hfscan audit again",
            )
        try:
            return cls._read(data)
        except (KeyError, TypeError, ValueError, IndexError, OverflowError) as e:
            raise AuditError(
                f"the audit report is damaged ({type(e).__name__}: {e})", "run hfscan audit again"
            ) from e

    @classmethod
    def _read(cls, data: Mapping[str, Any]) -> AuditReport:
        model = _typed(ModelFacts, data["model"])
        clean_predictions = _typed(tuple[int, ...], data["clean_predictions"])
        if len(clean_predictions) != model.num_classes:
            raise ValueError(f"{len(clean_predictions)} figures for {model.num_classes} classes")
        target = data["target"]
        if target is not None:
            target = _position(target["index"], model.num_classes)
        tests = _typed(tuple[TestResult, ...], data["tests"])
        for test in tests:
            _position(test.target or 0, model.num_classes)
        return cls(
            model=model,
            data=_typed(DataFacts, data["data"]),
            settings=_typed(AuditSettings, data["settings"]),
            clean_accuracy=_typed(float, data["clean_accuracy"]),
            clean_predictions=clean_predictions,
            layers=tuple(_layer_from_dict(layer, clean_predictions) for layer in data["layers"]),
            tests=tests,
            verdict=Verdict(data["verdict"]),
            reason=_typed(str, data["reason"]),
            target=target,
            notes=_typed(tuple[str, ...], data["notes"]),
            seconds=_typed(dict[str, float], data["seconds"]),
            versions=_typed(dict[str, str], data["versions"]),
        )


@dataclass(frozen=True)
class RepairSettings:
    """Everything that decides a repair's result, apart from model, report and images.

    Args:
        erase_rate: Share of each layer's channels to erase when a target class is suspected.
        epochs: Of fine-tuning.
        lr: Peak learning rate.
        batch_size: Images per step of fine-tuning.
        momentum: Of SGD.
        weight_decay: Of SGD.
        unlearn_norm: L2 norm of the perturbation toward the suspected class that is unlearned while
            fine-tuning, for images in [0, 1]; 0 only fine-tunes.
        clean_rate: Share of the clean images to tune on, in (0, 1); the rest measures.
        max_accuracy_drop: A larger loss of accuracy is a failed repair.
        seed: Of the split, the order of images and the augmentation.
    """

    erase_rate: float = 0.02
    epochs: int = 10
    lr: float = 0.005
    batch_size: int = 128
    momentum: float = 0.9
    weight_decay: float = 5e-4
    unlearn_norm: float = 1.5
    clean_rate: float = 0.8
    max_accuracy_drop: float = 0.03
    seed: int = 0


@dataclass(frozen=True, eq=False)
class RepairReport:
    """The result of a repair; the metrics are measured on the held-out clean images.

    Args:
        audit: The audit that the repair went on from.
        data: The clean images, of which ``settings.clean_rate`` tuned the network.
        settings: What decided the result.
        erased: The channels that were erased.
        method: How they were chosen, one sentence.
        before: The network as it was.
        erased_only: After erasing, before fine-tuning.
        after: The repaired network.
        tests_before: Model-level tests of the network as it was.
        tests_after: Of the repaired network.
        verdict_after: What the tests conclude about the repaired network.
        unlearned: Share of images that the inverted trigger leads to the suspected class, before the
            repair; None without a suspected class.
        weights_sha256: Of the repaired tensors.
        seconds: Stage -> duration.
    """

    audit: AuditReport
    data: DataFacts
    settings: RepairSettings
    erased: Channels
    method: str
    before: Metrics
    erased_only: Metrics
    after: Metrics
    tests_before: tuple[TestResult, ...]
    tests_after: tuple[TestResult, ...]
    verdict_after: Verdict
    weights_sha256: str
    unlearned: float | None = None
    seconds: Mapping[str, float] = field(default_factory=dict)

    @property
    def accuracy_drop(self) -> float:
        """Accuracy before minus accuracy after; negative if the network got better."""
        return self.before.accuracy - self.after.accuracy

    def to_dict(self) -> dict[str, Any]:
        """The report as JSON-ready data, the audit included."""
        return {
            "schema": SCHEMA,
            "data": asdict(self.data),
            "settings": asdict(self.settings),
            "method": self.method,
            "erased": {layer: list(channels) for layer, channels in self.erased.items()},
            "before": asdict(self.before),
            "erased_only": asdict(self.erased_only),
            "after": asdict(self.after),
            "tests_before": [asdict(test) for test in self.tests_before],
            "tests_after": [asdict(test) for test in self.tests_after],
            "verdict_after": self.verdict_after.value,
            "unlearned": self.unlearned,
            "weights_sha256": self.weights_sha256,
            "seconds": dict(self.seconds),
            "audit": self.audit.to_dict(),
        }


def _typed(kind: Any, value: Any) -> Any:
    """A value from JSON, if it has the type ``kind``: lists become tuples, objects records.

    Raises:
        TypeError: It has another type.
        ValueError: A tuple has another length.
    """
    arguments = get_args(kind)
    if type(None) in arguments:
        return None if value is None else _typed(arguments[0], value)
    if isinstance(kind, type) and is_dataclass(kind) and isinstance(value, dict):
        hints = get_type_hints(kind)
        return kind(**{key: _typed(hints.get(key), item) for key, item in value.items()})
    if get_origin(kind) is dict and isinstance(value, dict):
        return {_typed(str, key): _typed(arguments[1], item) for key, item in value.items()}
    if get_origin(kind) is tuple and isinstance(value, list | tuple):
        kinds = [arguments[0]] * len(value) if arguments[-1] is Ellipsis else arguments
        return tuple(_typed(each, item) for each, item in zip(kinds, value, strict=True))
    if type(value) is kind or (kind is float and type(value) is int):
        return value
    raise TypeError(f"{value!r:.40} has the wrong type")


def _layer_to_dict(layer: LayerAudit) -> dict[str, Any]:
    head = {"layer": layer.layer, "channels": layer.channels, "skipped": layer.skipped}
    if layer.skipped:
        return head
    return head | {
        "accuracy": [[round(float(a), 6) for a in row] for row in layer.accuracy],
        "predictions": [[_sparse(counts) for counts in row] for row in layer.predictions],
        "flagged": np.flatnonzero(layer.flagged).tolist(),
    }


def _layer_from_dict(data: Mapping[str, Any], clean_predictions: tuple[int, ...]) -> LayerAudit:
    name, channels = _typed(str, data["layer"]), _typed(int, data["channels"])
    skipped = _typed(str, data["skipped"])
    if skipped:
        return LayerAudit(name, channels, skipped=skipped)
    accuracy = np.array(_typed(tuple[tuple[float, ...], ...], data["accuracy"]), np.float32)
    predictions = np.zeros((*accuracy.shape, len(clean_predictions)), np.int64)
    counts = _typed(tuple[tuple[dict[str, int], ...], ...], data["predictions"])
    for row, steps in zip(predictions, counts, strict=True):
        for cell, sparse in zip(row, steps, strict=True):
            for label, count in sparse.items():
                cell[_position(int(label), len(cell))] = count
    if len(accuracy) != channels or (predictions.sum(2) != sum(clean_predictions)).any():
        raise ValueError(f"the figures of {name!r:.40} do not add up")
    flagged = np.zeros(channels, np.bool_)
    for channel in data["flagged"]:
        flagged[_position(channel, channels)] = True
    return LayerAudit(name, channels, accuracy, predictions, flagged)


def _position(index: Any, size: int) -> int:
    """``index``, if it is an integer in [0, size)."""
    if not 0 <= _typed(int, index) < size:
        raise IndexError(f"{index} is not in the range of {size}")
    return int(index)


def _sparse(counts: IntArray) -> dict[str, int]:
    """Class -> count, without the zeros: a thousand classes are no reason for a huge file."""
    return {str(label): int(counts[label]) for label in np.flatnonzero(counts)}
