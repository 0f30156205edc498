"""What the model-level tests said of networks whose truth is known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from hfscan.types import ModelFacts, TestResult


@dataclass(frozen=True)
class NetworkFacts:
    """What a network is like, as far as it decides which others it can be compared with.

    Args:
        architecture: Name of the architecture, as in `hfscan.types.ModelFacts`.
        input_size: ``(channels, height, width)``.
        num_classes: K.
        dataset: What it was trained on; empty if unknown.
    """

    architecture: str
    input_size: tuple[int, int, int]
    num_classes: int
    dataset: str = ""

    @classmethod
    def of(cls, facts: ModelFacts, dataset: str = "") -> NetworkFacts:
        """The same of a model."""
        return cls(facts.architecture, facts.input_size, facts.num_classes, dataset)


@dataclass(frozen=True)
class Score:
    """What one test said.

    Args:
        statistic: Larger is more suspicious.
        target: The class that stands out most.
    """

    statistic: float
    target: int


@dataclass(frozen=True)
class Record:
    """One network of known truth.

    Args:
        network: What it is like.
        scores: Test name -> what it said; tests that could not be made are missing.
        attack: How it was backdoored; empty for a clean network.
        target: The class that the attacker chose; None for a clean network.
        seed: Of its training.
    """

    network: NetworkFacts
    scores: Mapping[str, Score]
    attack: str = ""
    target: int | None = None
    seed: int = 0

    @property
    def backdoored(self) -> bool:
        """Whether it was attacked."""
        return bool(self.attack)


def scores_of(results: Sequence[TestResult]) -> dict[str, Score]:
    """The scores of those tests that were made."""
    return {
        result.name: Score(result.statistic, result.target)
        for result in results
        if result.statistic is not None and result.target is not None
    }
