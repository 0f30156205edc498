"""The inputs of the action, from the environment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

REPAIRS = ("none", "dry-run", "pr")
_BOOLEANS = {"true": True, "false": False}


@dataclass(frozen=True)
class Inputs:
    """What the workflow asked for, as typed; empty where it said nothing.

    Args:
        model: As of ``hfscan audit``.
        clean_data: As of ``hfscan audit``.
        revision: As of ``hfscan audit``.
        split: As of ``hfscan audit``.
        fail_on: As of ``hfscan audit``.
        budget: As of ``hfscan audit``.
        repair: One of `REPAIRS`.
        token: Of the Hub.
        cache_folder: Where downloads go.
        sarif: ``true`` or ``false``: whether to write a SARIF report.
        html: ``true`` or ``false``: whether to write an HTML report.
        summary: ``true`` or ``false``: whether to write the job summary.
    """

    model: str
    clean_data: str
    revision: str = ""
    split: str = ""
    fail_on: str = ""
    budget: str = ""
    repair: str = "none"
    token: str = ""
    cache_folder: str = ""
    sarif: str = "false"
    html: str = "false"
    summary: str = "true"

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> Inputs:
        """Read ``INPUT_MODEL`` and so on; an empty one counts as one that is not there."""
        names = {name: f"INPUT_{name.upper()}" for name in cls.__dataclass_fields__}
        given = {name: environment.get(variable, "").strip() for name, variable in names.items()}
        required = {name: given[name] for name in ("model", "clean_data")}
        return cls(**required | {name: value for name, value in given.items() if value})

    def problem(self) -> str:
        """What is wrong with the inputs that only the action knows, in one sentence; or nothing."""
        from hfscan.hub.reference import is_folder

        if not self.model or not self.clean_data:
            return "the inputs model and clean-data are required"
        if self.repair not in REPAIRS:
            return f"the input repair is {self.repair!r}, not one of {', '.join(REPAIRS)}"
        for name in ("sarif", "html", "summary"):
            if getattr(self, name).lower() not in _BOOLEANS:
                return f"the input {name} is {getattr(self, name)!r}, not true or false"
        if self.repair != "none" and is_folder(self.model):
            return f"repair: {self.repair} is for a model on the Hub, and {self.model} is a folder"
        return ""

    def wants(self, name: str) -> bool:
        """Whether an input that is ``true`` or ``false`` is true; `problem` comes first."""
        return _BOOLEANS[getattr(self, name).lower()]
