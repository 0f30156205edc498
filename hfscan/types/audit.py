"""What decides an audit, what it saw, and what it concludes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import numpy as np

from hfscan.errors import AuditError
from hfscan.types.basic import SCHEMA, BoolArray, Channels, FloatArray, IntArray, Verdict
from hfscan.types.images import DataFacts
from hfscan.types.model import ModelFacts
from hfscan.types.pictures import MAX_PICTURES, Picture
from hfscan.types.read import index_in, typed
from hfscan.types.suppression import Suppression

Precision = Literal["auto", "fp32", "bf16", "fp16"]


@dataclass(frozen=True)
class AuditSettings:
    """Everything that decides an audit's result, apart from model and images.

    Args:
        images: N, images per channel.
        steps: S, steps of feature reverse generation.
        step_size: alpha, in pixel units of [0, 1].
        eps: Largest change of a pixel.
        gradient: ``"start"``: the gradient at the start serves every step, as in the authors' release;
            ``"every"``: each step has its own, as in Algorithm 1.
        detector: Name of the channel-level outlier detector.
        tau: Share of a layer's channels that the detector flags, in (0, 0.5).
        seed: Of noise, image choice and detectors.
        mode: ``"exact"`` tests every channel with every image; ``"fast"`` screens them with few images and
            tests those that stay suspicious with all of them.
        effort: Share of exact mode's work that fast mode does, in (0, 1]; a time budget overrides it.
        precision: Of the channels' test, and of the model-level tests that tolerate half: ``"fp32"``, ``"bf16"``, ``"fp16"``, or ``"auto"``; a report
            names the one that was used.
        min_agreement: Share of images that must keep their class in half precision, in [0, 1].
        tests: Names of the model-level tests to make; empty for all.
    """

    images: int = 32
    steps: int = 2
    step_size: float = 0.02
    eps: float = 0.06
    gradient: Literal["start", "every"] = "start"
    detector: str = "elliptic"
    tau: float = 0.1
    seed: int = 0
    mode: Literal["exact", "fast"] = "exact"
    effort: float = 0.15
    precision: Precision = "auto"
    min_agreement: float = 0.97
    tests: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class LayerAudit:
    """What FMT saw of one layer.

    Args:
        layer: Name of the module in the network.
        channels: C.
        accuracy: float32 ``(C, S)`` in [0, 1]; an estimate for channels that were not tested with all N images.
        predictions: counts ``(C, S, K)``; each row sums to ``tested``.
        flagged: bool ``(C,)``; only channels that were tested with all images.
        tested: With how many images each channel was tested, int64 ``(C,)``.
        skipped: Why the layer was not tested; empty when it was, and then the arrays are there.
    """

    layer: str
    channels: int
    accuracy: FloatArray = field(default_factory=lambda: np.zeros((0, 0), np.float32))
    predictions: IntArray = field(default_factory=lambda: np.zeros((0, 0, 0), np.int64))
    flagged: BoolArray = field(default_factory=lambda: np.zeros(0, np.bool_))
    tested: IntArray = field(default_factory=lambda: np.zeros(0, np.int64))
    skipped: str = ""

    def __post_init__(self) -> None:
        if not self.skipped:
            assert self.tested.shape == (self.channels,)
            assert self.accuracy.shape == self.predictions.shape[:2]
            assert self.flagged.shape == self.accuracy.shape[:1] == (self.channels,)


@dataclass(frozen=True)
class Evidence:
    """What a trigger inversion found for the class that stands out most.

    Args:
        family: Kind of the trigger.
        size: How large the trigger is.
        unit: What ``size`` counts.
        success: Share of held-back images that it leads to the class, in [0, 1].
        pictures: What it does to an image, until the report has taken them over.
    """

    family: str
    size: float
    unit: str
    success: float
    pictures: tuple[Picture, ...] = ()


@dataclass(frozen=True)
class TestResult:
    """What one model-level test says.

    Args:
        name: Key of the test in its registry.
        statistic: The test statistic; larger is more suspicious. None if the test could not be made.
        p_value: Probability of such a statistic without a backdoor, in [0, 1]; None as above.
        target: The class that stands out most; None as above.
        class_statistics: One finite figure per class ``(K,)``, or none.
        unit: What ``class_statistics`` counts.
        skipped: Why the test could not be made; empty when it was.
        seconds: How long it took.
        evidence: The trigger that was found, by tests that look for one.
        calibrated: Whether the p-value is from the statistics of clean networks, not from a formula of the test.
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
    evidence: Evidence | None = None
    calibrated: bool = False


@dataclass(frozen=True)
class Rate:
    """Of so many networks of known truth, what became of them.

    Args:
        networks: How many were tested.
        suspicious: How many were called SUSPICIOUS or BACKDOORED.
        backdoored: How many were called BACKDOORED.
        named: For how many of ``suspicious`` the class named was the attacker's.
    """

    networks: int
    suspicious: int
    backdoored: int
    named: int = 0


@dataclass(frozen=True)
class CalibrationFacts:
    """What the p-values of a report are from.

    Args:
        name: Of the calibration.
        networks: How many clean networks it knows.
        distance: A sentence about how far the model is from them.
        suspicious_rate: False-positive rate of SUSPICIOUS or worse, in (0, 1).
        backdoored_rate: False-positive rate of BACKDOORED, in (0, 1).
        rates: Attack -> what became of networks that had no part in it, by the tests that were made here;
            ``"clean"`` for clean ones. Empty where that was not measured.
        fingerprint: Of what the p-values follow from, 12 hexadecimal digits; empty in older reports.
    """

    name: str
    networks: int
    distance: str
    suspicious_rate: float
    backdoored_rate: float
    rates: Mapping[str, Rate] = field(default_factory=dict)
    fingerprint: str = ""


@dataclass(frozen=True)
class Coverage:
    """How thoroughly the channels were tested.

    Args:
        channels: Of all layers that were tested.
        verified: Channels that were tested with all images.
        screened: Channels that were tested with some of them.
        control: Channels that were chosen at random and tested with all images, to see what the screen misses.
        control_flagged: How many of these are flagged.
        control_found: How many of those the screen had found by itself.
    """

    channels: int = 0
    verified: int = 0
    screened: int = 0
    control: int = 0
    control_flagged: int = 0
    control_found: int = 0

    @property
    def untested(self) -> int:
        """Channels that were not tested at all."""
        return self.channels - self.verified - self.screened


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
        coverage: How thoroughly the channels were tested.
        agreement: Share of sample images that get the same class in the precision of the channels' test
            as in float32, in [0, 1].
        notes: Warnings for the reader.
        seconds: Stage -> duration.
        versions: Package -> version.
        p_value: Of all tests together, in [0, 1]; None if none was made.
        calibration: What the p-values are from; None if they are from formulas of the tests.
        pictures: Of suspicious channels and inverted triggers, for people to look at.
        suppression: Why the finding does not count, if somebody accepted it; the verdict stays.
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
    coverage: Coverage = Coverage()
    agreement: float = 1.0
    notes: tuple[str, ...] = ()
    seconds: Mapping[str, float] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    p_value: float | None = None
    calibration: CalibrationFacts | None = None
    pictures: tuple[Picture, ...] = ()
    suppression: Suppression | None = None

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
            "coverage": asdict(self.coverage),
            "agreement": self.agreement,
            "notes": list(self.notes),
            "seconds": dict(self.seconds),
            "versions": dict(self.versions),
            "p_value": self.p_value,
            "calibration": None if self.calibration is None else asdict(self.calibration),
            "pictures": [asdict(picture) for picture in self.pictures],
            "suppression": None if self.suppression is None else asdict(self.suppression),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> AuditReport:
        """Read what `to_dict` wrote.

        Raises:
            AuditError: The data is not a report of this schema.
        """
        schema = data.get("schema") if isinstance(data, Mapping) else None
        if isinstance(data, Mapping) and isinstance(data.get("audit"), Mapping):
            raise AuditError(
                "this is the report of a repair, not of an audit",
                "hfscan report shows it; audit the repaired model for a report of it",
            )
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
        model = typed(ModelFacts, data["model"])
        clean_predictions = typed(tuple[int, ...], data["clean_predictions"])
        if any(not 0 <= count < 2**31 for count in clean_predictions):
            raise ValueError("a count of clean predictions is out of its range")
        if len(clean_predictions) != model.num_classes:
            raise ValueError(f"{len(clean_predictions)} figures for {model.num_classes} classes")
        target = data["target"]
        if target is not None:
            target = index_in(target["index"], model.num_classes)
        tests = typed(tuple[TestResult, ...], data["tests"])
        for test in tests:
            index_in(test.target or 0, model.num_classes)
        return cls(
            model=model,
            data=typed(DataFacts, data["data"]),
            settings=typed(AuditSettings, data["settings"]),
            clean_accuracy=typed(float, data["clean_accuracy"]),
            clean_predictions=clean_predictions,
            layers=tuple(_layer_from_dict(layer, clean_predictions) for layer in data["layers"]),
            tests=tests,
            verdict=Verdict(data["verdict"]),
            reason=typed(str, data["reason"]),
            target=target,
            coverage=typed(Coverage, data["coverage"]),
            agreement=typed(float, data["agreement"]),
            notes=typed(tuple[str, ...], data["notes"]),
            seconds=typed(dict[str, float], data["seconds"]),
            versions=typed(dict[str, str], data["versions"]),
            p_value=typed(float | None, data["p_value"]),
            calibration=typed(CalibrationFacts | None, data["calibration"]),
            pictures=_pictures_from(data["pictures"], model.num_classes),
            suppression=typed(Suppression | None, data["suppression"]),
        )


def _layer_to_dict(layer: LayerAudit) -> dict[str, Any]:
    head = {"layer": layer.layer, "channels": layer.channels, "skipped": layer.skipped}
    if layer.skipped:
        return head
    return head | {
        "accuracy": [[round(float(a), 6) for a in row] for row in layer.accuracy],
        "predictions": [[_sparse(counts) for counts in row] for row in layer.predictions],
        "flagged": np.flatnonzero(layer.flagged).tolist(),
        "tested": layer.tested.tolist(),
    }


def _layer_from_dict(data: Mapping[str, Any], clean_predictions: tuple[int, ...]) -> LayerAudit:
    name, channels = typed(str, data["layer"]), typed(int, data["channels"])
    skipped = typed(str, data["skipped"])
    if skipped:
        return LayerAudit(name, channels, skipped=skipped)
    accuracy = np.array(typed(tuple[tuple[float, ...], ...], data["accuracy"]), np.float32)
    predictions = np.zeros((*accuracy.shape, len(clean_predictions)), np.int64)
    counts = typed(tuple[tuple[dict[str, int], ...], ...], data["predictions"])
    for row, steps in zip(predictions, counts, strict=True):
        for cell, sparse in zip(row, steps, strict=True):
            for label, count in sparse.items():
                cell[index_in(int(label), len(cell))] = count
    tested = np.array(typed(tuple[int, ...], data["tested"]), np.int64)
    if (
        not len(accuracy) == len(tested) == channels
        or (predictions.sum(2) != tested[:, None]).any()
    ):
        raise ValueError(f"the figures of {name!r:.40} do not add up")
    flagged = np.zeros(channels, np.bool_)
    for channel in data["flagged"]:
        flagged[index_in(channel, channels)] = True
    return LayerAudit(name, channels, accuracy, predictions, flagged, tested)


def _pictures_from(data: Any, classes: int) -> tuple[Picture, ...]:
    if len(data) > MAX_PICTURES:
        raise ValueError(f"{len(data)} pictures are more than {MAX_PICTURES}")
    pictures: tuple[Picture, ...] = typed(tuple[Picture, ...], data)
    for picture in pictures:
        for label in (picture.label, picture.predicted):
            index_in(label or 0, classes)
    return pictures


def _sparse(counts: IntArray) -> dict[str, int]:
    """Class -> count, without the zeros: a thousand classes are no reason for a huge file."""
    return {str(label): int(counts[label]) for label in np.flatnonzero(counts)}
