"""Feature map testing (FMT): which channels, when provoked, destroy a network's accuracy."""

from __future__ import annotations

from hfscan.fmt.profile import LayerProfile, profile
from hfscan.fmt.reverse import Start, reverse_features, start
from hfscan.fmt.select import flow, select_channels

__all__ = [
    "LayerProfile",
    "Start",
    "flow",
    "profile",
    "reverse_features",
    "select_channels",
    "start",
]
