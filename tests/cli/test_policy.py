"""Accepted findings, baselines and ``--fail-on``: what of a finding reaches the exit code."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from hfscan.cli.policy import IGNORED

from .conftest import Run
from .support import QUICK, Done, Victims, timeless


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture(scope="module")
def found(victims: Victims) -> dict[str, Any]:
    """The report of the backdoored model."""
    return json.loads(victims.report.read_text())


def entry(found: dict[str, Any], expires: str = "2999-12-31", **changes: str) -> str:
    """Accepts what was found."""
    model = found["model"]
    texts = {"model": model["ref"], "sha256": model["weights_sha256"], "rule": "HFS001"}
    texts |= {"reason": "a toy"} | changes
    lines = [f"{key} = {json.dumps(value)}" for key, value in texts.items()]
    return "\n".join(["[[ignore]]", *lines, f"expires = {expires}", ""])


def audit(run: Run, victims: Victims, *options: str | Path) -> Done:
    return run("audit", victims.planted, "--clean-data", victims.data, *QUICK, *options)


def test_an_accepted_finding_exits_with_0_and_is_shown(
    run: Run, victims: Victims, place: Path, found: dict[str, Any]
) -> None:
    (place / IGNORED).write_text(entry(found))
    files = ("-o", "json=report.json", "-o", "markdown=report.md")
    done = audit(run, victims, *files)
    assert (done.code, done.err) == (0, "")
    assert "BACKDOORED" in done.out
    assert "Suppressed: HFS001 is accepted for these weights until 2999-12-31. a toy" in done.out
    assert "Suppressed: HFS001" in (place / "report.md").read_text()
    report = json.loads((place / "report.json").read_text())
    accepted = {"rule": "HFS001", "reason": "a toy", "expires": "2999-12-31"}
    assert report.pop("suppression") == accepted
    assert timeless(report) == timeless({k: v for k, v in found.items() if k != "suppression"})


def test_an_expired_one_counts_again(
    run: Run, victims: Victims, place: Path, found: dict[str, Any]
) -> None:
    (place / "accepted.toml").write_text(entry(found, "2020-01-01"))
    done = audit(run, victims, "--ignore-file", "accepted.toml", "--json")
    said = "acceptance of HFS001 expired on 2020-01-01: it counts again"
    assert (done.code, done.json["suppression"]) == (1, None)
    assert said in done.json["notes"][-1]
    assert said in done.err


def test_other_weights_are_not_accepted(
    run: Run, victims: Victims, place: Path, found: dict[str, Any]
) -> None:
    (place / IGNORED).write_text(entry(found, sha256="0" * 64))
    done = audit(run, victims, "--json")
    assert (done.code, done.json["suppression"]) == (1, None)
    assert "matches nothing: it is for other weights (sha256 000000000000)" in done.err


def test_a_model_does_not_accept_its_own_findings(
    run: Run, victims: Victims, found: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    file = victims.planted / IGNORED
    try:
        file.write_text(entry(found))
        monkeypatch.chdir(victims.planted)
        done = audit(run, victims)
        assert done.code == 4
        assert f"hint: if it is yours, name it: --ignore-file {IGNORED}" in done.err
        assert audit(run, victims, "--ignore-file", IGNORED).code == 0
    finally:
        file.unlink()


WRONG = {
    "malformed": ("[[ignore]\n", "is not TOML: ", "toml.io"),
    "other keys": ("[[ingore]]\n", "there is no 'ingore'", "entries begin with [[ignore]]"),
    "no list": ("ignore = 3\n", "ignore must be a list of tables", "write [[ignore]]"),
    "nothing in it": ("\n\n[[ignore]]\n", "line 3: model is missing", "an entry has model"),
    "inline": ("ignore = [{}]\n", "entry 1: model is missing", "an entry has model"),
    "no table": ("ignore = [1]\n", "entry 1: an entry must be a table", "write [[ignore]]"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_file_is_wrong_usage(run: Run, place: Path, case: str) -> None:
    text, error, hint = WRONG[case]
    (place / IGNORED).write_text(text)
    done = run("audit", "org/net", "--clean-data", "cifar10")
    assert done.code == 4
    first, second = done.err.splitlines()
    assert IGNORED in first
    assert error in first
    assert hint in second


def test_the_line_of_a_wrong_entry(run: Run, place: Path, found: dict[str, Any]) -> None:
    (place / IGNORED).write_text(entry(found) + "\n" + entry(found, rule="HFS\x1b"))
    done = run("audit", "org/net", "--clean-data", "cifar10")
    assert done.code == 4
    assert f"{IGNORED}, line 8: 'HFS\\x1b' is no rule that can be accepted" in done.err


# --- the baseline


def test_what_the_baseline_knows_does_not_fail(run: Run, victims: Victims, place: Path) -> None:
    done = audit(run, victims, "--baseline", victims.report, "-o", "json=report.json")
    assert done.code == 0
    assert "BACKDOORED" in done.out
    said = "Known from the baseline: the same class of the same weights."
    assert said in done.out
    assert json.loads((place / "report.json").read_text())["notes"][-1] == said


def test_what_is_new_fails(run: Run, victims: Victims, place: Path, found: dict[str, Any]) -> None:
    baseline = found | {"verdict": "NO_BACKDOOR_FOUND", "target": None}
    (place / "baseline.json").write_text(json.dumps(baseline))
    done = audit(run, victims, "--baseline", "baseline.json", "--json")
    assert done.code == 1
    assert done.json["notes"][-1] == "New: the baseline has no such finding."


@pytest.mark.parametrize("text", ["", "[]", "{", '{"schema": 3}', "[" * 100_000])
def test_a_baseline_that_is_no_report(run: Run, place: Path, text: str) -> None:
    (place / "baseline.json").write_text(text)
    done = run("audit", "./nowhere", "--clean-data", "cifar10", "--baseline", "baseline.json")
    assert done.code == 2
    assert "report" in done.err
    assert len(done.err.splitlines()) == 2


# --- --fail-on


def test_fail_on_never_changes_what_is_reported(run: Run, victims: Victims, place: Path) -> None:
    said = []
    for choice, code in (("suspicious", 1), ("backdoored", 1), ("never", 0)):
        done = audit(run, victims, "--fail-on", choice, "--json", "-o", "markdown=report.md")
        assert done.code == code
        text = (place / "report.md").read_text().splitlines()
        lines = [line for line in text if not line.startswith("Time: ")]
        said.append((timeless(done.json), lines))
    assert said[0] == said[1] == said[2]
