"""Everything that reaches the terminal: errors, hints, progress and reports."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

from hfscan.errors import HfscanError, UsageError
from hfscan.report.text import printable

T = TypeVar("T")

_TRUE = ("1", "ON", "YES", "TRUE")
"""What the Hub's client takes for true."""


def stderr() -> Console:
    """Progress, warnings and hints go here; data goes to stdout."""
    return Console(stderr=True, soft_wrap=True, highlight=False)


def fail(message: str, hint: str = "", kind: str = "UsageError") -> None:
    """Print one line for an error, and one for the hint; with ``HFSCAN_ERRORS=json`` one JSON object.

    Args:
        message: What is wrong.
        hint: What to do about it.
        kind: Name of the exception's class, for programs.
    """
    if os.environ.get("HFSCAN_ERRORS") == "json":
        data = {"error": message, "hint": hint, "kind": kind}
        sys.stderr.write(json.dumps(data) + "\n")
        return
    _line("error: ", "bold red", message)
    if hint:
        _line("hint: ", "cyan", hint)


def say(message: str) -> None:
    """Print one line of information."""
    _line("", "", message)


def warn(message: str) -> None:
    """Print one line of warning."""
    _line("warning: ", "yellow", message)


def _line(label: str, style: str, message: str) -> None:
    stderr().print(Text.assemble((label, style), printable(message, 600)))


class Bars:
    """A progress bar with an estimate of the remaining time, shaped like ``rich.progress.track``."""

    def __init__(self, progress: Progress) -> None:
        self.progress = progress

    def __call__(self, sequence: Iterable[T], description: str, total: float) -> Iterator[T]:
        """Yield the items of ``sequence`` and move a bar of its own."""
        task = self.progress.add_task(description, total=total)
        for item in sequence:
            yield item
            self.progress.advance(task)

    def passing(self, sequence: Iterable[T], description: str, total: float) -> Iterator[T]:
        """The same with a bar that goes away, for the loops inside of another one."""
        task = self.progress.add_task(f"  {description}", total=total)
        try:
            for item in sequence:
                yield item
                self.progress.advance(task)
        finally:
            self.progress.remove_task(task)


@contextmanager
def bars(quiet: bool) -> Iterator[Bars]:
    """Progress bars on stderr while the block runs; none if it is not a terminal, or if the Hub's client shall show none."""
    console = stderr()
    unwanted = os.environ.get("HF_HUB_DISABLE_PROGRESS_BARS", "").upper() in _TRUE
    progress = Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=quiet or unwanted or not console.is_terminal,
    )
    with progress:
        yield Bars(progress)


def parse_outputs(outputs: list[str], formats: Iterable[str]) -> list[tuple[str, Path]]:
    """Read ``FORMAT=FILE`` options, before any long work.

    Raises:
        UsageError: The format is unknown, or the file cannot be written there.
    """
    parsed: list[tuple[str, Path]] = []
    for output in outputs:
        name, _, file = output.partition("=")
        if name not in formats or not file:
            raise UsageError(
                f"--output {output!r} is not FORMAT=FILE", f"formats: {', '.join(formats)}"
            )
        path = Path(file)
        if not path.parent.is_dir() or path.is_dir():
            raise _unwritable(
                file, "it is a folder" if path.is_dir() else f"no folder {path.parent}"
            )
        place = path if _is_special(path) else path.parent
        if not os.access(place, os.W_OK):
            raise _unwritable(file, f"{place} is not writable")
        if path.resolve() in (other.resolve() for _, other in parsed):
            raise UsageError(f"--output {file} is there twice", "choose another FILE")
        parsed.append((name, path))
    return parsed


def _is_special(path: Path) -> bool:
    """Whether it is written to as it is, and not replaced: /dev/stdout must not become a file."""
    device = path.absolute().parts[1:2] in (
        ("dev",),
        ("proc",),
    )  # a link to a file, where redirected
    return os.path.exists(path) and (device or not os.path.isfile(path))  # noqa: PTH110, PTH113


def _unwritable(file: str, reason: str) -> UsageError:
    return UsageError(f"--output {file} cannot be written: {reason}", "choose another FILE")


def write_atomically(path: Path, text: str) -> None:
    """Write a file so that it is either the old one or the new one.

    Raises:
        HfscanError: It cannot be written.
    """
    try:
        if _is_special(path):
            with path.open("a", encoding="utf-8") as stream:  # what is there was printed before
                stream.write(text)
        else:
            replace_file(path.resolve(), text)
    except OSError as error:
        raise HfscanError(
            f"{path} cannot be written ({error.strerror or error})", "choose another file"
        ) from error


def replace_file(path: Path, text: str) -> None:
    """Replace a file in one step, or raise an OSError and leave it."""
    descriptor, scratch = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            stream.write(text)
        Path(scratch).chmod(0o666 & ~_umask())
        Path(scratch).replace(path)
    except BaseException:
        Path(scratch).unlink(missing_ok=True)
        raise


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def print_data(text: str) -> None:
    """Print data on stdout, if there is one, as it is; in UTF-8 where its own encoding lacks a character, as some of Windows do."""
    text = text if text.endswith("\n") else text + "\n"
    try:
        print(text, end="", flush=True)
    except UnicodeEncodeError:
        sys.stdout.buffer.write(text.encode())
        sys.stdout.flush()


def two_columns(rows: Mapping[str, str]) -> Table:
    """Names and what is said of them, without lines around."""
    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold", no_wrap=True)
    table.add_column()
    for name, said in rows.items():
        table.add_row(Text(printable(name)), Text(printable(said, 400)))
    return table
