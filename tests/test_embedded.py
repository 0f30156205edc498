"""The quick start's own models: real networks, the default settings, the true trigger."""

from __future__ import annotations

from dataclasses import dataclass

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


@dataclass(frozen=True)
class Case:
    model: HubModel
    clean: ImageSet
    report: AuditReport


def audited(name: str, settings: AuditSettings | None = None) -> Case:
    model = hfscan.load(str(EXAMPLES / name))
    clean = hfscan.load_images(str(EXAMPLES / "cifar10-clean"))
    return Case(model, clean, hfscan.audit(model, clean, settings=settings))


@pytest.fixture(scope="module")
def backdoored() -> Case:
    return audited("badnets-cifar10")


@pytest.fixture(scope="module")
def repaired(backdoored: Case) -> tuple[HubModel, RepairReport]:
    return hfscan.repair(backdoored.model, backdoored.report, backdoored.clean)


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
    report = audited(
        "clean-cifar10", AuditSettings(images=2, steps=1)
    ).report  # enough for the verdict
    assert report.verdict is Verdict.NO_BACKDOOR_FOUND
    assert report.target is None


def test_repair_removes_the_backdoor(
    backdoored: Case, repaired: tuple[HubModel, RepairReport]
) -> None:
    model, result = repaired
    _, held_out = backdoored.clean.split_at(result.settings.clean_rate, seed=result.settings.seed)
    triggered = attacked(held_out, BadNets(), target=TARGET)
    assert metrics.asr(backdoored.model.net, triggered, TARGET) >= 0.99
    assert metrics.asr(model.net, triggered, TARGET) < 0.05
    assert metrics.ra(model.net, triggered) > 0.7


def statistic(tests: tuple[TestResult, ...]) -> float:
    assert tests[0].statistic is not None
    return tests[0].statistic


def test_repair_costs_little_and_says_so(repaired: tuple[HubModel, RepairReport]) -> None:
    _, result = repaired
    assert result.accuracy_drop <= result.settings.max_accuracy_drop == 0.03
    assert result.verdict_after is not Verdict.BACKDOORED
    assert statistic(result.tests_after) < statistic(result.tests_before) / 2
