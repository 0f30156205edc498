"""A time budget that every long loop respects, through its progress bar."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

from hfscan.types import Progress

T = TypeVar("T")


class TimeUpError(Exception):
    """A loop was ended because its time is over; whoever gave it the time catches this."""


class Clock:
    """Counts down from a budget.

    Args:
        seconds: The budget, from now on; None for no limit.
    """

    def __init__(self, seconds: float | None) -> None:
        self.seconds = seconds
        self._end = None if seconds is None else time.perf_counter() + seconds

    def left(self) -> float:
        """Seconds that are left, infinite without a budget."""
        return float("inf") if self._end is None else self._end - time.perf_counter()

    def share(self, share: float) -> Clock:
        """A clock for a part of the time that is left."""
        return Clock(None if self._end is None else max(0.0, share * self.left()))

    def limiting(self, progress: Progress) -> Progress:
        """A progress bar that raises a `TimeUpError` at the first item after the end."""

        def limited(sequence: Iterable[T], description: str, total: float) -> Iterator[T]:
            for item in progress(sequence, description, total):
                if self.left() <= 0:
                    raise TimeUpError
                yield item

        return limited
