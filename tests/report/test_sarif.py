from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft4Validator

from hfscan.report.rules import RULES
from hfscan.report.sarif import fingerprint, render
from hfscan.types import AuditReport, Suppression, Verdict

from .sample import audit_report, check_golden, hostile_report

# From the npm package @microsoft/jest-sarif 1.0.0-beta.0 (MIT).
SCHEMA = json.loads((Path(__file__).parent / "schemas" / "sarif-2.1.0-rtm.5.json").read_text())
VALIDATOR = Draft4Validator(SCHEMA, format_checker=Draft4Validator.FORMAT_CHECKER)


def run_of(report: AuditReport) -> dict[str, Any]:
    log = json.loads(render(report))
    (run,) = log["runs"]
    return run


def located(ref: str, *, file: str = "model.safetensors", revision: str | None = None) -> Any:
    report = audit_report()
    model = replace(report.model, ref=ref, revision=revision, weights_file=file)
    run = run_of(replace(report, model=model))
    return run["results"][0]["locations"][0]["physicalLocation"]["artifactLocation"], run


def test_golden() -> None:
    check_golden("audit.sarif", render(audit_report()))


@pytest.mark.parametrize("verdict", Verdict)
@pytest.mark.parametrize("make", [lambda v: audit_report(verdict=v), hostile_report])
def test_valid_against_the_official_schema(make: Any, verdict: Verdict) -> None:
    report = replace(make(verdict), suppression=Suppression("HFS001", "[x] {0}", "2030-01-01"))
    assert [e.message for e in VALIDATOR.iter_errors(json.loads(render(report)))] == []


def test_the_schema_refuses_something() -> None:
    log = json.loads(render(audit_report()))
    log["runs"][0]["results"][0]["level"] = "fatal"
    assert list(VALIDATOR.iter_errors(log))


@pytest.mark.parametrize(
    ("verdict", "found"),
    [
        (Verdict.BACKDOORED, ("HFS001", "error")),
        (Verdict.SUSPICIOUS, ("HFS002", "warning")),
        (Verdict.INCONCLUSIVE, ("HFS003", "note")),
        (Verdict.NO_BACKDOOR_FOUND, ("HFS102", "note")),
    ],
)
def test_level_by_verdict(verdict: Verdict, found: tuple[str, str]) -> None:
    first = run_of(audit_report(verdict=verdict))["results"][0]
    assert (first["ruleId"], first["level"]) == found


def test_a_model_without_findings_is_a_run_without_results() -> None:
    report = audit_report(verdict=Verdict.NO_BACKDOOR_FOUND)
    run = run_of(replace(report, layers=report.layers[:-1], tests=report.tests[:1]))
    assert run["results"] == []
    assert run["invocations"][0]["executionSuccessful"] is True


def test_results_point_at_their_rules() -> None:
    run = run_of(audit_report())
    rules = run["tool"]["driver"]["rules"]
    assert [rule["id"] for rule in rules] == list(RULES)
    assert len(run["results"]) == 3
    for result in run["results"]:
        assert rules[result["ruleIndex"]]["id"] == result["ruleId"]
        assert rules[result["ruleIndex"]]["help"]["markdown"]


def test_the_message_is_the_reports_own() -> None:
    text = run_of(audit_report())["results"][0]["message"]["text"]
    assert text.startswith("This model behaves like a backdoored network (target class airplane).")
    assert "statistic 23.41, p < 0.0001." in text


def test_the_file_of_a_hub_model() -> None:
    location, run = located("org/name", revision="abc")
    assert (location["uri"], location["uriBaseId"]) == ("model.safetensors", "MODEL")
    base = run["originalUriBaseIds"]["MODEL"]["uri"]
    assert base == "https://huggingface.co/org/name/resolve/abc/"


@pytest.mark.parametrize(
    ("ref", "uri"),
    [
        ("./examples/net", "examples/net/model.safetensors"),
        ("../net", "../net/model.safetensors"),
        ("local-dir:a/./b", "a/b/model.safetensors"),
        ("/srv/my net", "file:///srv/my%20net/model.safetensors"),
        ("..", "../model.safetensors"),
        ("C:/my net", "file:///C:/my%20net/model.safetensors"),
    ],
)
def test_the_file_of_a_folder(ref: str, uri: str) -> None:
    location, run = located(ref)
    assert location["uri"] == uri
    assert "uriBaseId" not in location
    assert run["originalUriBaseIds"] == {}


def test_fingerprints_hold_on_to_weights_rule_and_target() -> None:
    report = audit_report()
    same = replace(report, clean_accuracy=0.5, versions={}, notes=(), seconds={})
    assert fingerprint(same, "HFS001") == fingerprint(report, "HFS001")
    others = {
        fingerprint(replace(report, target=1), "HFS001"),
        fingerprint(report, "HFS002"),
        fingerprint(replace(report, model=replace(report.model, weights_sha256="0")), "HFS001"),
    }
    assert len(others | {fingerprint(report, "HFS001")}) == 4
    assert fingerprint(replace(report, target=1), "HFS102") == fingerprint(report, "HFS102")
    result = run_of(report)["results"][0]
    assert result["partialFingerprints"]["hfscanFinding/v1"] == fingerprint(report, "HFS001")


def test_an_accepted_finding_is_suppressed_and_still_there() -> None:
    accepted = Suppression("HFS001", "known, under review", "2030-01-01")
    first, *others = run_of(replace(audit_report(), suppression=accepted))["results"]
    assert first["level"] == "error"
    assert first["suppressions"] == [
        {
            "kind": "external",
            "status": "accepted",
            "justification": "known, under review",
            "properties": {"expires": "2030-01-01"},
        }
    ]
    assert [other["suppressions"] for other in others] == [[], []]


def test_an_acceptance_of_another_rule_suppresses_nothing() -> None:
    other = Suppression("HFS002", "of another audit", "2030-01-01")
    assert run_of(replace(audit_report(), suppression=other))["results"][0]["suppressions"] == []


def test_no_name_makes_a_link_or_a_placeholder() -> None:
    for verdict in Verdict:
        run = run_of(hostile_report(verdict))
        messages = [result["message"]["text"] for result in run["results"]]
        messages += [
            n["message"]["text"] for n in run["invocations"][0]["toolExecutionNotifications"]
        ]
        for message in messages:
            assert not re.search(r"(?<!\\)(\\\\)*[\[\]]", message)


def test_braces_are_doubled() -> None:
    text = run_of(replace(audit_report(), reason="see {0}"))["results"][0]["message"]["text"]
    assert "see {{0}}" in text


def test_each_model_has_a_category_of_its_own() -> None:
    run = run_of(audit_report())
    assert run["automationDetails"]["id"] == "hfscan/example-org/preactresnet18-cifar10/"


def test_what_was_not_done_is_said() -> None:
    run = run_of(audit_report())
    said = [n["message"]["text"] for n in run["invocations"][0]["toolExecutionNotifications"]]
    assert "small-radius test: fewer than 10 images of some classes" in said
    assert "Conv1d is not covered: stem.conv1d." in run["results"][1]["message"]["text"]
