"""The paper's tables from one's own trials, with the paper's figures beside them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from statistics import mean

from hfscan.bench.attacks import ATTACKS
from hfscan.bench.order import attacks_in, defenses_in
from hfscan.bench.paper import MEAN, NONE, Place, paper_figures
from hfscan.bench.table import COST, COVERAGE, EFFECT, Figures, Row, Table
from hfscan.errors import DataError, UsageError
from hfscan.metrics import der
from hfscan.types import Cell, Trial


def tables(
    trials: Iterable[Trial],
    number: str,
    *,
    defense: str = "fmt",
    poison_rate: float = 0.1,
    clean_rate: float = 0.1,
) -> list[Table]:
    """One table per data set, architecture, width and target class; of tables 3 and 4, those with several rates.

    Args:
        trials: Those that failed are left out; of several seeds, the mean is shown, but for ``"seeds"``.
        number: ``"1"`` to ``"4"``, ``"cost"``, or ``"seeds"``.
        defense: What tables 3 and 4 are about.
        poison_rate: Of the other tables.
        clean_rate: Of the other tables.

    Raises:
        UsageError: There is no such table.
        DataError: No trial belongs in it, or an attack's victims were not all trained alike.
    """
    if number not in BUILDERS:
        raise UsageError(f"there is no table {number!r:.20}", f"choose from {', '.join(BUILDERS)}")
    groups: dict[tuple[str, str, int, int], list[Trial]] = {}
    for trial in trials:
        if trial.error or (number in "34" and trial.cell.defense != defense):
            continue
        if number != "3" and trial.cell.poison_rate != poison_rate:
            continue
        if number != "4" and trial.cell.clean_rate != clean_rate:
            continue
        cell = trial.cell
        key = (cell.dataset, cell.architecture, cell.width, cell.target)
        groups.setdefault(key, []).append(trial)
    for group in groups.values():
        check_alike(group)
    if number in RATES:
        several = {key: group for key, group in groups.items() if len(_rates(group, number)) > 1}
        groups = several or groups
    made = [BUILDERS[number](group) for _, group in sorted(groups.items())]
    if not any(table.rows for table in made):
        raise DataError(
            f"no trial belongs in table {number}", "which rates and seeds have the results?"
        )
    return [table for table in made if table.rows]


def check_alike(trials: Sequence[Trial]) -> None:
    """Raise a DataError if a mean over trials would be of victims that cannot be compared."""
    measured = sorted({t.before.images for t in trials if t.before is not None})
    if len(measured) > 1:
        raise DataError(
            f"victims were measured with {' and '.join(map(str, measured))} images: their mean means nothing",
            "keep results from other --data in files of their own",
        )
    for attack in attacks_in(trials):
        epochs = sorted({t.cell.epochs for t in trials if t.cell.attack == attack})
        if len(epochs) > 1:
            raise DataError(
                f"victims of {attack} were trained for {' and '.join(map(str, epochs))} epochs: "
                "their mean means nothing",
                "keep them in files of their own",
            )


def _effect(trials: Sequence[Trial]) -> Table:
    cell, attacks = trials[0].cell, attacks_in(trials)
    here = [_untouched([t for t in trials if t.cell.attack == attack]) for attack in attacks]
    rows = [Row(NONE, "here", _with_mean(here)), *_paper_effect(cell, NONE, attacks)]
    for defense in defenses_in(trials):
        cells = [_mean_of(trials, attack, defense, _rated) for attack in attacks]
        rows.append(Row(defense, "here", _with_mean(cells)))
        rows += _paper_effect(cell, defense, attacks)
    return Table(_title("Table I: effectiveness", trials), (*attacks, MEAN), EFFECT, tuple(rows))


def _paper_effect(cell: Cell, defense: str, attacks: Sequence[str]) -> list[Row]:
    """The paper's row at a cell's rates, if it has one; its own mean where all of its attacks are shown."""
    paper = paper_figures()
    cells: list[Figures] = []
    for attack in (*attacks, MEAN):
        figures, before = (
            paper.get(Place(1, cell.dataset, attack, name, cell.poison_rate, cell.clean_rate))
            for name in (defense, NONE)
        )
        if figures is None or before is None or figures.metrics is None or before.metrics is None:
            return []
        after = figures.metrics
        rating = None if defense == NONE else der(before.metrics, after)
        cells.append((after.accuracy, after.asr, after.ra, rating))
    if set(attacks) != set(ATTACKS):
        return [Row(defense, "paper", _with_mean(cells[:-1]))]
    return [Row(defense, "paper", tuple(cells))]


def _coverage(trials: Sequence[Trial]) -> Table:
    cell, attacks = trials[0].cell, attacks_in(trials)
    rows: list[Row] = []
    for defense in defenses_in([trial for trial in trials if trial.erased]):
        cells = [
            _mean_of(trials, attack, defense, lambda t: (t.coverage, t.local_coverage))
            for attack in attacks
        ]
        rows.append(Row(defense, "here", _with_mean(cells)))
        paper = [
            paper_figures().get(
                Place(2, cell.dataset, attack, defense, cell.poison_rate, cell.clean_rate)
            )
            for attack in attacks
        ]
        if all(paper):
            found = [(figures.coverage, None) for figures in paper if figures]
            rows.append(Row(defense, "paper", _with_mean(found)))
    return Table(_title("Table II: coverage", trials), (*attacks, MEAN), COVERAGE, tuple(rows))


def _sensitivity(number: str, trials: Sequence[Trial]) -> Table:
    cell, attacks = trials[0].cell, attacks_in(trials)
    rows: list[Row] = []
    for value in _rates(trials, number):
        some = [trial for trial in trials if RATES[number](trial) == value]
        cells = [_mean_of(some, attack, cell.defense, _rated) for attack in attacks]
        label = f"{value * 100:g} %"
        rows.append(Row(label, "here", _with_mean(cells)))
        rates = (value, cell.clean_rate) if number == "3" else (cell.poison_rate, value)
        paper = [
            paper_figures().get(Place(int(number), cell.dataset, attack, cell.defense, *rates))
            for attack in attacks
        ]
        if all(paper):
            found = [(f.accuracy, f.asr, f.ra, None) for f in paper if f]
            rows.append(Row(label, "paper", _with_mean(found)))
    name = "Table III: poison rate" if number == "3" else "Table IV: clean rate"
    title = _title(f"{name}, {cell.defense}", trials)
    return Table(title, (*attacks, MEAN), EFFECT, tuple(rows))


def _cost(trials: Sequence[Trial]) -> Table:
    attacks = attacks_in(trials)
    rows = [
        Row(
            defense,
            "here",
            _with_mean(
                [
                    _mean_of(trials, attack, defense, lambda t: (t.seconds, t.cpu_seconds))
                    for attack in attacks
                ]
            ),
        )
        for defense in defenses_in(trials)
    ]
    return Table(_title("Figure 4: cost", trials), (*attacks, MEAN), COST, tuple(rows))


def _by_seed(trials: Sequence[Trial]) -> Table:
    """The defenses that were tried with several seeds: each seed, and how far the figures lie apart."""
    attacks = attacks_in(trials)
    shown: list[Trial] = []
    rows: list[Row] = []
    for defense in defenses_in(trials):
        mine = [trial for trial in trials if trial.cell.defense == defense]
        seeds = sorted({_seed_of(trial) for trial in mine})
        if len(seeds) < 2:
            continue
        shown += mine
        lines = []
        for seed in seeds:
            some = [trial for trial in mine if _seed_of(trial) == seed]
            cells = [_mean_of(some, attack, defense, _rated) for attack in attacks]
            lines.append(_with_mean(cells))
            rows.append(Row(defense, _named_seed(*seed), lines[-1]))
        rows.append(Row(defense, "range", tuple(map(_range, zip(*lines, strict=True)))))
    return Table(_title("Seeds", shown or trials), (*attacks, MEAN), EFFECT, tuple(rows))


def _seed_of(trial: Trial) -> tuple[int, int]:
    return trial.cell.victim_seed, trial.cell.seed


def _named_seed(victim: int, seed: int) -> str:
    return f"seed {seed} of victim {victim}" if victim else f"seed {seed}"


def _range(cells: Sequence[Figures]) -> Figures:
    """Largest less smallest of each figure; nothing if there are not two."""
    found = [cell for cell in cells if cell]
    return tuple(max(c) - min(c) for c in zip(*found, strict=True)) if len(found) > 1 else ()


BUILDERS: dict[str, Callable[[Sequence[Trial]], Table]] = {
    "1": _effect,
    "2": _coverage,
    "3": lambda trials: _sensitivity("3", trials),
    "4": lambda trials: _sensitivity("4", trials),
    "cost": _cost,
    "seeds": _by_seed,
}
"""``--table`` -> what makes it."""


RATES: dict[str, Callable[[Trial], float]] = {
    "3": lambda trial: trial.cell.poison_rate,
    "4": lambda trial: trial.cell.clean_rate,
}
"""Table -> the rate that it is about."""


def _rates(trials: Sequence[Trial], number: str) -> list[float]:
    return sorted({RATES[number](trial) for trial in trials})


def _title(head: str, trials: Sequence[Trial]) -> str:
    """What the trials are of: what they have in common, and seeds and rates."""
    cell = trials[0].cell
    width = f" of width {cell.width}" if cell.width else ""
    facts = [cell.dataset, f"{cell.architecture}{width}"]
    if cell.target:
        facts.append(f"target {cell.target}")
    for number, name in (("3", "poison rate"), ("4", "clean rate")):
        rates = _rates(trials, number)
        if len(rates) == 1:
            facts.append(f"{name} {rates[0] * 100:g} %")
    facts.append(_seeds(trials, "seed", lambda trial: trial.cell.seed))
    if any(trial.cell.victim_seed for trial in trials):
        facts.append(_seeds(trials, "victim seed", lambda trial: trial.cell.victim_seed))
    return f"{head} ({', '.join(facts)})"


def _seeds(trials: Sequence[Trial], name: str, pick: Callable[[Trial], int]) -> str:
    """All seeds, and whether some cells have not all of them."""
    of_cells: dict[tuple[str, str], set[int]] = {}
    for trial in trials:
        of_cells.setdefault((trial.cell.attack, trial.cell.defense), set()).add(pick(trial))
    every = set().union(*of_cells.values())
    some = any(seeds != every for seeds in of_cells.values())
    numbers = ", ".join(map(str, sorted(every)))
    return f"{name} {numbers}{' (not in all cells)' if some else ''}"


def _rated(trial: Trial) -> Figures:
    assert trial.before is not None
    assert trial.after is not None
    after = trial.after
    return after.accuracy, after.asr, after.ra, der(trial.before, after)


def _untouched(trials: Sequence[Trial]) -> Figures:
    """The mean of the victims of some trials, each once: on another processor the same seed trains another one."""
    victims = {(t.cell.victim_seed, t.before): t.before for t in trials if t.before is not None}
    found = [(m.accuracy, m.asr, m.ra, None) for m in victims.values()]
    return _means(found) if found else (None,) * 4


def _mean_of(
    trials: Sequence[Trial], attack: str, defense: str, pick: Callable[[Trial], Figures]
) -> Figures:
    """The mean over seeds; nothing if there is no such trial."""
    found = [pick(t) for t in trials if (t.cell.attack, t.cell.defense) == (attack, defense)]
    return _means(found) if found else ()


def _with_mean(cells: Sequence[Figures]) -> tuple[Figures, ...]:
    """The cells and their mean, which is left open where a cell is missing."""
    return (*cells, _means(cells) if all(cells) else ())


def _means(cells: Sequence[Figures]) -> Figures:
    columns = zip(*cells, strict=True)
    return tuple(mean(c) if None not in c else None for c in columns)
