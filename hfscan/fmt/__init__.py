"""Feature map testing (FMT): which channels, when provoked, destroy a network's accuracy."""

from __future__ import annotations

from hfscan.fmt.memory import Limits, default_memory, give_back, measure_limits
from hfscan.fmt.precision import PRECISIONS, Choice, choose_precision
from hfscan.fmt.profile import LayerProfile, profile

__all__ = [
    "PRECISIONS",
    "Choice",
    "LayerProfile",
    "Limits",
    "choose_precision",
    "default_memory",
    "give_back",
    "measure_limits",
    "profile",
]
