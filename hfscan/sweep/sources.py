"""Which models to audit: a list that somebody wrote."""

from __future__ import annotations

import re
from collections.abc import Iterable

from hfscan.errors import UsageError
from hfscan.hub.reference import parse_reference

_COMMENT = re.compile(r"(^|\s)#.*")


def read_list(lines: Iterable[str], name: str) -> list[str]:
    """References of models, one per line; ``#`` begins a comment, and what is there twice counts once.

    Args:
        lines: Of the list.
        name: What to call the list in an error.

    Raises:
        UsageError: A line is no reference of a model.
    """
    found: dict[str, None] = {}
    for number, line in enumerate(lines, start=1):
        reference = _COMMENT.sub("", line.removeprefix("\ufeff")).strip()
        if not reference:
            continue
        try:
            parse_reference(reference, "model")
        except UsageError as error:
            raise UsageError(f"line {number} of {name}: {error}", error.hint) from error
        found[reference] = None
    return list(found)
