"""``hfscan diff``."""

from __future__ import annotations

import contextlib
import io
import json as jsonlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from hfscan.cli import options as o

if TYPE_CHECKING:
    from rich.console import JustifyMethod

    from hfscan.comparison import Comparison
    from hfscan.types import AuditReport

DiffFormat = Literal["console", "json", "markdown"]

CONTEXT = {"allow_extra_args": True, "ignore_unknown_options": True}

EXIT_WORSE, EXIT_INCONCLUSIVE = 1, 3


def diff(
    context: typer.Context,
    before: Annotated[
        str, typer.Argument(help="A JSON report ([b]*.json[/b]), or a model as for hfscan audit.")
    ],
    after: Annotated[str, typer.Argument(help="Another report or model, to compare with it.")],
    report_format: Annotated[
        DiffFormat, typer.Option("--format", "-f", help="Format of what is printed.")
    ] = "console",
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    output: Annotated[
        list[str] | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FORMAT=FILE",
            help="Write the comparison to a file as well; may be repeated.",
        ),
    ] = None,
    quiet: o.Quiet = False,
) -> None:
    """Compare two audits: verdicts, classes, layers, channels.

    Models are audited first; the options of hfscan audit can be given after them.

    It exits with 0 if AFTER is not worse, with 1 if it is (its verdict is more severe, or another
    class is suspected), with 3 if AFTER is inconclusive, otherwise as hfscan audit.

    [b]Examples[/b]

      hfscan diff old.json new.json

      hfscan diff user/model@v1 user/model@v2 --clean-data cifar10 --budget 5m

      hfscan diff user/base user/tuned --clean-data user/data -f markdown
    """
    from hfscan.cli.output import parse_outputs
    from hfscan.comparison import compare
    from hfscan.report.comparison import render_json, render_markdown

    renderers = {"json": render_json, "markdown": render_markdown}
    files = parse_outputs(output or [], renderers)
    _check(context, before, after)
    comparison = compare(_report(context, before, quiet), _report(context, after, quiet))
    _show(
        comparison,
        "json" if json else report_format,
        [(path, renderers[name](comparison)) for name, path in files],
    )
    raise typer.Exit(exit_code(comparison))


def exit_code(comparison: Comparison) -> int:
    """0 not worse, 1 worse, 3 the second audit is inconclusive."""
    if comparison.worse:
        return EXIT_WORSE
    inconclusive = comparison.after.verdict.value == "INCONCLUSIVE"
    return EXIT_INCONCLUSIVE if inconclusive else 0


def _check(context: typer.Context, before: str, after: str) -> None:
    from hfscan.errors import UsageError

    for source in (before, after):
        if source.startswith("-"):
            raise UsageError(
                f"{o.name_of(source)} stands where a report or model should", "write both first"
            )
    if context.args and all(map(_is_report, (before, after))):
        raise UsageError(
            f"{o.name_of(context.args[0])} is for the audit of models, and both are reports",
            "leave it out",
        )


def _is_report(source: str) -> bool:
    return source.endswith(".json")


def _report(context: typer.Context, source: str, quiet: bool) -> AuditReport:
    from hfscan.cli.output import say
    from hfscan.cli.state import read_report

    if _is_report(source):
        return read_report(Path(source))[0]
    if not quiet:
        say(f"auditing {source}")
    return _audit(context, source, ["-q"] if quiet else [])


def _audit(context: typer.Context, model: str, options: list[str]) -> AuditReport:
    """What ``hfscan audit`` says of a model."""
    from hfscan.types import AuditReport

    said = io.StringIO()
    program = context.find_root()
    config, named = context.meta["hfscan.config"]
    same = ["--config", str(config.path)] if named else []
    with contextlib.redirect_stdout(said):
        program.command.main(
            ["audit", model, *context.args, *same, *options, "--json"],
            prog_name=program.info_name,
            standalone_mode=False,
        )
    return AuditReport.from_dict(jsonlib.loads(said.getvalue()))


def _show(comparison: Comparison, report_format: str, files: list[tuple[Path, str]]) -> None:
    from hfscan.cli.output import print_data, write_atomically
    from hfscan.report.comparison import render_json, render_markdown

    try:
        for path, text in files:
            write_atomically(path, text)
    finally:  # a full disk does not cost the comparison
        match report_format:
            case "json":
                print_data(render_json(comparison))
            case "markdown":
                print_data(render_markdown(comparison))
            case _:
                _print(comparison)


def _print(comparison: Comparison) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from hfscan.report.comparison import headline, sections
    from hfscan.report.text import printable

    console = Console(highlight=False)
    console.print(Text(headline(comparison), style="bold red" if comparison.worse else "bold"))
    for section in sections(comparison, printable, printable):
        console.print()
        if section.title:
            console.print(Text(section.title, style="bold"))
        table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
        for column in section.columns:
            right = column.endswith(">")
            justify: JustifyMethod = "right" if right else "left"
            table.add_column(Text(column.rstrip(">")), justify=justify, overflow="fold")
        for row in section.rows:
            table.add_row(*map(Text, row))
        console.print(table)
        if section.caption:
            console.print(Text(section.caption, style="dim"))
    for warning in comparison.warnings:
        console.print(Text.assemble(("\nwarning: ", "yellow"), printable(warning, 300)))
