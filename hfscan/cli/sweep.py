"""``hfscan sweep``."""

from __future__ import annotations

import shlex
import signal
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from hfscan.cli import options as o
from hfscan.cli.audit import FailOn

if TYPE_CHECKING:
    from hfscan.sweep.process import Job, Outcome
    from hfscan.sweep.record import Record

SummaryFormat = Literal["console", "json", "markdown"]

TASK = "image-classification"

_MODELS, _SWEEP = "Models", "Sweep"


def sweep(
    context: typer.Context,
    clean_data: Annotated[
        str, typer.Option(help=f"{o.DATA_HELP} For all models.", show_default=False)
    ],
    source: Annotated[
        str | None,
        typer.Argument(
            metavar="[LIST|ORG]",
            help="A file with one model per line ([b]models.txt[/b], [b]./list[/b]; # begins a comment; "
            "[b]-[/b] is stdin), or an organisation or user on the Hub.",
            show_default=False,
        ),
    ] = None,
    author: Annotated[
        str | None,
        typer.Option(help="Organisation or user on the Hub.", rich_help_panel=_MODELS),
    ] = None,
    task: Annotated[
        str,
        typer.Option(help="Task of the models on the Hub; '' for any.", rich_help_panel=_MODELS),
    ] = TASK,
    limit: Annotated[
        int | None, typer.Option(min=1, help="At most so many models.", rich_help_panel=_MODELS)
    ] = None,
    out: Annotated[
        Path,
        typer.Option(
            help="File with a line per model; models that are in it are not audited again. Reports go to a "
            "folder beside it: NAME-reports.",
            dir_okay=False,
            rich_help_panel=_SWEEP,
        ),
    ] = Path("sweep.jsonl"),
    retry_failed: Annotated[
        bool,
        typer.Option(
            "--retry-failed", help="Audit again what failed before.", rich_help_panel=_SWEEP
        ),
    ] = False,
    jobs: Annotated[
        int,
        typer.Option(
            "--jobs",
            "-j",
            min=1,
            help="Audits at a time; they share the threads.",
            rich_help_panel=_SWEEP,
        ),
    ] = 1,
    budget: Annotated[
        str | None,
        typer.Option(
            metavar="TIME",
            help="Time for each model, as for an audit: 90s, 2m, 1h.",
            rich_help_panel=_SWEEP,
        ),
    ] = None,
    timeout: Annotated[
        str,
        typer.Option(
            metavar="TIME",
            help="An audit that takes longer is killed.",
            rich_help_panel=_SWEEP,
        ),
    ] = "1h",
    backend: Annotated[
        o.BackendName,
        typer.Option(
            help="Where the audits run: on this machine, or on a cluster's workers.",
            rich_help_panel=_SWEEP,
        ),
    ] = "local",
    scheduler: o.Scheduler = None,
    audit_options: Annotated[
        str,
        typer.Option(
            help="More options of hfscan audit, such as '--steps 4 --mode fast'.",
            rich_help_panel=_SWEEP,
        ),
    ] = "",
    split: o.Split = None,
    image_column: o.ImageColumn = None,
    label_column: o.LabelColumn = None,
    label_map: o.LabelMap = None,
    token: o.Token = None,
    allow_pickle: o.AllowPickle = False,
    device: o.DeviceOption = "auto",
    threads: o.Threads = None,
    cache_dir: o.CacheDir = None,
    fail_on: Annotated[
        FailOn,
        typer.Option(help="Mildest verdict that exits with 1.", rich_help_panel=o._REPORT),
    ] = "suspicious",
    report_format: Annotated[
        SummaryFormat,
        typer.Option(
            "--format", "-f", help="Format of the printed summary.", rich_help_panel=o._REPORT
        ),
    ] = "console",
    json: o.Json = False,
    quiet: o.Quiet = False,
) -> None:
    """Audit many models: each in a process of its own, a line per model, resumable.

    A crash, too little memory or too much time ends one audit, not the
    sweep. The same command goes on where an interrupted one stopped. Exit
    codes: 0 nothing was found, 1 something was, 2 an audit failed (and
    nothing was found), 3 there is no verdict about any model.

    [b]Examples[/b]

      hfscan sweep models.txt --clean-data cifar10 --budget 5m --jobs 2

      hfscan sweep --author timm --limit 20 --clean-data ./images

      hfscan sweep my-org --clean-data cifar10 --backend dask --scheduler HOST:8786
    """
    from hfscan.cli.config import refuse_own_config
    from hfscan.cli.quantities import parse_duration
    from hfscan.cli.state import absolute
    from hfscan.sweep.process import Job
    from hfscan.sweep.queue import read_records, remaining
    from hfscan.sweep.record import sweep_exit_code

    config, named = context.meta["hfscan.config"]
    arguments = _audit_arguments(
        {
            "--config": str(config.path.absolute()) if named else None,
            "--clean-data": absolute(clean_data),
            "--split": split,
            "--image-column": image_column,
            "--label-column": label_column,
            "--label-map": None if label_map is None else str(label_map.resolve()),
            "--device": device,
            "--cache-dir": None if cache_dir is None else str(cache_dir.resolve()),
            "--fail-on": fail_on,
            "--budget": budget,
        },
        [*(["--allow-pickle"] if allow_pickle else []), *_split(audit_options)],
    )
    _check_arguments(context, arguments)
    seconds = parse_duration(timeout, "--timeout")
    if budget is not None:
        parse_duration(budget)
    if token is not None and backend != "local":
        raise _usage("--token is not sent to other machines", "set HF_TOKEN on the workers")
    models = _models(source, author, task or None, limit, token)
    for model in models:
        refuse_own_config(context, model)
    records = _of(models, read_records(out))
    _check_options(records, arguments, out)
    if retry_failed and any(record.status == "failed" for record in records):
        _forget_failures(out, models)
        records = [record for record in records if record.status != "failed"]
    todo = [
        Job(
            model,
            tuple(arguments),
            formats=("html",),
            timeout=seconds,
            threads=_threads(threads, jobs, backend),
            token=token,
            reference="" if backend == "local" else absolute(model),
        )
        for model in remaining(models, records)
    ]
    try:
        _run(todo, records, out, backend, jobs, scheduler, quiet)
    except KeyboardInterrupt:
        records = _of(models, read_records(out))  # one may have been written, and not noted yet
        _write_summary(out, records, len(models))
        _interrupted(out, len(records), len(models), quiet)
        raise
    _write_summary(out, records, len(models))
    _show(records, len(models), out, "json" if json else report_format)
    raise typer.Exit(sweep_exit_code(records))


def _usage(message: str, hint: str) -> Exception:
    from hfscan.errors import UsageError

    return UsageError(message, hint)


def _audit_arguments(options: dict[str, str | None], more: Sequence[str]) -> list[str]:
    given = [f"{name}={value}" for name, value in options.items() if value is not None]
    return [*given, *more]


def _split(options: str) -> list[str]:
    try:
        return shlex.split(options)
    except ValueError as error:
        raise _usage(f"--audit-options cannot be read: {error}", "close the quotes") from error


FORBIDDEN = ("--output", "-o", "--format", "-f", "--resume", "--verbose", "--token", "--revision")
"""Options of an audit that a sweep sets itself, or that mean nothing to it."""


def _check_arguments(context: typer.Context, arguments: Sequence[str]) -> None:
    """Refuse before the long work what every audit would refuse."""
    for argument in arguments:
        name = o.name_of(argument)
        if name in FORBIDDEN:
            raise _usage(f"--audit-options cannot have {name}", "leave it out")
    assert context.parent is not None
    command = context.parent.command.get_command(context.parent, "audit")  # type: ignore[attr-defined]
    silent = ["--quiet"] if context.params["quiet"] else []
    command.make_context("audit", ["owner/name", *arguments, *silent], parent=context.parent)


def _models(
    source: str | None, author: str | None, task: str | None, limit: int | None, token: str | None
) -> list[str]:
    """What to audit, in order."""
    if (source is None) == (author is None):
        raise _usage("name either LIST or ORG, or --author", "see hfscan sweep --help")
    if source is not None and _is_file(source):
        return _read(source)[:limit]
    from hfscan.hub.listing import list_models

    return list_models(author or source, task=task, limit=limit, token=token)


def _is_file(source: str) -> bool:
    """Whether a list is meant: a file is written as one, so that none can stand in for an organisation."""
    from hfscan.hub.reference import is_there

    if source == "-" or any(mark in source for mark in "./\\~"):
        return True
    if is_there(source):
        raise _usage(
            f"{source} may be the file here or an organisation on the Hub",
            f"for the file write ./{source}, for the organisation --author {source}",
        )
    return False


def _read(source: str) -> list[str]:
    from hfscan.sweep.sources import read_list

    if source == "-":
        return read_list(sys.stdin, "stdin")
    try:
        text = Path(source).expanduser().read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError, RuntimeError) as error:
        raise _usage(
            f"{source} cannot be read as a list of models ({str(error)[:100]})",
            "write one model per line",
        ) from error
    return read_list(text.splitlines(), source)


def _check_options(records: Iterable[Record], arguments: Sequence[str], out: Path) -> None:
    """What was audited with other options is not the same sweep."""
    wanted = " ".join(arguments)
    for record in records:
        if record.options != wanted:
            raise _usage(
                f"{out} is of a sweep with other options ({record.options})",
                "use the same ones, or choose another --out",
            )


def _of(models: Sequence[str], records: Sequence[Record]) -> list[Record]:
    return [record for record in records if record.model in set(models)]


def _forget_failures(out: Path, models: Sequence[str]) -> None:
    from hfscan.cli.output import write_atomically
    from hfscan.sweep.queue import read_records, without

    write_atomically(out, without(read_records(out), set(models)))


def _threads(threads: int | None, jobs: int, backend: str) -> int | None:
    """Per audit: on this machine they are divided, on others they are what the workers' environment says."""
    from hfscan.cli.loading import usable_cores

    if backend != "local":
        return threads
    return max(1, (threads or usable_cores()) // jobs)


def _run(
    todo: Sequence[Job],
    records: list[Record],
    out: Path,
    backend: str,
    jobs: int,
    scheduler: str | None,
    quiet: bool,
) -> None:
    """Audit, and add each record to the file and to ``records`` as it comes."""
    from contextlib import closing

    from hfscan.cli.sweep_view import SweepView, line, shown
    from hfscan.sweep.backends import BACKENDS
    from hfscan.sweep.process import Processes
    from hfscan.sweep.queue import append_record

    if not todo:
        return
    view = SweepView(len(todo), jobs)
    outcomes = BACKENDS[backend](todo, jobs, scheduler, Processes(view.started))
    with _interruptible(), closing(outcomes), shown(view, quiet):  # type: ignore[type-var]
        for outcome in outcomes:
            record = _write_reports(out, outcome)
            append_record(out, record)
            records.append(record)
            view.finished(record)
            if not quiet:
                line(view, record)


@contextmanager
def _interruptible() -> Iterator[None]:
    """To be terminated, or to lose the terminal, is to be interrupted: no audit that runs is left behind."""
    numbers = [signal.SIGTERM]
    if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # nohup
        numbers.append(signal.SIGHUP)
    before = {number: signal.signal(number, signal.default_int_handler) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def reports_folder(out: Path) -> Path:
    """Where the reports and the summary of a sweep are."""
    return out.with_name(f"{out.stem}-reports")


def _write_reports(out: Path, outcome: Outcome) -> Record:
    from dataclasses import replace

    from hfscan.cli.output import write_atomically
    from hfscan.sweep.names import report_name

    folder = reports_folder(out)
    _make(folder)
    written = {}
    for name, text in outcome.reports.items():
        file = folder / report_name(outcome.record.model, name)
        write_atomically(file, text)
        written[name] = f"{folder.name}/{file.name}"
    return replace(outcome.record, reports=written)


def _make(folder: Path) -> None:
    from hfscan.errors import DataError

    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(
            f"{folder} cannot be made ({error.strerror or error})", "choose another --out"
        ) from error


def _write_summary(out: Path, records: Sequence[Record], total: int) -> None:
    from hfscan.cli.output import write_atomically
    from hfscan.sweep import index, summary

    if records:
        folder = reports_folder(out)
        _make(folder)
        write_atomically(folder / "summary.md", summary.render(records, total))
        write_atomically(folder / "index.html", index.render(records, total))


def _interrupted(out: Path, done: int, total: int, quiet: bool) -> None:
    from hfscan.cli.output import say

    if not quiet:
        say(f"{done} of {total} models are in {out}; the same command goes on from there")


def _show(records: Sequence[Record], total: int, out: Path, report_format: str) -> None:
    from json import dumps

    from rich.console import Console

    from hfscan.cli.output import print_data, say
    from hfscan.cli.sweep_view import overview
    from hfscan.sweep import summary

    if report_format == "json":
        data = {"models": total, "records": [record.to_dict() for record in records]}
        print_data(dumps(data, indent=1))
    elif report_format == "markdown":
        print_data(summary.render(records, total))
    else:
        Console().print(overview(records, total))
        if records:
            Console(soft_wrap=True).print(
                f"reports: {reports_folder(out) / 'index.html'}", markup=False
            )
        else:
            say("there is no model to audit")
