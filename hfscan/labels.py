"""From the labels of a data set to those of a model."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from hfscan.errors import DataError

MAX_LABEL = 2**31 - 1

LABEL_MAP = '{"airplane": 0, "automobile": 1}'


def read_label_map(path: Path) -> dict[str, int]:
    """Read a JSON object of class names or labels of the data set to labels of the model.

    Raises:
        DataError: The file is not such an object.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(
            f"the label map {path} cannot be read ({str(error)[:100]})", f"write {LABEL_MAP}"
        ) from error
    fine = isinstance(data, dict) and all(
        isinstance(label, int) and not isinstance(label, bool) and 0 <= label <= MAX_LABEL
        for label in data.values()
    )
    if not fine or not data:
        raise DataError(
            f"the label map {path} is not an object of names to labels",
            f"write {LABEL_MAP}",
        )
    return {str(name): int(label) for name, label in data.items()}


def mapped(
    labels: Tensor, classes: Sequence[str], label_map: Mapping[str, int]
) -> tuple[Tensor, Tensor]:
    """Labels of the model, and the rows that have one.

    Args:
        labels: int64 ``(N,)``, of the data set.
        classes: Their names, if they have any.
        label_map: Name or label of the data set -> label of the model.

    Raises:
        DataError: The map names a class that there is not.
    """
    table: dict[int, int] = {}
    numbers_are_names = any(map(_is_number, classes))
    for key, label in label_map.items():
        if key in classes:
            table[list(classes).index(key)] = label
        elif _is_number(key) and not numbers_are_names:
            table[int(key)] = label
        else:
            raise DataError(
                f"the label map names {key!r:.60}, which is no class of the data set",
                f"its classes are {', '.join(classes[:12])}"
                if classes
                else "it has no class names; write its labels",
            )
    found = torch.tensor([table.get(int(label), -1) for label in labels], dtype=torch.int64)
    return found, (found >= 0).nonzero().flatten()


def by_name(
    names: Sequence[str], label_names: Sequence[str]
) -> tuple[list[int], tuple[str, ...]] | None:
    """The label of the model for each name, where names alone say it.

    Args:
        names: Of the data set's classes, all different.
        label_names: Of the model's, in the order of the label; empty where it has none.

    Returns:
        The labels, and the names in the order of the label: those of the model, if it has all of these
        classes, or the integers from 0 to K - 1, if they are the names. None if it is neither.
    """
    keys = [folded(name) for name in label_names]
    times = Counter(keys)  # ImageNet has names that are there twice
    places = {key: label for label, key in enumerate(keys) if key and times[key] == 1}
    if all(folded(name) in places for name in names):
        return [places[folded(name)] for name in names], tuple(label_names)
    labels = [int(name) for name in names if _is_number(name)]
    if len(labels) == len(names) and sorted(labels) == list(range(len(names))):
        return labels, tuple(sorted(names, key=int))
    return None


def folded(name: str) -> str:
    """A class name without what people write differently: case, spaces, punctuation."""
    return "".join(character for character in name.casefold() if character.isalnum())


def in_one_order(names: Sequence[str]) -> bool:
    """Whether every program that numbers class folders by their names numbers these alike.

    `datasets` and torchvision sort them as text, timm by the numbers in them and without case. The
    numbers of other folders than 0 to K - 1 may also be the labels themselves.
    """
    return sorted(names) == natural(names) and not all(map(_is_number, names))


def natural(names: Sequence[str]) -> list[str]:
    """Names in timm's order of class folders: '2' before '10', and 'b' after 'A'."""

    def key(name: str) -> list[str | float]:
        return [
            float(part) if part.isdecimal() else part for part in re.split(r"(\d+)", name.lower())
        ]

    return sorted(names, key=key)


def how_to_map(names: Sequence[str]) -> str:
    """The remedy where names do not say which labels they are, with an example of two of them."""
    example = json.dumps({name[:40]: label for label, name in enumerate(names[:2])})
    return (
        "write which label of the model each one is, and pass the file with --label-map: "
        f"{example}, and so on"
    )


def _is_number(name: str) -> bool:
    return name.isdecimal() and len(name) <= len(str(MAX_LABEL))
