"""What GitHub's runner reads: annotations, outputs, job summaries.

References:
    GitHub, "Workflow commands for GitHub Actions"; "Adding a job summary" (at most 1 MiB for a step).
"""

from __future__ import annotations

import os
import secrets
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from hfscan.errors import UsageError
from hfscan.report.text import printable

Level = Literal["error", "warning", "notice"]

SUMMARY_LIMIT = 1024 * 1024
"""Bytes of a step's summary; the runner throws a longer one away."""

_CUT = "\n\n*The report is longer than fits here; the rest was left out.*\n"
_OPEN, _CLOSED = "<details>", "</details>"


def annotate(level: Level, title: str, message: str, *, file: str = "") -> None:
    """Print an annotation; text of unknown origin cannot leave it.

    Args:
        level: What it is shown as.
        title: Its first line.
        message: What it says; made `printable`.
        file: In the checkout, where the finding is.
    """
    properties = {"title": title, "file": file}
    given = ",".join(
        f"{name}={_property(printable(value, 300))}" for name, value in properties.items() if value
    )
    _command(f"::{level} {given}::{_data(printable(message, 1000))}")


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")


def _command(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


@contextmanager
def no_commands() -> Iterator[None]:
    """While the block runs, nothing on stdout is a workflow command, whatever it looks like.

    The name of a class may well be ``::add-mask::``, or ``##[add-matcher]...``.
    """
    token = secrets.token_hex(16)
    _command(f"::stop-commands::{token}")
    try:
        yield
    finally:
        _command(f"\n::{token}::")


def set_outputs(values: Mapping[str, str]) -> None:
    """Set outputs of the step; later ones replace earlier ones of the same name.

    Args:
        values: Name -> anything, line breaks too.
    """
    lines = []
    for name, value in values.items():
        delimiter = f"hfscan_{secrets.token_hex(16)}"  # nobody can end the value with it
        lines.append(f"{name}<<{delimiter}\n{value}\n{delimiter}\n")
    _append("GITHUB_OUTPUT", "".join(lines))


def add_summary(text: str) -> None:
    """Add Markdown to the job summary, as much of it as fits.

    Args:
        text: Safe Markdown.
    """
    path = _file("GITHUB_STEP_SUMMARY")
    used = path.stat().st_size if path.exists() else 0
    _append("GITHUB_STEP_SUMMARY", fitted(text, SUMMARY_LIMIT - used))


def fitted(text: str, limit: int) -> str:
    """Markdown of at most so many bytes: whole blocks of it, and a line that says so if it was cut.

    Args:
        text: Markdown whose blocks are apart by blank lines.
        limit: In bytes of UTF-8.
    """
    encoded = text.encode()
    if len(encoded) <= limit:
        return text
    room = limit - len(_CUT) - len(_CLOSED) - 2
    kept = encoded[: max(room, 0)].decode(errors="ignore").rpartition("\n\n")[0]
    still_open = kept.count(_OPEN) > kept.count(_CLOSED)
    cut = kept + (f"\n\n{_CLOSED}" if still_open else "") + _CUT
    return cut if len(cut.encode()) <= limit else ""


def _append(variable: str, text: str) -> None:
    with _file(variable).open("a", encoding="utf-8", newline="\n") as stream:
        stream.write(text)


def _file(variable: str) -> Path:
    path = os.environ.get(variable)
    if not path:
        raise UsageError(
            f"{variable} is not set: this command is for GitHub Actions", "see hfscan audit --help"
        )
    return Path(path)
