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
class Outcome:
    """What came out of one cell; its fields are those of `Trial`."""

    cell: Cell
    before: Metrics | None = None
    after: Metrics | None = None
    coverage: float | None = None
    local_coverage: float | None = None
    erased: int = 0
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    error: str = ""


@dataclass(frozen=True)
class Trial(Outcome):
    """What came out, and with which settings.

    Args:
        cell: What was tried.
        before: The victim on the test images; None if there was no victim.
        after: The repaired network; None if the trial failed.
        coverage: Share of the backdoor channels that were erased; None if the trial failed.
        local_coverage: The same in the layers in which anything was erased; None if nothing was.
        erased: How many channels were erased.
        seconds: How long the repair took.
        cpu_seconds: Time on the CPU, of all threads: where others compute too, the fairer figure.
        error: Why the trial failed; empty if it did not.
        settings: Hyper-parameters of the defense.
    """

    settings: Mapping[str, Any] = field(default_factory=dict)

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
            cell = {f.name: data[f.name] for f in fields(Cell)}
            rest = {f.name: data[f.name] for f in fields(Outcome) if f.name in data}
            outcome: Outcome = typed(Outcome, {**rest, "cell": cell})
            return cls(**vars(outcome), settings=dict(data["settings"]))
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(
                f"not a trial ({type(error).__name__}: {error})", "run hfscan bench again"
            ) from error
