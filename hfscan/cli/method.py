"""From ``--method`` and the options of tuning to a defense."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hfscan.types import Defense

DEFAULT = "fmt-flow"
OF_THE_DEFAULT = ("erase_rate", "unlearn_norm")
OF_TUNING = ("epochs", "lr", "batch_size", "weight_decay", "flip")


def defense_named(name: str, given: Mapping[str, float]) -> Defense | None:
    """A defense with its paper's hyper-parameters, but for those that were given.

    Args:
        name: Of `hfscan.bench.defenses.DEFENSES`.
        given: Options of `OF_THE_DEFAULT` and `OF_TUNING` that were typed, and their values.

    Returns:
        None for the default, which goes on from the audit and has its hyper-parameters in the settings.

    Raises:
        UsageError: An option means nothing to this defense, or is out of its range.
    """
    from hfscan.bench.defenses import DEFENSES
    from hfscan.errors import UsageError
    from hfscan.train import FitConfig

    if name == DEFAULT:
        return None
    defense = DEFENSES[name]()
    tuning = getattr(defense, "tuning", None)
    usable = OF_TUNING if isinstance(tuning, FitConfig) else ()
    for option in given:
        if option not in usable:
            raise UsageError(
                f"--{option.replace('_', '-')} means nothing to --method {name}",
                f"it takes {', '.join(usable).replace('_', '-') or 'none of these options'}",
            )
    if not given:
        return defense
    return replace(defense, tuning=replace(tuning, **given))  # type: ignore[type-var]
