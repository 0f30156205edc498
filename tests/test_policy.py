from __future__ import annotations

from dataclasses import replace
from datetime import date, datetime
from typing import Any

import pytest
from report.sample import audit_report

from hfscan.errors import UsageError
from hfscan.policy import ACCEPTABLE, Acceptance, Judgment, acceptance, judge, known
from hfscan.types import AuditReport, Suppression, Verdict

TODAY = date(2026, 11, 24)
FOUND = audit_report()


def entry(report: AuditReport = FOUND, **changes: Any) -> Acceptance:
    """Accepts the finding of `FOUND` until today."""
    model = report.model
    whole = Acceptance(model.ref, model.weights_sha256, "HFS001", "a known toy", TODAY)
    return replace(whole, **changes)


def judged(*accepted: Acceptance, report: AuditReport = FOUND, today: date = TODAY) -> Judgment:
    return judge(report, accepted=accepted, today=today)


def test_without_a_policy_everything_counts() -> None:
    for verdict in Verdict:
        report = audit_report(verdict=verdict)
        judgment = judge(report, today=TODAY)
        assert (judgment.report, judgment.counts, judgment.warnings) == (report, True, ())


def test_an_accepted_finding_is_shown_and_does_not_count() -> None:
    judgment = judged(entry())
    assert (judgment.counts, judgment.warnings) == (False, ())
    assert judgment.report.suppression == Suppression("HFS001", "a known toy", "2026-11-24")
    assert replace(judgment.report, suppression=None).to_dict() == FOUND.to_dict()


def test_an_expired_one_counts_again_and_says_so() -> None:
    judgment = judged(entry(), today=date(2026, 11, 25))
    said = "acceptance of HFS001 expired on 2026-11-24: it counts again"
    assert judgment.counts
    assert judgment.report.suppression is None
    assert judgment.report.notes[:-1] == FOUND.notes
    assert said in judgment.report.notes[-1]
    assert said in judgment.warnings[0]


def test_the_latest_of_two_counts() -> None:
    old = entry(expires=date(2020, 1, 1))
    judgment = judged(old, entry(), old)
    assert (judgment.counts, judgment.report.suppression) == (False, entry().suppression)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"sha256": "f" * 64}, "it is for other weights (sha256 ffffffffffff)"),
        ({"rule": "HFS002"}, "the verdict is BACKDOORED"),
        ({"model": "other/net"}, "these weights are audited as example-org/preactresnet18-cifar10"),
        ({"model": "other/net", "sha256": "f" * 64}, "entries for other models match nothing"),
    ],
)
def test_one_that_matches_nothing_is_warned_about(changes: dict[str, Any], why: str) -> None:
    judgment = judged(entry(**changes))
    assert judgment.counts
    assert judgment.report.to_dict() == FOUND.to_dict()
    assert len(judgment.warnings) == 1
    assert why in judgment.warnings[0]


def test_many_entries_for_other_models_are_one_warning() -> None:
    others = [entry(model=f"other/{index}", sha256="0" * 64) for index in range(9)]
    judgment = judged(entry(), *others)
    assert not judgment.counts
    assert judgment.warnings == (
        "entries for other models match nothing: "
        + ", ".join(f"other/{index}" for index in range(9)),
    )


@pytest.mark.parametrize("verdict", [Verdict.INCONCLUSIVE, Verdict.NO_BACKDOOR_FOUND])
@pytest.mark.parametrize("rule", ACCEPTABLE)
def test_what_is_no_finding_cannot_be_accepted(verdict: Verdict, rule: str) -> None:
    judgment = judged(entry(rule=rule), report=audit_report(verdict=verdict))
    assert judgment.report.suppression is None
    assert f"the verdict is {verdict.value}" in judgment.warnings[0]


# --- the baseline


def other(report: AuditReport, **changes: Any) -> AuditReport:
    """With another model."""
    return replace(report, model=replace(report.model, **changes))


NEW_WEIGHTS = {"weights_sha256": "f" * 64}
NEW_NAME = {"ref": "other/net"}


@pytest.mark.parametrize(
    ("baseline", "why"),
    [
        (FOUND, "same weights"),
        (other(FOUND, **NEW_NAME), "same weights"),
        (other(FOUND, **NEW_WEIGHTS), "under the same name"),
        (other(FOUND, ref=f"{FOUND.model.ref}/", **NEW_WEIGHTS), "under the same name"),
        (other(FOUND, **NEW_NAME, **NEW_WEIGHTS), ""),
        (replace(FOUND, target=1), ""),
        (other(FOUND, label_names=FOUND.model.label_names[::-1]), ""),
        (replace(FOUND, verdict=Verdict.SUSPICIOUS), ""),
        (audit_report(verdict=Verdict.NO_BACKDOOR_FOUND), ""),
        (audit_report(verdict=Verdict.INCONCLUSIVE), ""),
    ],
)
def test_what_a_baseline_knows(baseline: AuditReport, why: str) -> None:
    assert why in known(FOUND, baseline)
    judgment = judge(FOUND, baseline=baseline, today=TODAY)
    assert judgment.counts == (not why)
    assert judgment.report.verdict is FOUND.verdict
    assert judgment.report.suppression is None
    said = "Known from the baseline: " if why else "New: the baseline has no such finding."
    assert judgment.report.notes[-1].startswith(said)


def test_a_finding_that_became_weaker_is_known() -> None:
    assert known(replace(FOUND, verdict=Verdict.SUSPICIOUS), FOUND)


@pytest.mark.parametrize("verdict", [Verdict.INCONCLUSIVE, Verdict.NO_BACKDOOR_FOUND])
def test_a_baseline_says_nothing_of_what_is_no_finding(verdict: Verdict) -> None:
    report = audit_report(verdict=verdict)
    judgment = judge(report, baseline=FOUND, today=TODAY)
    assert (judgment.report, judgment.counts) == (report, True)
    assert known(report, report) == ""


def test_a_baseline_does_not_prolong_an_acceptance() -> None:
    judgment = judge(FOUND, accepted=[entry()], baseline=FOUND, today=date(2027, 1, 1))
    assert judgment.counts


# --- entries

RAW = {
    "model": "owner/name",
    "sha256": "AB" * 32,
    "rule": "HFS001",
    "reason": "why",
    "expires": date(2030, 1, 2),
}


def test_an_entry_is_read() -> None:
    expected = Acceptance("owner/name", "ab" * 32, "HFS001", "why", date(2030, 1, 2))
    assert acceptance(RAW, "here") == expected
    assert acceptance(RAW | {"expires": "2030-01-02"}, "here") == expected


@pytest.mark.parametrize(
    ("changes", "error", "hint"),
    [
        ({"expire": 1}, "there is no 'expire'", "did you mean expires?"),
        ({"zzz": 1}, "there is no 'zzz'", "known: model, sha256"),
        ({"reason": " "}, "reason must be a text that is not empty", "quotes"),
        ({"model": ["x"]}, "model must be a text", "quotes"),
        ({"sha256": "abc"}, "sha256 'abc' is not 64 hexadecimal digits", "from the report"),
        ({"sha256": "f" * 64 + "\n"}, "is not 64 hexadecimal digits", "from the report"),
        ({"rule": "HFS003"}, "'HFS003' is no rule that can be accepted", "HFS001, HFS002"),
        ({"rule": "*"}, "'*' is no rule", "HFS001, HFS002"),
        ({"expires": "never"}, "expires must be a date, not never", "2030-12-31"),
        ({"expires": datetime(2030, 1, 1)}, "expires must be a date, not 2030", "2030-12-31"),
        ({"expires": 20301231}, "expires must be a date, not 20301231", "2030-12-31"),
        ({"expires": {"a": {}}}, "expires must be a date, not dict", "2030-12-31"),
    ],
)
def test_an_entry_that_is_wrong(changes: dict[str, Any], error: str, hint: str) -> None:
    with pytest.raises(UsageError, match=r"^here: ") as caught:
        acceptance(RAW | changes, "here")
    assert error in str(caught.value)
    assert hint in caught.value.hint


@pytest.mark.parametrize("key", RAW)
def test_nothing_can_be_left_out(key: str) -> None:
    with pytest.raises(UsageError, match=f"{key} is missing"):
        acceptance({name: value for name, value in RAW.items() if name != key}, "here")


@pytest.mark.parametrize("value", [1, "x", [], None])
def test_an_entry_that_is_no_table(value: Any) -> None:
    with pytest.raises(UsageError, match="must be a table"):
        acceptance(value, "here")
