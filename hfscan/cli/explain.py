"""``hfscan explain``: what a finding means."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING, Annotated

import typer

from hfscan.cli import options as o

if TYPE_CHECKING:
    from hfscan.report.rules import Rule


def explain(
    rule: Annotated[
        str | None,
        typer.Argument(
            help="Id or name of the rule, such as HFS001; without it, all rules are listed.",
            show_default=False,
        ),
    ] = None,
    json: o.Json = False,
) -> None:
    """Say what a rule means: what was seen, what it may be instead, what to do.

    [b]Examples[/b]

      hfscan explain

      hfscan explain HFS001
    """
    from dataclasses import asdict
    from json import dumps

    from rich.console import Console
    from rich.markdown import Markdown

    from hfscan.cli.output import print_data, two_columns
    from hfscan.report.rules import RULES

    found = None if rule is None else _find(rule)
    if json:
        shown = list(RULES.values()) if found is None else [found]
        print_data(dumps({"rules": [asdict(each) for each in shown]}, indent=2))
    elif found is None:
        rows = {f"{each.id} {each.name}": each.text for each in RULES.values()}
        Console().print(two_columns(rows))
    else:
        text = f"# {found.id}: {found.name} ({found.level})\n\n**{found.text}**\n\n{found.help}"
        Console().print(Markdown(text, hyperlinks=False))


def _find(wanted: str) -> Rule:
    """The rule of that id or name, however it is capitalized.

    Raises:
        UsageError: There is none.
    """
    from hfscan.errors import UsageError
    from hfscan.report.rules import RULES

    names = {name.casefold(): rule for rule in RULES.values() for name in (rule.id, rule.name)}
    found = names.get(wanted.strip().casefold())
    if found is not None:
        return found
    near = get_close_matches(wanted.strip().casefold(), names, n=1, cutoff=0.5)
    meant = f"did you mean {names[near[0]].id} ({names[near[0]].name})?" if near else ""
    raise UsageError(f"there is no rule {wanted!r:.60}", meant or "hfscan explain lists them")
