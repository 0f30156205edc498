from __future__ import annotations

import importlib
from dataclasses import replace

import pytest

from hfscan.calibration import Calibration, NetworkFacts, Record, Score
from hfscan.calibration.fitting import fit
from hfscan.pipeline.calibrating import UNCALIBRATED, Calibrated
from hfscan.types import HubModel, ModelFacts


@pytest.fixture
def facts(tiny_model: HubModel) -> ModelFacts:
    return tiny_model.facts


def calibration_of(network: NetworkFacts) -> Calibration:
    records = [Record(network, {"one": Score(1 + 0.1 * each, 0)}) for each in range(9)]
    return fit(records, name="zoo", description="of a test")


def shipping(monkeypatch: pytest.MonkeyPatch, *calibrations: Calibration) -> None:
    module = importlib.import_module("hfscan.calibration.closest")  # a function has the same name
    monkeypatch.setattr(module, "shipped", lambda: calibrations)


def test_the_closest_is_used(facts: ModelFacts, monkeypatch: pytest.MonkeyPatch) -> None:
    near = calibration_of(NetworkFacts.of(facts))
    shipping(monkeypatch, near)
    found = Calibrated.of(facts, None)
    assert found.calibration is near
    assert found.notes[0].startswith("Calibrated with 9 clean networks (zoo)")


def test_one_that_is_far_away_is_not(facts: ModelFacts, monkeypatch: pytest.MonkeyPatch) -> None:
    far = calibration_of(replace(NetworkFacts.of(facts), num_classes=1000))
    shipping(monkeypatch, far)
    found = Calibrated.of(facts, None)
    assert found.calibration is None
    assert found.facts is None
    first, second = found.notes
    assert first == UNCALIBRATED
    assert second.startswith(
        "The closest calibration is too far away to be used. The model is unlike"
    )
    assert "classes 4 (calibrated: 1000)" in second
    assert Calibrated.of(facts, far).calibration is far  # who gives one knows


def test_none_is_shipped(facts: ModelFacts, monkeypatch: pytest.MonkeyPatch) -> None:
    shipping(monkeypatch)
    assert Calibrated.of(facts, None).notes == (UNCALIBRATED,)
