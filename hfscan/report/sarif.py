"""The report as SARIF 2.1.0, for code scanning: one result per rule that it raises.

A model without findings is a run without results, which closes what an earlier run had opened.

References:
    OASIS, "Static Analysis Results Interchange Format (SARIF) Version 2.1.0", 2020.
"""

from __future__ import annotations

import hashlib
import json
import math
import posixpath
import re
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from hfscan.report import findings, wording
from hfscan.report.rules import RULES, VERDICT_RULES, Rule, raised
from hfscan.report.text import printable

if TYPE_CHECKING:
    from hfscan.types import AuditReport

SCHEMA_URI = "https://json.schemastore.org/sarif-2.1.0.json"

_HUB = "https://huggingface.co"
_SEVERITY = {"error": "8.0", "warning": "5.0"}
"""GitHub's scale: from 7.0 on it is high, from 4.0 on medium."""

_DRIVE = re.compile(r"[A-Za-z]:/")
_NAME_MAX = 255
_PROSE = 600
_SHOWN_CHANNELS = 10

_ESCAPES = str.maketrans({"\\": "\\\\", "[": "\\[", "]": "\\]", "{": "{{", "}": "}}"})

Json = dict[str, Any]


def render(report: AuditReport) -> str:
    """The findings as a SARIF 2.1.0 log with one run, for code scanning.

    Args:
        report: The audit.

    Returns:
        ASCII text that ends in a line break.
    """
    log = {"$schema": SCHEMA_URI, "version": "2.1.0", "runs": [_run(report)]}
    return json.dumps(log, indent=2, ensure_ascii=True, allow_nan=False) + "\n"


def fingerprint(report: AuditReport, rule: str) -> str:
    """What makes a finding the same one: the weights, the rule and the suspected class.

    Args:
        report: The audit.
        rule: Id of the rule.
    """
    target = report.target if rule in VERDICT_RULES.values() else None
    what = json.dumps([report.model.weights_sha256, rule, target])
    return hashlib.sha256(what.encode("ascii")).hexdigest()


def _run(report: AuditReport) -> Json:
    return {
        "tool": {"driver": _driver(report)},
        # One category per model: code scanning replaces the results of the same category only.
        "automationDetails": {"id": f"hfscan/{_path(report.model.ref)}/"},
        "invocations": [
            {"executionSuccessful": True, "toolExecutionNotifications": _notifications(report)}
        ],
        "originalUriBaseIds": {"MODEL": {"uri": _base(report)}} if _on_hub(report) else {},
        "artifacts": [_artifact(report)],
        "results": [_result(report, rule) for rule in raised(report)],
        "columnKind": "utf16CodeUnits",
        "properties": _facts(report),
    }


def _driver(report: AuditReport) -> Json:
    version = report.versions.get("hfscan", "")
    known = {"version": printable(version)} if version else {}
    return {"name": "hfscan", **known, "rules": [_descriptor(rule) for rule in RULES.values()]}


def _descriptor(rule: Rule) -> Json:
    severity = _SEVERITY.get(rule.level)
    tags = ["machine-learning", "supply-chain"]
    return {
        "id": rule.id,
        "name": rule.name,
        "shortDescription": {"text": rule.text},
        "fullDescription": {"text": rule.text},
        "help": {"text": rule.help, "markdown": rule.help},
        "defaultConfiguration": {"level": rule.level},
        "properties": {"tags": ["security", *tags], "security-severity": severity}
        if severity
        else {"tags": tags},
    }


def _result(report: AuditReport, rule: Rule) -> Json:
    digest = fingerprint(report, rule.id)
    return {
        "ruleId": rule.id,
        "ruleIndex": list(RULES).index(rule.id),
        "level": rule.level,
        "kind": "fail",
        "message": {"text": _message(report, rule)},
        "locations": [{"physicalLocation": _location(report)}],
        "partialFingerprints": {
            "hfscanFinding/v1": digest,
            "primaryLocationLineHash": f"{digest[:16]}:1",  # the one that code scanning looks at
        },
        "suppressions": _suppressions(report, rule),
    }


def _message(report: AuditReport, rule: Rule) -> str:
    if rule.id not in VERDICT_RULES.values():
        return " ".join([rule.text, *_details(report, rule)])
    sentences = [
        wording.verdict_sentence(report, _quote),
        wording.evidence(report, _quote),
        wording.reason(report, _prose),
    ]
    return " ".join(_sentence(each) for each in sentences if each)


def _details(report: AuditReport, rule: Rule) -> list[str]:
    if rule.name == "pickle-weights":
        return [f"The file is {_quote(report.model.weights_file)}."]
    if rule.name == "tests-left-out":
        made = [test for test in report.tests if not test.skipped]
        counted = ", ".join(_quote(test.name) for test in made if test.p_value is not None)
        silent = ", ".join(_quote(test.name) for test in made if test.p_value is None)
        said = [f"Made: {counted}", *([f"Made, but not counted: {silent}"] if silent else [])]
        return [_sentence(each) for each in (*said, *wording.skipped_tests(report.tests, _prose))]
    reasons = findings.skipped_layers(report)
    lines = wording.skip_lines(reasons, _prose, _quote, shown=5)
    return [_sentence(line) for line in [*wording.coverage_sentences(report), *lines]]


def _suppressions(report: AuditReport, rule: Rule) -> list[Json]:
    accepted = report.suppression
    if accepted is None or accepted.rule != rule.id:
        return []
    return [
        {
            "kind": "external",
            "status": "accepted",
            "justification": _prose(accepted.reason),
            "properties": {"expires": accepted.expires},
        }
    ]


def _notifications(report: AuditReport) -> list[Json]:
    lines = [
        *wording.skipped_tests(report.tests, _prose),
        *map(_prose, (*report.model.notes, *report.notes)),
    ]
    return [{"level": "note", "message": {"text": line}} for line in lines]


def _location(report: AuditReport) -> Json:
    # Weights have no lines, but code scanning wants one.
    return {"artifactLocation": {**_file(report), "index": 0}, "region": {"startLine": 1}}


def _artifact(report: AuditReport) -> Json:
    digest = printable(report.model.weights_sha256)
    return {"location": _file(report), "roles": ["analysisTarget"], "hashes": {"sha-256": digest}}


def _file(report: AuditReport) -> Json:
    """The weights file: relative to the model's commit on the Hub, or to the working directory."""
    name = report.model.weights_file
    if _on_hub(report):
        return {"uri": _path(name), "uriBaseId": "MODEL"}
    folder = report.model.ref.removeprefix("local-dir:")
    path = posixpath.normpath(posixpath.join(folder, name) if name else folder or ".")
    if _DRIVE.match(path):
        return {"uri": f"file:///{path[:2]}{_path(path[2:])}"}
    return {"uri": ("file://" if path.startswith("/") else "") + _path(path)}


def _on_hub(report: AuditReport) -> bool:
    """A model from the Hub has the commit that it was loaded from; a folder or a module has none."""
    return report.model.revision is not None


def _base(report: AuditReport) -> str:
    revision = quote(report.model.revision or "", safe="", errors="replace")
    return f"{_HUB}/{_path(report.model.ref)}/resolve/{revision}/"


def _path(text: str) -> str:
    """A path for a URI; a part that is longer than a file system allows is cut off."""
    parts = [part if len(part) <= _NAME_MAX else part[:80] for part in text.split("/")]
    return quote("/".join(parts), safe="/", errors="replace")


def _facts(report: AuditReport) -> Json:
    """What a dashboard may want to sort by."""
    test = findings.leading_test(report)
    return {
        "verdict": report.verdict.value,
        "target": report.target,
        "targetName": None
        if report.target is None
        else printable(findings.label(report, report.target)),
        "statistic": _finite(test.statistic if test else None),
        "pValue": _finite(test.p_value if test else None),
        "cleanAccuracy": _finite(report.clean_accuracy),
        "cleanImages": report.data.images,
        "channels": [
            {"layer": printable(one.layer), "channel": one.channel}
            for one in findings.suspicious_channels(report, _SHOWN_CHANNELS)
        ],
    }


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _sentence(text: str) -> str:
    return text if text.endswith((".", "…")) else f"{text}."


def _quote(text: str) -> str:
    """Text of unknown origin in a message, where brackets make links and braces placeholders."""
    return printable(text).translate(_ESCAPES)


def _prose(text: str) -> str:
    return printable(text, _PROSE).translate(_ESCAPES)
