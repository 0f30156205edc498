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


def aimed(defense: Defense | None, target: int | None) -> Defense | None:
    """The defense, told which class the audit suspects if it wants to know."""
    if target is None or not hasattr(defense, "target"):
        return defense
    return replace(defense, target=target)  # type: ignore[type-var]


def defense_named(
    name: str, given: Mapping[str, float], configured: Mapping[str, float]
) -> Defense | None:
    """A defense with its paper's hyper-parameters, but for those that were given.

    Args:
        name: Of `hfscan.bench.defenses.DEFENSES`.
        given: Options of `OF_THE_DEFAULT` and `OF_TUNING` that were typed, and their values.
        configured: Those of a file or the environment; what means nothing to this defense is passed over.

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
    changes = {option: configured[option] for option in usable if option in configured} | {**given}
    if not changes:
        return defense
    return replace(defense, tuning=replace(tuning, **changes))  # type: ignore[type-var]
