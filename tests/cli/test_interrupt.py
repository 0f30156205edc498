"""Ctrl-C in the middle of an audit, of a repair, and of writing its folder."""

from __future__ import annotations

import importlib
import os
import pty
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from .conftest import Run
from .support import GENTLE, Victims, private_environment, tree


def interrupted(arguments: list[str], bar: bytes, folder: Path) -> tuple[int, str, str]:
    """Run hfscan, send SIGINT as soon as a progress bar is called ``bar``; code, stdout and stderr."""
    command = [sys.executable, "-m", "hfscan", *arguments]
    terminal, end = pty.openpty()  # only a terminal gets progress bars
    env = private_environment(folder / "home") | {"OMP_NUM_THREADS": "1", "TERM": "xterm"}
    with subprocess.Popen(
        command,
        env=env,
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=end,
        preexec_fn=_hear_interrupts,
    ) as process:
        os.close(end)
        seen = b""
        while bar not in seen:
            seen += os.read(terminal, 65536)
        process.send_signal(signal.SIGINT)
        seen += _rest(terminal)
        assert process.stdout is not None
        out = process.stdout.read().decode()
    return process.returncode, out, seen.decode()


def _hear_interrupts() -> None:
    """What a shell starts in the background ignores them, and its children inherit that."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def _rest(terminal: int) -> bytes:
    seen = b""
    while True:
        try:
            more = os.read(terminal, 65536)
        except OSError:  # Linux says so when the other end is closed
            more = b""
        if not more:
            os.close(terminal)
            return seen
        seen += more


def check(ended: tuple[int, str, str], folder: Path, before: dict[str, int]) -> None:
    code, out, err = ended
    assert (code, out) == (130, "")
    assert "Traceback" not in err
    assert "interrupted" in err
    own = ("home", "state")  # what the Hub's client and an audit to be resumed keep
    after = {name: size for name, size in tree(folder).items() if not name.startswith(own)}
    assert after == before


def test_an_audit(victims: Victims, tmp_path: Path) -> None:
    options = ["--clean-data", str(victims.data), "--steps", "20000", "-o", "json=report.json"]
    ended = interrupted(["audit", str(victims.planted), *options], b"testing channels", tmp_path)
    check(ended, tmp_path, {})
    assert "--resume" in ended[2]
    assert list((tmp_path / "state" / "audits").glob("*/tests.json"))


def test_a_repair(victims: Victims, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "notes.txt").write_text("mine")
    before = tree(tmp_path)
    options = ["--report", str(victims.report), "--epochs", "1000000", "--out", "out"]
    arguments = ["repair", *options, "--overwrite"]
    check(interrupted(arguments, b"training", tmp_path), tmp_path, before)


@pytest.mark.parametrize("moment", [0, 1])
def test_while_the_folder_is_exchanged(
    run: Run, victims: Victims, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: int
) -> None:
    """Ctrl-C comes with the first rename (the old folder goes away) or the second (the new one comes)."""
    out = tmp_path / "out"
    out.mkdir()
    (out / "notes.txt").write_text("mine")
    before = tree(tmp_path)
    renames = []

    def rename(self: Path, target: Path) -> None:
        renames.append(target)
        if len(renames) == moment + 1:
            raise KeyboardInterrupt
        self.replace(target)

    save = importlib.import_module("hfscan.hub.save")
    monkeypatch.setattr(save, "_swap", lambda *_: False)  # as on other systems
    monkeypatch.setattr(Path, "rename", rename)
    done = run("repair", "--report", victims.report, "--out", out, "--overwrite", *GENTLE)
    assert done.code == 130
    assert tree(tmp_path) == before
