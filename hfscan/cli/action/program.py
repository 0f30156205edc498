"""hfscan as a process of its own: what happens to it, a lack of memory too, does not end the action."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from hfscan.cli.action.workflow import no_commands


@dataclass(frozen=True)
class Finished:
    """How it ended.

    Args:
        code: Its exit code; negative: the signal that ended it.
        lines: What it wrote to stderr.
    """

    code: int
    lines: tuple[str, ...]

    @property
    def error(self) -> str:
        """Why it failed, in a sentence."""
        if self.code < 0:
            hint = " (memory may have run out)" if self.code == -9 else ""
            return f"hfscan was ended by signal {-self.code}{hint}"
        said = [line for line in self.lines if line.startswith(("error: ", "hint: "))]
        return "; ".join(said) or f"hfscan exited with {self.code}"


def hfscan(arguments: Sequence[str], environment: Mapping[str, str]) -> Finished:
    """Run the program that is running, with other arguments; what it writes goes to the log.

    Not ``python -m``: that would import from the working directory, which is a checkout.

    Args:
        arguments: Of the command.
        environment: Of the process.
    """
    sys.stdout.flush()
    with (
        no_commands(),
        subprocess.Popen(
            [sys.argv[0], *arguments],
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            errors="backslashreplace",
        ) as process,
    ):
        assert process.stderr is not None
        lines = []
        for line in process.stderr:
            sys.stdout.write(line)  # into the same pipe as its stdout, so that the order stays
            sys.stdout.flush()
            lines.append(line.rstrip("\n"))
        code = process.wait()
    return Finished(code, tuple(lines[-1000:]))


def child_environment(token: str) -> dict[str, str]:
    """The environment without what only the action needs.

    Args:
        token: Of the Hub; empty leaves what is there.
    """
    # errors are read here, as plain lines
    unwanted = ("GITHUB_TOKEN", "HFSCAN_ERRORS", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE")
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("INPUT_") and name not in unwanted
    }
    return kept | {"COLUMNS": "120"} | ({"HF_TOKEN": token} if token else {})
