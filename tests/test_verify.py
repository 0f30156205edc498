from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest

import hfscan
from hfscan.model_tests import MaximumMargin
from hfscan.types import (
    AuditReport,
    AuditSettings,
    CalibrationFacts,
    HubModel,
    ImageSet,
    LayerAudit,
    TestResult,
)
from hfscan.verify import _test, choose, verify


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    tests = {"maximum-margin": lambda _: MaximumMargin(starts=2, steps=20)}
    monkeypatch.setattr("hfscan.pipeline.testing.TESTS", tests)


@pytest.fixture
def report(planted_model: HubModel, tiny_set: ImageSet) -> AuditReport:
    return hfscan.audit(
        planted_model, tiny_set, settings=AuditSettings(images=12, precision="fp32")
    )


def agreement(
    model: HubModel, clean: ImageSet, report: AuditReport, channels: int = 100
) -> Mapping[str, bool | None]:
    checks = verify(model, clean, report, channels=channels, seed=3)
    assert all(check.details for check in checks)
    return {check.name: check.agrees for check in checks}


def test_a_report_agrees_with_itself(
    planted_model: HubModel, tiny_set: ImageSet, report: AuditReport
) -> None:
    again = AuditReport.from_dict(report.to_dict())
    found = agreement(planted_model, tiny_set, again)
    assert list(found) == [
        "weights",
        "clean images",
        "flags",
        "clean accuracy",
        "predictions of clean images",
        "channels",
        "maximum-margin",
        "verdict",
    ]
    assert set(found.values()) == {True}


@pytest.mark.parametrize("precision", ["bf16", "fp32"])
def test_the_reports_precision_and_its_screened_channels(
    planted_model: HubModel, tiny_set: ImageSet, precision: str
) -> None:
    """A channel that was tested with some of the images is tested with the same ones again."""
    settings = AuditSettings(
        images=16, mode="fast", effort=0.5, precision=precision, min_agreement=0
    )  # type: ignore[arg-type]
    report = hfscan.audit(planted_model, tiny_set, settings=settings)
    tested = np.concatenate([layer.tested for layer in report.layers])
    assert len(set(tested.tolist())) > 1
    checks = {check.name: check for check in verify(planted_model, tiny_set, report, channels=100)}
    assert checks["channels"].agrees
    assert f"16 channels in {precision}: 0.0%" in checks["channels"].details


def test_other_weights(tiny_model: HubModel, tiny_set: ImageSet, report: AuditReport) -> None:
    assert agreement(tiny_model, tiny_set, report) == {"weights": False}


def test_other_images(planted_model: HubModel, tiny_set: ImageSet, report: AuditReport) -> None:
    fewer = tiny_set.sample(20, seed=0)
    found = agreement(planted_model, fewer, report)
    assert found == {"weights": True, "clean images": False, "flags": True}


def lied(report: AuditReport, lie: str) -> AuditReport:
    """The report with one thing changed, as somebody would who wants another conclusion."""
    first, *rest = report.layers
    (test,) = report.tests
    match lie:
        case "flags":
            changed = replace(first, flagged=~first.flagged)
            return replace(report, layers=(changed, *rest))
        case "channels":
            return replace(report, layers=(elsewhere(first), *rest))
        case "clean accuracy":
            return replace(report, clean_accuracy=report.clean_accuracy - 0.02)
        case "predictions of clean images":
            return replace(report, clean_predictions=(*report.clean_predictions[1:], 0))
        case "maximum-margin":
            assert test.p_value is not None
            assert test.p_value > 0.05
            accused = replace(report, verdict=hfscan.Verdict.BACKDOORED, target=test.target)
            return replace(accused, tests=(replace(test, p_value=1e-9),))
        case _:
            verdict = hfscan.Verdict.INCONCLUSIVE
            return replace(report, verdict=verdict)


def elsewhere(layer: LayerAudit) -> LayerAudit:
    """The layer with all images sent to the first class."""
    predictions = np.zeros_like(layer.predictions)
    predictions[:, :, 0] = layer.tested[:, None]
    return replace(layer, predictions=predictions)


@pytest.mark.parametrize(
    "lie",
    [
        "flags",
        "channels",
        "clean accuracy",
        "predictions of clean images",
        "maximum-margin",
        "verdict",
    ],
)
def test_lies(planted_model: HubModel, tiny_set: ImageSet, report: AuditReport, lie: str) -> None:
    found = agreement(planted_model, tiny_set, lied(report, lie))
    assert [name for name, agrees in found.items() if agrees is False] == [lie]


def test_what_cannot_be_compared(
    planted_model: HubModel, tiny_set: ImageSet, report: AuditReport
) -> None:
    (test,) = report.tests
    skipped = replace(test, skipped="no time", statistic=None, p_value=None, target=None)
    settings = replace(report.settings, detector="Mine")
    layers = tuple(LayerAudit(e.layer, e.channels, skipped="no time") for e in report.layers)
    little = replace(report, settings=settings, tests=(skipped,), layers=layers)
    found = agreement(planted_model, tiny_set, little)
    assert [name for name, agrees in found.items() if agrees is None] == [
        "flags",
        "channels",
        "maximum-margin",
    ]


def test_channels_are_chosen_at_random(report: AuditReport) -> None:
    def names(seed: int) -> list[tuple[str, int]]:
        return [(layer.layer, channel) for layer, channel in choose(report, 5, seed)]

    assert names(0) == names(0) != names(1)
    assert len(names(0)) == 5
    assert len(choose(report, 1000, 0)) == sum(layer.channels for layer in report.layers)
    assert choose(report, 0, 0) == []


def test_a_layer_that_the_network_does_not_have(
    planted_model: HubModel, tiny_set: ImageSet, report: AuditReport
) -> None:
    first, *rest = report.layers
    renamed = replace(report, layers=(replace(first, layer="elsewhere"), *rest))
    assert agreement(planted_model, tiny_set, renamed)["channels"] is False


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (1e-9, 9e-4, True),
        (0.2, 0.9, True),
        (0.002, 0.04, True),
        (0.04, 0.06, True),
        (9e-4, 2e-3, True),
        (1e-4, 2e-3, False),
        (1e-7, 0.5, False),
        (0.004, 0.5, False),
    ],
)
def test_p_values_that_say_the_same(one: float, other: float, same: bool) -> None:
    ours, theirs = (TestResult("t", 1.0, p, 0, (1.0,), "") for p in (one, other))
    assert _test(theirs, ours).agrees is _test(ours, theirs).agrees is same


def test_another_class_stands_out() -> None:
    ours, theirs = (TestResult("t", 1.0, 1e-6, target, (1.0,), "") for target in (0, 1))
    assert _test(theirs, ours).agrees is False


def test_p_values_of_a_calibration_that_is_not_here(
    planted_model: HubModel, tiny_set: ImageSet, report: AuditReport
) -> None:
    facts = CalibrationFacts("mine", 3, "near", 0.05, 0.01)
    checks = verify(planted_model, tiny_set, replace(report, calibration=facts), channels=1)
    assert checks[-1].agrees is None
    assert checks[-1].details.endswith("a calibration that is not here: mine")
