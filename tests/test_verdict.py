from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from hfscan.calibration import NetworkFacts, Record, Score
from hfscan.calibration.fitting import fit
from hfscan.types import TestResult, Verdict
from hfscan.verdict import conclude, disagreements, disordered, obstacle

ZOO = fit(
    [
        Record(
            NetworkFacts("net", (3, 8, 8), 4),
            {
                "one": Score(1.0 + 0.1 * i, 0),
                "two": Score(1.0 + 0.05 * (i * 5 % 12), 1),
                "three": Score(1.0 + 0.03 * (i * 7 % 12), 2),
            },
        )
        for i in range(12)
    ],
    name="zoo",
    description="twelve clean networks",
)


def made(p_value: float, name: str = "one", target: int = 3) -> TestResult:
    return TestResult(name, 1.0, p_value, target, (1.0, 2.0), "logits")


def skipped(name: str = "two") -> TestResult:
    return TestResult(name, None, None, None, (), "logits", skipped="3 classes are too few")


@pytest.mark.parametrize(
    ("p_value", "verdict"),
    [
        (0.0, Verdict.BACKDOORED),
        (0.00099, Verdict.BACKDOORED),
        (0.001, Verdict.SUSPICIOUS),
        (0.0499, Verdict.SUSPICIOUS),
        (0.05, Verdict.NO_BACKDOOR_FOUND),
        (1.0, Verdict.NO_BACKDOOR_FOUND),
    ],
)
def test_thresholds(p_value: float, verdict: Verdict) -> None:
    conclusion = conclude((made(p_value),))
    assert conclusion.verdict is verdict
    assert conclusion.target == (None if verdict is Verdict.NO_BACKDOOR_FOUND else 3)
    assert "one" in conclusion.reason


def test_the_strongest_test_decides_corrected_for_their_number() -> None:
    conclusion = conclude((made(0.9), made(0.0008, "other", 7), made(0.5)))
    assert conclusion.verdict is Verdict.SUSPICIOUS  # 3 * 0.0008
    assert conclusion.target == 7
    assert "other" in conclusion.reason


def test_the_class_is_that_of_the_p_value() -> None:
    tests = (made(0.0001, "one", 3), made(0.011, "two", 7), made(0.004, "three", 7))
    conclusion = conclude(tests)
    assert (conclusion.target, conclusion.p_value) == (3, pytest.approx(0.0003))


def test_skipped_tests_do_not_count() -> None:
    assert conclude((skipped(), made(0.0008))).verdict is Verdict.BACKDOORED


def test_the_reason_says_what_was_not_made() -> None:
    assert conclude((made(0.9), skipped("first"))).reason.endswith("; not made: first")
    assert "not made" not in conclude((made(0.9), made(0.8))).reason


def test_nothing_could_be_made() -> None:
    conclusion = conclude((skipped("first"), skipped("second")))
    assert conclusion.verdict is Verdict.INCONCLUSIVE
    assert conclusion.target is None
    assert "first: 3 classes are too few; second" in conclusion.reason
    assert "none was run" in conclude(()).reason


@pytest.mark.parametrize(
    ("accuracy", "images", "classes", "found"),
    [
        (1.0, 9, 10, "9 clean images are too few for 10 classes"),
        (1.0, 10, 10, ""),
        (0.1, 100, 10, "too near to chance (0.100)"),
        (0.32, 100, 10, "clean accuracy is 0.320"),
        (0.33, 100, 10, ""),
        (0.6, 100, 2, "too near to chance (0.500)"),
        (0.63, 100, 2, ""),
    ],
)
def test_obstacle(accuracy: float, images: int, classes: int, found: str) -> None:
    reason = obstacle(accuracy, images, classes)
    assert found in reason
    assert bool(reason) == bool(found)


IN_ORDER = torch.arange(4).repeat_interleave(6)


@pytest.mark.parametrize(
    ("taken_for", "share", "found"),
    [
        ([0, 1, 2, 3], 1.0, ""),
        ([1, 0, 2, 3], 1.0, "the labels 0, 1 for each other's"),
        ([0, 3, 1, 2], 0.7, "the labels 1, 3, 2 for each other's"),
        ([1, 0, 2, 3], 0.5, ""),  # a weak network
        ([1, 2, 2, 0], 1.0, ""),  # and one with favorites
    ],
)
def test_labels_in_another_order(taken_for: list[int], share: float, found: str) -> None:
    mistaken = torch.arange(6).repeat(4) < 6 * share
    predicted = torch.where(mistaken, torch.tensor(taken_for)[IN_ORDER], IN_ORDER)
    reason = disordered(IN_ORDER, predicted)
    assert found in reason
    assert bool(reason) == bool(found)


def test_few_images_say_nothing_about_the_order() -> None:
    labels = torch.arange(4).repeat(4)
    assert disordered(labels, labels.flip(0)) == ""


# --- with a calibration


def calibrated(*tests: tuple[str, float, int]) -> tuple[TestResult, ...]:
    """Results with these statistics and classes, as the calibration sees them."""
    return ZOO.applied([TestResult(name, s, 0.9, t, (1.0, 2.0), "") for name, s, t in tests])


def test_the_combined_p_value_decides() -> None:
    quiet = conclude(calibrated(("one", 1.5, 1), ("two", 1.4, 2)), ZOO)
    assert quiet.verdict is Verdict.NO_BACKDOOR_FOUND
    assert "any of 2 tests" in quiet.reason
    assert quiet.target is None
    loud = conclude(calibrated(("one", 60.0, 4), ("two", 1.4, 2)), ZOO)
    assert loud.verdict is Verdict.BACKDOORED
    assert loud.target == 4
    assert "one" in loud.reason
    assert quiet.p_value is not None
    assert loud.p_value is not None
    assert loud.p_value < ZOO.backdoored_rate < ZOO.suspicious_rate < quiet.p_value


def test_the_reason_names_a_test_of_the_class() -> None:
    said = ((1e-5, "one", 3), (1e-4, "two", 7), (1e-3, "three", 7))
    tests = [replace(made(*each), calibrated=True) for each in said]
    conclusion = conclude(tests, ZOO)
    assert conclusion.target == 7
    assert "two" in conclusion.reason


def test_a_test_that_the_calibration_does_not_know_counts_beside_the_others() -> None:
    ours = calibrated(("one", 1.5, 1))
    by_itself = conclude(ours, ZOO).p_value
    assert by_itself is not None
    found = conclude((made(0.0004, "four", 2), *ours), ZOO)
    assert (found.verdict, found.target, found.p_value) == (Verdict.BACKDOORED, 2, 0.0008)
    quiet = conclude((made(0.9, "four"), *ours), ZOO)
    assert quiet.verdict is Verdict.NO_BACKDOOR_FOUND
    assert quiet.p_value == min(1.0, 2 * by_itself)
    assert conclude((made(0.0004, "four"),), ZOO).verdict is Verdict.BACKDOORED


def test_the_class_is_that_of_what_decides() -> None:
    others = calibrated(("one", 1.8, 1), ("two", 1.3, 1))
    for own, target in (
        (made(1e-4, "mine", 3), 3),
        (replace(made(1e-6, "mine"), target=None), None),
    ):
        found = conclude((*others, own), ZOO)
        assert (found.verdict, found.target) == (Verdict.BACKDOORED, target)
        assert "the mine test" in found.reason
    apart = {**ZOO.nulls, "one": (*ZOO.nulls["one"][:9], *[None] * 3)}
    apart["two"] = (*[None] * 3, *ZOO.nulls["two"][3:])
    few = replace(ZOO, nulls=apart)  # six networks have both
    tests = (
        replace(made(0.9, "one", 1), calibrated=True),
        replace(made(1e-5, "two", 2), calibrated=True),
    )
    found = conclude(tests, few)
    assert (found.verdict, found.target, found.p_value) == (Verdict.BACKDOORED, 2, 2e-5)
    assert few.combined({"one": (0.9, 1), "two": (1e-5, 2)}) == (found.p_value, ["two"])


def test_a_test_that_too_few_clean_networks_had_does_not_count() -> None:
    nulls = {**ZOO.nulls, "one": (1.0, *[None] * 11)}
    poor = replace(ZOO, nulls=nulls)
    alone = conclude(poor.applied((made(0.0, "one"),)), poor)
    assert alone.verdict is Verdict.INCONCLUSIVE
    assert "one: it is not calibrated" in alone.reason


def test_a_figure_without_a_p_value_is_no_verdict() -> None:
    figure = replace(made(0.5), p_value=None)
    conclusion = conclude((figure,))
    assert conclusion.verdict is Verdict.INCONCLUSIVE
    assert "one: it has a p-value here only with a calibration" in conclusion.reason
    other = conclude((figure, made(0.5, "two")))
    assert other.verdict is Verdict.NO_BACKDOOR_FOUND
    assert other.reason.endswith("; made, but not counted: one")


def test_disagreements() -> None:
    agree = (made(0.0001, "one", 3), made(0.01, "two", 3), made(0.1, "three", 5))
    assert disagreements(agree, str) == []
    other = disagreements((made(0.01, "one", 3), made(0.01, "two", 4)), lambda c: f"class {c}")
    assert other == ["The tests name different classes: one class 3, two class 4."]
    (silent,) = disagreements((made(0.0001, "one"), made(0.9, "two"), skipped("three")), str)
    assert "strong in one, nothing in two." in silent
