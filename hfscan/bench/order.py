"""In which order data sets, attacks and defenses are shown: the paper's, then by name."""

from __future__ import annotations

from collections.abc import Iterable

from hfscan.bench.attacks import ATTACKS
from hfscan.bench.defenses import DEFENSES
from hfscan.bench.tasks import TASKS
from hfscan.types import Trial

POISON_RATE = CLEAN_RATE = 0.1
"""Of the paper's tables I and II."""


def networks_in(trials: Iterable[Trial]) -> list[tuple[str, str, int]]:
    """Data set, architecture and width of the victims of some trials."""
    found = {(t.cell.dataset, t.cell.architecture, t.cell.width) for t in trials}
    order = _ordered({dataset for dataset, _, _ in found}, TASKS)
    return sorted(found, key=lambda each: (order.index(each[0]), *each[1:]))


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
