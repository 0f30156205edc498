"""``hfscan audit`` on folders: exit codes, formats, files."""

from __future__ import annotations

import dataclasses
import importlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from hfscan import cli
from hfscan.cli.audit import FailOn, exit_code
from hfscan.report import FORMATS
from hfscan.types import AuditReport, Verdict

from .conftest import Run
from .support import CLASSES, QUICK, TARGET, Victims, color_net, timeless, write_model


@pytest.fixture
def report(victims: Victims) -> AuditReport:
    return AuditReport.from_dict(json.loads(victims.report.read_text()))


def test_a_backdoor_exits_with_1_and_names_the_class(run: Run, victims: Victims) -> None:
    done = run("audit", victims.planted, "--clean-data", victims.data, *QUICK)
    assert done.code == 1
    assert "BACKDOORED" in done.out
    assert TARGET in done.out
    assert "hfscan repair" in done.out


def test_nothing_found_exits_with_0(run: Run, victims: Victims) -> None:
    done = run("audit", victims.clean, "--clean-data", victims.data, "--json", *QUICK)
    assert done.code == 0
    assert done.json["verdict"] == "NO_BACKDOOR_FOUND"
    assert done.json["target"] is None


def test_fail_on_never_exits_with_0(run: Run, victims: Victims) -> None:
    options = ("--fail-on", "never", "--json", *QUICK)
    done = run("audit", victims.planted, "--clean-data", victims.data, *options)
    assert done.code == 0
    assert done.json["verdict"] == "BACKDOORED"


def test_fast_mode_says_what_it_left_out(run: Run, victims: Victims) -> None:
    options = ("--mode", "fast", "--effort", "0.4", *QUICK)
    done = run("audit", victims.planted, "--clean-data", victims.data, "-f", "markdown", *options)
    assert done.code == 1
    assert "Fast mode" in done.out
    assert "chosen at random" in done.out


def test_with_a_budget_the_mode_is_fast(run: Run, victims: Victims) -> None:
    options = ("--budget", "10m", "--json", *QUICK)
    done = run("audit", victims.planted, "--clean-data", victims.data, *options)
    assert done.code == 1
    assert done.json["settings"]["mode"] == "fast"
    coverage = done.json["coverage"]
    assert coverage["verified"] == coverage["channels"]  # ten minutes are plenty


def test_a_budget_that_is_over_at_once(run: Run, victims: Victims) -> None:
    options = ("--budget", "0.001s", "--json", *QUICK)
    done = run("audit", victims.planted, "--clean-data", victims.data, *options)
    assert done.code == 3
    assert done.json["verdict"] == "INCONCLUSIVE"
    assert all("time budget" in layer["skipped"] for layer in done.json["layers"])


def test_there_are_as_many_images_as_classes(
    run: Run, victims: Victims, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.import_module("hfscan.cli.audit"), "ACCURACY_IMAGES", 2)
    options = ("--images", "4", "--steps", "1", "--json")
    done = run("audit", victims.clean, "--clean-data", victims.data, *options)
    assert done.json["data"]["images"] == len(CLASSES)
    assert done.code == 0


@pytest.mark.parametrize(
    ("verdict", "codes"),
    [
        (Verdict.NO_BACKDOOR_FOUND, (0, 0, 0)),
        (Verdict.SUSPICIOUS, (1, 0, 0)),
        (Verdict.BACKDOORED, (1, 1, 0)),
        (Verdict.INCONCLUSIVE, (3, 3, 3)),
    ],
)
def test_exit_codes(report: AuditReport, verdict: Verdict, codes: tuple[int, ...]) -> None:
    report = dataclasses.replace(report, verdict=verdict)
    thresholds: tuple[FailOn, ...] = ("suspicious", "backdoored", "never")
    assert tuple(exit_code(report, fail_on) for fail_on in thresholds) == codes


def test_the_same_seed_gives_the_same_json(run: Run, victims: Victims) -> None:
    arguments = ("audit", victims.planted, "--clean-data", victims.data, "--json", *QUICK)
    first, second = run(*arguments, "--seed", "7"), run(*arguments, "--seed", "7")
    assert timeless(first.json) == timeless(second.json)
    assert first.json["settings"]["seed"] == 7
    again = AuditReport.from_dict(first.json).to_dict()
    assert json.loads(json.dumps(again)) == first.json


def test_json_says_what_was_audited(run: Run, victims: Victims) -> None:
    data = run("audit", victims.planted, "--clean-data", victims.data, "--json", *QUICK).json
    assert data["target"] == {"index": CLASSES.index(TARGET), "name": TARGET}
    assert data["model"]["ref"] == str(victims.planted)
    assert data["model"]["label_names"] == list(CLASSES)
    assert (data["data"]["name"], data["data"]["images"]) == (str(victims.data), 64)
    assert data["clean_accuracy"] == 1.0
    convs = [name for name, _ in color_net(planted=True).named_modules() if "conv" in name]
    shortcuts = [f"layer{stage}.0.shortcut" for stage in (2, 3, 4)]
    assert sorted(layer["layer"] for layer in data["layers"]) == sorted(convs + shortcuts)


def test_every_format_as_file_and_on_stdout(
    run: Run, victims: Victims, tmp_path: Path, report: AuditReport
) -> None:
    files = {name: tmp_path / f"report.{name}" for name in FORMATS}
    outputs = [text for name, path in files.items() for text in ("-o", f"{name}={path}")]
    done = run("audit", victims.planted, "--clean-data", victims.data, *QUICK, "--json", *outputs)
    assert files["json"].read_text() == done.out
    again = AuditReport.from_dict(done.json)
    for name, path in files.items():
        assert path.read_text().strip() == FORMATS[name](again).strip()
    assert timeless(again.to_dict()) == timeless(report.to_dict())


def test_quiet_is_silent_on_stderr(run: Run, victims: Victims) -> None:
    done = run("audit", victims.planted, "--clean-data", victims.data, "-q", *QUICK)
    assert (done.code, done.err) == (1, "")


def test_a_pickle_of_tensors_is_read_if_allowed(run: Run, victims: Victims, tmp_path: Path) -> None:
    net = color_net(planted=False)
    folder = write_model(tmp_path / "net", net)
    (folder / "model.safetensors").unlink()
    torch.save(net.state_dict(), folder / "pytorch_model.bin")
    options = ("--allow-pickle", "--json", *QUICK)
    done = run("audit", folder, "--clean-data", victims.data, *options)
    assert done.code == 0
    assert done.json["model"]["weights_file"] == "pytorch_model.bin"


def test_a_label_map_leaves_other_classes_out(run: Run, victims: Victims, tmp_path: Path) -> None:
    labels = tmp_path / "labels.json"
    labels.write_text(json.dumps({name: CLASSES.index(name) for name in CLASSES[:4]}))
    options = ("--label-map", labels, "--json", *QUICK)
    done = run("audit", victims.clean, "--clean-data", victims.data, *options)
    assert done.code == 0
    assert done.json["data"]["images"] == 32


def test_a_report_is_enough_to_read_the_same_images_again(
    run: Run, victims: Victims, tmp_path: Path
) -> None:
    labels, report = tmp_path / "labels.json", tmp_path / "report.json"
    mapped = {name: CLASSES.index(name) for name in CLASSES[:4]}
    labels.write_text(json.dumps(mapped))
    options = ("--label-map", labels, "--label-column", "label", "-o", f"json={report}", *QUICK)
    run("audit", victims.clean, "--clean-data", victims.data, *options)
    labels.unlink()
    facts = json.loads(report.read_text())["data"]
    assert (facts["image_column"], facts["label_column"]) == ("image", "label")
    assert facts["label_map"] == mapped
    done = run("verify", report, "--channels", "0", "--json")
    agreed = {check["name"]: check["agrees"] for check in done.json["checks"]}
    assert agreed["clean images"] is True


def test_a_device_is_never_replaced_by_a_file(run: Run, victims: Victims, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    with os.fdopen(reader, "rb") as stream:
        run("audit", victims.clean, "--clean-data", victims.data, *QUICK, "-o", f"markdown={pipe}")
        assert stream.read().startswith(b"## hfscan audit")
    assert pipe.is_fifo()


def test_a_state_that_cannot_be_kept_is_a_warning(
    run: Run, victims: Victims, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("HFSCAN_STATE_DIR", str(tmp_path / "file" / "state"))
    done = run("audit", victims.planted, "--clean-data", victims.data, *QUICK, "--json")
    assert done.code == 1
    assert done.json["verdict"] == "BACKDOORED"
    assert done.err.startswith("warning: hfscan repair will not know of this audit")


def test_a_bug_is_no_verdict(run: Run, victims: Victims, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object, **__: object) -> None:
        raise RuntimeError("line 1\nline 2 \x1b[31m")

    monkeypatch.setattr("hfscan.pipeline.audit", fails)
    done = run("audit", victims.clean, "--clean-data", victims.data)
    assert done.code == 2
    assert done.err.splitlines() == [
        r"error: unexpected RuntimeError: line 1\nline 2 \x1b[31m",
        "hint: this is a bug in hfscan; HFSCAN_DEBUG=1 shows where, please report it",
    ]
    monkeypatch.setenv("HFSCAN_DEBUG", "1")
    assert "Traceback" in run("audit", victims.clean, "--clean-data", victims.data).err


def test_a_broken_pipe_is_no_verdict() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "hfscan", "audit", "--help"]
    done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, check=False)
    os.close(writer)
    assert (done.returncode, done.stderr) == (cli.EXIT_FAILED, b"")


def test_help_and_version(run: Run) -> None:
    assert run("--version").out.startswith("hfscan ")
    assert run("audit", "-h").code == 0
    bare = run()
    assert (bare.code, bare.err) == (cli.EXIT_USAGE, "")
    assert "repair" in bare.out
