"""Reading plain data back from JSON that may be anything."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import is_dataclass
from typing import Any, Literal, get_args, get_origin, get_type_hints


def typed(kind: Any, value: Any) -> Any:
    """A value from JSON, if it has the type ``kind``: lists become tuples, objects records.

    Raises:
        TypeError: It has another type.
        ValueError: A tuple has another length, or an integer does not fit into 64 bits.
    """
    arguments = get_args(kind)
    if type(None) in arguments:
        return None if value is None else typed(arguments[0], value)
    if isinstance(kind, type) and is_dataclass(kind) and isinstance(value, dict):
        hints = get_type_hints(kind)
        return kind(**{key: typed(hints.get(key), item) for key, item in value.items()})
    if get_origin(kind) is Literal and value in arguments:
        return value
    if get_origin(kind) in (dict, Mapping) and isinstance(value, dict):
        return {typed(str, key): typed(arguments[1], item) for key, item in value.items()}
    if get_origin(kind) is tuple and isinstance(value, list | tuple):
        kinds = [arguments[0]] * len(value) if arguments[-1] is Ellipsis else arguments
        return tuple(typed(each, item) for each, item in zip(kinds, value, strict=True))
    if type(value) is int and not -(2**63) <= value < 2**63:
        raise ValueError(f"{value!r:.40} is too large")
    if type(value) is kind or (kind is float and type(value) is int):
        return value
    raise TypeError(f"{value!r:.40} has the wrong type")


def index_in(index: Any, size: int) -> int:
    """``index``, if it is an integer in [0, size)."""
    if not 0 <= typed(int, index) < size:
        raise IndexError(f"{index} is not in the range of {size}")
    return int(index)
