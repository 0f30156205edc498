"""Tells whoever waits for a long audit that there is a shorter one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from time import perf_counter
from typing import TypeVar

from hfscan.cli.output import say
from hfscan.fmt.profile import TESTING
from hfscan.report.text import duration
from hfscan.types import Progress

T = TypeVar("T")

LOOK_AFTER = 20.0
"""Seconds of work that tell how long all of it will take."""

LONG = 600.0
"""Seconds to wait that are worth a hint."""


def hinting(progress: Progress, effort: float, now: Callable[[], float] = perf_counter) -> Progress:
    """A progress bar that says, if testing the channels will take long, how much less the fast mode takes.

    Args:
        progress: The bar.
        effort: Share of the exact mode's work that the fast mode would do, in (0, 1].
        now: A clock, in seconds.
    """

    def watched(sequence: Iterable[T], description: str, total: float) -> Iterator[T]:
        began, told = now(), description != TESTING
        for done, item in enumerate(progress(sequence, description, total)):
            passed = now() - began
            if not told and done and passed >= LOOK_AFTER:
                told = True
                left = passed * (total - done) / done
                if left > LONG:
                    say(
                        f"{description} takes about {duration(left)} more; --mode fast takes about "
                        f"{duration(effort * left)}, and its verdict is as good"
                    )
            yield item

    return watched
