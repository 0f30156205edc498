"""Commands whose options may also come from the environment or from a file, and what shows these.

Flags win over the environment, which wins over the file, which wins over the defaults. Typer does that by itself
once it knows the variables' names and the file's values; the class here tells it.
"""

from __future__ import annotations

import copy
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup, TyperOption

from hfscan.cli import config_file
from hfscan.cli.config_file import OWN, Config, free, settings, variable
from hfscan.cli.output import print_data, say, warn
from hfscan.errors import UsageError
from hfscan.report.text import printable

SHOW = "--show-config"
_COLUMN = 40


def _read(context: typer.Context, path: Path | None) -> None:
    """Hand a file's values to the command as its defaults."""
    if context.resilient_parsing:  # completion in a shell
        return
    group = context.find_root().command
    assert isinstance(group, TyperGroup)
    config = config_file.load(path, group)
    context.default_map = dict(config.tables.get(_name(context), {}))
    context.meta["hfscan.config"] = (config, path is not None)


def _options(
    config: Annotated[
        Path | None,
        typer.Option(
            envvar="HFSCAN_CONFIG",
            show_envvar=False,
            help=f"Read settings from this file; default: {OWN} or pyproject.toml, found upward.",
            is_eager=True,
            expose_value=False,
            callback=_read,
        ),
    ] = None,
    show_config: Annotated[
        bool,
        typer.Option(
            SHOW,
            allow_from_autoenv=False,
            help="Show every setting and where it comes from; do nothing else.",
            expose_value=False,
        ),
    ] = False,
) -> None:
    """The options of every `Configured` command."""


def _made() -> list[Any]:
    app = typer.Typer(add_completion=False)
    app.command()(_options)
    return typer.main.get_command(app).params


_ADDED = _made()


class Configured(TyperCommand):
    """A command with ``--config`` and ``--show-config``."""

    configured = True

    def make_context(
        self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any
    ) -> Any:
        """Name the variables of the options."""
        above = _name(parent) if parent is not None else ""
        name = f"{above} {info_name or self.name}".strip()
        for key, option in settings(self).items():
            option.envvar, option.show_envvar = variable(name, key), False
        return super().make_context(info_name, args, parent, **extra)

    def get_params(self, ctx: Any) -> list[Any]:
        """The command's own parameters, and those of all."""
        return list(ctx.meta.get("hfscan.shown") or [*super().get_params(ctx), *_ADDED])

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Take each option from the first place that has it."""
        showing = SHOW in args
        if showing:  # what is missing is shown, too
            params = [copy.copy(param) for param in self.get_params(ctx)]
            for param in params:
                param.required = False
            ctx.meta["hfscan.shown"] = params
        try:
            rest = super().parse_args(ctx, args)
        except typer.BadParameter as error:
            raise _with_origin(error) from error
        if ctx.resilient_parsing:
            return rest
        refuse_own_config(ctx, ctx.params.get("model"))
        _warn_of_unknown_variables(ctx)
        if showing:
            print_data("\n".join(_shown(ctx)))
            ctx.exit(0)
        _tell(ctx)
        return rest


def _name(context: Any) -> str:
    """The command as typed, without the program: ``bench run``."""
    names: list[str] = []
    while context.parent is not None:
        names.insert(0, context.info_name)
        context = context.parent
    return " ".join(names)


def _origin(context: Any, name: str, key: str) -> str:
    """Where the value of a parameter is from."""
    source = context.get_parameter_source(name)
    match source.name if source is not None else "":
        case "COMMANDLINE":
            return "the command line"
        case "ENVIRONMENT":
            return variable(_name(context), key)
        case "DEFAULT_MAP":
            return str(context.meta["hfscan.config"][0].path)
        case _:
            return "default"


def _with_origin(error: typer.BadParameter) -> typer.BadParameter:
    """The error of a value that was not typed, with where it is from."""
    context, param = error.ctx, error.param
    if context is None or param is None or not isinstance(context.command, TyperCommand):
        return error
    for key, option in settings(context.command).items():
        if option.name == param.name:
            origin = _origin(context, option.name, key)
            if origin not in ("the command line", "default"):
                error.message = f"{error.message} (from {origin})"
    return error


def refuse_own_config(context: Any, model: str | None) -> None:
    """A model must not bring the settings of its own audit: a file found in its folder has to be named.

    Commands that learn from a report which model it is about call this as soon as they know.

    Args:
        context: Of the command.
        model: Reference of the model; None if it is not known yet.

    Raises:
        UsageError: There are settings of such a file.
    """
    config, named = context.meta.get("hfscan.config", (Config(), True))
    if config.path is not None and context.default_map and model and not named:
        refuse_own_file(config.path, model, "--config")


def refuse_own_file(path: Path, model: str, option: str) -> None:
    """Refuse a file that was found, not named, in the folder of the model that is audited.

    Raises:
        UsageError: It is there.
    """
    from hfscan.hub.reference import parse_reference

    folder = parse_reference(model, "model").folder
    places = (
        path.resolve(),
        path.parent.resolve(),
    )  # a file of the Hub's cache is a link out of it
    if folder is not None and any(place.is_relative_to(folder.resolve()) for place in places):
        raise UsageError(
            f"{path} is in the folder of the model, which must not decide how it is audited",
            f"if it is yours, name it: {option} {path}",
        )


def _warn_of_unknown_variables(context: Any) -> None:
    name = _name(context)
    known = {variable(name, key) for key in settings(context.command)}
    for found in sorted(os.environ):
        if found.startswith(variable(name, "")) and found not in known:
            warn(f"the variable {found} is no setting of hfscan {name}")


def _tell(context: Any) -> None:
    """Say which settings are from a file."""
    path = context.meta.get("hfscan.config", (Config(), True))[0].path
    options = settings(context.command).items()
    read = [key for key, option in options if _origin(context, option.name, key) == str(path)]
    if read and not context.params.get("quiet"):
        say(f"settings from {path}: {', '.join(read)}")


def _shown(context: Any) -> Iterator[str]:
    """A file with the settings as they are, and where each is from."""
    name = _name(context)
    options = settings(context.command)
    yield f"[{name.replace(' ', '.')}]"
    for param in context.command.params:
        if not isinstance(param, TyperOption):
            value = context.params.get(param.name)
            origin = _origin(context, param.name, "")
            yield _line(f"# {param.name.upper()}", value, origin)
    for key, option in options.items():
        value, origin = context.params.get(option.name), _origin(context, option.name, key)
        if key == config_file.SECRET and value is not None:
            value, origin = None, f"{origin}; not shown"
        unset = value is None or value == [] or value == ()
        settable = key in free(options) and not unset
        yield _line(key if settable else f"# {key}", None if unset else value, origin)


def _line(key: str, value: Any, origin: str) -> str:
    setting = printable(key if value is None else f"{key} = {toml_value(value)}", 600)
    return f"{setting:{_COLUMN}}  # {printable(origin, 200)}"


def toml_value(value: Any) -> str:
    """A value as a TOML file has it."""
    match value:
        case bool():
            return str(value).lower()
        case int() | float():
            return repr(value)
        case list() | tuple():
            return f"[{', '.join(map(toml_value, value))}]"
        case _:
            return json.dumps(str(value), ensure_ascii=False)
