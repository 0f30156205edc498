"""``hfscan list``: what there is to choose from."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from hfscan.cli import options as o

KindName = Literal["detectors", "attacks", "defenses", "formats", "architectures", "tests"]


def list_entries(
    kind: Annotated[KindName, typer.Argument(help="What to list.", show_default=False)],
    json: o.Json = False,
) -> None:
    """List detectors, attacks, defenses, report formats, architectures or model-level tests.

    [b]Examples[/b]

      hfscan list detectors

      hfscan list architectures --json
    """
    from json import dumps

    from rich.console import Console

    from hfscan.cli.output import print_data, two_columns
    from hfscan.registries import entries

    found = entries(kind)
    if json:
        print_data(dumps({kind: found}, indent=2))
    else:
        Console().print(two_columns(found))
