from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from unittest.mock import Mock

import pytest

from hfscan.cli import EXIT_FAILED, main
from hfscan.cli.output import parse_outputs, print_data, write_atomically
from hfscan.errors import UsageError


@pytest.fixture
def _unprivileged(monkeypatch: pytest.MonkeyPatch) -> None:
    """Folders cannot be written to, as /dev for everybody but root, and neither can what is called so."""

    def access(path: Path, mode: int) -> bool:
        return not path.is_dir() and path.name != "closed"

    monkeypatch.setattr(os, "access", access)


@pytest.mark.usefixtures("_unprivileged")
def test_a_device_or_a_pipe_needs_no_writable_folder(tmp_path: Path) -> None:
    ((name, path),) = parse_outputs(["json=/dev/null"], ["json"])
    assert (name, path) == ("json", Path("/dev/null"))
    write_atomically(path, "{}")
    assert not path.is_file()
    (tmp_path / "log").write_text("before\n")
    with (tmp_path / "log").open("a") as log:
        redirected = Path(f"/proc/self/fd/{log.fileno()}")  # as /dev/stdout is
        assert parse_outputs([f"json={redirected}"], ["json"])
        write_atomically(redirected, "{}")
    assert (tmp_path / "log").read_text() == "before\n{}"
    os.mkfifo(tmp_path / "pipe")
    assert parse_outputs([f"json={tmp_path}/pipe"], ["json"])


@pytest.mark.usefixtures("_unprivileged")
def test_what_is_not_writable_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "closed")
    (tmp_path / "file").touch()
    for name, place in (("closed", "closed"), ("file", ""), ("new", "")):
        with pytest.raises(UsageError, match=f"{tmp_path / place} is not writable"):
            parse_outputs([f"json={tmp_path / name}"], ["json"])


@pytest.mark.parametrize(
    "command", [["list", "formats"], ["list", "formats", "--json"], ["--help"]], ids=" ".join
)
def test_a_stdout_that_is_full(command: list[str]) -> None:
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [sys.executable, "-m", "hfscan", *command],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == EXIT_FAILED
    error, hint = done.stderr.splitlines()
    assert error == "error: the output cannot be written (No space left on device)"
    assert hint.startswith("hint: ")


def test_a_stdout_that_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    print_data("text")


def test_what_cannot_be_printed_does_not_change_the_exit_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Python would flush again at its end."""
    with (tmp_path / "file").open("w") as file:
        stdout = Mock(flush=Mock(side_effect=OSError), fileno=file.fileno)
        monkeypatch.setattr(sys, "stdout", stdout)
        monkeypatch.setattr("hfscan.cli._run", lambda: EXIT_FAILED)
        with pytest.raises(SystemExit, match=str(EXIT_FAILED)):
            main()
        file.write("goes nowhere")
    assert (tmp_path / "file").read_text() == ""
