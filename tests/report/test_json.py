from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np

from hfscan.report.json import render, render_repair
from hfscan.types import AuditReport, LayerAudit, Verdict

from .sample import HOSTILE, audit_report, check_golden, hostile_report, repair_report


def test_golden() -> None:
    check_golden("audit.json", render(audit_report()))


def test_round_trip() -> None:
    for verdict in Verdict:
        for report in (audit_report(verdict=verdict), hostile_report(verdict)):
            again = AuditReport.from_dict(json.loads(render(report)))
            assert again.to_dict() == report.to_dict()


def test_rendering_what_was_read_gives_the_same_text() -> None:
    text = render(audit_report())
    assert render(AuditReport.from_dict(json.loads(text))) == text


def test_ascii_only() -> None:
    assert render(hostile_report(Verdict.BACKDOORED)).isascii()


def test_a_repair_is_written_with_its_audit() -> None:
    report = repair_report(names=HOSTILE)
    text = render_repair(report)
    assert text.isascii()
    assert json.loads(text)["erased"] == report.erased
    audit = AuditReport.from_dict(json.loads(text)["audit"])
    assert audit.to_dict() == report.audit.to_dict()


def test_what_is_not_finite_becomes_null() -> None:
    report = audit_report()
    test = replace(report.tests[0], statistic=math.inf, class_statistics=(math.nan, 1.0))
    text = render(replace(report, tests=(test,), clean_accuracy=math.nan))

    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    data = json.loads(text, parse_constant=refuse)
    assert data["clean_accuracy"] is None
    assert data["tests"][0]["statistic"] is None
    assert data["tests"][0]["class_statistics"] == [None, 1.0]


def test_a_channel_is_two_lines() -> None:
    channels, steps, classes = 1200, 2, 10
    layer = LayerAudit(
        "conv",
        channels,
        np.full((channels, steps), 1 / 3, np.float32),
        np.full((channels, steps, classes), 10**6, np.int64),
        np.ones(channels, np.bool_),
        np.full(channels, 10**7),
    )
    text = render(replace(audit_report(), layers=(layer,)))
    assert 2 * channels < text.count("\n") < 2 * channels + 150
    assert all(
        len(line) < 500 or '"flagged"' in line or '"tested"' in line for line in text.splitlines()
    )
