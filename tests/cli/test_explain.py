from __future__ import annotations

import pytest

from hfscan.report.rules import RULES

from .conftest import Run


def test_all_rules_are_listed(run: Run) -> None:
    done = run("explain")
    assert (done.code, done.err) == (0, "")
    assert all(f"{rule.id} {rule.name}" in done.out for rule in RULES.values())


@pytest.mark.parametrize("key", RULES)
def test_a_rule_is_explained(run: Run, key: str) -> None:
    rule = RULES[key]
    done = run("explain", key)
    assert done.code == 0
    assert rule.name in done.out
    assert "What to do" in done.out
    assert "##" not in done.out
    assert run("explain", rule.name.upper()).out == done.out


def test_for_programs(run: Run) -> None:
    assert [rule["id"] for rule in run("explain", "--json").json["rules"]] == list(RULES)
    (rule,) = run("explain", "HFS002", "--json").json["rules"]
    assert rule["name"] == "suspicious"


@pytest.mark.parametrize(
    ("wanted", "hint"),
    [
        ("backdored", "did you mean HFS001 (backdoored)?"),
        ("HSF003", "did you mean HFS003 (inconclusive)?"),
        ("[red]\x1b[31m", "hfscan explain lists them"),
    ],
)
def test_an_unknown_rule(run: Run, wanted: str, hint: str) -> None:
    done = run("explain", wanted)
    assert (done.code, done.out) == (4, "")
    assert f"hint: {hint}" in done.err
    assert "\x1b" not in done.err
