"""One defense tried on one victim: what was asked, and what came out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from hfscan.errors import DataError
from hfscan.types.read import typed
from hfscan.types.repair import Metrics


@dataclass(frozen=True)
class Cell:
    """What is tried: the key of a trial.

    Args:
        dataset: Name of the task.
        attack: Key of the attack.
        defense: Key of the defense.
        architecture: timm's name.
        width: Channels of the first stage of a PreActResNet; 0 for architectures without it.
        poison_rate: Share of the training images that carried the trigger.
        clean_rate: Share of the clean training images that the defense is given.
        seed: Of the defense and of the choice of its images.
        victim_seed: Of the victim's training.
        target: The class that the trigger leads to.
        epochs: Of the victim's training.
    """

    dataset: str
    attack: str
    defense: str
    architecture: str = "preactresnet18"
    width: int = 16
    poison_rate: float = 0.1
    clean_rate: float = 0.1
    seed: int = 0
    victim_seed: int = 0
    target: int = 0
    epochs: int = 9


@dataclass(frozen=True)
class Trial:
    """What came out.

    Args:
        cell: What was tried.
        before: The victim on the test images; None if there was no victim.
        after: The repaired network; None if the trial failed.
        coverage: Share of the backdoor channels that were erased; None if the trial failed.
        local_coverage: The same in the layers in which anything was erased; None if nothing was.
        erased: How many channels were erased.
        seconds: How long the repair took.
        settings: Hyper-parameters of the defense.
        error: Why the trial failed; empty if it did not.
    """

    cell: Cell
    before: Metrics | None = None
    after: Metrics | None = None
    coverage: float | None = None
    local_coverage: float | None = None
    erased: int = 0
    seconds: float = 0.0
    settings: Mapping[str, Any] = field(default_factory=dict)
    error: str = ""

    def to_dict(self) -> dict[str, Any]:
        """The trial as one flat JSON object."""
        data = asdict(self)
        return {**data.pop("cell"), **data}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Trial:
        """Read what `to_dict` wrote.

        Raises:
            DataError: The data is no trial.
        """
        try:
            key = {f.name: data[f.name] for f in fields(Cell)}
            rest = {f.name: data[f.name] for f in fields(cls) if f.name not in ("cell", "settings")}
            settings = dict(data["settings"])
            return cls(**typed(_Read, {"cell": key, **rest}).__dict__, settings=settings)
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(
                f"not a trial ({type(error).__name__}: {error})", "run hfscan bench again"
            ) from error


@dataclass(frozen=True)
class _Read:
    """A trial's fields that have one type each."""

    cell: Cell
    before: Metrics | None
    after: Metrics | None
    coverage: float | None
    local_coverage: float | None
    erased: int
    seconds: float
    error: str
