"""A finding that somebody has accepted."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date


@dataclass(frozen=True)
class Suppression:
    """Why a finding does not count. It is still shown, and the verdict stays what it is.

    Args:
        rule: Id of the accepted rule, as in `hfscan.report.rules.RULES`.
        reason: In the words of whoever accepted it.
        expires: Last day on which it holds, ``YYYY-MM-DD``.

    Raises:
        ValueError: ``expires`` is no such date.
    """

    rule: str
    reason: str
    expires: str

    def __post_init__(self) -> None:
        if date.fromisoformat(self.expires).isoformat() != self.expires:
            raise ValueError(f"{self.expires!r:.40} is not a date as YYYY-MM-DD")
