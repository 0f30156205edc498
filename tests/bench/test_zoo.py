from __future__ import annotations

from collections import Counter

import pytest
import timm

from hfscan.bench.attacks import ATTACKS
from hfscan.bench.tasks import Task
from hfscan.bench.victims import BENIGN, Victims
from hfscan.bench.zoo import EPOCHS, FAMILIES, LONGER, USUAL_RATE, smaller, zoo

ZOO = zoo("cifar10", 10)


def test_it_is_large_enough_and_nobody_is_in_it_twice() -> None:
    kinds = Counter(animal.spec.attack == BENIGN for animal in ZOO)
    assert min(kinds.values()) >= 24
    assert len({animal.spec.key for animal in ZOO}) == len(ZOO)
    assert set(FAMILIES) <= set(timm.list_models())


@pytest.mark.parametrize("held_out", [False, True])
def test_each_half_has_every_family_and_attack(held_out: bool) -> None:
    half = [animal.spec for animal in ZOO if animal.held_out == held_out]
    assert {spec.attack for spec in half} == {BENIGN, *ATTACKS}
    for kind in (True, False):
        some = [spec for spec in half if (spec.attack == BENIGN) == kind]
        assert {spec.architecture for spec in some} == set(FAMILIES)
        assert len(some) >= 12


def test_the_halves_share_no_seed() -> None:
    seeds = [{one.spec.seed for one in ZOO if one.held_out == half} for half in (False, True)]
    assert not seeds[0] & seeds[1]


def test_few_clean_networks() -> None:
    small = zoo("cifar10", 10, clean=1, attacks=["badnets"])
    assert Counter((animal.held_out, animal.spec.attack) for animal in small) == dict.fromkeys(
        [(half, attack) for half in (False, True) for attack in (BENIGN, "badnets")], 5
    )


def test_targets_are_spread_and_rates_go_down_to_one_percent() -> None:
    backdoored = [animal.spec for animal in ZOO if animal.spec.attack != BENIGN]
    assert {spec.target for spec in backdoored} == set(range(10))
    assert min(spec.poison_rate for spec in backdoored) == 0.01
    for spec in backdoored:  # each trigger is seen about equally often, slow ones more often
        longer = LONGER.get(spec.attack, 1) * LONGER.get(spec.architecture, 1)
        assert spec.poison_rate * spec.epochs == pytest.approx(USUAL_RATE * EPOCHS * longer)


def test_a_smaller_task_has_another_name(task: Task, victims: Victims) -> None:
    less = smaller(task, 20)
    assert len(less.train) == 20
    assert less.name == "tiny-20"
    assert smaller(task, 10**6) is task
