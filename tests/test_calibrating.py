from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import replace

import pytest
import torch

from hfscan.calibration import Calibration, NetworkFacts, Record, Score
from hfscan.calibration.fitting import fit
from hfscan.pipeline.calibrating import UNCALIBRATED, Calibrated
from hfscan.types import HubModel, ImageSet, ModelFacts, Rate, TestResult


@pytest.fixture
def facts(tiny_model: HubModel) -> ModelFacts:
    return tiny_model.facts


def calibration_of(network: NetworkFacts) -> Calibration:
    records = [
        Record(network, {name: Score(1 + 0.1 * each, 0) for name in ("one", "two")})
        for each in range(9)
    ]
    return fit(records, name="zoo", description="of a test")


def many(classes: int) -> ImageSet:
    """As many images as a test takes, of so many classes."""
    return ImageSet(
        "many", torch.zeros(180, 3, 2, 2, dtype=torch.uint8), torch.arange(180) % classes
    )


def shipping(monkeypatch: pytest.MonkeyPatch, *calibrations: Calibration) -> None:
    module = importlib.import_module("hfscan.calibration.closest")  # a function has the same name
    monkeypatch.setattr(module, "shipped", lambda: calibrations)


def test_the_closest_is_used(facts: ModelFacts, monkeypatch: pytest.MonkeyPatch) -> None:
    near = calibration_of(NetworkFacts.of(facts))
    shipping(monkeypatch, near)
    found = Calibrated.of(facts, None)
    assert found.calibration is near
    (first, _) = found.notes((), many(4))
    assert first.startswith("Calibrated with 9 clean networks (zoo)")


def test_one_that_is_far_away_is_not(facts: ModelFacts, monkeypatch: pytest.MonkeyPatch) -> None:
    far = calibration_of(replace(NetworkFacts.of(facts), num_classes=1000))
    shipping(monkeypatch, far)
    found = Calibrated.of(facts, None)
    assert found.calibration is None
    assert found.facts() is None
    first, second = found.notes((), many(4))
    assert first == UNCALIBRATED
    assert second.startswith(
        "The closest calibration is too far away to be used. The model is unlike"
    )
    assert "classes 4 (calibrated: 1000)" in second
    assert Calibrated.of(facts, far).calibration is far  # who gives one knows


def test_none_is_shipped(facts: ModelFacts, monkeypatch: pytest.MonkeyPatch) -> None:
    shipping(monkeypatch)
    assert Calibrated.of(facts, None).notes((), many(4)) == (UNCALIBRATED,)


def test_rates_of_all_tests_are_not_those_of_some(facts: ModelFacts) -> None:
    """With one test of eight, one attack of twelve was seen; with all, twelve."""
    rates = {"badnets": Rate(3, 3, 3, 3)}
    given = replace(calibration_of(NetworkFacts.of(facts)), rates=rates)
    given = replace(given, nulls=dict.fromkeys("abc", given.nulls["one"]))
    fewer = {"badnets": Rate(3, 2, 1, 2)}

    def said(made: str, **without: dict[str, Rate]) -> tuple[str, Mapping[str, Rate]]:
        tests = [TestResult(name, 1.0, 0.5, 0, (), "", calibrated=True) for name in made]
        calibrated = Calibrated.of(facts, replace(given, without=without))
        found = calibrated.facts(tests)
        assert found is not None
        return calibrated.notes(tests, many(4))[0], found.rates

    note, shown = said("abc", c=fewer)
    assert note.endswith(
        "holds. Of networks that had no part in it, so many were called suspicious or backdoored: badnets 3 of 3."
    )
    assert shown == rates
    note, shown = said("ab", c=fewer)
    assert "Without the c test, which was not made, of networks that had no part in it" in note
    assert note.endswith("badnets 2 of 3.")
    assert shown == fewer
    for made in ("ab", "a"):  # not measured, or too few
        note, shown = said(made)
        assert "With all 3 tests, of networks" in note
        assert note.endswith("made, which may see far fewer.")
        assert shown == {}
    assert said("")[0].endswith("as far as the fitted tail holds.")


def test_few_images_are_said(facts: ModelFacts) -> None:
    calibrated = Calibrated.of(facts, calibration_of(NetworkFacts.of(facts)))
    assert len(calibrated.notes((), many(4))) == 2
    for clean, said in (
        (many(3), "with 180 images of 3 of 4 classes the p-values are less certain"),
        (many(4).sample(40, seed=0), "with 40 images of 4 of 4 classes the p-values are less"),
    ):
        assert said in calibrated.notes((), clean)[-1]


def test_figures_of_another_calibration_are_not_compared(
    facts: ModelFacts, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = NetworkFacts.of(facts)
    found = Calibrated.of(facts, calibration_of(network))
    theirs = found.facts()
    assert theirs is not None
    assert found.differs(theirs) == found.differs(replace(theirs, fingerprint="")) == ""
    made_again = replace(calibration_of(network), suspicious_rate=0.3)
    assert "zoo of 9 clean networks" in Calibrated.of(facts, made_again).differs(theirs)
    assert "from no calibration" in found.differs(None)
    shipping(monkeypatch)
    assert "is not here: zoo" in Calibrated.of(facts, None).differs(theirs)
    assert Calibrated.of(facts, None).differs(None) == ""


def test_what_is_not_calibrated_is_said(facts: ModelFacts) -> None:
    found = Calibrated.of(facts, calibration_of(NetworkFacts.of(facts)))
    own = TestResult("mine", 1.0, 0.01, 0, (1.0, 0.0), "")
    known = TestResult("one", 1.0, 0.5, 0, (1.0, 0.0), "", calibrated=True)
    assert found.notes((own,), many(4)) == (UNCALIBRATED,)
    assert any("Not calibrated: mine" in note for note in found.notes((known, own), many(4)))
    assert not any("Not calibrated" in note for note in found.notes((known,), many(4)))
