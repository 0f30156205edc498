"""From test results to a verdict.

With a calibration: the p-values of the calibrated tests that name the same class are combined (Fisher), and how
strongly they speak together is compared with what they say of clean networks; the thresholds are the calibration's false-positive
rates. Tests that the calibration does not know count beside them, by their own formulas. Without one: the smallest p-value of
the tests' own formulas, corrected for their number (Bonferroni).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import Tensor

from hfscan.calibration import Calibration
from hfscan.calibration.combine import bonferroni, suspected
from hfscan.types import TestResult, Verdict

P_BACKDOORED = 0.001
"""Without a calibration: below this p-value a network behaves like a backdoored one."""

P_SUSPICIOUS = 0.05
"""Without a calibration: below this p-value a class stands out more than chance explains."""

P_STRONG, P_SIGNIFICANT, P_SILENT = 0.001, 0.02, 0.2
"""A test with a p-value below the first speaks strongly, below the second it speaks, above the third it is silent."""

MIN_SKILL = 0.25
"""Least share of the way from chance to perfect that a network must get on the clean images."""

MIN_OF_A_CLASS = 5
"""So many images of a class must there be, to say what it is taken for."""

MOST_NAMED = 4
"""Labels that a sentence names."""

NO_FORMULA = "it has a p-value here only with a calibration"
"""Why a test that was made does not count."""

SEVERITY = {Verdict.BACKDOORED: 2, Verdict.SUSPICIOUS: 1}
"""Of the verdicts that are findings."""


@dataclass(frozen=True)
class Conclusion:
    """A verdict and what it is made of.

    Args:
        verdict: The verdict.
        reason: A sentence that explains it.
        target: The suspected class; None unless suspicious or backdoored.
        p_value: Of all tests together, in [0, 1]; None if none was made.
    """

    verdict: Verdict
    reason: str
    target: int | None = None
    p_value: float | None = None


def thresholds(calibration: Calibration | None) -> tuple[float, float]:
    """Below which p-values a network is called backdoored, and suspicious."""
    if calibration is None:
        return P_BACKDOORED, P_SUSPICIOUS
    return calibration.backdoored_rate, calibration.suspicious_rate


def conclude(tests: Sequence[TestResult], calibration: Calibration | None = None) -> Conclusion:
    """Combine the model-level tests.

    Args:
        tests: Their results. With a calibration those count that have calibrated p-values (`Calibration.applied`)
            or that it does not know, such as the caller's own; without one all that have a p-value.
        calibration: That the p-values are from, if any.
    """
    made = _made(tests)
    counted = [test for test in made if calibration is None or _counts(test, calibration)]
    if not counted:
        reasons = [f"{test.name}: {test.skipped}" for test in tests if test.skipped]
        reasons += [f"{test.name}: it is not calibrated" for test in made if test not in counted]
        reasons += [f"{test.name}: {NO_FORMULA}" for test in without_p_value(tests)]
        why = "; ".join(reasons) or "none was run"
        return Conclusion(Verdict.INCONCLUSIVE, f"no model-level test could be made ({why})")
    combined, strongest = _decided(counted, calibration)
    target = strongest.target
    backdoored, suspicious = thresholds(calibration)
    if combined < backdoored:
        reason = f"one class stands out in the {strongest.name} test as in backdoored networks"
        return Conclusion(Verdict.BACKDOORED, reason, target, combined)
    if combined < suspicious:
        reason = (
            f"one class stands out in the {strongest.name} test, less than usual with a backdoor"
        )
        return Conclusion(Verdict.SUSPICIOUS, reason, target, combined)
    return Conclusion(
        Verdict.NO_BACKDOOR_FOUND, _nothing(tests, counted, strongest), None, combined
    )


def disagreements(tests: Sequence[TestResult], label: Callable[[int], str]) -> list[str]:
    """In which respects the tests contradict each other, as sentences.

    Args:
        tests: Their results.
        label: Gives the name of a class.
    """
    made = _made(tests)
    speaking = [test for test in made if _p(test) < P_SIGNIFICANT]
    found = []
    if len({test.target for test in speaking}) > 1:
        names = [f"{test.name} {label(test.target or 0)}" for test in speaking]
        found.append(f"The tests name different classes: {', '.join(names)}.")
    strong = [test.name for test in made if _p(test) < P_STRONG]
    silent = [test.name for test in made if _p(test) > P_SILENT]
    if strong and silent:
        found.append(
            f"Not all tests see it: strong in {', '.join(strong)}, nothing in {', '.join(silent)}. "
            "Most attacks show in some tests only."
        )
    return found


def without_p_value(tests: Sequence[TestResult]) -> list[TestResult]:
    """Those that were made, and do not count: their figures are compared with those of a calibration only."""
    return [test for test in tests if test.p_value is None and not test.skipped]


def _made(tests: Sequence[TestResult]) -> list[TestResult]:
    return [test for test in tests if test.p_value is not None]


def _counts(test: TestResult, calibration: Calibration) -> bool:
    return test.calibrated or test.name not in calibration.nulls


def _p(test: TestResult) -> float:
    return 1.0 if test.p_value is None else test.p_value


def _decided(
    tests: Sequence[TestResult], calibration: Calibration | None
) -> tuple[float, TestResult]:
    """The p-value of all these tests, at least one, and the test that speaks for it."""
    if calibration is None:
        return bonferroni([_p(test) for test in tests]), min(tests, key=_p)
    votes = {test.name: (_p(test), test.target or 0) for test in tests}
    p_value, names = calibration.combined(votes)
    return p_value, _leading([test for test in tests if test.name in names])


def _leading(tests: Sequence[TestResult]) -> TestResult:
    """Of tests that speak together, the one with the smallest p-value for the class that most speaks for."""
    votes = [(_p(test), test.target) for test in tests if test.target is not None]
    target = suspected(votes) if votes else None
    return min((test for test in tests if test.target == target), key=_p)


def _nothing(
    tests: Sequence[TestResult], counted: Sequence[TestResult], strongest: TestResult
) -> str:
    missing = [test.name for test in tests if test.skipped]
    but = f"; not made: {', '.join(missing)}" if missing else ""
    if silent := [test.name for test in without_p_value(tests)]:
        but += f"; made, but not counted: {', '.join(silent)}"
    if len(counted) == 1:
        return f"no class stands out in the {strongest.name} test{but}"
    return f"no class stands out in any of {len(counted)} tests, most in {strongest.name}{but}"


def obstacle(clean_accuracy: float, images: int, classes: int) -> str:
    """Why an audit with these images could not mean anything; empty if it could.

    Args:
        clean_accuracy: In [0, 1].
        images: N.
        classes: K.
    """
    if images < classes:
        return f"{images} clean images are too few for {classes} classes"
    chance = 1 / classes
    if clean_accuracy < chance + MIN_SKILL * (1 - chance):
        return (
            f"clean accuracy is {clean_accuracy:.3f}, too near to chance ({chance:.3f}): "
            "the network is untrained, or images, labels or preprocessing are not what it expects"
        )
    return ""


def disordered(labels: Tensor, predicted: Tensor) -> str:
    """Why labels of clean images cannot be the model's, where it takes classes for each other in a cycle; empty otherwise.

    A weak network takes one class for another; that most images of two, or more in turn, are taken for each other's
    class is the work of labels in another order. A suspected class would have a wrong name.

    Args:
        labels: Of the clean images, int64 ``(N,)``.
        predicted: By the network, int64 ``(N,)``.
    """
    taken_for = {}
    for label in labels.unique().tolist():
        found = predicted[labels == label]
        usual = int(found.mode().values)
        if len(found) >= MIN_OF_A_CLASS and 2 * int((found == usual).sum()) > len(found):
            taken_for[label] = usual
    for label in taken_for:
        cycle = [label]
        while (following := taken_for.get(cycle[-1])) is not None and following not in cycle:
            cycle.append(following)
        if following == label and len(cycle) > 1:
            shown = ", ".join(map(str, cycle[:MOST_NAMED])) + ", ..." * (len(cycle) > MOST_NAMED)
            return (
                f"the network takes most images of the labels {shown} for each other's: "
                "the clean images are labelled in another order than the model's (--label-map)"
            )
    return ""
