from __future__ import annotations

import pytest

from hfscan.types import TestResult, Verdict
from hfscan.verdict import conclude, obstacle


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


def test_skipped_tests_do_not_count() -> None:
    assert conclude((skipped(), made(0.0008))).verdict is Verdict.BACKDOORED


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
