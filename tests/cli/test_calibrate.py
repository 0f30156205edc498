from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from bench.test_calibrating import audited_zoo

from hfscan.bench.calibrating import append_audited
from hfscan.bench.smoke import CLASSES, smoke_task
from hfscan.calibration import load_calibration
from hfscan.cli import EXIT_FAILED, EXIT_USAGE

from .conftest import Run


@pytest.fixture
def zoo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The results of an earlier run: all networks were audited."""
    monkeypatch.setattr("hfscan.bench.tasks.load_task", lambda name, data: smoke_task(name))
    path = tmp_path / "zoo.jsonl"
    for one in audited_zoo(CLASSES):
        append_audited(path, one)
    return path


def test_what_was_audited_is_not_audited_again(run: Run, zoo: Path, tmp_path: Path) -> None:
    out, before = tmp_path / "calibration.json", zoo.read_text()
    done = run("calibrate", "--results", zoo, "--out", out, "-f", "markdown")
    assert done.code == 0
    assert "90 of 90 networks are in" in done.err
    assert "| networks | tested | suspicious or worse |" in done.out
    assert zoo.read_text() == before
    made = load_calibration(out)
    assert made.name == "cifar10"
    assert made.description.startswith("40 clean and 50 backdoored networks (preactresnet18")
    assert made.rates["clean"].networks == 15


def test_the_plan_says_which_networks_measure(run: Run, zoo: Path, tmp_path: Path) -> None:
    lines = [json.loads(line) for line in zoo.read_text().splitlines()]
    zoo.write_text("".join(json.dumps({**line, "held_out": True}) + "\n" for line in lines))
    out = tmp_path / "c.json"
    assert run("calibrate", "--results", zoo, "--out", out, "--quiet").code == 0
    made = load_calibration(out)
    assert (len(made.networks), made.rates["clean"].networks) == (25, 15)
    assert run("calibrate", "--clean", "1", "--results", zoo, "--out", out).code == EXIT_USAGE


def test_without_training_the_results_decide(run: Run, zoo: Path, tmp_path: Path) -> None:
    lines = zoo.read_text().splitlines()
    some = tmp_path / "some.jsonl"
    some.write_text("\n".join(lines[:50]) + "\n")
    out = tmp_path / "c.json"
    done = run("calibrate", "--no-train", "--results", some, "--out", out, "--quiet")
    assert done.code == 0
    assert "on cifar10; " in load_calibration(out).description
    assert some.read_text().splitlines() == lines[:50]
    wrong = ("--dataset", "gtsrb", "--out", tmp_path / "wrong.json")
    done = run("calibrate", "--no-train", "--results", some, *wrong)
    assert (done.code, (tmp_path / "wrong.json").exists()) == (4, False)
    assert "has networks of cifar10\n" in done.err
    done = run("calibrate", "--no-train", "--results", tmp_path / "none.jsonl", "--out", out)
    assert done.code == EXIT_FAILED
    assert "cannot be read as results" in done.err


def test_the_table_in_a_terminal(run: Run, zoo: Path, tmp_path: Path) -> None:
    done = run("calibrate", "--results", zoo, "--out", tmp_path / "c.json", "--quiet")
    assert done.code == 0
    assert done.err == ""
    assert "Networks that had no part in the fit" in done.out
    assert all(len(line) <= 100 for line in done.out.splitlines())


def test_pages(run: Run, zoo: Path, tmp_path: Path) -> None:
    pages = tmp_path / "pages"
    done = run("calibrate", "--results", zoo, "--out", tmp_path / "c.json", "--pages", pages)
    assert done.code == 0
    assert (pages / "roc.svg").read_text().startswith("<?xml")
    text = (pages / "tables.md").read_text()
    assert text.startswith("# Calibration cifar10\n\n40 clean and 50 backdoored networks")
    assert text.count("| all | 25 |") == 2  # both halves
    assert text.count("| fits | ") + text.count("| measures | ") == 90
    assert "![ROC curves](roc.svg)" in text
    assert re.search(r"judged by what the other 24 give: [01] of 25 suspicious", text)


def test_bad_input(run: Run, zoo: Path, tmp_path: Path) -> None:
    assert run("calibrate", "--dataset", "mnist").code == EXIT_USAGE
    zoo.write_text("{}\n")
    done = run("calibrate", "--results", zoo, "--out", tmp_path / "c.json")
    assert done.code == EXIT_FAILED
    assert "is not an audited network" in done.err
    assert not (tmp_path / "c.json").exists()
