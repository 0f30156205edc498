"""What ``--help`` says of each command."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import typer
from typer.core import TyperCommand, TyperGroup

from hfscan import cli
from hfscan.bench.attacks import ATTACKS
from hfscan.bench.defenses import DEFENSES
from hfscan.bench.tasks import TASKS
from hfscan.selftest import PLANTABLE

from .conftest import Run


def commands(group: TyperGroup, above: str = "") -> Iterator[tuple[str, TyperCommand]]:
    for name, command in group.commands.items():
        if isinstance(command, TyperGroup):
            yield from commands(command, f"{above}{name} ")
        elif not group.hidden:
            assert isinstance(command, TyperCommand)
            yield f"{above}{name}", command


PROGRAM = typer.main.get_command(cli.app)
assert isinstance(PROGRAM, TyperGroup)
COMMANDS = dict(commands(PROGRAM))


@pytest.mark.parametrize("name", COMMANDS)
def test_every_parameter_is_explained(name: str) -> None:
    for parameter in COMMANDS[name].params:
        said = getattr(parameter, "help", None) or ""
        assert said.endswith("."), parameter.name


def test_each_command_says_its_own_exit_codes(run: Run) -> None:
    assert "suspicious or backdoored" in run("audit", "--help").out
    repair = " ".join(run("repair", "--help").out.split())
    assert "0 repaired, or nothing to repair" in repair
    assert "suspicious or backdoored" not in repair
    assert "Exit codes" not in run("report", "--help").out


def test_what_is_in_brackets_is_shown(run: Run) -> None:
    assert "'.[plot]'" in run("bench", "plot", "--help").out


def test_the_help_names_what_there_is_to_choose_from() -> None:
    def said(command: str, option: str) -> str:
        (found,) = (one for one in COMMANDS[command].params if one.name == option)
        return str(found.help)  # type: ignore[attr-defined]

    assert f": {', '.join(DEFENSES)}, or all" in said("bench run", "defense")
    assert f": {', '.join(ATTACKS)}, or all" in said("bench run", "attack")
    assert f": {', '.join(TASKS)}, or all" in said("bench run", "dataset")
    assert f": {', '.join(PLANTABLE)}." in said("selftest", "attacks")
