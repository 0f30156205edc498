from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hfscan.calibration import (
    Calibration,
    NetworkFacts,
    Record,
    Score,
    closest,
    distance,
    is_near,
    load_calibration,
)
from hfscan.calibration.combine import bonferroni, evidence, suspected
from hfscan.calibration.fitting import evaluate, fit, judged, without_each
from hfscan.calibration.null import leave_one_out, p_value, threshold
from hfscan.errors import UsageError
from hfscan.types import Rate, TestResult

NETWORK = NetworkFacts("preactresnet18", (3, 32, 32), 10, "cifar10")
TARGET = 3


def records(count: int, attack: str = "", seed: int = 0) -> list[Record]:
    """Networks with log-normal statistics of two tests; an attack shows in one of them, at class 3."""
    rng = np.random.default_rng(seed)
    found = []
    for index in range(count):
        one, two = np.expm1(np.abs(rng.normal(0.8, 0.25, 2)))
        scores = {
            "one": Score(one, int(rng.integers(10))),
            "two": Score(two, int(rng.integers(10))),
        }
        if attack:
            scores[attack] = Score(12.0 + index, TARGET)
        found.append(Record(NETWORK, scores, attack, TARGET if attack else None, index))
    return found


@pytest.fixture
def calibration() -> Calibration:
    return fit(records(12), name="zoo", description="twelve clean networks")


# --- the null distribution


def test_p_values_are_never_below_what_so_few_networks_show() -> None:
    null = [1.0, 1.2, 1.4, 1.6, 1.8, 2.0, 2.2, 2.4, 2.6]
    assert p_value(null, 0.5) == 1.0
    assert p_value(null, 1.8) >= 0.6
    assert p_value(null, 2.6) >= 0.2
    assert p_value(null, 2.7) <= 0.1  # beyond them the fitted tail holds
    assert p_value(null, 30.0) < 0.001


def test_the_tail_is_that_of_one_more_network() -> None:
    """Of 9 logarithms the mean is 1 and the variance 0.075; Student's t of 8 degrees exceeds 2.896 in 1 %."""
    null = np.expm1(np.arange(0.6, 1.45, 0.1)).tolist()
    statistic = float(np.expm1(1 + 2.896 * np.sqrt(0.075 * (1 + 1 / 9))))
    assert p_value(null, statistic) == pytest.approx(0.01, rel=1e-3)


def test_p_values_fall_with_the_statistic() -> None:
    null = np.expm1(np.abs(np.random.default_rng(1).normal(1, 0.3, 15))).tolist()
    values = [p_value(null, each) for each in np.linspace(0, 40, 400)]
    assert all(a >= b for a, b in itertools.pairwise(values))


def test_false_positive_rate_of_the_fitted_tail() -> None:
    """One more log-normal network has a p-value below 5 % about as often as that, whoever the others are."""
    rng = np.random.default_rng(0)
    below = 0
    for _ in range(400):
        *null, new = np.expm1(rng.normal(1.0, 0.2, 13)).tolist()
        below += p_value(null, new) < 0.05
    assert 5 <= below <= 32


def test_equal_statistics_have_a_believable_spread() -> None:
    assert p_value([2.0] * 10, 2.2) > 0.05


def test_threshold() -> None:
    null = [1.0, 1.5, 2.0, 2.5, 3.0, 1.2, 1.7, 2.2]
    found = threshold(null, 0.01)
    assert p_value(null, found) < 0.01 <= p_value(null, found * 0.998)


def test_leaving_one_out() -> None:
    null = [1.0, 1.5, 2.0, 2.5, 9.0, 1.2, 1.7, 2.2]
    found = leave_one_out(null)
    assert found[4] == p_value([1.0, 1.5, 2.0, 2.5, 1.2, 1.7, 2.2], 9.0) == min(found)


# --- combining


def test_combining() -> None:
    assert bonferroni([0.5, 0.01]) == 0.02
    assert evidence([(0.01, 3), (1.0, 1), (0.1, 2), (1.0, 3)]) == pytest.approx(2)
    assert evidence([(0.01, 3), (0.01, 3)]) == pytest.approx(4)
    assert evidence([(0.01, 3), (0.01, 4)]) == pytest.approx(2)  # they do not agree
    assert evidence([(1.0, 3), (1.0, 3)]) == 0
    assert evidence([(0.0, 3)]) == 12  # no p-value is believed to be smaller
    assert suspected([(0.01, 3), (0.02, 5), (0.04, 5)]) == 5
    assert suspected([(0.0001, 3), (0.02, 5), (0.04, 5)]) == 3


# --- fit and evaluate


def test_fit_uses_the_clean_networks_only(calibration: Calibration) -> None:
    assert (
        fit([*records(5, "one"), *records(12)], name="zoo", description="").nulls
        == calibration.nulls
    )
    assert calibration.networks == (NETWORK,) * 12
    assert len(calibration.null("one")) == 12
    with pytest.raises(UsageError, match="7 clean networks are too few"):
        fit([*records(7), *records(9, "one")], name="zoo", description="")


def test_attacks_that_a_test_sees_are_found(calibration: Calibration) -> None:
    held_out = [*records(40, seed=5), *records(6, "one", 6), *records(6, "two", 7)]
    found = evaluate(calibration, held_out)
    rows = {row.attack: row for row in found.rows}
    assert list(rows) == ["clean", "all", "one", "two"]
    assert rows["clean"].rate.networks == 40
    assert rows["clean"].rate.suspicious <= 3
    assert rows["clean"].rate.named == 0
    assert rows["clean"].auroc is None
    assert rows["all"].auroc == 1.0
    assert rows["one"].rate == Rate(6, 6, rows["one"].rate.backdoored, 6)
    assert found.tests["one"] < 1.0  # it does not see the other attack
    assert set(found.roc) == {"all tests", "one", "two"}
    assert all((curve[0], curve[-1]) == ((0.0, 0.0), (1.0, 1.0)) for curve in found.roc.values())
    assert set(found.rates) == {"clean", "one", "two"}


def test_what_is_missed_without_a_test(calibration: Calibration) -> None:
    held_out = [*records(40, seed=5), *records(6, "one", 6), *records(6, "two", 7)]
    found = without_each(calibration, held_out)
    assert list(found) == ["one", "two"]
    for test, other in (("one", "two"), ("two", "one")):
        assert found[test][test].suspicious < found[test][other].suspicious == 6
    whole = replace(calibration, rates={"one": Rate(6, 6, 6, 6)}, without=found)
    assert whole.rates_of(["one", "two", "three"]) == whole.rates
    assert whole.rates_of(["one"]) == found["two"]
    assert whole.rates_of([]) == {}


def test_a_test_that_was_not_made_does_not_count(calibration: Calibration) -> None:
    (record,) = records(1, "one")
    alone = replace(record, scores={"one": record.scores["one"]})
    outcome = judged(calibration, alone)
    assert outcome is not None
    assert outcome.target == TARGET
    assert outcome.p_value < 0.02
    assert judged(calibration, replace(record, scores={"three": Score(5.0, 1)})) is None


def test_only_networks_with_all_tests_are_compared_with() -> None:
    old = [replace(r, scores={"one": r.scores["one"]}) for r in records(12)]
    votes = {"one": (0.5, 1), "two": (1e-4, TARGET)}
    made = fit([*old, *records(9, seed=1)], name="zoo", description="")
    assert len(made._evidence(["one", "two"])) == 9
    assert len(made._evidence(["one"])) == 21
    assert made.combined(votes) != made.combined({"one": votes["one"]})
    few = [replace(r, scores={"two": r.scores["two"]}) for r in records(8, seed=1)]
    apart = fit([*old, *few], name="zoo", description="")
    assert apart.combined(votes) == (2 * 1e-4, ["two"])  # no network has both: each by itself


def test_a_test_of_too_few_networks_is_not_calibrated() -> None:
    few = [replace(r, scores={"one": r.scores["one"]}) for r in records(12)[:7]]
    made = fit([*few, *records(12)[7:]], name="zoo", description="")
    assert made.nulls["two"][:7] == (None,) * 7
    assert made.null("two") == ()
    assert made.p_value("two", 5.0) is None
    assert made.thresholds("two") is None


def test_results_get_calibrated_p_values(calibration: Calibration) -> None:
    tests = (
        TestResult("one", 30.0, 0.5, 3, (), ""),
        TestResult("three", 30.0, 0.5, 3, (), ""),
        TestResult("two", None, None, None, (), "", "too few classes"),
    )
    one, three, two = calibration.applied(tests)
    assert one.calibrated
    assert one.p_value == calibration.p_value("one", 30.0) < 0.01
    assert (three, two) == tests[1:]
    suspicious, backdoored = calibration.thresholds("one") or (0, 0)
    assert 0 < suspicious < backdoored < 30


# --- files


def test_round_trip(calibration: Calibration, tmp_path: Path) -> None:
    rates = {"clean": Rate(12, 1, 0), "badnets": Rate(4, 4, 3, 4)}
    whole = replace(calibration, rates=rates, without={"one": {"clean": Rate(12, 0, 0)}})
    path = tmp_path / "zoo.json"
    path.write_text(json.dumps(whole.to_dict()))
    assert load_calibration(path) == whole


def change(*path: str | int, to: Any) -> Callable[[dict[str, Any]], None]:
    def changed(data: dict[str, Any]) -> None:
        for key in path[:-1]:
            data = data[key]
        data[path[-1]] = to

    return changed


HOSTILE = {
    "schema": change("schema", to=True),
    "no tests": change("nulls", to={}),
    "a row too short": change("nulls", "one", to=[1.0]),
    "infinite": change("nulls", "one", to=[float("inf")] * 12),
    "text": change("nulls", "one", to=["1"] * 12),
    "a rate": change("suspicious_rate", to=2.0),
    "rates the wrong way round": change("backdoored_rate", to=0.5),
    "measured": change(
        "rates", to={"clean": {"networks": 1, "suspicious": 2, "backdoored": 0, "named": 0}}
    ),
    "measured without a test": change(
        "without",
        to={"a": {"clean": {"networks": 1, "suspicious": 2, "backdoored": 0, "named": 0}}},
    ),
    "no networks": change("networks", to=[]),
    "no classes": change(
        "networks", to=[{"architecture": "a", "input_size": [3, 8, 8], "num_classes": 0}] * 12
    ),
    "too many classes": change("networks", 0, "num_classes", to=10**400),
    "too large": change("networks", 0, "input_size", to=[3, 8, 10**400]),
    "a long name": change("name", to="x" * 1000),
    "unknown": change("unknown", to=1),
    "null": change("networks", to=None),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_files(name: str, calibration: Calibration, tmp_path: Path) -> None:
    data = json.loads(json.dumps(calibration.to_dict()))
    HOSTILE[name](data)
    path = tmp_path / "zoo.json"
    path.write_text(json.dumps(data))
    with pytest.raises(UsageError, match="calibration"):
        load_calibration(path)


@pytest.mark.parametrize("text", ["", "[]", "{", "[" * 100_000, "\0", '{"schema": 1}'])
def test_files_that_are_no_calibration(text: str, tmp_path: Path) -> None:
    path = tmp_path / "zoo.json"
    path.write_text(text)
    with pytest.raises(UsageError):
        load_calibration(path)
    with pytest.raises(UsageError, match="cannot read"):
        load_calibration(tmp_path / "missing.json")


# --- the closest


def test_the_closest_calibration(calibration: Calibration) -> None:
    big = replace(
        calibration, name="big", networks=(NetworkFacts("resnet50", (3, 224, 224), 1000),) * 12
    )
    assert closest(NETWORK, [big, calibration]) is calibration
    assert "networks of this architecture" in distance(NETWORK, calibration)
    other = NetworkFacts("resnet26d", (3, 160, 160), 500)
    assert closest(other, [calibration, big]) is big
    assert "resnet26d (calibrated: resnet50)" in distance(other, big)
    assert closest(NETWORK, []) is None


@pytest.mark.parametrize(
    ("network", "near"),
    [
        (NETWORK, True),
        (replace(NETWORK, architecture="vgg11"), True),
        (replace(NETWORK, architecture="vgg11", num_classes=12), False),
        (replace(NETWORK, num_classes=14), True),
        (replace(NETWORK, num_classes=15), False),
        (replace(NETWORK, input_size=(3, 64, 64)), True),
        (replace(NETWORK, num_classes=1000), False),
        (replace(NETWORK, architecture="vgg11", input_size=(3, 224, 224)), False),
    ],
)
def test_what_is_near(calibration: Calibration, network: NetworkFacts, near: bool) -> None:
    assert is_near(network, calibration) is near
