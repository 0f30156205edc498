"""``hfscan calibrate``: what the model-level tests say of networks whose truth is known."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from hfscan.cli import options as o

if TYPE_CHECKING:
    from hfscan.bench.calibrating import Audited
    from hfscan.bench.tasks import Task
    from hfscan.bench.zoo import Animal
    from hfscan.calibration.fitting import Evaluation

DatasetName = Literal["cifar10", "cifar100", "gtsrb"]
TableFormat = Literal["rich", "markdown"]

_ZOO, _RUN = "Zoo", "Run"


def calibrate(
    dataset: Annotated[
        DatasetName, typer.Option(help="What the networks are trained on.", rich_help_panel=_ZOO)
    ] = "cifar10",
    data: Annotated[
        Path | None,
        typer.Option(
            exists=True,
            file_okay=False,
            help="Folder with one folder per data set; default: Hub.",
            rich_help_panel=_ZOO,
        ),
    ] = None,
    images: Annotated[
        int,
        typer.Option(
            min=100, help="Images that each network is trained on, at most.", rich_help_panel=_ZOO
        ),
    ] = 20_000,
    epochs: Annotated[
        int,
        typer.Option(
            min=1, help="Epochs of training; slow attacks get more.", rich_help_panel=_ZOO
        ),
    ] = 6,
    clean: Annotated[
        int,
        typer.Option(
            min=2,
            help="Clean networks of each architecture and width that fit; up to 3 more measure.",
            rich_help_panel=_ZOO,
        ),
    ] = 5,
    results: Annotated[
        Path,
        typer.Option(
            help="JSON lines; networks that are in it with all of today's tests are not audited again."
        ),
    ] = Path("zoo.jsonl"),
    train: Annotated[
        bool,
        typer.Option(
            "--train/--no-train",
            help="Train and audit the networks that are missing; otherwise fit with those in --results.",
        ),
    ] = True,
    out: Annotated[Path, typer.Option(help="File for the calibration.")] = Path("calibration.json"),
    pages: Annotated[
        Path | None,
        typer.Option(
            file_okay=False, help="Folder for tables and ROC curves; needs pip install '.\\[plot]'."
        ),
    ] = None,
    name: Annotated[
        str | None, typer.Option(help="Name of the calibration; default: --dataset.")
    ] = None,
    cache: Annotated[
        Path | None,
        typer.Option(
            help="Where networks are kept; default: the user's cache.", rich_help_panel=_RUN
        ),
    ] = None,
    format: Annotated[
        TableFormat,
        typer.Option("--format", "-f", help="Format of the printed table.", rich_help_panel=_RUN),
    ] = "rich",
    threads: o.Threads = None,
    quiet: o.Quiet = False,
) -> None:
    """Calibrate the model-level tests with clean and backdoored networks.

    Trains the networks as needed, audits each, fits the calibration with some
    of them, and measures it with those of other seeds. It takes hours; the
    same command goes on where an interrupted one stopped.

    [b]Examples[/b]

      hfscan calibrate

      hfscan calibrate --dataset gtsrb --out gtsrb.json --pages ./gtsrb

      hfscan calibrate --no-train --results zoo.jsonl --out calibration.json

      hfscan audit user/model --clean-data gtsrb --calibration gtsrb.json
    """
    import json

    from hfscan.bench.calibrating import calibrated, described, read_audited
    from hfscan.bench.calibration_pages import write_pages
    from hfscan.bench.figure import new_figure
    from hfscan.cli.loading import prepare
    from hfscan.cli.output import say, write_atomically

    if pages is not None:
        new_figure(1)  # without matplotlib it ends here, not after hours
    prepare(threads, quiet)
    if train:
        networks = _audit_missing(
            *_planned(dataset, data, images=images, epochs=epochs, clean=clean),
            results=results,
            cache=cache,
            quiet=quiet,
        )
    else:
        networks = read_audited(results)
        _check_dataset(networks, dataset, results)
    made, measured = calibrated(networks, name=name or dataset, description=described(networks))
    write_atomically(out, json.dumps(made.to_dict(), indent=1) + "\n")
    if pages is not None:
        write_pages(networks, made, measured, pages)
    _show(measured, format)
    if not quiet:
        say(f"written: {out}; hfscan audit takes it with --calibration {out}")


def _check_dataset(networks: list[Audited], dataset: str, results: Path) -> None:
    """Networks of several data sets make no calibration, and no network is of another one than is said."""
    from hfscan.errors import UsageError

    found = sorted({one.key.partition("-")[0] for one in networks})
    if found not in ([], [dataset]):
        raise UsageError(
            f"{results} has networks of {', '.join(found)}",
            f"a calibration is of one data set: --dataset {found[0]}, and a file for each",
        )


def _planned(
    dataset: str, data: Path | None, *, images: int, epochs: int, clean: int
) -> tuple[Task, list[Animal]]:
    """What the networks are trained on, and which they are."""
    from hfscan.bench.tasks import load_task
    from hfscan.bench.zoo import smaller, zoo

    task = smaller(load_task(dataset, data), images)
    return task, zoo(task.name, len(task.train.classes), epochs=epochs, clean=clean)


def _audit_missing(
    task: Task, animals: list[Animal], *, results: Path, cache: Path | None, quiet: bool
) -> list[Audited]:
    """Train and audit the networks that are not in the results with all tests, and write each as it comes.

    Returns:
        All the networks, in the order of the results.
    """
    from dataclasses import replace

    from hfscan.bench.calibrating import append_audited, missing, read_audited, survey
    from hfscan.bench.victims import Victims, cache_folder
    from hfscan.cli.output import bars, say
    from hfscan.model_tests import TESTS

    known = read_audited(results) if results.exists() else []
    todo = missing(animals, known, TESTS)
    if not quiet and len(todo) < len(animals):
        say(f"{len(animals) - len(todo)} of {len(animals)} networks are in {results} already")
    with bars(quiet) as progress:
        victims = Victims(cache or cache_folder())
        found = survey(todo, task, victims, progress=progress.passing)
        for one in progress(found, "networks", len(todo)):
            append_audited(results, one)
    held_out = {animal.spec.key: animal.held_out for animal in animals}
    return [
        replace(one, held_out=held_out[one.key])
        for one in read_audited(results)
        if one.key in held_out
    ]


def _show(measured: Evaluation, format: TableFormat) -> None:
    from rich.console import Console
    from rich.table import Table

    from hfscan.bench.calibrating import markdown, texts
    from hfscan.cli.output import print_data

    if format == "markdown":
        print_data(markdown(measured))
        return
    header, lines = texts(measured)
    table = Table(title="Networks that had no part in the fit", title_justify="left")
    for index, title in enumerate(header):
        table.add_column(title, justify="right" if index else "left")
    for line in lines:
        table.add_row(*line)
    Console().print(table)
