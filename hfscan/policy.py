"""Which findings count: those that nobody has accepted and that a baseline does not know.

A policy hides nothing: the verdict stays, and the report says what was decided about it. Only the exit code is
another one. An audit that is inconclusive found nothing that could be accepted.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from difflib import get_close_matches
from typing import Any

from hfscan.errors import UsageError
from hfscan.report.rules import VERDICT_RULES
from hfscan.types import AuditReport, Suppression
from hfscan.verdict import SEVERITY

ACCEPTABLE = tuple(VERDICT_RULES[verdict.value] for verdict in SEVERITY)
"""Rules that decide the exit code; to accept another one would change nothing."""

SHORT = 12
"""Digits of a sha256 in a sentence."""


@dataclass(frozen=True)
class Acceptance:
    """One finding that somebody takes responsibility for, for a while.

    Args:
        model: As the report names it, without a revision.
        sha256: Of the weights, 64 hexadecimal digits.
        rule: One of `ACCEPTABLE`.
        reason: Why, in words.
        expires: The last day on which it holds, in UTC.
    """

    model: str
    sha256: str
    rule: str
    reason: str
    expires: date

    @property
    def suppression(self) -> Suppression:
        """What a report carries of it."""
        return Suppression(self.rule, self.reason, self.expires.isoformat())


@dataclass(frozen=True, eq=False)
class Judgment:
    """A report with what a policy says of it.

    Args:
        report: With the suppression and the notes.
        counts: Whether the finding, if there is one, is for the exit code.
        warnings: For whoever keeps the policy.
    """

    report: AuditReport
    counts: bool = True
    warnings: tuple[str, ...] = ()


def acceptance(entry: Any, where: str) -> Acceptance:
    """Read one entry of an ignore file.

    Args:
        entry: As the file has it; may be anything.
        where: Its place, for the error.

    Raises:
        UsageError: Something is missing, unknown or wrong.
    """
    if not isinstance(entry, Mapping):
        raise UsageError(f"{where}: an entry must be a table", "write [[ignore]]")
    _check_keys(entry, where)
    texts = {key: _text(entry[key], key, where) for key in _KEYS[:-1]}
    if not re.fullmatch(r"[0-9a-fA-F]{64}", texts["sha256"]):
        raise UsageError(
            f"{where}: sha256 {texts['sha256']!r:.80} is not 64 hexadecimal digits",
            "copy the weights' sha256 from the report",
        )
    if texts["rule"] not in ACCEPTABLE:
        raise UsageError(
            f"{where}: {texts['rule']!r:.40} is no rule that can be accepted",
            f"choose from {', '.join(ACCEPTABLE)}",
        )
    texts["sha256"] = texts["sha256"].lower()
    return Acceptance(**texts, expires=_date(entry["expires"], where))


_KEYS = ("model", "sha256", "rule", "reason", "expires")


def _check_keys(entry: Mapping[str, Any], where: str) -> None:
    for key in entry:
        if key not in _KEYS:
            near = get_close_matches(key[:40], _KEYS, 1)
            hint = f"did you mean {near[0]}?" if near else f"known: {', '.join(_KEYS)}"
            raise UsageError(f"{where}: there is no {key!r:.40}", hint)
    for key in _KEYS:
        if key not in entry:
            raise UsageError(f"{where}: {key} is missing", f"an entry has {', '.join(_KEYS)}")


def _text(value: Any, key: str, where: str) -> str:
    if not isinstance(value, str) or not value.strip():
        raise UsageError(f"{where}: {key} must be a text that is not empty", "write it in quotes")
    return value


def _date(value: Any, where: str) -> date:
    if isinstance(value, date) and not isinstance(value, datetime):
        return value
    try:
        return date.fromisoformat(value)
    except (TypeError, ValueError) as error:
        shown = type(value).__name__ if isinstance(value, dict | list) else f"{value!s:.40}"
        raise UsageError(
            f"{where}: expires must be a date, not {shown}", "write it as 2030-12-31"
        ) from error


def judge(
    report: AuditReport,
    *,
    accepted: Sequence[Acceptance] = (),
    baseline: AuditReport | None = None,
    today: date,
) -> Judgment:
    """Apply a policy to a report.

    An acceptance that has expired counts again even if the baseline knows the finding.

    Args:
        report: Of an audit.
        accepted: Findings that were accepted.
        baseline: An earlier report, whose finding is known; see `known`.
        today: The date in UTC.
    """
    warnings = tuple(_misfits(report, accepted))
    matching = [entry for entry in accepted if _misfit(report, entry) == ""]
    entry = max(matching, key=lambda entry: entry.expires, default=None)
    if entry is not None and entry.expires >= today:
        return Judgment(replace(report, suppression=entry.suppression), False, warnings)
    if entry is not None:
        note = f"the acceptance of {entry.rule} expired on {entry.expires}: it counts again"
        return Judgment(_noted(report, note), True, (*warnings, note))
    if baseline is None or report.verdict not in SEVERITY:
        return Judgment(report, True, warnings)
    why = known(report, baseline)
    note = f"known from the baseline: {why}" if why else "new: the baseline has no such finding"
    return Judgment(_noted(report, note), not why, warnings)


def _noted(report: AuditReport, note: str) -> AuditReport:
    return replace(report, notes=(*report.notes, note[0].upper() + note[1:] + "."))


def known(report: AuditReport, baseline: AuditReport) -> str:
    """Why a finding is not new; empty if it is.

    It is not if the baseline has one that is as severe or more, of the same class (index and name), for the
    same weights under any name, or for other weights under the same name. The latter is what a baseline is for: a
    model that is trained again and again with a known flaw. Whoever wants to look at each new set of weights
    accepts findings by sha256 instead.
    """
    before, now = baseline.model, report.model
    if SEVERITY.get(baseline.verdict, 0) < SEVERITY.get(report.verdict, 0):
        return ""
    if _target(report) != _target(baseline) or report.verdict not in SEVERITY:
        return ""
    if before.weights_sha256 == now.weights_sha256:
        return "the same class of the same weights"
    if same_name(before.ref, now.ref):
        return f"the same class of weights {before.weights_sha256[:SHORT]} under the same name"
    return ""


def _target(report: AuditReport) -> tuple[int, str] | None:
    return None if report.target is None else (report.target, report.model.label(report.target))


def same_name(one: str, other: str) -> bool:
    """Whether two references name the same repository or folder."""
    return one.rstrip("/") == other.rstrip("/")


def _misfit(report: AuditReport, entry: Acceptance) -> str | None:
    """Why an entry does not apply to a report; empty if it does, None if it is about something else."""
    model = report.model
    named = same_name(entry.model, model.ref)
    if entry.sha256 != model.weights_sha256:
        return f"it is for other weights (sha256 {entry.sha256[:SHORT]})" if named else None
    if not named:
        return f"these weights are audited as {model.ref}"
    if entry.rule != VERDICT_RULES.get(report.verdict.value):
        return f"the verdict is {report.verdict.value}"
    return ""


def _misfits(report: AuditReport, accepted: Sequence[Acceptance]) -> list[str]:
    """One line per entry that was meant for this model and does not apply; one for all others."""
    reasons = [(entry, _misfit(report, entry)) for entry in accepted]
    lines = [
        f"the entry for {entry.rule} of {entry.model} matches nothing: {reason}"
        for entry, reason in reasons
        if reason
    ]
    others = sorted({entry.model for entry, reason in reasons if reason is None})
    if others:
        lines.append(f"entries for other models match nothing: {', '.join(others)}")
    return lines
