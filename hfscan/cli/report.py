"""``hfscan report``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hfscan.cli import options as o

if TYPE_CHECKING:
    from hfscan.types import AuditReport, RepairReport


def report(
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE",
            help="A JSON report of [b]hfscan audit[/b] or [b]hfscan repair[/b].",
            exists=True,
            dir_okay=False,
            show_default=False,
        ),
    ],
    report_format: Annotated[
        o.Format,
        typer.Option(
            "--format", "-f", help="Format of what is printed.", rich_help_panel=o._REPORT
        ),
    ] = "console",
    output: o.Output = None,
    verbose: o.Verbose = False,
) -> None:
    """Show an existing report again, in any format, without the model.

    It exits with 0 whatever the report says.

    [b]Examples[/b]

      hfscan report report.json

      hfscan report report.json -f markdown -o html=report.html -o sarif=report.sarif
    """
    from hfscan.cli.output import parse_outputs
    from hfscan.errors import UsageError
    from hfscan.report import FORMATS, REPAIR_FORMATS
    from hfscan.report.console import renderable, repair_renderable
    from hfscan.types import AuditReport

    files = parse_outputs(output or [], FORMATS)
    found = read(file)
    if isinstance(found, AuditReport):
        shown = renderable(found, verbose=verbose)
        deliver(found, FORMATS, shown, report_format, files)
        return
    for name in (report_format, *(name for name, _ in files)):
        if name not in REPAIR_FORMATS:
            raise UsageError(
                f"{file} is of a repair, which has no findings for {name}",
                f"formats: {', '.join(REPAIR_FORMATS)}",
            )
    deliver(found, REPAIR_FORMATS, repair_renderable(found), report_format, files)


def read(path: Path) -> AuditReport | RepairReport:
    """A report from a file: of a repair if there is an audit in it.

    Raises:
        AuditError: It is no such file.
    """
    from hfscan.cli.state import read_json
    from hfscan.types import AuditReport, RepairReport

    data = read_json(path)
    return RepairReport.from_dict(data) if "audit" in data else AuditReport.from_dict(data)


def deliver(
    report: Any,
    formats: Mapping[str, Callable[[Any], str]],
    shown: Any,
    report_format: str,
    files: list[tuple[str, Path]],
) -> None:
    """Write a report to its files and print it.

    Args:
        report: The report.
        formats: Name -> function that renders it.
        shown: What rich prints for the format ``console``.
        report_format: What to print.
        files: Format and path of each file.
    """
    from rich.console import Console

    from hfscan.cli.output import print_data, write_atomically

    try:
        for name, path in files:
            write_atomically(path, formats[name](report))
    finally:  # a full disk does not cost the report
        if report_format == "console":
            Console().print(shown)
        else:
            print_data(formats[report_format](report))
