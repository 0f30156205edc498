"""Trigger inversion: one small transform, the same for all images, that leads them to a class.

What an attacker hid can be sought with the clean images alone, if it is sought in the family that it is from: a
patch, a warp, a blend, an additive pattern, a smooth one. Each family is bounded so tightly that it leads few images of a
benign network to any class.
"""

from __future__ import annotations

from collections.abc import Callable

from hfscan.inversion.additive import Additive
from hfscan.inversion.blend import Blend
from hfscan.inversion.patch import Patch
from hfscan.inversion.search import Family, Search, Trigger
from hfscan.inversion.smooth import Smooth
from hfscan.inversion.warp import Warp

FAMILIES: dict[str, Callable[[], Family]] = {
    "patch": Patch,
    "warp": Warp,
    "blend": Blend,
    "additive": Additive,
    "smooth": Smooth,
}
"""Name -> class; its fields are the bounds."""

__all__ = [
    "FAMILIES",
    "Additive",
    "Blend",
    "Family",
    "Patch",
    "Search",
    "Smooth",
    "Trigger",
    "Warp",
]
