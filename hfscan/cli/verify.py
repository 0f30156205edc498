"""``hfscan verify``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hfscan.cli import options as o

if TYPE_CHECKING:
    from rich.table import Table

    from hfscan.verify import Check

EXIT_DISAGREES = 1
EXIT_NOTHING = 3

_EVIDENCE = "Evidence"


def verify(
    context: typer.Context,
    report: Annotated[
        Path,
        typer.Argument(
            metavar="REPORT.json",
            exists=True,
            dir_okay=False,
            help="A JSON report of hfscan audit.",
            show_default=False,
        ),
    ],
    model: Annotated[
        str | None,
        typer.Option(
            help="The model, if it is not where the report says.", rich_help_panel=o._MODEL
        ),
    ] = None,
    clean_data: Annotated[
        str | None,
        typer.Option(
            help="The clean images, if they are not where the report says.", rich_help_panel=o._DATA
        ),
    ] = None,
    split: Annotated[
        str | None,
        typer.Option(
            help="Split of the clean data; default: the report's.", rich_help_panel=o._DATA
        ),
    ] = None,
    image_column: o.ImageColumn = None,
    label_column: o.LabelColumn = None,
    label_map: o.LabelMap = None,
    token: o.Token = None,
    allow_pickle: o.AllowPickle = False,
    channels: Annotated[
        int,
        typer.Option(min=0, help="How many channels to test again.", rich_help_panel=_EVIDENCE),
    ] = 8,
    seed: Annotated[
        int | None,
        typer.Option(
            min=0,
            max=o.MAX_SEED,
            help="Seed that chooses the channels; default: a new random one.",
            rich_help_panel=_EVIDENCE,
        ),
    ] = None,
    calibration: o.Calibration = None,
    device: o.DeviceOption = "auto",
    memory: o.Memory = None,
    threads: o.Threads = None,
    cache_dir: o.CacheDir = None,
    json: o.Json = False,
    quiet: o.Quiet = False,
) -> None:
    """Check a report: recompute a part of its evidence, and compare.

    Model and images must be the same bit by bit; then some channels,
    chosen at random, and the model-level tests are run again, in the
    precision of the report. Exit codes: 0 it agrees, 1 it does not, 2 it
    could not be tried, 3 nothing of it can be verified.

    [b]Examples[/b]

      hfscan verify report.json

      hfscan verify report.json --clean-data ./images --channels 50 --seed 1
    """
    import secrets
    from dataclasses import asdict, replace
    from json import dumps

    from rich.console import Console

    from hfscan.calibration import load_calibration
    from hfscan.cli.config import refuse_own_config
    from hfscan.cli.loading import load_inputs, prepare, read_map
    from hfscan.cli.output import bars, print_data
    from hfscan.cli.quantities import parse_size
    from hfscan.cli.state import read_report
    from hfscan.verify import agreement
    from hfscan.verify import verify as run

    found, inputs = read_report(report)
    if found.model.weights_file:
        refuse_own_config(context, inputs.model)
    known = None if calibration is None else load_calibration(calibration)
    seed = secrets.randbelow(o.MAX_SEED + 1) if seed is None else seed
    if not (model or found.model.weights_file):
        _nothing("it is of a module in somebody's program, there are no weights to load")
    inputs = replace(
        inputs,
        model=model or inputs.model,
        revision=None if model else inputs.revision,
        clean_data=clean_data or inputs.clean_data,
        split=split or inputs.split,
        image_column=image_column or (None if clean_data else inputs.image_column),
        label_column=label_column or (None if clean_data else inputs.label_column),
        label_map=read_map(label_map) or inputs.label_map,
        allow_pickle=allow_pickle,
    )
    prepare(threads, quiet)
    source, clean = load_inputs(
        inputs,
        device,
        images=found.data.images,
        seed=found.settings.seed,
        token=token,
        cache_dir=cache_dir,
    )
    with bars(quiet) as progress:
        checks = run(
            source,
            clean,
            found,
            channels=channels,
            seed=seed,
            calibration=known,
            memory=None if memory is None else parse_size(memory),
            progress=progress,
        )
    agrees = agreement(checks)
    if json:
        data = {"agrees": agrees, "seed": seed, "checks": [asdict(check) for check in checks]}
        print_data(dumps(data, indent=2))
    else:
        Console().print(_table(checks, seed))
    raise typer.Exit({True: 0, False: EXIT_DISAGREES, None: EXIT_NOTHING}[agrees])


def _nothing(reason: str) -> None:
    from hfscan.cli.output import say

    say(f"nothing of this report can be verified: {reason}")
    raise typer.Exit(EXIT_NOTHING)


def _table(checks: Sequence[Check], seed: int) -> Table:
    from rich.table import Table
    from rich.text import Text

    from hfscan.report.text import printable

    marks = {True: ("yes", "green"), False: ("NO", "bold red"), None: ("not checked", "yellow")}
    table = Table(box=None, pad_edge=False, caption=f"seed {seed}", caption_justify="left")
    for name in ("Check", "Agrees", "Details"):
        table.add_column(name, overflow="fold")
    for check in checks:
        mark, style = marks[check.agrees]
        details = Text(printable(check.details, 400))
        table.add_row(Text(printable(check.name)), Text(mark, style), details)
    return table
