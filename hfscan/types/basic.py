"""Names, arrays, progress and the verdict: what all other types build on."""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum
from typing import Protocol, TypeVar

import numpy as np
import numpy.typing as npt

SCHEMA = 3
"""Number of the report's JSON layout; it grows with every incompatible change."""

Channels = dict[str, list[int]]
"""Conv layer name -> indices of output channels: the one currency of detect, erase and compare."""

FloatArray = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.integer]
BoolArray = npt.NDArray[np.bool_]

T = TypeVar("T")


class Progress(Protocol):
    """Wraps a long loop, shaped like ``rich.progress.track``."""

    def __call__(self, sequence: Iterable[T], description: str, total: float) -> Iterable[T]:
        """Yield the items of ``sequence``, of which there are ``total``."""


def silent(sequence: Iterable[T], description: str, total: float) -> Iterable[T]:
    """The default `Progress`: shows nothing."""
    return sequence


class Verdict(str, Enum):
    """What an audit concludes about the whole model. There is no "clean": absence cannot be proved."""

    NO_BACKDOOR_FOUND = "NO_BACKDOOR_FOUND"
    SUSPICIOUS = "SUSPICIOUS"
    BACKDOORED = "BACKDOORED"
    INCONCLUSIVE = "INCONCLUSIVE"
