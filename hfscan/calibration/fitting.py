"""Makes calibrations from networks of known truth, and measures them with others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from sklearn.metrics import roc_auc_score, roc_curve

from hfscan.calibration.calibration import Calibration
from hfscan.calibration.combine import evidence, suspected
from hfscan.calibration.null import MIN_NETWORKS
from hfscan.calibration.records import Record
from hfscan.errors import UsageError
from hfscan.types import Rate

CLEAN = "clean"
"""Stands for no attack in tables."""

TOGETHER = "all tests"
"""Stands for the combined evidence among the tests."""

Points = tuple[tuple[float, float], ...]
"""Of a ROC curve."""


@dataclass(frozen=True)
class Outcome:
    """What a calibration says of one network.

    Args:
        p_value: Of all tests together.
        evidence: How strongly the tests speak against a clean network; larger is more suspicious.
        target: The class that most speaks for.
    """

    p_value: float
    evidence: float
    target: int


@dataclass(frozen=True)
class Row:
    """A line of the table of an evaluation.

    Args:
        attack: Name of the attack, or ``"clean"``, or ``"all"`` attacks.
        rate: What became of its networks.
        auroc: Area under the ROC curve of its networks against the clean ones, in [0, 1]; None for clean ones.
    """

    attack: str
    rate: Rate
    auroc: float | None = None


@dataclass(frozen=True)
class Evaluation:
    """What a calibration makes of networks that had no part in it.

    Args:
        rows: One for the clean networks, one for all attacks, one per attack.
        tests: Test name -> area under the ROC curve of its statistic alone.
        roc: ``"all tests"`` and each test's name -> points ``(false-positive rate, true-positive rate)``,
            of all attacks; none where either kind of network is missing.
    """

    rows: tuple[Row, ...]
    tests: dict[str, float]
    roc: dict[str, Points]

    @property
    def rates(self) -> dict[str, Rate]:
        """Attack -> what became of its networks, for `Calibration.rates`."""
        return {row.attack: row.rate for row in self.rows if row.attack != "all"}


def fit(records: Sequence[Record], *, name: str, description: str) -> Calibration:
    """Make a calibration from the clean networks among the records.

    Args:
        records: Networks of known truth; the backdoored ones have no part in the null distributions.
        name: What to call it.
        description: Of the zoo, for people.

    Raises:
        UsageError: There are too few clean networks.
    """
    clean = [record for record in records if not record.backdoored]
    if len(clean) < MIN_NETWORKS:
        raise UsageError(
            f"{len(clean)} clean networks are too few to calibrate with",
            f"at least {MIN_NETWORKS} are needed",
        )
    names = list(dict.fromkeys(name for record in clean for name in record.scores))
    return Calibration(
        name=name,
        description=description,
        networks=tuple(record.network for record in clean),
        nulls={test: tuple(_score(record, test)[0] for record in clean) for test in names},
        named={test: tuple(_score(record, test)[1] for record in clean) for test in names},
        seeds=tuple(sorted({record.seed for record in records})),
    )


def judged(calibration: Calibration, record: Record) -> Outcome | None:
    """What a calibration says of a network; None if no calibrated test was made of it."""
    found = {
        name: calibration.p_value(name, score.statistic) for name, score in record.scores.items()
    }
    votes = {name: (p, record.scores[name].target) for name, p in found.items() if p is not None}
    if not votes:
        return None
    p_value, names = calibration.combined(votes)
    return Outcome(
        p_value, evidence(list(votes.values())), suspected([votes[name] for name in names])
    )


def evaluate(calibration: Calibration, records: Sequence[Record]) -> Evaluation:
    """Measure a calibration with networks that had no part in it, of which some must be clean.

    Networks of which no calibrated test was made count as not detected.
    """
    outcomes = [judged(calibration, record) for record in records]
    attacks = list(dict.fromkeys(record.attack for record in records if record.backdoored))
    scores = [0.0 if outcome is None else outcome.evidence for outcome in outcomes]
    groups = {CLEAN: [""], "all": attacks, **{attack: [attack] for attack in attacks}}
    rows = []
    for label, members in groups.items():
        mine = [i for i, record in enumerate(records) if record.attack in members]
        rate = _rate(calibration, [(records[i], outcomes[i]) for i in mine])
        area = None if label == CLEAN else _auroc(records, scores, members)
        rows.append(Row(label, rate, area))
    roc = {TOGETHER: _roc(records, scores)}
    for test in calibration.nulls:
        made = [record for record in records if test in record.scores]
        roc[test] = _roc(made, [record.scores[test].statistic for record in made])
    return Evaluation(tuple(rows), _alone(calibration, records, attacks), roc)


def without_each(calibration: Calibration, records: Sequence[Record]) -> dict[str, dict[str, Rate]]:
    """What becomes of the networks where one test is left out, for `Calibration.without`.

    Args:
        calibration: Of all tests.
        records: Networks that had no part in it.

    Returns:
        Test name -> attack -> rate.
    """
    return {
        test: evaluate(calibration, [_without(record, test) for record in records]).rates
        for test in calibration.nulls
    }


def _without(record: Record, test: str) -> Record:
    others = {name: score for name, score in record.scores.items() if name != test}
    return replace(record, scores=others)


def left_out_in_turn(records: Sequence[Record]) -> list[Outcome]:
    """What calibrations say of clean networks, each fitted with all the others.

    Args:
        records: Clean networks, at least one more than `fit` needs.
    """
    outcomes = []
    for index, record in enumerate(records):
        others = fit([*records[:index], *records[index + 1 :]], name="", description="")
        if (outcome := judged(others, record)) is not None:
            outcomes.append(outcome)
    return outcomes


def _roc(records: Sequence[Record], scores: Sequence[float]) -> Points:
    """All attacks against the clean networks."""
    truth = [record.backdoored for record in records]
    if len(set(truth)) < 2:
        return ()
    false, true, _ = roc_curve(truth, scores)
    return tuple((round(float(f), 6), round(float(t), 6)) for f, t in zip(false, true, strict=True))


def _alone(
    calibration: Calibration, records: Sequence[Record], attacks: Sequence[str]
) -> dict[str, float]:
    areas = {}
    for test in calibration.nulls:
        made = [record for record in records if test in record.scores]
        area = _auroc(made, [record.scores[test].statistic for record in made], attacks)
        if area is not None:
            areas[test] = area
    return areas


def _auroc(
    records: Sequence[Record], scores: Sequence[float], attacks: Sequence[str]
) -> float | None:
    """Of the networks of some attacks against the clean ones; None if either are missing."""
    pairs = [
        (record.backdoored, score)
        for record, score in zip(records, scores, strict=True)
        if not record.backdoored or record.attack in attacks
    ]
    if len({backdoored for backdoored, _ in pairs}) < 2:
        return None
    return float(roc_auc_score([b for b, _ in pairs], [s for _, s in pairs]))


def _rate(calibration: Calibration, judged_: Sequence[tuple[Record, Outcome | None]]) -> Rate:
    found = [
        (record, outcome)
        for record, outcome in judged_
        if outcome is not None and outcome.p_value < calibration.suspicious_rate
    ]
    strong = [outcome for _, outcome in found if outcome.p_value < calibration.backdoored_rate]
    named = sum(record.backdoored and outcome.target == record.target for record, outcome in found)
    return Rate(len(judged_), len(found), len(strong), named)


def _score(record: Record, test: str) -> tuple[float | None, int | None]:
    score = record.scores.get(test)
    return (None, None) if score is None else (score.statistic, score.target)
