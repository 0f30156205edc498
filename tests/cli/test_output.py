from __future__ import annotations

import os
from pathlib import Path

import pytest

from hfscan.cli.output import parse_outputs, write_atomically
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
