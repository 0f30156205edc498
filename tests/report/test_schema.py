from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
import test_types
from jsonschema import Draft202012Validator

import hfscan.report
from hfscan.report.json import render, render_repair
from hfscan.report.schema import report_schema
from hfscan.types import AuditReport, RepairReport, Suppression, Verdict

from .sample import HOSTILE, audit_report, hostile_report, repair_report, with_pictures

FILE = Path(hfscan.report.__file__).parent / "report.schema.json"
SCHEMA = json.loads(FILE.read_text())
VALIDATOR = Draft202012Validator(SCHEMA)


def errors(text: str) -> list[str]:
    return [error.message for error in VALIDATOR.iter_errors(json.loads(text))]


def test_the_file_is_what_the_types_say() -> None:
    """Otherwise: python -m hfscan.report.schema > hfscan/report/report.schema.json."""
    assert report_schema() == SCHEMA


def test_it_is_a_schema() -> None:
    Draft202012Validator.check_schema(SCHEMA)


@pytest.mark.parametrize("verdict", Verdict)
def test_audits_are_valid(verdict: Verdict) -> None:
    accepted = Suppression("HFS001", "known", "2030-01-01")
    for report in (
        audit_report(verdict=verdict),
        hostile_report(verdict),
        with_pictures(replace(audit_report(verdict=verdict), suppression=accepted)),
    ):
        assert errors(render(report)) == []


def test_an_audit_of_a_network_is_valid(planted_model: Any, tiny_set: Any) -> None:
    settings = hfscan.types.AuditSettings(images=8, steps=1)
    report = hfscan.audit(planted_model, tiny_set, settings=settings, tests=[])
    assert report.pictures
    assert errors(render(report)) == []


def test_repairs_are_valid() -> None:
    for report in (
        repair_report(),
        repair_report(names=HOSTILE),
        replace(repair_report(), parameters={"lr": 0.1, "inner": {"x": 1}}, unlearned=None),
    ):
        assert errors(render_repair(report)) == []


def test_every_field_is_in_it_and_described() -> None:
    for kind, name in ((AuditReport, "AuditReport"), (RepairReport, "RepairReport")):
        properties = SCHEMA["$defs"][name]["properties"]
        assert {field.name for field in fields(kind)} | {"schema"} == {*properties}
        assert all("description" in properties[field.name] for field in fields(kind))


def mutations() -> Iterator[dict[str, Any]]:
    """What `AuditReport.from_dict` refuses because of its type."""
    for path, wrong in test_types.MUTATIONS:
        data = test_types.plain(test_types.report())
        test_types.at(data, path[:-1])[path[-1]] = copy.copy(wrong)
        yield data


def test_what_has_the_wrong_type_is_not_valid() -> None:
    accepted = [data for data in mutations() if VALIDATOR.is_valid(data)]
    assert accepted == []


@pytest.mark.parametrize("key", test_types.plain(test_types.report()))
def test_what_lacks_a_key_is_not_valid(key: str) -> None:
    data = test_types.plain(test_types.report())
    del data[key]
    assert not VALIDATOR.is_valid(data)


@pytest.mark.parametrize("data", [None, [], "report", {}, {"schema": 1}, {"audit": {}}], ids=str)
def test_something_else_is_not_valid(data: Any) -> None:
    assert not VALIDATOR.is_valid(data)


@pytest.mark.parametrize(
    ("path", "wrong"),
    [
        (("verdict",), "CLEAN"),
        (("target", "index"), -1),
        (("tests", 0, "p_value"), 2),
        (("tests", 0, "unknown"), 3),
        (("model", "input_size"), [3, 8]),
        (("layers", 0, "flagged"), [-1]),
        (("layers", 0, "predictions", 0, 0), {"one": 10}),
        (("layers", 2, "skipped"), ""),
        (("pictures", 0, "role"), "script"),
        (("pictures", 0, "png"), "PHNjcmlwdD4="),
        (("pictures", 0, "gain"), 0),
        (("pictures", 0, "share"), 2),
        (("suppression", "expires"), "soon"),
        (("settings", "mode"), "slow"),
    ],
    ids=str,
)
def test_a_value_out_of_range_is_not_valid(path: tuple[Any, ...], wrong: Any) -> None:
    data = test_types.plain(test_types.report())
    test_types.at(data, path[:-1])[path[-1]] = wrong
    assert not VALIDATOR.is_valid(data)
