from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from .conftest import Run
from .support import Victims


def test_a_report_that_agrees(run: Run, victims: Victims) -> None:
    done = run("verify", victims.report, "--channels", "3", "--seed", "5")
    assert (done.code, done.err) == (0, "")
    assert "NO" not in done.out.split()
    assert "3 channels in fp32" in done.out
    assert "seed 5" in done.out


def test_a_report_of_other_weights(run: Run, victims: Victims) -> None:
    done = run("verify", victims.report, "--model", victims.clean, "--json")
    assert done.code == 1
    assert done.json["agrees"] is False
    assert [check["name"] for check in done.json["checks"]] == ["weights"]
    assert isinstance(done.json["seed"], int)


def test_images_that_moved(run: Run, victims: Victims, tmp_path: Path) -> None:
    shutil.copytree(victims.data, tmp_path / "moved")
    report = json.loads(victims.report.read_text())
    report["data"]["name"] = "./gone"
    (tmp_path / "report.json").write_text(json.dumps(report))
    done = run("verify", tmp_path / "report.json")
    assert done.code == 2
    assert "there is no folder ./gone" in done.err
    arguments = ("--clean-data", tmp_path / "moved", "--channels", "0", "--json")
    done = run("verify", tmp_path / "report.json", *arguments)
    assert done.code == 0
    unchecked = [check["name"] for check in done.json["checks"] if check["agrees"] is None]
    assert unchecked == ["channels"]


def test_a_verdict_that_cannot_be_checked(run: Run, victims: Victims, tmp_path: Path) -> None:
    report = json.loads(victims.report.read_text())
    facts = {"networks": 9, "distance": "", "suspicious_rate": 0.02, "backdoored_rate": 0.002}
    report["calibration"] = {"name": "elsewhere", "rates": {}, **facts}
    (tmp_path / "report.json").write_text(json.dumps(report))
    done = run("verify", tmp_path / "report.json", "--json")
    assert done.code == 3
    assert done.json["agrees"] is None
    assert done.json["checks"][-1]["name"] == "verdict"


def test_a_verdict_without_tests(run: Run, victims: Victims, tmp_path: Path) -> None:
    report = json.loads(victims.report.read_text())
    report |= {"tests": [], "verdict": "NO_BACKDOOR_FOUND", "target": None}
    (tmp_path / "report.json").write_text(json.dumps(report))
    assert run("verify", tmp_path / "report.json").code == 1


def test_a_report_of_a_module(run: Run, victims: Victims, tmp_path: Path) -> None:
    report = json.loads(victims.report.read_text())
    report["model"] |= {"ref": "module", "weights_file": ""}
    (tmp_path / "report.json").write_text(json.dumps(report))
    done = run("verify", tmp_path / "report.json")
    assert (done.code, done.out) == (3, "")
    assert "nothing of this report can be verified" in done.err


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"schema": 99}'])
def test_other_files(run: Run, tmp_path: Path, text: str) -> None:
    (tmp_path / "report.json").write_text(text)
    done = run("verify", tmp_path / "report.json")
    assert (done.code, done.out) == (2, "")
