from __future__ import annotations

import re
from dataclasses import replace

import pytest
from markdown_it import MarkdownIt

from hfscan.report.markdown import marker, render, render_repair
from hfscan.types import Suppression, Verdict

from .sample import (
    HOSTILE,
    audit_report,
    check_golden,
    hostile_report,
    many_layers,
    repair_report,
)

HOSTILE_TEXTS = [render(hostile_report(verdict)) for verdict in Verdict] + [
    render_repair(repair_report(names=HOSTILE))
]


def test_golden() -> None:
    check_golden("audit.md", render(audit_report()))
    check_golden("repair.md", render_repair(repair_report()))


@pytest.mark.parametrize("text", HOSTILE_TEXTS)
def test_hostile_names_are_plain_text(text: str) -> None:
    tokens = MarkdownIt("gfm-like", {"linkify": False}).parse(text)
    inline = {child.type for token in tokens for child in token.children or []}
    allowed = {"text", "text_special", "strong_open", "strong_close", "code_inline", "softbreak"}
    assert inline <= allowed | {"html_inline"}
    html = [token.content.strip() for token in tokens if token.type == "html_block"]
    html += [c.content for t in tokens for c in t.children or [] if c.type == "html_inline"]
    pattern = (
        r"<!-- hfscan-audit [0-9a-f]{16} -->|<details><summary>\d+ layers?</summary>|</details>"
    )
    assert all(re.fullmatch(pattern, part) for part in html)


@pytest.mark.parametrize("text", HOSTILE_TEXTS)
def test_hostile_names_keep_headings_and_tables(text: str) -> None:
    harmless = MarkdownIt("gfm-like", {"linkify": False}).parse(render(audit_report()))
    tokens = MarkdownIt("gfm-like", {"linkify": False}).parse(text)
    assert {token.tag for token in tokens} <= {token.tag for token in harmless}
    rows = [line for line in text.splitlines() if line.startswith("|")]
    for above, below in zip(text.splitlines(), text.splitlines()[1:], strict=False):
        if above in rows and below in rows:
            assert above.count("|") == below.count("|")


def test_no_address_or_mention_survives() -> None:
    for text in HOSTILE_TEXTS:
        outside = re.sub(r"^```sh$.*?^```$|`[^`\n]*`", "", text, flags=re.DOTALL | re.MULTILINE)
        assert not re.search(r"://|www\.|@\w|<script", outside)


def test_verdicts_are_said_carefully() -> None:
    assert "behaves like a backdoored network (target class airplane)" in render(audit_report())
    assert "no proof of absence" in render(audit_report(verdict=Verdict.NO_BACKDOOR_FOUND))
    assert "too near to chance" in render(audit_report(verdict=Verdict.INCONCLUSIVE))


def test_a_bot_finds_its_comment_again() -> None:
    before, after = audit_report(), audit_report(verdict=Verdict.NO_BACKDOOR_FOUND)
    other = replace(before, model=replace(before.model, ref="org/another"))
    assert render(before).splitlines()[-1] == render(after).splitlines()[-1] == marker(before)
    assert marker(other) != marker(before)
    assert re.fullmatch(r"<!-- hfscan-audit [0-9a-f]{16} -->", marker(before))


def test_it_fits_into_a_comment() -> None:
    """GitHub takes 65,536 characters; a job summary 1 MiB."""
    names = tuple(f"species {index}" for index in range(1000))
    assert len(render(many_layers(200))) < 65_536
    assert len(render(audit_report(names=names))) < 65_536


def test_an_accepted_finding_is_said() -> None:
    accepted = Suppression("HFS001", "known *toy*", "2030-01-01")
    text = render(replace(audit_report(), suppression=accepted))
    assert "HFS001 is accepted for these weights until 2030-01-01. known &#42;toy&#42;" in text
    assert "behaves like a backdoored network" in text


def test_many_classes_are_cut() -> None:
    names = tuple(f"species {index}" for index in range(100))
    report = audit_report(names=names)
    test = replace(report.tests[0], class_statistics=tuple(range(100)))
    text = render(replace(report, tests=(test,)))
    assert "species 99" in text
    assert "species 89" not in text
    assert "90 classes with smaller figures left out." in text


def test_attack_metrics_are_shown_where_there_is_a_trigger() -> None:
    report = repair_report()
    assert "Attack success" not in render_repair(report)
    measured = replace(report, before=replace(report.before, asr=0.985))
    assert "| before | 93.1% | 86.5 to 96.6% | 98.5% | n/a |" in render_repair(measured)


def test_the_repair_says_how_it_ended() -> None:
    assert "**Repaired. Accuracy on 102 held-out" in render_repair(repair_report())
    assert "beyond the bound of 3.0 points" in render_repair(repair_report(drop=0.2))
    assert "still behaves like a backdoored network" in render_repair(repair_report(found=True))
