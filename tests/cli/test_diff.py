"""``hfscan diff`` of reports and of models."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from .conftest import Run
from .support import QUICK, TARGET, Victims


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def changed(victims: Victims, place: Path, name: str, **changes: Any) -> Path:
    """The report of the backdoored model with other contents."""
    path = place / name
    path.write_text(json.dumps(json.loads(victims.report.read_text()) | changes))
    return path


NOTHING = {"verdict": "NO_BACKDOOR_FOUND", "target": None}


def test_two_reports(run: Run, victims: Victims, place: Path) -> None:
    clean = changed(victims, place, "clean.json", **NOTHING)
    worse = run("diff", clean, victims.report)
    assert worse.code == 1
    assert "Worse: the verdict was NO_BACKDOOR_FOUND and is BACKDOORED" in worse.out
    assert TARGET in worse.out
    better = run("diff", victims.report, clean)
    assert better.code == 0
    assert "Not worse" in better.out
    assert "warning: the weights are the same" in better.out


def test_an_inconclusive_one(run: Run, victims: Victims, place: Path) -> None:
    lost = changed(victims, place, "lost.json", verdict="INCONCLUSIVE", target=None)
    assert run("diff", victims.report, lost).code == 3
    assert run("diff", lost, victims.report).code == 1


def test_formats_and_files(run: Run, victims: Victims, place: Path) -> None:
    clean = changed(victims, place, "clean.json", **NOTHING)
    done = run("diff", clean, victims.report, "--json", "-o", "json=d.json", "-o", "markdown=d.md")
    assert done.code == 1
    assert (done.json["schema"], done.json["worse"]) == (1, True)
    assert done.json["after"]["target"]["name"] == TARGET
    assert (place / "d.json").read_text() == done.out
    text = (place / "d.md").read_text()
    assert text.startswith("## hfscan diff\n\n**Worse: ")
    assert run("diff", clean, victims.report, "-f", "markdown").out == text
    assert run("diff", clean, victims.report, "-o", "sarif=x").code == 4


def test_two_models_are_audited_with_the_same_options(
    run: Run, victims: Victims, place: Path
) -> None:
    (place / "hfscan.toml").write_text("[audit]\ntau = 0.2\n[diff]\nformat = 'json'")
    options = ("--clean-data", victims.data, *QUICK, "-q")
    done = run("diff", victims.clean, victims.planted, *options)
    assert (done.code, done.err) == (1, "")
    before, after = done.json["before"], done.json["after"]
    assert before["settings"] == after["settings"]
    assert (before["settings"]["images"], before["settings"]["tau"]) == (8, 0.2)
    assert (before["verdict"], after["verdict"]) == ("NO_BACKDOOR_FOUND", "BACKDOORED")
    (test,) = done.json["tests"]
    assert test["classes"][0]["name"] == TARGET


def test_a_report_and_a_model(run: Run, victims: Victims, place: Path) -> None:
    options = ("--clean-data", victims.data, *QUICK)
    done = run("diff", victims.report, victims.planted, *options)
    assert done.code == 0
    assert done.err == f"auditing {victims.planted}\n"
    refused = run("diff", victims.report, victims.planted, *options, "--tau", "0.2")
    assert refused.code == 4
    assert "the audits differ in --tau: 0.1 and 0.2" in refused.err
    assert "hint: audit both with the same --tau" in refused.err


def test_a_token_is_not_repeated(run: Run, victims: Victims, place: Path) -> None:
    reports, token = (victims.report, victims.report), "--token=hf_secret"
    for arguments in ((*reports, token), (token, *reports)):
        done = run("diff", *arguments)
        assert (done.code, done.out) == (4, "")
        assert "error: --token " in done.err
        assert "hf_secret" not in done.err


@pytest.mark.parametrize(
    ("arguments", "code", "error", "hint"),
    [
        (("a.json",), 4, "Missing argument", "diff --help"),
        (("nowhere.json", "nowhere.json"), 2, "nowhere.json is not a JSON report", "-o json=FILE"),
        (("REPORT", "REPORT", "--images", "3"), 4, "--images is for the audit of models", "out"),
        (("--images", "3", "REPORT"), 4, "--images stands where a report", "both first"),
        (("./a", "./b"), 4, "Missing option '--clean-data'", "audit --help"),
        (("./a", "./b", "--clean-dta", "x"), 4, "No such option: --clean-dta", "audit --help"),
        (("./a", "./b", "--clean-data", "./x"), 2, "a", ""),
    ],
)
def test_what_cannot_be_compared(
    run: Run,
    victims: Victims,
    place: Path,
    arguments: tuple[str, ...],
    code: int,
    error: str,
    hint: str,
) -> None:
    words = [victims.report if word == "REPORT" else word for word in arguments]
    done = run("diff", *words)
    assert (done.code, done.out) == (code, "")
    first, second = done.err.splitlines()[-2:]
    assert error in first
    assert hint in second
