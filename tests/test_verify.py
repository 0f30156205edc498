from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import pytest
from torch import nn

import hfscan
from hfscan.calibration import Calibration, NetworkFacts, Record, Score
from hfscan.calibration.fitting import fit
from hfscan.model_tests import MaximumMargin
from hfscan.pipeline.calibrating import Calibrated
from hfscan.reasons import LAYER_OUT_OF_TIME, TEST_OUT_OF_TIME
from hfscan.types import (
    AuditReport,
    AuditSettings,
    CalibrationFacts,
    Coverage,
    HubModel,
    ImageSet,
    LayerAudit,
    Progress,
    TestResult,
    Verdict,
    silent,
)
from hfscan.verdict import conclude, thresholds
from hfscan.verify import Check, verify
from hfscan.verify import agreement as agreed
from hfscan.verify.channels import choose
from hfscan.verify.verdict import result_again


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
        "coverage",
        "clean accuracy",
        "predictions of clean images",
        "channels",
        "layers",
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
    assert checks["coverage"].agrees
    assert f"16 channels in {precision}: 0.0%" in checks["channels"].details


def test_other_weights(tiny_model: HubModel, tiny_set: ImageSet, report: AuditReport) -> None:
    assert agreement(tiny_model, tiny_set, report) == {"weights": False}


def test_other_images(planted_model: HubModel, tiny_set: ImageSet, report: AuditReport) -> None:
    fewer = tiny_set.sample(20, seed=0)
    found = agreement(planted_model, fewer, report)
    assert found == {"weights": True, "clean images": False, "flags": True, "coverage": True}


def consistent(report: AuditReport) -> AuditReport:
    """The report with the p-value and the account of its channels that follow from what it says."""
    tested = [layer.tested for layer in report.layers if not layer.skipped]
    channels = sum(map(len, tested))
    return replace(
        report,
        p_value=conclude(report.tests).p_value,
        coverage=Coverage(channels=channels, verified=channels),
    )


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
        case "accuracy":
            return replace(report, layers=(replace(first, accuracy=1 - first.accuracy), *rest))
        case "coverage":
            return replace(report, coverage=replace(report.coverage, verified=9999))
        case "p-value":
            return replace(report, p_value=0.9999)
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
        "accuracy",
        "coverage",
        "clean accuracy",
        "predictions of clean images",
        "maximum-margin",
        "p-value",
        "verdict",
    ],
)
def test_lies(planted_model: HubModel, tiny_set: ImageSet, report: AuditReport, lie: str) -> None:
    found = agreement(planted_model, tiny_set, lied(report, lie))
    seen = {"accuracy": "channels", "p-value": "verdict"}.get(lie, lie)
    assert seen in [name for name, agrees in found.items() if agrees is False]


def test_a_layer_that_could_not_be_tested_elsewhere(
    planted_model: HubModel, tiny_set: ImageSet, report: AuditReport
) -> None:
    """Perhaps memory was short there; who wants a layer not to be looked at may say so, too."""
    first, *rest = report.layers
    failed = LayerAudit(first.layer, first.channels, skipped="its passes fail (out of memory)")
    found = agreement(planted_model, tiny_set, consistent(replace(report, layers=(failed, *rest))))
    assert (found["layers"], found["verdict"]) == (None, None)


def test_another_version_of_a_calibration(
    planted_model: HubModel,
    tiny_set: ImageSet,
    report: AuditReport,
) -> None:
    (test,) = report.tests
    facts = NetworkFacts.of(planted_model)
    calibration = Calibration(
        *("mine", "", 20 * (facts,)), {test.name: (1.0,) * 20}, {test.name: (0,) * 20}
    )
    theirs = replace(report, calibration=CalibrationFacts("mine", 19, "", 0.02, 0.002))
    *_, last = verify(planted_model, tiny_set, theirs, calibration=calibration)
    assert last.agrees is None
    assert "mine of 19 clean networks" in last.details


def test_what_cannot_be_compared(
    planted_model: HubModel, tiny_set: ImageSet, report: AuditReport
) -> None:
    (test,) = report.tests
    mine = replace(test, name="mine")
    settings = replace(report.settings, detector="Mine")
    little = replace(untested(report), settings=settings, tests=(test, mine))
    found = agreement(planted_model, tiny_set, consistent(little))
    assert [name for name, agrees in found.items() if agrees is None] == [
        "flags",
        "channels",
        "mine",
        "verdict",
    ]
    assert False not in found.values()


def untested(report: AuditReport) -> AuditReport:
    """The report as if time had ended before the first layer."""
    layers = tuple(
        LayerAudit(e.layer, e.channels, skipped=LAYER_OUT_OF_TIME) for e in report.layers
    )
    return consistent(replace(report, layers=layers))


def skipped(test: TestResult, reason: str) -> TestResult:
    return replace(test, skipped=reason, statistic=None, p_value=None, target=None)


def test_a_verdict_without_any_test(
    planted_model: HubModel, tiny_set: ImageSet, report: AuditReport
) -> None:
    """Left out, or said to be impossible."""
    (test,) = report.tests
    for tests in ((), (skipped(test, "too few classes"),), (replace(test, p_value=None),)):
        found = agreement(planted_model, tiny_set, replace(report, tests=tests))
        assert (found["maximum-margin"], found["verdict"]) == (False, False)
    nothing = replace(report, verdict=Verdict.INCONCLUSIVE, target=None, tests=())
    found = agreement(planted_model, tiny_set, consistent(nothing))
    assert (found["maximum-margin"], found["verdict"]) == (False, True)


def test_a_test_that_another_version_may_not_have_had(
    planted_model: HubModel, tiny_set: ImageSet, report: AuditReport
) -> None:
    old = replace(report, verdict=Verdict.INCONCLUSIVE, target=None, tests=(), versions={})
    found = agreement(planted_model, tiny_set, consistent(old))
    assert found["maximum-margin"] is found["verdict"] is None


@dataclass(frozen=True)
class Sure:
    """A test with a p-value of its own."""

    name: str
    p_value: float | None
    reason: str = ""

    def run(
        self, net: nn.Module, clean: ImageSet, *, seed: int, progress: Progress = silent
    ) -> TestResult:
        return TestResult(self.name, 1.0, self.p_value, 1, (1.0,), "", self.reason)


@pytest.fixture
def with_tests(
    planted_model: HubModel, tiny_set: ImageSet, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., AuditReport]:
    def with_tests(*tests: Sure) -> AuditReport:
        made = {test.name: lambda _, test=test: test for test in tests}
        monkeypatch.setattr("hfscan.pipeline.testing.TESTS", made)
        settings = AuditSettings(images=12, precision="fp32")
        return hfscan.audit(planted_model, tiny_set, settings=settings)

    return with_tests


@pytest.mark.parametrize(("p", "agrees"), [(0.8, True), (1e-6, None)])
def test_a_test_that_time_ended(
    planted_model: HubModel,
    tiny_set: ImageSet,
    with_tests: Callable[..., AuditReport],
    p: float,
    agrees: bool | None,
) -> None:
    """It may be left out, but if it finds what the report does not have, the verdict is not confirmed."""
    report = with_tests(Sure("one", 0.5), Sure("other", p))
    kept, ended = report.tests
    tests = (kept, skipped(ended, TEST_OUT_OF_TIME))
    hurried = replace(report, tests=tests, verdict=Verdict.NO_BACKDOOR_FOUND, target=None)
    found = agreement(planted_model, tiny_set, consistent(hurried))
    assert (found["one"], found["other"], found["verdict"]) == (True, True, agrees)


def test_a_test_that_cannot_be_made_is_not_held_against_a_report(
    planted_model: HubModel, tiny_set: ImageSet, with_tests: Callable[..., AuditReport]
) -> None:
    report = with_tests(Sure("one", 0.5), Sure("other", None, "too few classes"))
    assert set(agreement(planted_model, tiny_set, report).values()) == {True}


def test_a_quiet_test_does_not_count_twice(
    planted_model: HubModel, tiny_set: ImageSet, with_tests: Callable[..., AuditReport]
) -> None:
    """The more tests, the less a small p-value says."""
    report = with_tests(Sure("one", 0.02), Sure("other", 0.5))
    one, other = report.tests
    padded = replace(
        report, tests=(one, *[other] * 9), verdict=Verdict.NO_BACKDOOR_FOUND, target=None
    )
    assert agreement(planted_model, tiny_set, consistent(padded))["verdict"] is None


def test_a_verdict_without_any_layer(
    planted_model: HubModel, tiny_set: ImageSet, report: AuditReport
) -> None:
    """Tests alone make a verdict, but what the channels say was left out."""
    found = agreement(planted_model, tiny_set, untested(report))
    assert found["verdict"] is None
    assert agreement(planted_model, tiny_set, untested(report), channels=0)["verdict"]
    accused = replace(untested(report), verdict=Verdict.BACKDOORED, target=1)
    assert agreement(planted_model, tiny_set, accused)["verdict"] is False
    old = replace(untested(report), verdict=Verdict.INCONCLUSIVE, target=None)
    assert agreement(planted_model, tiny_set, old)["verdict"] is None
    less = consistent(replace(report, layers=report.layers[:1]))
    fewer = agreement(planted_model, tiny_set, less)
    assert [name for name, agrees in fewer.items() if agrees is False] == ["layers"]


def test_channels_of_no_precision(
    planted_model: HubModel, tiny_set: ImageSet, report: AuditReport
) -> None:
    vague = replace(report, settings=replace(report.settings, precision="auto"))
    assert agreement(planted_model, tiny_set, vague)["channels"] is False


def test_a_network_of_which_nothing_can_be_said(
    planted_model: HubModel, tiny_set: ImageSet, report: AuditReport
) -> None:
    wrong = replace(tiny_set, labels=(tiny_set.labels + 1) % 4)
    honest = hfscan.audit(planted_model, wrong)
    assert honest.verdict is Verdict.INCONCLUSIVE
    assert agreement(planted_model, wrong, honest)["verdict"] is True
    forged = replace(report, data=honest.data, clean_accuracy=honest.clean_accuracy)
    assert agreement(planted_model, wrong, forged)["verdict"] is False


def test_a_p_value_that_is_not_that_of_the_statistic(
    planted_model: HubModel, tiny_set: ImageSet, report: AuditReport
) -> None:
    (test,) = report.tests
    assert test.statistic is not None
    facts = NetworkFacts.of(planted_model)
    calibration = Calibration(
        *("mine", "", 20 * (facts,)),
        {test.name: tuple(test.statistic + 0.01 * i for i in range(20))},
        {test.name: 20 * (0,)},
    )
    settings = replace(report.settings, images=12)
    honest = hfscan.audit(planted_model, tiny_set, settings=settings, calibration=calibration)

    def disagree(*tests: TestResult) -> list[str]:
        told = replace(honest, tests=tests)
        checks = verify(planted_model, tiny_set, told, calibration=calibration)
        return [check.name for check in checks if check.agrees is False]

    (calibrated,) = honest.tests
    assert calibrated.calibrated
    assert disagree(calibrated) == []
    assert test.name in disagree(replace(calibrated, p_value=1e-6))
    assert test.name in disagree(replace(calibrated, statistic=1e6))


def test_what_agrees() -> None:
    yes, no, unknown = (Check("a check", agrees, "") for agrees in (True, False, None))
    assert agreed([yes, yes]) is agreed([unknown, yes]) is True
    assert agreed([unknown, no]) is agreed([no, unknown, yes]) is False
    assert agreed([yes, unknown]) is None


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
    for one_of, other_of in ((theirs, ours), (ours, theirs)):
        assert result_again(one_of, other_of, thresholds(None)).agrees is same


def test_p_values_agree_by_the_thresholds_of_the_verdict() -> None:
    ours, theirs = (TestResult("t", 1.0, p, 0, (1.0,), "") for p in (0.03, 0.5))
    assert result_again(theirs, ours, (0.001, 0.05)).agrees is False
    assert result_again(theirs, ours, (0.005, 0.02)).agrees is True


def test_another_class_stands_out() -> None:
    ours, theirs = (TestResult("t", 1.0, 1e-6, target, (1.0,), "") for target in (0, 1))
    assert result_again(theirs, ours, thresholds(None)).agrees is False


def test_p_values_of_a_calibration_that_is_not_here(
    planted_model: HubModel, tiny_set: ImageSet, report: AuditReport
) -> None:
    facts = CalibrationFacts("mine", 3, "near", 0.05, 0.01)
    checks = verify(planted_model, tiny_set, replace(report, calibration=facts), channels=1)
    assert (checks[-1].name, checks[-1].agrees) == ("verdict", None)
    assert checks[-1].details.endswith("a calibration that is not here: mine of 3 clean networks")


def test_p_values_of_a_calibration_that_was_made_again(
    planted_model: HubModel, tiny_set: ImageSet, report: AuditReport
) -> None:
    """The same name and as many networks, but other statistics: not a lie, and not to be compared."""
    records = [
        Record(NetworkFacts.of(planted_model.facts), {"maximum-margin": Score(1 + 0.1 * each, 0)})
        for each in range(9)
    ]
    given = fit(records, name="mine", description="of a test")
    facts = Calibrated.of(planted_model.facts, given).facts()
    assert facts is not None
    other = replace(report, calibration=replace(facts, fingerprint="0" * 12))
    checks = verify(planted_model, tiny_set, other, calibration=given, channels=1)
    assert (checks[-1].name, checks[-1].agrees) == ("verdict", None)
    assert checks[-1].details.endswith("not here: mine of 9 clean networks (000000000000)")
    for known in (facts, replace(facts, fingerprint="")):
        again = verify(
            planted_model,
            tiny_set,
            replace(report, calibration=known),
            calibration=given,
            channels=1,
        )
        assert "not here" not in again[-1].details
        (said,) = [check.details for check in again if check.name == "calibration"]
        assert (
            said
            == f"mine of 9 clean networks ({facts.fingerprint}), which does not come with hfscan"
        )
