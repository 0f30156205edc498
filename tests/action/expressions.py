"""The part of GitHub's expression language that action.yml and the workflows use."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

_TOKEN = re.compile(r"\s*(?:('(?:[^']|'')*')|(\|\||&&|==|!=|!|\(|\)|,)|([A-Za-z_][\w.-]*))")
_TEMPLATE = re.compile(r"\$\{\{(.*?)\}\}", re.DOTALL)

Contexts = Mapping[str, Any]


def evaluate(text: str, contexts: Contexts) -> Any:
    """Evaluate what stands between ``${{`` and ``}}``; what is not there is empty."""
    tokens, position = [], 0
    while position < len(text.rstrip()):
        match = _TOKEN.match(text, position)
        assert match, f"not understood: {text[position:]!r} in {text!r}"
        tokens.append(match)
        position = match.end()
    parser = _Parser(tokens, contexts)
    value = parser.either()
    assert parser.done, text
    return value


def expand(text: Any, contexts: Contexts) -> str:
    """Replace every ``${{ }}`` in a text."""
    shown = str(text).lower() if isinstance(text, bool) else str(text)
    return _TEMPLATE.sub(lambda match: string(evaluate(match[1], contexts)), shown)


def condition(text: str, contexts: Contexts) -> bool:
    """Evaluate an ``if:``, which needs no ``${{ }}`` and means ``success()`` too unless it says else."""
    whole = _TEMPLATE.fullmatch(text.strip())
    inside = whole[1] if whole else text
    asks = re.search(r"\b(always|cancelled|failure|success)\(\)", inside)
    return bool((asks or contexts["functions"]["success"]) and evaluate(inside, contexts))


def string(value: Any) -> str:
    """As GitHub writes a value into a text."""
    return str(value).lower() if isinstance(value, bool) else str(value)


class _Parser:
    def __init__(self, tokens: list[re.Match[str]], contexts: Contexts) -> None:
        self.tokens, self.contexts, self.at = tokens, contexts, 0

    @property
    def done(self) -> bool:
        return self.at == len(self.tokens)

    def take(self, *operators: str) -> str:
        """The next operator, if it is one of these."""
        found = "" if self.done else self.tokens[self.at][2]
        if found not in operators:
            return ""
        self.at += 1
        return found

    def either(self) -> Any:
        value = self.both()
        while self.take("||"):
            other = self.both()
            value = value or other
        return value

    def both(self) -> Any:
        value = self.compared()
        while self.take("&&"):
            other = self.compared()
            value = value and other
        return value

    def compared(self) -> Any:
        value = self.negated()
        while operator := self.take("==", "!="):
            same = string(value).lower() == string(self.negated()).lower()
            value = same == (operator == "==")
        return value

    def negated(self) -> Any:
        return not self.negated() if self.take("!") else self.atom()

    def atom(self) -> Any:
        if self.take("("):
            value = self.either()
            assert self.take(")")
            return value
        literal, _, name = self.tokens[self.at].groups()
        self.at += 1
        if literal:
            return literal[1:-1].replace("''", "'")
        if self.take("("):
            assert self.take(")"), f"{name} with arguments"
            return self.contexts["functions"][name]
        return {"true": True, "false": False}.get(name, self.property(name))

    def property(self, name: str) -> Any:
        value: Any = self.contexts
        for part in name.split("."):
            value = value.get(part, "") if isinstance(value, Mapping) else ""
        return value
