"""Two audits beside each other: what moved, and whether the second is worse."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from hfscan.errors import UsageError
from hfscan.types import AuditReport, FloatArray, LayerAudit, TestResult
from hfscan.verdict import SEVERITY

COMPARISON_SCHEMA = 1
"""Number of the comparison's JSON layout."""

DECISIVE = ("images", "steps", "step_size", "eps", "gradient", "detector", "tau")
"""Settings without which the figures of two audits mean different things."""

NOISY = ("seed", "mode", "effort", "precision")
"""Settings that move the figures a little."""


@dataclass(frozen=True)
class ClassChange:
    """One class in one test.

    Args:
        label: The class.
        before: Its statistic; None if it is not finite.
        after: The same of the second audit.
    """

    label: int
    before: float | None
    after: float | None

    @property
    def change(self) -> float:
        """How much it rose; 0 if one of both is not known."""
        return 0.0 if self.before is None or self.after is None else self.after - self.before


@dataclass(frozen=True)
class TestChange:
    """One model-level test that both audits made.

    Args:
        before: Of the first audit.
        after: Of the second one.
        classes: One entry per class, those that moved most first.
    """

    __test__ = False  # not a pytest class

    before: TestResult
    after: TestResult
    classes: tuple[ClassChange, ...]


@dataclass(frozen=True, eq=False)
class LayerChange:
    """One layer that both audits tested.

    Args:
        layer: Name of the module.
        before: Of the first audit.
        after: Of the second one.
    """

    layer: str
    before: LayerAudit
    after: LayerAudit

    @property
    def gained(self) -> list[int]:
        """Channels that are flagged now and were not."""
        return list(map(int, np.flatnonzero(self.after.flagged & ~self.before.flagged)))

    @property
    def lost(self) -> list[int]:
        """Channels that were flagged and are not now."""
        return list(map(int, np.flatnonzero(self.before.flagged & ~self.after.flagged)))

    @property
    def moved(self) -> FloatArray:
        """How much each channel's accuracy after the last step rose, ``(C,)``; NaN if it was not tested twice."""
        tested = (self.before.tested > 0) & (self.after.tested > 0)
        change = self.after.accuracy[:, -1] - self.before.accuracy[:, -1]
        return np.asarray(np.where(tested, change, np.nan), np.float32)


@dataclass(frozen=True, eq=False)
class Comparison:
    """Two audits and what moved between them.

    Args:
        before: The first audit.
        after: The second one.
        worse: In what way the second one is worse; empty if it is not.
        tests: Those that both made.
        layers: Those that both tested, in order of execution.
        warnings: What limits the comparison.
    """

    before: AuditReport
    after: AuditReport
    worse: str
    tests: tuple[TestChange, ...]
    layers: tuple[LayerChange, ...]
    warnings: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """The comparison as JSON-ready data."""
        both = {"before": self.before, "after": self.after}
        return {
            "schema": COMPARISON_SCHEMA,
            "worse": bool(self.worse),
            "reason": self.worse,
            "warnings": list(self.warnings),
            **{key: _head(report) for key, report in both.items()},
            "tests": [_test_to_dict(test, self.before) for test in self.tests],
            "layers": [_layer_to_dict(layer) for layer in self.layers],
        }


def compare(before: AuditReport, after: AuditReport) -> Comparison:
    """Put two audits beside each other.

    The second one is worse if its verdict is more severe, or if it suspects another class. Whether figures
    moved does not decide: those of other weights always do.

    Raises:
        UsageError: They have other classes, or were made with other settings.
    """
    _check_classes(before, after)
    _check_settings(before, after)
    layers = tuple(_layers(before, after))
    return Comparison(
        before=before,
        after=after,
        worse=_worse(before, after),
        tests=tuple(_tests(before, after)),
        layers=layers,
        warnings=tuple(_warnings(before, after, len(layers))),
    )


def _check_classes(before: AuditReport, after: AuditReport) -> None:
    one, other = before.model, after.model
    if one.num_classes != other.num_classes:
        raise UsageError(
            f"the models have {one.num_classes} and {other.num_classes} classes",
            "compare audits of models with the same classes",
        )
    for index in range(one.num_classes):
        names = one.label(index), other.label(index)
        if one.label_names and other.label_names and names[0] != names[1]:
            raise UsageError(
                f"class {index} is {names[0]!r:.60} in one model and {names[1]!r:.60} in the other",
                "compare audits of models with the same classes in the same order",
            )


def _check_settings(before: AuditReport, after: AuditReport) -> None:
    for name in DECISIVE:
        one, other = getattr(before.settings, name), getattr(after.settings, name)
        if one != other:
            option = f"--{name.replace('_', '-')}"
            raise UsageError(
                f"the audits differ in {option}: {one} and {other}",
                f"audit both with the same {option}",
            )


def _worse(before: AuditReport, after: AuditReport) -> str:
    was, now = before.verdict, after.verdict
    if SEVERITY.get(now, 0) > SEVERITY.get(was, 0):
        return f"the verdict was {was.value} and is {now.value}"
    if now in SEVERITY and before.target != after.target:
        return "another class is suspected"
    return ""


def _tests(before: AuditReport, after: AuditReport) -> Iterator[TestChange]:
    others = {test.name: test for test in after.tests if not test.skipped}
    for test in before.tests:
        other = others.get(test.name)
        if other is None or test.skipped:
            continue
        pairs = zip(test.class_statistics, other.class_statistics, strict=False)
        classes = [ClassChange(label, *map(_finite, pair)) for label, pair in enumerate(pairs)]
        yield TestChange(test, other, tuple(sorted(classes, key=lambda one: -abs(one.change))))


def _finite(value: float | None) -> float | None:
    return float(value) if value is not None and np.isfinite(value) else None


def _layers(before: AuditReport, after: AuditReport) -> Iterator[LayerChange]:
    others = {layer.layer: layer for layer in after.layers if layer.accuracy.size}
    for layer in before.layers:
        other = others.get(layer.layer)
        if other is not None and layer.accuracy.size and other.channels == layer.channels:
            yield LayerChange(layer.layer, layer, other)


def _warnings(before: AuditReport, after: AuditReport, shared: int) -> Iterator[str]:
    if before.model.weights_sha256 == after.model.weights_sha256:
        yield "the weights are the same: what moved is due to images, settings or versions"
    if before.data.fingerprint != after.data.fingerprint:
        yield "the clean images are others: accuracies move for that reason, too"
    for name in NOISY:
        one, other = getattr(before.settings, name), getattr(after.settings, name)
        if one != other and (name != "effort" or before.settings.mode == "fast"):
            yield f"the audits differ in --{name}: {one} and {other}"
    if before.versions.get("hfscan") != after.versions.get("hfscan"):
        yield "the audits are of different versions of hfscan"
    for name in sorted(_made(before) ^ _made(after)):
        which = "first" if name in _made(before) else "second"
        yield f"only the {which} audit made the {name} test: verdicts and p-values of others cannot be compared"
    calibrations = [each.calibration and each.calibration.name for each in (before, after)]
    if calibrations[0] != calibrations[1]:
        one, other = (name or "none" for name in calibrations)
        yield f"the p-values are from different calibrations: {one} and {other}"
    for report, which in ((before, "first"), (after, "second")):
        tested = sum(layer.accuracy.size > 0 for layer in report.layers)
        if tested > shared:
            yield f"{tested - shared} of {tested} layers of the {which} audit have no like in the other"


def _made(report: AuditReport) -> set[str]:
    """Names of the model-level tests that have a result."""
    return {test.name for test in report.tests if test.p_value is not None}


def _head(report: AuditReport) -> dict[str, Any]:
    target, model = report.target, report.model
    return {
        "verdict": report.verdict.value,
        "target": None if target is None else {"index": target, "name": model.label(target)},
        "clean_accuracy": report.clean_accuracy,
        "model": {"ref": model.ref, "revision": model.revision, "sha256": model.weights_sha256},
        "data": asdict(report.data) | {"classes": len(report.data.classes)},
        "settings": asdict(report.settings),
    }


def _test_to_dict(test: TestChange, report: AuditReport) -> dict[str, Any]:
    both = {"before": test.before, "after": test.after}
    return {
        "name": test.before.name,
        "unit": test.before.unit,
        **{
            key: {"statistic": one.statistic, "p_value": one.p_value, "target": one.target}
            for key, one in both.items()
        },
        "classes": [
            asdict(one) | {"name": report.model.label(one.label), "change": one.change}
            for one in test.classes
        ],
    }


def _layer_to_dict(layer: LayerChange) -> dict[str, Any]:
    return {
        "layer": layer.layer,
        "channels": layer.before.channels,
        "flagged_before": int(layer.before.flagged.sum()),
        "flagged_after": int(layer.after.flagged.sum()),
        "gained": layer.gained,
        "lost": layer.lost,
        "accuracy_change": [round(float(change), 6) for change in layer.moved],
    }
