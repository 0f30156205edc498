"""The command line: the only place that prints, exits, asks, or reads environment variables."""

from __future__ import annotations

import errno
import os
import sys
import traceback
from typing import Annotated

import typer

from hfscan import __version__
from hfscan.cli.action import app as action
from hfscan.cli.audit import audit
from hfscan.cli.bench import app as bench
from hfscan.cli.calibrate import calibrate
from hfscan.cli.config import Configured
from hfscan.cli.diff import CONTEXT, diff
from hfscan.cli.doctor import doctor
from hfscan.cli.explain import explain
from hfscan.cli.init import init
from hfscan.cli.list import list_entries
from hfscan.cli.output import fail, say
from hfscan.cli.repair import repair
from hfscan.cli.report import report
from hfscan.cli.selftest import selftest
from hfscan.cli.sweep import sweep
from hfscan.cli.verify import verify
from hfscan.errors import HfscanError, UsageError

EXIT_FAILED = 2
EXIT_USAGE = 4
EXIT_INTERRUPTED = 130

_WRITING = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EBADF)
"""Errors of a place that cannot be written to, such as stdout."""

_EPILOG = """[bold]Exit codes[/bold]: 0 nothing found · 1 suspicious or backdoored (see --fail-on) ·
2 the audit failed · 3 inconclusive · 4 wrong usage · 130 interrupted"""

_REPAIR_EPILOG = """[bold]Exit codes[/bold]: 0 repaired, or nothing to repair · 2 failed, too much accuracy lost, or the
audit was inconclusive · 4 wrong usage · 130 interrupted"""

app = typer.Typer(
    name="hfscan",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
app.command(epilog=_EPILOG)(audit)
app.command(epilog=_REPAIR_EPILOG)(repair)
app.command()(report)
app.command(context_settings=CONTEXT)(diff)
app.command()(sweep)
app.command()(verify)
app.command()(selftest)
app.command()(explain)
app.command("list")(list_entries)
app.command()(doctor)
app.command()(calibrate)
app.add_typer(bench, name="bench")
for _command in app.registered_commands:
    _command.cls = Configured
app.command()(init)  # a broken file must not keep it from writing a new one
app.add_typer(action, name="action", hidden=True)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"hfscan {__version__}")
        raise typer.Exit


@app.callback(epilog=_EPILOG)
def hfscan(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    """Find backdoors in the weights of image classifiers, and repair them."""


def main() -> None:
    """Run the command line and exit with the documented code."""
    code = _run()
    if code == EXIT_INTERRUPTED:
        say("interrupted")
    _drop_output()
    sys.exit(code)


def _drop_output() -> None:
    """Forget what could not be printed: Python would try again, and exit with a code of its own."""
    try:
        print(end="", flush=True)  # also where there is no stdout
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _run() -> int:
    try:
        return int(app(standalone_mode=False) or 0)
    except (
        SystemExit
    ) as ended:  # of completion; or of a broken pipe, whose code 1 would be a verdict
        return EXIT_FAILED if ended.code else 0
    except (KeyboardInterrupt, typer.Abort):
        return EXIT_INTERRUPTED
    except typer.TyperException as error:
        return _wrong_usage(error)
    except HfscanError as error:
        _traceback_if_wanted()
        fail(str(error), error.hint, type(error).__name__)
        return EXIT_USAGE if isinstance(error, UsageError) else EXIT_FAILED
    except Exception as error:  # a bug of ours must not look like a verdict
        _traceback_if_wanted()
        _unexpected(error)
        return EXIT_FAILED


def _unexpected(error: Exception) -> None:
    kind = type(error).__name__
    if isinstance(error, OSError) and error.errno in _WRITING:
        where = error.filename or "the output"
        fail(f"{where} cannot be written ({error.strerror})", "write it to another place", kind)
        return
    hint = "this is a bug in hfscan; HFSCAN_DEBUG=1 shows where, please report it"
    fail(f"unexpected {kind}: {error}", hint, kind)


def _wrong_usage(error: typer.TyperException) -> int:
    message = " ".join(error.format_message().split()).replace(
        ": Value error, ", ": "
    )  # pydantic's
    context = getattr(error, "ctx", None)
    command = context.command_path if context else "hfscan"
    if message:  # empty after the help that stands in for a missing command
        fail(message, f"see {command} --help")
    return EXIT_USAGE


def _traceback_if_wanted() -> None:
    if os.environ.get("HFSCAN_DEBUG"):
        traceback.print_exc()
