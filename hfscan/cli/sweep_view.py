"""What a sweep shows while it runs: a table that lives, or lines where there is no terminal."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from hfscan.cli.output import _TRUE, say, stderr
from hfscan.report.text import duration, printable
from hfscan.sweep.record import Record
from hfscan.sweep.summary import cells, grouped, headline, said

STYLES = {"BACKDOORED": "bold red", "SUSPICIOUS": "yellow", "NO_BACKDOOR_FOUND": "green"}

SHOWN = 10
"""Finished models that stay in the table."""


def conclusion(record: Record) -> Text:
    """The verdict, or why there is none, in few words."""
    text = record.verdict if record.status == "audited" else record.status
    return Text(printable(text or record.status), STYLES.get(record.verdict or "", ""))


class SweepView:
    """The models that are audited now, the last ones that are done, and how long the rest will take.

    Args:
        total: How many models are to be audited.
        workers: How many at a time.
    """

    def __init__(self, total: int, workers: int) -> None:
        self.total, self.workers = total, workers
        self.running: dict[str, float] = {}
        self.done = 0
        self._last: deque[Record] = deque(maxlen=SHOWN)
        self._began = time.monotonic()

    def started(self, model: str) -> None:
        """A model's audit has begun."""
        self.running[model] = time.monotonic()

    def finished(self, record: Record) -> None:
        """A model is done."""
        self.running.pop(record.model, None)
        self._last.append(record)
        self.done += 1

    def left(self) -> float | None:
        """Seconds that the rest will take at the pace so far; None while nothing is known."""
        if not self.done:
            return None
        return (time.monotonic() - self._began) / self.done * (self.total - self.done)

    def headline(self) -> str:
        """How far it is."""
        left = self.left()
        said = "" if left is None else f", about {duration(left)} left"
        return f"{self.done} of {self.total} models{said}"

    def __rich__(self) -> Group:
        table = Table.grid(padding=(0, 2))
        for record in self._last:
            reason = Text(printable(record.reason, 200), "dim")
            table.add_row(Text(printable(record.model)), conclusion(record), reason)
        now = time.monotonic()
        for model, began in list(self.running.items()):
            table.add_row(Text(printable(model)), Text(duration(now - began), "cyan"), Text())
        return Group(table, Text(self.headline(), "bold"))


@contextmanager
def shown(view: SweepView, quiet: bool) -> Iterator[None]:
    """Show it while the block runs, on a terminal."""
    if quiet or not is_live(stderr()):
        yield
        return
    with Live(view, console=stderr(), refresh_per_second=4, transient=True):
        yield


def is_live(console: Console) -> bool:
    """Whether something that moves is wanted there."""
    unwanted = os.environ.get("HF_HUB_DISABLE_PROGRESS_BARS", "").upper() in _TRUE
    return console.is_terminal and not unwanted


def line(view: SweepView, record: Record) -> None:
    """One line about a model, where nothing moves."""
    if not is_live(stderr()):
        said = f": {record.reason}" if record.status != "audited" else ""
        say(f"[{view.done}/{view.total}] {record.model} {conclusion(record).plain}{said}")


def overview(records: Sequence[Record], total: int) -> Group:
    """The whole sweep, for the end."""
    table = Table(box=None, pad_edge=False)
    for name in ("Model", "Conclusion", "Class", "p", "Reason"):
        table.add_column(name, overflow="fold", justify="right" if name == "p" else "left")
    for group in grouped(records):
        for record in group.records:
            target, p, _, _ = cells(record)
            reason = "" if record.status == "audited" else said(record)
            table.add_row(
                Text(printable(record.model)),
                conclusion(record),
                Text(printable(target)),
                Text(p),
                Text(printable(reason, 200)),
            )
    end = Text(headline(records, total), "bold")
    return Group(table, Text(), end) if records else Group(end)
