"""``hfscan report``: existing reports, without a model."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from report.sample import audit_report, hostile_report, repair_report, with_pictures

from hfscan.report import FORMATS, REPAIR_FORMATS
from hfscan.report.json import render, render_repair
from hfscan.types import AuditReport, RepairReport, Verdict

from .conftest import Run


@pytest.fixture
def audit_file(tmp_path: Path) -> Path:
    path = tmp_path / "audit.json"
    path.write_text(render(with_pictures(audit_report())))
    return path


@pytest.fixture
def repair_file(tmp_path: Path) -> Path:
    path = tmp_path / "repair.json"
    path.write_text(render_repair(repair_report()))
    return path


@pytest.mark.parametrize("name", [*FORMATS])
def test_the_same_report_in_every_format(run: Run, audit_file: Path, name: str) -> None:
    done = run("report", audit_file, "-f", name)
    assert (done.code, done.err) == (0, "")
    report = AuditReport.from_dict(json.loads(audit_file.read_text()))
    if name != "console":
        assert done.out == FORMATS[name](report)
    assert "BACKDOORED" in done.out


@pytest.mark.parametrize("name", [*REPAIR_FORMATS])
def test_a_repair_in_every_format(run: Run, repair_file: Path, name: str) -> None:
    done = run("report", repair_file, "-f", name)
    assert (done.code, done.err) == (0, "")
    report = RepairReport.from_dict(json.loads(repair_file.read_text()))
    if name != "console":
        assert done.out == REPAIR_FORMATS[name](report)
    assert "conv1" in done.out


@pytest.mark.parametrize("verdict", Verdict)
def test_the_exit_code_is_0_whatever_it_says(run: Run, tmp_path: Path, verdict: Verdict) -> None:
    path = tmp_path / "report.json"
    path.write_text(render(hostile_report(verdict)))
    assert run("report", path).code == 0


def test_files(run: Run, audit_file: Path, tmp_path: Path) -> None:
    outputs = [f"-o{name}={tmp_path / name}" for name in FORMATS]
    assert run("report", audit_file, *outputs).code == 0
    for name in FORMATS:
        assert "airplane" in (tmp_path / name).read_text()
    assert (tmp_path / "json").read_text() == audit_file.read_text()


def test_verbose(run: Run, audit_file: Path) -> None:
    assert "2.15.0" not in run("report", audit_file).out
    assert "2.15.0" in run("report", audit_file, "--verbose").out


def test_a_repair_has_no_sarif(run: Run, repair_file: Path) -> None:
    for options in (("-f", "sarif"), ("-o", f"sarif={repair_file}.sarif")):
        done = run("report", repair_file, *options)
        assert done.code == 4
        assert "is of a repair" in done.err
        assert "console, json, markdown, html" in done.err


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "is not a JSON report"),
        ("[" * 100_000, "is not a JSON report"),
        ("[]", "is not an hfscan report"),
        ('{"architecture": "resnet18"}', "is not an hfscan report"),
        ('{"schema": 1}', "schema: 1"),
        ('{"schema": 1, "audit": {}}', "not an hfscan repair report"),
        ("\ufeff{}", "is not a JSON report"),
    ],
    ids=["cut", "deep", "list", "config", "old", "repair", "bom"],
)
def test_a_file_that_is_no_report(run: Run, tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "report.json"
    path.write_text(text)
    done = run("report", path)
    assert done.code == 2
    assert said in done.err
    assert "hint: " in done.err


def test_no_file(run: Run, tmp_path: Path) -> None:
    assert run("report", tmp_path / "nothing.json").code == 4
    assert run("report", tmp_path).code == 4
    assert run("report").code == 4


def test_a_damaged_repair(run: Run, repair_file: Path) -> None:
    whole = json.loads(repair_file.read_text())
    for key in whole:
        if key in ("schema", "audit"):
            continue
        path = repair_file.with_name("damaged.json")
        without = {name: value for name, value in whole.items() if name != key}
        for damaged in (without, {**whole, key: [[3]]}):
            path.write_text(json.dumps(damaged))
            done = run("report", path)
            if damaged is without and key == "unclear":  # older reports do not have it
                assert done.code == 0
            else:
                assert (done.code, "the repair report is damaged" in done.err) == (2, True), key


def test_a_repair_with_an_audit_of_another_schema(run: Run, repair_file: Path) -> None:
    whole = json.loads(repair_file.read_text())
    whole["audit"]["schema"] = 1
    repair_file.write_text(json.dumps(whole))
    assert run("report", repair_file).code == 2


def test_a_repair_survives_json() -> None:
    reports = [
        repair_report(),
        repair_report(found=True, drop=0.2),
        replace(repair_report(), parameters={"lr": 0.1, "inner": {"x": 1}}, unlearned=None),
    ]
    for report in reports:
        data = json.loads(render_repair(report))
        assert RepairReport.from_dict(data).to_dict() == report.to_dict()


def test_markdown_where_stdout_lacks_characters(audit_file: Path) -> None:
    """As where a Windows shell redirects it."""
    env = os.environ | {"PYTHONIOENCODING": "ascii"}
    command = [sys.executable, "-m", "hfscan", "report", str(audit_file), "-f", "markdown"]
    done = subprocess.run(command, capture_output=True, env=env, check=True)
    assert not done.stdout.isascii()
    assert done.stdout.decode().startswith("## hfscan audit")


def test_nothing_of_the_model_is_needed(audit_file: Path) -> None:
    """Not even the libraries that load one."""
    code = (
        "import sys; from hfscan import cli; sys.argv = ['hfscan', 'report', sys.argv[1]]\n"
        "code = cli._run()\n"
        "heavy = {'timm', 'datasets', 'sklearn', 'huggingface_hub'} & set(sys.modules)\n"
        "sys.exit(f'{code} {heavy}' if code or heavy else 0)"
    )
    run = subprocess.run(
        [sys.executable, "-c", code, str(audit_file)], capture_output=True, text=True, check=False
    )
    assert (run.returncode, run.stderr) == (0, "")
