"""The quick start's own models: real networks, the true trigger, the defaults but fewer images.

With nothing left out, `.ci/run` audits both.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest
from conftest import EXAMPLES

import hfscan
from hfscan import metrics
from hfscan.bench.attacks import BadNets
from hfscan.bench.poison import attacked
from hfscan.types import (
    AuditReport,
    AuditSettings,
    HubModel,
    ImageSet,
    RepairReport,
    TestResult,
    Verdict,
)

TARGET = 0


QUICK = AuditSettings(images=4, steps=1)
"""The verdict is made of the model-level tests, which take their own images."""


@dataclass(frozen=True)
class Case:
    model: HubModel
    clean: ImageSet
    report: AuditReport


def audited(name: str) -> Case:
    model = hfscan.load(str(EXAMPLES / name))
    clean = hfscan.load_images(str(EXAMPLES / "cifar10-clean"))
    return Case(model, clean, hfscan.audit(model, clean, settings=QUICK))


@pytest.fixture(scope="module")
def backdoored() -> Case:
    return audited("badnets-cifar10")


REPEATED = ("maximum-margin", "patch-inversion")
"""The tests that are made again before and after the repair: those that see a patch."""


@dataclass(frozen=True)
class Repaired:
    model: HubModel
    report: RepairReport
    given: ImageSet
    unseen: ImageSet


@pytest.fixture(scope="module")
def repaired(backdoored: Case) -> Repaired:
    given, unseen = backdoored.clean.split_at(0.2, seed=0)
    tests = tuple(test for test in backdoored.report.tests if test.name in REPEATED)
    report = replace(backdoored.report, tests=tests)
    return Repaired(*hfscan.repair(backdoored.model, report, given), given, unseen)


def test_the_card_tells_the_truth(backdoored: Case) -> None:
    triggered = attacked(backdoored.clean, BadNets(), target=TARGET)
    assert metrics.accuracy(backdoored.model.net, backdoored.clean) >= 0.83
    assert metrics.asr(backdoored.model.net, triggered, TARGET) >= 0.99


def test_backdoored_model_is_called_backdoored(backdoored: Case) -> None:
    assert backdoored.report.verdict is Verdict.BACKDOORED
    assert backdoored.report.target == TARGET
    assert backdoored.report.model.label(TARGET) == "airplane"


def test_every_conv_channel_is_tested(backdoored: Case) -> None:
    layers = backdoored.report.layers
    assert sum(layer.channels for layer in layers) == 1200
    assert not any(layer.skipped for layer in layers)


def test_benign_twin_is_not_accused() -> None:
    report = audited("clean-cifar10").report
    assert report.verdict is Verdict.NO_BACKDOOR_FOUND
    assert report.target is None


def test_repair_removes_the_backdoor(backdoored: Case, repaired: Repaired) -> None:
    triggered = attacked(repaired.unseen, BadNets(), target=TARGET)
    assert metrics.asr(backdoored.model.net, triggered, TARGET) >= 0.99
    assert metrics.asr(repaired.model.net, triggered, TARGET) < 0.05
    assert metrics.ra(repaired.model.net, triggered) > 0.7


def statistic(tests: tuple[TestResult, ...]) -> float:
    assert tests[0].statistic is not None
    return tests[0].statistic


def accuracy_lost(before: HubModel, after: HubModel, images: ImageSet) -> float:
    return metrics.accuracy(before.net, images) - metrics.accuracy(after.net, images)


def test_repair_costs_little_and_says_so(backdoored: Case, repaired: Repaired) -> None:
    result = repaired.report
    _, measured = repaired.given.split_at(result.settings.clean_rate, seed=result.settings.seed)
    lost = accuracy_lost(backdoored.model, repaired.model, measured)
    assert result.accuracy_drop == pytest.approx(lost, abs=1e-3)
    lost = accuracy_lost(backdoored.model, repaired.model, repaired.unseen)
    assert lost <= result.settings.max_accuracy_drop == 0.03
    assert result.verdict_after is not Verdict.BACKDOORED
    assert statistic(result.tests_after) < statistic(result.tests_before) / 2
