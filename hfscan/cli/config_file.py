"""Settings from ``hfscan.toml`` or ``pyproject.toml``: found, read and checked.

A file has a table per command, ``[audit]`` or ``[bench.run]``, with keys named as the long options. A value means
what the option would mean, and less is allowed: what hands out rights or leads elsewhere must be typed (`TYPED`).
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

from typer.core import TyperCommand, TyperGroup, TyperOption

from hfscan.cli.toml import read_toml
from hfscan.errors import UsageError

OWN, SHARED = "hfscan.toml", "pyproject.toml"

SECRET = "token"

TYPED = {
    "allow-pickle": "it lowers the guard",
    "audit-options": "any option could be in it",
    "cache": "what lies in a cache stands in for what would be trained",
    "cache-dir": "what lies in a cache stands in for the Hub",
    "create-pr": "it is part of a push",
    "force": "it overrules a safeguard",
    "overwrite": "it deletes files",
    "private": "it is part of a push",
    "push": "it publishes",
    "report": "it decides which model is repaired, and where that is published",
    "scheduler": "it runs what another machine sends",
    "to": "it is part of a push",
    "yes": "it answers for a person",
}
"""Options that a file cannot set, and why: whoever wrote the file may not be whoever runs hfscan."""

WRITTEN = ("out", "output", "pages", "results")
"""Options that name what is written: from a file only below the working directory, and nothing hidden."""

_HEADER = re.compile(rb"""\s*\[\s*["']?tool["']?\s*\.\s*["']?hfscan\b""")

_WORDS = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "a text in quotes",
    list: "a list of texts in quotes",
}


@dataclass(frozen=True)
class Config:
    """What a file says.

    Args:
        path: The file; None if there is none.
        tables: Command as typed, as ``bench run`` -> name of the parameter -> value.
    """

    path: Path | None = None
    tables: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


def load(path: Path | None, group: TyperGroup) -> Config:
    """Read a file, or the one that is found; all of it is checked, whatever the command.

    Args:
        path: As named by the user, or None to look for one.
        group: The program with its commands, whose options are the settings.

    Raises:
        UsageError: The file cannot be used.
    """
    path = path or find()
    if path is None:
        return Config()
    data = read_toml(path)
    if path.name == SHARED:
        data = _table(path, _table(path, data, "tool"), "hfscan")
    return Config(path, dict(_tables(path, data, group)))


def find() -> Path | None:
    """The nearest file with settings, at or above the working directory."""
    return nearest(OWN, SHARED)


def nearest(*names: str) -> Path | None:
    """The nearest file of these names at or above the working directory, not above its repository.

    Outside of a repository only the working directory itself counts.
    """
    try:
        start = Path.cwd()
    except OSError:  # it was deleted
        return None
    above = [start, *start.parents]
    roots = [i for i, folder in enumerate(above) if os.path.exists(folder / ".git")]  # noqa: PTH110
    for folder in above[: roots[0] + 1 if roots else 1]:
        for path in (folder / name for name in names):
            if path.is_file() and (path.name != SHARED or _has_table(path)):
                return Path(os.path.relpath(path, start))
    return None


def _has_table(path: Path) -> bool:
    """Whether a ``pyproject.toml`` is about hfscan; those that are not may be as broken as they like."""
    try:
        with path.open("rb") as stream:
            lines = [line for line in stream if b"hfscan" in line]
    except OSError:
        return False
    if not lines:
        return False
    try:
        tool = read_toml(path).get("tool")
    except UsageError:
        if any(_HEADER.match(line) for line in lines):
            raise
        return False
    return isinstance(tool, dict) and "hfscan" in tool


def _table(path: Path, data: Mapping[str, Any], key: str) -> dict[str, Any]:
    table = data.get(key, {})
    if not isinstance(table, dict):
        raise UsageError(f"{path}: {key!r:.40} must be a table", f"write [{key:.40}]")
    return table


def _tables(
    path: Path, data: Mapping[str, Any], group: TyperGroup, name: str = ""
) -> Iterator[tuple[str, dict[str, Any]]]:
    for key in data:
        command = group.commands.get(key)
        if command is None:
            raise _unknown(f"{path}: {key!r:.40} is no command", key, group.commands)
        table, full = _table(path, data, key), f"{name} {key}".strip()
        if isinstance(command, TyperGroup):
            yield from _tables(path, table, command, full)
        elif isinstance(command, TyperCommand) and getattr(command, "configured", False):
            yield full, dict(_values(path, full, table, command))
        else:  # not of `hfscan.cli.config.Configured`: the values would have no effect
            raise UsageError(f"{path}: {full} takes no settings", f"leave [{key}] out")


def _unknown(problem: str, key: str, known: Iterable[str]) -> UsageError:
    names = sorted(known)
    near = get_close_matches(key[:40], names, 1)
    hint = f"did you mean {near[0]}?" if near else f"known: {', '.join(names) or 'none'}"
    return UsageError(problem, hint)


def _values(
    path: Path, name: str, table: Mapping[str, Any], command: TyperCommand
) -> Iterator[tuple[str, Any]]:
    options, kinds = settings(command), types(command)
    where = f"{path}, [{name.replace(' ', '.')}]"
    for key, value in table.items():
        if key == SECRET and key in options:
            raise UsageError(
                f"{where}: a token does not belong in a file", "use hf auth login or HF_TOKEN"
            )
        if key in TYPED and key in options:
            raise UsageError(
                f"{where}: {key} cannot be set in a file: {TYPED[key]}",
                f"type --{key}, or set {variable(name, key)}",
            )
        if key not in free(options):
            raise _unknown(f"{where}: there is no {key!r:.40}", key, free(options))
        kind = kinds[options[key].name]
        if not _fits(kind, value):
            raise UsageError(
                f"{where}: {key} must be {_WORDS[kind]}, not {_shown(value)}",
                f"see hfscan {name} --help",
            )
        if key in WRITTEN:
            _check_written(where, key, value)
        yield options[key].name, value


def settings(command: TyperCommand) -> dict[str, TyperOption]:
    """The options of a command by their keys: the long names without the dashes in front."""
    return {
        max(option.opts, key=len).removeprefix("--"): option
        for option in command.params
        if isinstance(option, TyperOption) and not option.hidden
    }


def free(options: Mapping[str, TyperOption]) -> dict[str, TyperOption]:
    """Those of `settings` that a file can set. ``json`` would overrule a ``--format`` that was typed."""
    closed = {SECRET, *TYPED, *(["json"] if "format" in options else [])}
    return {key: option for key, option in options.items() if key not in closed}


def types(command: TyperCommand) -> dict[str, type]:
    """Name of a parameter -> what TOML has for its type."""
    hints = get_type_hints(command.callback)
    return {name: _toml_type(hint) for name, hint in hints.items()}


def _toml_type(hint: Any) -> type:
    kinds = [kind for kind in get_args(hint) or [hint] if kind is not type(None)]
    if len(kinds) == 1 and kinds[0] is not hint:
        return list if get_origin(hint) is list else _toml_type(kinds[0])
    return hint if hint in (bool, int, float) else str


def _fits(kind: type, value: Any) -> bool:
    if kind is list:
        return isinstance(value, list) and all(type(item) is str for item in value)
    return type(value) is kind or (kind is float and type(value) is int)


def _shown(value: Any) -> str:
    """A value of any size and depth in a few characters."""
    return type(value).__name__ if isinstance(value, dict | list) else f"{value!r:.40}"


def _check_written(where: str, key: str, value: str | list[str]) -> None:
    here = Path.cwd().resolve()
    for text in [value] if isinstance(value, str) else value:
        file = text.partition("=")[2] if key == "output" else text
        if "\0" in file or not (path := (here / file).resolve()).is_relative_to(here):
            raise UsageError(
                f"{where}: {key} {file!r:.80} is not below the working directory",
                f"type --{key} for files elsewhere",
            )
        if any(part.startswith(".") for part in path.relative_to(here).parts):
            raise UsageError(
                f"{where}: {key} {file!r:.80} is hidden, as what programs are set up with",
                f"type --{key} for hidden files and folders",
            )


def variable(name: str, key: str) -> str:
    """The environment variable of an option, as ``HFSCAN_AUDIT_FAIL_ON``.

    Args:
        name: The command as typed, as ``bench run``.
        key: The option without the dashes in front.
    """
    return f"HFSCAN_{name}_{key}".upper().replace(" ", "_").replace("-", "_")
