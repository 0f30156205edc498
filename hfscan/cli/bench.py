"""``hfscan bench``: run the paper's evaluation, print its tables, draw its figures."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

import typer

from hfscan.cli import options as o
from hfscan.cli.config import Configured

if TYPE_CHECKING:
    from hfscan.bench.table import Table
    from hfscan.bench.tasks import Task
    from hfscan.bench.victims import Victims, VictimSpec
    from hfscan.types import Cell, Defense, Trial

T = TypeVar("T")

TableName = Literal["1", "2", "3", "4", "cost", "seeds"]
TableFormat = Literal["rich", "markdown", "csv"]
ImageFormat = Literal["svg", "png"]

EXIT_FAILED_TRIALS = 2

LOW_ASR = 0.85
"""A victim that obeys its trigger less often says little about defenses."""

ALL = "all"

_VICTIMS, _DEFENSES, _RUN = "Victims", "Defenses", "Run"

Results = Annotated[
    Path, typer.Argument(exists=True, dir_okay=False, help="JSON lines of hfscan bench run.")
]

app = typer.Typer(
    no_args_is_help=True,
    help="The paper's evaluation: attacks, defenses, tables, figures.",
    rich_markup_mode="rich",
)


@app.command(cls=Configured)
def run(
    dataset: Annotated[
        str | None,
        typer.Option(
            help="Data sets, separated by commas: cifar10, cifar100, gtsrb, or all; default: cifar10, "
            "with --smoke all."
        ),
    ] = None,
    attack: Annotated[
        str,
        typer.Option(
            help="Attacks, separated by commas: badnets, blended, lowfreq, ssba, wanet, or all."
        ),
    ] = ALL,
    defense: Annotated[
        str,
        typer.Option(
            help="Defenses, separated by commas: ft, fp, clp, anp, nc, nad, fmt, fmt-tac, fmt-flow, or all."
        ),
    ] = ALL,
    data: Annotated[
        Path | None,
        typer.Option(
            exists=True,
            file_okay=False,
            help="Folder with one folder per data set; default: they come from the Hub.",
        ),
    ] = None,
    out: Annotated[
        Path,
        typer.Option(help="Results as JSON lines; cells that are in it already are not run again."),
    ] = Path("results.jsonl"),
    architecture: Annotated[
        str, typer.Option(help="Architecture, by timm's name.", rich_help_panel=_VICTIMS)
    ] = "preactresnet18",
    width: Annotated[
        int,
        typer.Option(
            min=0,
            help="Channels of a PreActResNet's first stage; 0 for other architectures.",
            rich_help_panel=_VICTIMS,
        ),
    ] = 64,
    poison_rate: Annotated[
        str,
        typer.Option(
            help="Share of the training images that are poisoned; several with commas.",
            rich_help_panel=_VICTIMS,
        ),
    ] = "0.1",
    target: Annotated[
        int, typer.Option(min=0, help="Label that the trigger leads to.", rich_help_panel=_VICTIMS)
    ] = 0,
    epochs: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Epochs of training; default: depends on data set and attack.",
            rich_help_panel=_VICTIMS,
        ),
    ] = None,
    victim_seed: Annotated[
        int,
        typer.Option(
            min=0, max=o.MAX_SEED, help="Seed of the victims' training.", rich_help_panel=_VICTIMS
        ),
    ] = 0,
    clean_rate: Annotated[
        str,
        typer.Option(
            help="Share of the clean training images that defenses get; several with commas.",
            rich_help_panel=_DEFENSES,
        ),
    ] = "0.1",
    seed: Annotated[
        str,
        typer.Option(help="Seed of the defenses; several with commas.", rich_help_panel=_DEFENSES),
    ] = "0",
    cache: Annotated[
        Path | None,
        typer.Option(
            help="Where victims are kept; default: the user's cache.", rich_help_panel=_RUN
        ),
    ] = None,
    smoke: Annotated[
        bool,
        typer.Option(
            "--smoke",
            help="Run every cell with tiny networks on tiny synthetic data, in minutes.",
            rich_help_panel=_RUN,
        ),
    ] = False,
    threads: o.Threads = None,
    quiet: o.Quiet = False,
) -> None:
    """Try defenses on backdoored networks, which are trained as needed and kept.

    [b]Examples[/b]

      hfscan bench run --smoke

      hfscan bench run --dataset all --width 16

      hfscan bench run --attack badnets --defense fmt --clean-rate 0.05,0.1,0.2
    """
    from hfscan.bench.attacks import ATTACKS
    from hfscan.bench.defenses import DEFENSES
    from hfscan.bench.results import read_trials, remaining, settings_of
    from hfscan.bench.run import adapted, cells
    from hfscan.bench.smoke import EPOCHS, SYNTHETIC, WIDTH
    from hfscan.bench.tasks import TASKS
    from hfscan.cli.loading import prepare
    from hfscan.cli.output import say

    datasets = _chosen("dataset", dataset or (ALL if smoke else "cifar10"), TASKS)
    wanted = cells(
        datasets=[SYNTHETIC + name for name in datasets] if smoke else datasets,
        attacks=_chosen("attack", attack, ATTACKS),
        defenses=_chosen("defense", defense, DEFENSES),
        epochs=epochs or (EPOCHS if smoke else None),
        architecture=architecture,
        width=WIDTH if smoke else width,
        poison_rates=_numbers("poison-rate", poison_rate, float),
        clean_rates=_numbers("clean-rate", clean_rate, float),
        seeds=_numbers("seed", seed, int),
        victim_seed=victim_seed,
        target=target,
    )
    _check_rates(wanted)
    prepare(threads, quiet)
    defenses = _defenses(smoke)

    def settings(cell: Cell) -> dict[str, Any]:
        flip = smoke or TASKS[cell.dataset].flip
        return settings_of(adapted(defenses[cell.defense], flip=flip))

    todo = remaining(wanted, read_trials(out) if out.exists() else [], settings)
    if not quiet and len(todo) < len(wanted):
        say(f"{len(wanted) - len(todo)} of {len(wanted)} cells are in {out} already")
    failed = _run_all(todo, defenses, out, data=data, cache=cache, smoke=smoke, quiet=quiet)
    if not quiet:
        say(f"{len(todo) - failed} trials worked, {failed} failed; written to {out}")
    raise typer.Exit(EXIT_FAILED_TRIALS if failed else 0)


@app.command(cls=Configured)
def table(
    results: Results,
    number: Annotated[
        TableName,
        typer.Option("--table", help="The paper's table, the cost of figure 4, or each seed."),
    ] = "1",
    format: Annotated[
        TableFormat, typer.Option("--format", "-f", help="Format of the table.")
    ] = "rich",
    defense: Annotated[str, typer.Option(help="Defense that tables 3 and 4 are about.")] = "fmt",
    poison_rate: Annotated[float, typer.Option(help="Poison rate of all tables but 3.")] = 0.1,
    clean_rate: Annotated[
        float, typer.Option(help="Share of clean images of all tables but 4.")
    ] = 0.1,
) -> None:
    """Print one of the paper's tables, with the paper's own figures below each row.

    1 effectiveness, 2 coverage, 3 poison rates, 4 clean rates, cost, and seeds: how far they lie apart.
    """
    from hfscan.bench.results import read_trials
    from hfscan.bench.table import comma_separated, markdown
    from hfscan.bench.tables import tables
    from hfscan.cli.output import print_data

    made = tables(
        read_trials(results),
        number,
        defense=defense,
        poison_rate=poison_rate,
        clean_rate=clean_rate,
    )
    if format == "csv":
        print_data(comma_separated(made))
    elif format == "markdown":
        print_data("\n".join(map(markdown, made)))
    else:
        _show(made)


@app.command(cls=Configured)
def plot(
    results: Results,
    out: Annotated[Path, typer.Option(help="Folder of the figures.")] = Path(),
    format: Annotated[
        ImageFormat, typer.Option("--format", "-f", help="Format of the figures.")
    ] = "svg",
) -> None:
    """Draw cost, accuracy against success rate, and the sensitivity to both rates.

    Needs matplotlib: pip install '.\\[plot]' in a clone of hfscan.
    """
    from hfscan.bench.plot import plot as draw
    from hfscan.bench.results import read_trials
    from hfscan.cli.output import print_data

    for path in draw(read_trials(results), out, image_format=format):
        print_data(str(path))


def _run_all(
    todo: list[Cell],
    defenses: Mapping[str, Defense],
    out: Path,
    *,
    data: Path | None,
    cache: Path | None,
    smoke: bool,
    quiet: bool,
) -> int:
    """Run trials and write each as it comes; the number of those that failed."""
    from hfscan.bench.results import append_trial
    from hfscan.bench.run import run as trials
    from hfscan.bench.run import victim_of
    from hfscan.cli.output import bars, warn

    failed = 0
    known: set[VictimSpec] = set()
    with tempfile.TemporaryDirectory() as scratch, bars(quiet) as progress:
        victims = _victims(Path(scratch) if smoke else cache, smoke)
        found = trials(
            todo,
            defenses,
            load=_loader(data, smoke),
            victims=victims,
            progress=progress.passing,
        )
        for trial in progress(found, "trials", len(todo)):
            append_trial(out, trial)
            victim = victim_of(trial.cell)
            if victim not in known and not smoke and (weak := _weak(trial)):
                warn(weak)
            known.add(victim)
            if trial.error:
                failed += 1
                warn(f"{_name(trial)} failed: {trial.error}")
    return failed


def _weak(trial: Trial) -> str:
    """Why a trial's victim says little about defenses; empty if it does not."""
    before = trial.before
    if before is None or before.asr is None or before.asr >= LOW_ASR:
        return ""
    cell = trial.cell
    return (
        f"the victim of {cell.dataset} {cell.attack} obeys its trigger on only {before.asr:.0%} of the images "
        f"(accuracy {before.accuracy:.0%}): it says little about defenses; train more --epochs"
    )


def _name(trial: Trial) -> str:
    cell = trial.cell
    return f"{cell.dataset} {cell.attack} {cell.defense}"


def _victims(cache: Path | None, smoke: bool) -> Victims:
    from hfscan.bench.smoke import tiny
    from hfscan.bench.victims import Victims, cache_folder, unfitted

    attacks = unfitted()
    if smoke:
        attacks = {name: tiny(attack) for name, attack in attacks.items()}
    return Victims(cache or cache_folder(), attacks)


def _defenses(smoke: bool) -> dict[str, Defense]:
    from hfscan.bench.defenses import DEFENSES
    from hfscan.bench.smoke import tiny

    made = {name: make() for name, make in DEFENSES.items()}
    return {name: tiny(defense) for name, defense in made.items()} if smoke else made


def _loader(data: Path | None, smoke: bool) -> Callable[[str], Task]:
    from hfscan.bench.smoke import smoke_task
    from hfscan.bench.tasks import load_task

    return smoke_task if smoke else lambda name: load_task(name, data)


def _chosen(option: str, text: str, registry: Mapping[str, object]) -> list[str]:
    """Names with commas, or all of a registry.

    Raises:
        UsageError: One is not in the registry.
    """
    from hfscan.errors import UsageError

    names = list(registry) if text == ALL else [name.strip() for name in text.split(",")]
    for name in names:
        if name not in registry:
            raise UsageError(
                f"--{option} {name!r:.40} is not known", f"choose from {', '.join(registry)}, all"
            )
    return names


def _numbers(option: str, text: str, kind: Callable[[str], T]) -> list[T]:
    from hfscan.errors import UsageError

    try:
        return [kind(part) for part in text.split(",")]
    except ValueError as error:
        raise UsageError(
            f"--{option} {text!r:.40} is not numbers with commas", "write 0.01,0.05,0.1"
        ) from error


def _check_rates(wanted: list[Cell]) -> None:
    from hfscan.errors import UsageError

    for cell in wanted:
        rates = 0 < cell.poison_rate < 1 and 0 < cell.clean_rate <= 1
        if not rates or not 0 <= cell.seed <= o.MAX_SEED:
            raise UsageError(
                f"--poison-rate must be in (0, 1), --clean-rate in (0, 1], --seed in [0, {o.MAX_SEED}]",
                "see hfscan bench run --help",
            )


def _show(made: list[Table]) -> None:
    from rich.console import Console
    from rich.table import Table as RichTable
    from rich.text import Text

    from hfscan.bench.table import legend, texts
    from hfscan.report.text import printable

    console = Console()
    for one in made:
        header, lines = texts(one)
        title = Text(printable(f"{one.title}: {legend(one)}", 400), style="table.title")
        shown = RichTable(title=title, title_justify="left")
        for name in header:
            shown.add_column(Text(printable(name)), justify="left" if name == "" else "right")
        for line in lines:
            shown.add_row(
                *(Text(printable(cell)) for cell in line), style="dim" if line[1] == "paper" else ""
            )
        console.print(shown)
