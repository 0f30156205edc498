"""``hfscan doctor``: does it work here?"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from hfscan.cli import options as o

if TYPE_CHECKING:
    from rich.table import Table

    from hfscan.doctor import Check

EXIT_BAD = 2

STYLES = {"fine": "green", "note": "yellow", "bad": "bold red"}
MARKS = {"fine": "ok", "note": "note", "bad": "bad"}


def doctor(json: o.Json = False) -> None:
    """Look at this machine: versions, threads, precision, caches, memory, the Hub.

    It exits with 0, or with 2 if something would make an audit fail. A missing network does not:
    folders, and what was downloaded before, can still be audited.

    [b]Examples[/b]

      hfscan doctor

      hfscan doctor --json
    """
    from dataclasses import asdict
    from json import dumps

    from rich.console import Console

    from hfscan.cli.loading import prepare
    from hfscan.cli.output import print_data
    from hfscan.doctor import examine
    from hfscan.hub.reach import hub_state

    prepare(None, quiet=True)
    hub = hub_state()
    checks = examine(hub, _folders(hub.cache))
    works = all(check.state != "bad" for check in checks)
    if json:
        print_data(dumps({"works": works, "checks": [asdict(check) for check in checks]}, indent=2))
    else:
        Console().print(_table(checks))
    raise typer.Exit(0 if works else EXIT_BAD)


def _folders(cache: Path) -> dict[str, Path]:
    from hfscan.cli.state import state_folder
    from hfscan.data import datasets_cache

    return {"models' cache": cache, "datasets' cache": datasets_cache(), "state": state_folder()}


def _table(checks: Sequence[Check]) -> Table:
    from rich.table import Table
    from rich.text import Text

    from hfscan.report.text import printable

    table = Table.grid(padding=(0, 2))
    for check in checks:
        said = Text(printable(check.value, 300))
        if check.hint:
            said.append(f"\n{printable(check.hint, 300)}", "dim")
        mark = Text(MARKS[check.state], STYLES[check.state])
        table.add_row(mark, Text(printable(check.name), "bold"), said)
    return table
