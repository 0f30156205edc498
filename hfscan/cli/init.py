"""``hfscan init``."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text
from typer.core import TyperGroup, TyperOption

from hfscan.cli.config import Configured, toml_value
from hfscan.cli.config_file import OWN, TYPED, free, settings
from hfscan.cli.output import replace_file, say
from hfscan.errors import HfscanError, UsageError


def init(
    context: typer.Context,
    force: Annotated[bool, typer.Option("--force", help="Replace the file that is there.")] = False,
) -> None:
    """Write hfscan.toml with every setting, its default and what it does, all commented out."""
    path = Path(OWN)
    if os.path.lexists(path) and not force:
        raise UsageError(f"{path} exists already", "--force replaces it")
    group = context.find_root().command
    assert isinstance(group, TyperGroup)
    try:
        replace_file(path, "\n".join(_template(group)) + "\n")
    except OSError as error:
        raise HfscanError(
            f"{path} cannot be written ({error.strerror or error})", "go to another folder"
        ) from error
    say(f"written: {path}")


_HEADER = """\
# Settings of hfscan. Take the # away from a line to change a default.
# Options that are typed win over the environment, which wins over this file, which wins over the defaults.
# hfscan audit --show-config shows what holds, and why. A file cannot set tokens, nor options that hand out rights:
# {typed}."""


def _template(group: TyperGroup, above: str = "") -> Iterator[str]:
    if not above:
        yield _HEADER.format(typed=", ".join(f"--{key}" for key in TYPED))
    for name, command in group.commands.items():
        full = f"{above} {name}".strip()
        if isinstance(command, TyperGroup):
            yield from _template(command, full)
        elif isinstance(command, Configured) and free(settings(command)):
            yield f"\n[{full.replace(' ', '.')}]"
            for key, option in free(settings(command)).items():
                yield from _explained(key, option)


def _explained(key: str, option: TyperOption) -> Iterator[str]:
    help_text = " ".join(Text.from_markup(option.help or "").plain.split())
    yield f"\n# {help_text}" if help_text else ""
    default = option.default
    yield f"# {key} =" if default is None else f"# {key} = {toml_value(default)}"
