from __future__ import annotations

import re
from dataclasses import replace

import pytest
from markdown_it import MarkdownIt

from hfscan.reasons import CHANNELS_SCREENED
from hfscan.report.rules import RULES, VERDICT_RULES, Rule, raised
from hfscan.types import AuditReport, Coverage, Verdict

from .sample import audit_report


def whole(verdict: Verdict) -> AuditReport:
    """An audit that left nothing out."""
    report = audit_report(verdict=verdict)
    return replace(report, layers=report.layers[:-1], tests=report.tests[:1])


@pytest.mark.parametrize("key", RULES)
def test_rule(key: str) -> None:
    rule = RULES[key]
    assert rule.id == key
    assert re.fullmatch(r"HFS\d{3}", key)
    assert re.fullmatch(r"[a-z]+(-[a-z]+)*", rule.name)
    assert rule.text.endswith(".")
    assert "## What to do" in rule.help
    headings = [t for t in MarkdownIt().parse(rule.help) if t.type == "heading_open"]
    assert {token.tag for token in headings} == {"h2"}


def test_ids_stay() -> None:
    """Ignore files and code scanning's history hold on to them: append, never change."""
    names = {rule.id: (rule.name, rule.level) for rule in RULES.values()}
    assert names == {
        "HFS001": ("backdoored", "error"),
        "HFS002": ("suspicious", "warning"),
        "HFS003": ("inconclusive", "note"),
        "HFS101": ("pickle-weights", "warning"),
        "HFS102": ("partly-tested", "note"),
        "HFS103": ("tests-left-out", "note"),
    }


@pytest.mark.parametrize("verdict", Verdict)
def test_a_verdict_raises_its_rule_alone(verdict: Verdict) -> None:
    expected = VERDICT_RULES.get(verdict.value)
    assert [rule.id for rule in raised(whole(verdict))] == ([expected] if expected else [])


def test_every_verdict_but_one_has_a_rule() -> None:
    assert {*VERDICT_RULES} == {verdict.value for verdict in Verdict} - {"NO_BACKDOOR_FOUND"}


@pytest.mark.parametrize("file", ["pytorch_model.bin", "x.pth", "model.safetensors.bin"])
def test_a_pickle(file: str) -> None:
    report = whole(Verdict.NO_BACKDOOR_FOUND)
    assert ids(replace(report, model=replace(report.model, weights_file=file))) == ["HFS101"]


def test_a_module_in_memory_is_no_pickle() -> None:
    report = whole(Verdict.NO_BACKDOOR_FOUND)
    assert ids(replace(report, model=replace(report.model, weights_file=""))) == []


def test_what_was_not_tested() -> None:
    assert ids(audit_report()) == ["HFS001", "HFS102", "HFS103"]
    report = whole(Verdict.NO_BACKDOOR_FOUND)
    assert ids(replace(report, coverage=Coverage(10, 5, 4))) == ["HFS102"]
    assert ids(replace(report, coverage=Coverage(10, 5, 5))) == []


def test_tests_that_were_left_out() -> None:
    report = whole(Verdict.NO_BACKDOOR_FOUND)
    chosen = replace(report, settings=replace(report.settings, tests=("maximum-margin",)))
    assert ids(chosen) == ["HFS103"]
    skipped = replace(report, tests=audit_report().tests)
    assert ids(skipped) == ["HFS103"]
    assert ids(replace(skipped, verdict=Verdict.INCONCLUSIVE)) == ["HFS003"]
    screened = replace(report.tests[0], p_value=None, skipped=CHANNELS_SCREENED)
    assert ids(replace(report, tests=(report.tests[0], screened))) == []
    silent = replace(report.tests[0], p_value=None)
    assert ids(replace(report, tests=(silent,))) == ["HFS103"]
    assert ids(replace(report, tests=(replace(silent, name="feature-maps"),))) == []


def ids(report: AuditReport) -> list[str]:
    return [rule.id for rule in raised(report)]


def test_a_rule_is_plain_data() -> None:
    assert isinstance(RULES["HFS001"], Rule)
    with pytest.raises(AttributeError):
        RULES["HFS001"].level = "note"  # type: ignore[misc]
