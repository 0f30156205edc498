"""``hfscan action``: what the steps of ``action.yml`` run. Hidden, for GitHub Actions only.

Everything comes from the environment, inputs as ``INPUT_*``: no text of a workflow's author, of a model
or of a pull request is ever part of a command line that a shell reads.
"""

from __future__ import annotations

import typer

from hfscan.cli.action.comment import comment
from hfscan.cli.action.plan import plan
from hfscan.cli.action.run import run

app = typer.Typer(help="The steps of action.yml.", no_args_is_help=True)
app.command()(plan)
app.command()(run)
app.command()(comment)
