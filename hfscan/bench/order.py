"""In which order data sets, attacks and defenses are shown: the paper's, then by name."""

from __future__ import annotations

from collections.abc import Iterable

from hfscan.bench.attacks import ATTACKS
from hfscan.bench.defenses import DEFENSES
from hfscan.bench.tasks import TASKS
from hfscan.types import Trial

POISON_RATE = CLEAN_RATE = 0.1
"""Of the paper's tables I and II."""


def datasets_in(trials: Iterable[Trial]) -> list[str]:
    """The data sets of some trials."""
    return _ordered({trial.cell.dataset for trial in trials}, TASKS)


def attacks_in(trials: Iterable[Trial]) -> list[str]:
    """The attacks of some trials."""
    return _ordered({trial.cell.attack for trial in trials}, ATTACKS)


def defenses_in(trials: Iterable[Trial]) -> list[str]:
    """The defenses of some trials."""
    return _ordered({trial.cell.defense for trial in trials}, DEFENSES)


def usual(trials: Iterable[Trial]) -> list[Trial]:
    """The trials at the usual rates."""
    usual_rates = (POISON_RATE, CLEAN_RATE)
    return [t for t in trials if (t.cell.poison_rate, t.cell.clean_rate) == usual_rates]


def _ordered(present: set[str], known: Iterable[str]) -> list[str]:
    first = [name for name in known if name in present]
    return first + sorted(present.difference(first))
