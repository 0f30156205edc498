from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hfscan.bench.calibrating import (
    Audited,
    append_audited,
    calibrated,
    described,
    markdown,
    missing,
    read_audited,
    survey,
)
from hfscan.bench.tasks import Task
from hfscan.bench.victims import BENIGN, Victims, VictimSpec
from hfscan.bench.zoo import Animal, zoo
from hfscan.calibration import NetworkFacts, Record, Score
from hfscan.errors import DataError, UsageError
from hfscan.model_tests import TESTS
from hfscan.types import AuditSettings

QUICK = AuditSettings(images=4, steps=1, mode="fast", effort=0.05, tests=("vulnerability",))


def made(animal: Animal, statistic: float, asr: float = 1.0) -> Audited:
    """A network of the zoo, as if it had been audited."""
    spec = animal.spec
    clean = spec.attack == BENIGN
    record = Record(
        NetworkFacts(spec.architecture, (3, 32, 32), 10, spec.dataset),
        {name: Score(statistic, spec.target) for name in TESTS},
        attack="" if clean else spec.attack,
        target=None if clean else spec.target,
        seed=spec.seed,
    )
    rate = spec.poison_rate
    return Audited(spec.key, animal.held_out, record, rate, 0.8, None if clean else asr, 1.5)


def audited_zoo(classes: int = 10) -> list[Audited]:
    """All networks of the zoo; backdoored ones stand out."""
    random = np.random.default_rng(0)
    return [
        made(animal, float(random.normal(2, 0.3) + (20 if animal.spec.attack != BENIGN else 0)))
        for animal in zoo("cifar10", classes)
    ]


def test_a_network_is_trained_and_audited(victims: Victims, task: Task, tmp_path: Path) -> None:
    spec = VictimSpec("tiny", "badnets", 2, width=4, target=1)
    animals = [Animal(spec, held_out=True), Animal(spec.benign, held_out=False)]
    path = tmp_path / "zoo.jsonl"
    for one in survey(animals, task, victims, settings=QUICK):
        append_audited(path, one)
    backdoored, clean = read_audited(path)
    assert (backdoored.key, backdoored.held_out) == (spec.key, True)
    assert (backdoored.record.attack, backdoored.record.target) == ("badnets", 1)
    assert backdoored.asr is not None
    assert (clean.record.attack, clean.record.target, clean.asr) == ("", None, None)
    assert not clean.record.backdoored
    assert clean.record.network.architecture == "preactresnet18"
    assert set(clean.record.scores) <= {"vulnerability"}


def test_missing_networks_and_those_audited_before_a_test_came_are_to_be_audited() -> None:
    animals, networks = zoo("cifar10", 10), audited_zoo()
    older = replace(networks[3].record, scores={"vulnerability": Score(2.0, 1)})
    networks[3] = replace(networks[3], record=older)
    assert missing(animals, networks[:-2], TESTS) == [animals[3], *animals[-2:]]
    assert missing(animals, networks, ["vulnerability"]) == []


def test_one_half_fits_and_the_other_measures() -> None:
    networks = audited_zoo()
    calibration, measured = calibrated(networks, name="zoo", description="of a test")
    fitting = [one for one in networks if not one.held_out and one.asr is None]
    assert len(calibration.networks) == len(fitting)
    rates = {row.attack: row.rate for row in measured.rows}
    held_out = [one for one in networks if one.held_out]
    assert rates["clean"].networks + rates["all"].networks == len(held_out)
    assert rates["all"].suspicious == rates["all"].named == rates["all"].networks
    assert calibration.rates == measured.rates
    assert calibration.without.keys() == calibration.nulls.keys()


def test_what_the_measuring_half_says_changes_no_threshold() -> None:
    networks = audited_zoo()
    other = [
        replace(one, record=replace(one.record, scores={"vulnerability": Score(99.0, 0)}))
        if one.held_out
        else one
        for one in networks
    ]
    one, two = (calibrated(each, name="zoo", description="")[0] for each in (networks, other))
    assert one.nulls == two.nulls
    assert one.rates != two.rates


def test_a_backdoor_that_does_not_work_is_left_out() -> None:
    networks = audited_zoo()
    weak = [replace(one, asr=0.3) if one.record.attack == "ssba" else one for one in networks]
    _, measured = calibrated(weak, name="zoo", description="")
    assert "ssba" not in {row.attack for row in measured.rows}
    assert "10 more were left out: their trigger works for less than 50%" in described(weak)
    assert "left out" not in described(networks)


def test_too_few_clean_networks() -> None:
    with pytest.raises(UsageError, match="too few"):
        calibrated(audited_zoo()[:4], name="zoo", description="")


def test_the_table() -> None:
    _, measured = calibrated(audited_zoo(), name="zoo", description="")
    text = markdown(measured)
    assert text.startswith(
        "| networks | tested | suspicious or worse | backdoored | right class | AUROC |"
    )
    assert "| all | 25 | 25 | 25 | 25 of 25 | 1.000 |" in text
    assert "| vulnerability | 1.000 |" in text


@pytest.mark.parametrize("line", ["{", "[]", '{"key": 1}', "null"])
def test_other_files(line: str, tmp_path: Path) -> None:
    path = tmp_path / "zoo.jsonl"
    path.write_text(line + "\n")
    with pytest.raises(DataError, match="is not an audited network"):
        read_audited(path)
