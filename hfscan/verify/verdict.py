"""Do the model-level tests say again what a report says, and does its verdict follow from them?"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

from hfscan.pipeline.calibrating import Calibrated
from hfscan.reasons import TEST_OUT_OF_TIME
from hfscan.report.text import p_equation, p_value
from hfscan.types import AuditReport, TestResult, Verdict
from hfscan.verdict import SEVERITY, thresholds
from hfscan.verify.check import Check

P_FACTOR = 10
"""Largest factor between p-values that agrees, where they are on different sides of a threshold of the verdict.

Trigger inversions end elsewhere with other thread counts: their figures for single classes moved by up to 44 % of the
largest one, and their verdict did not.
"""


P_ROUNDING = 0.01
"""How far a report's p-value of all tests may be from what its own tests give, relatively: the tail is fitted."""


def results_again(
    report: AuditReport, calibrated: Calibrated, ours: Mapping[str, TestResult]
) -> Iterator[Check]:
    """Those that the report has: what it shows, and what its verdict is made of."""
    names = [test.name for test in report.tests]
    limits = thresholds(calibrated.calibration)
    for shown, counted in zip(report.tests, calibrated.applied(report.tests), strict=True):
        made = ours.get(shown.name)
        if made is None or names.count(shown.name) > 1:
            yield Check(shown.name, None, "it cannot be made again by itself")
        elif not _same(shown.p_value, counted.p_value, limits):
            yield Check(shown.name, False, "its p-value is not that of its statistic")
        else:
            yield result_again(counted, made, limits)


def missing(
    report: AuditReport, ours: Mapping[str, TestResult], looked: AuditReport
) -> Iterator[Check]:
    """Those that the report should have; another version of hfscan may not have had them."""
    known = report.versions.get("hfscan") == looked.versions["hfscan"]
    made = {name for name, test in ours.items() if test.p_value is not None}
    for name in sorted(made - {test.name for test in report.tests}):
        yield Check(name, False if known else None, "the report does not have this test")


def verdict(
    report: AuditReport,
    calibrated: Calibrated,
    ours: Mapping[str, TestResult],
    needed: Sequence[Check],
) -> Check:
    """Whether the verdict follows from the report's own test results, and ours find nothing that it does not have.

    Ours may find more without a lie in the report: time ended some of its tests, or rounding adds up.

    Args:
        report: The report.
        calibrated: What gives the p-values.
        ours: Results of the tests made again.
        needed: Checks without which the verdict is not checked.
    """
    found = calibrated.conclude(report.tests)
    said = f"{found.verdict.value} follows from its tests, the report has {report.verdict.value}"
    if report.verdict is Verdict.INCONCLUSIVE and all(layer.skipped for layer in report.layers):
        return Check("verdict", None, "there is none: no layer was tested")
    if (found.verdict, found.target) != (report.verdict, report.target):
        return Check("verdict", False, said)
    ours_p, theirs_p = (-1.0 if p is None else p for p in (found.p_value, report.p_value))
    if not math.isclose(ours_p, theirs_p, rel_tol=P_ROUNDING):
        return Check("verdict", False, f"{said}, but its p-value does not follow from them")
    unchecked = [check.name for check in needed if check.agrees is None]
    if unchecked:
        return Check("verdict", None, f"{said}, but not checked: {', '.join(unchecked)}")
    here = calibrated.conclude(list(ours.values())).verdict
    if here in SEVERITY and found.verdict not in SEVERITY:
        return Check("verdict", None, f"{said}, but {here.value} from the same tests made again")
    return Check("verdict", True, said)


def inconclusive(looked: AuditReport, report: AuditReport) -> Check:
    """The verdict where no test would mean anything."""
    same = report.verdict is Verdict.INCONCLUSIVE
    said = f"{looked.reason}; the report has {report.verdict.value}"
    return Check("verdict", same, said)


def result_again(theirs: TestResult, ours: TestResult, limits: tuple[float, float]) -> Check:
    """Whether a test says the same again: p-values that agree, and the same class if it stands out.

    Args:
        theirs: The report's result, as it is counted.
        ours: That of the test made again.
        limits: The `thresholds` of the verdict.
    """
    if theirs.p_value is None:
        return _without_p(theirs, ours)
    if ours.p_value is None:
        return Check(theirs.name, None, ours.skipped or "it has no p-value")
    backdoored, suspicious = limits
    found = f"{p_equation(ours.p_value)}, the report has {p_value(theirs.p_value)}"
    bound = f"may differ {P_FACTOR}fold, or stay on one side of {backdoored:g} and {suspicious:g}"
    other = theirs.p_value < suspicious and ours.target != theirs.target
    return Check(
        theirs.name,
        _same(ours.p_value, theirs.p_value, limits) and not other,
        f"{found} ({bound})" + (", and another class stands out" if other else ""),
    )


def _without_p(theirs: TestResult, ours: TestResult) -> Check:
    """A test that says nothing: it must say nothing again, unless it was ended by time."""
    reason = theirs.skipped or "it has no p-value"
    if ours.p_value is None:
        return Check(theirs.name, True, f"{reason}, and neither here")
    return Check(
        theirs.name,
        theirs.skipped == TEST_OUT_OF_TIME,
        f"{p_equation(ours.p_value)}, the report has none: {reason}",
    )


def _same(one: float | None, other: float | None, limits: tuple[float, float]) -> bool:
    """Whether two p-values agree."""
    if one is None or other is None:
        return one == other
    sides = [tuple(p < limit for limit in limits) for p in (one, other)]
    return sides[0] == sides[1] or max(one, other) <= P_FACTOR * min(one, other)
