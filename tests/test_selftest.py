from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable
from typing import TypeVar

import pytest
import torch

from hfscan.bench.victims import BENIGN
from hfscan.errors import DataError, UsageError
from hfscan.selftest import PLANTABLE, Control, PlantSettings, selftest
from hfscan.types import AuditSettings, HubModel, ImageSet, Verdict
from hfscan.weights import weights_sha256

T = TypeVar("T")
QUICK = AuditSettings(images=4, steps=1, mode="fast", tests=("maximum-margin",))


def test_each_attack_and_class_once(tiny_model: HubModel, tiny_set: ImageSet) -> None:
    before = weights_sha256(tiny_model.net)
    plant = PlantSettings(targets=3, epochs=1)
    controls = list(selftest(tiny_model, tiny_set, plant=plant, settings=QUICK))
    *planted, without = controls
    assert (without.attack, without.target, without.asr) == (BENIGN, None, None)
    assert [control.attack for control in planted] == [name for name in PLANTABLE for _ in "123"]
    assert len({(control.attack, control.target) for control in planted}) == 6
    assert weights_sha256(tiny_model.net) == before
    again = list(selftest(tiny_model, tiny_set, plant=plant, settings=QUICK))
    assert [dataclasses.replace(c, seconds=0) for c in again] == [
        dataclasses.replace(c, seconds=0) for c in controls
    ]


def test_what_planted_neither_audits_nor_measures(
    tiny_model: HubModel, tiny_set: ImageSet, noting: Callable[[str], list[set[bytes]]]
) -> None:
    planted, tuned, *measured = (
        noting(f"hfscan.selftest.{name}")
        for name in ("poison", "fit", "audit", "attacked", "accuracy")
    )
    plant = PlantSettings(("badnets",), targets=1, epochs=1)
    list(selftest(tiny_model, tiny_set, plant=plant, settings=QUICK))
    (tuning,), (_, without) = planted, tuned
    assert tuning == without
    (held_out,) = {frozenset(images) for given in measured for images in given}
    assert len(tuning) == len(held_out) == 20
    assert not tuning & held_out


def test_a_trigger_is_really_planted(tiny_model: HubModel, tiny_set: ImageSet) -> None:
    plant = PlantSettings(("badnets",), targets=1, epochs=60, lr=0.1, batch_size=8, poison_rate=0.3)
    control, without = selftest(tiny_model, tiny_set, plant=plant, settings=QUICK)
    assert not without.planted
    assert control.asr is not None
    assert control.asr >= 0.8
    assert control.planted


def test_what_counts() -> None:
    caught = Control("badnets", 1, 0.9, 0.95, Verdict.SUSPICIOUS, 1, 0.01, 1.0)
    assert caught.planted
    assert caught.caught
    assert caught.named
    elsewhere = dataclasses.replace(caught, suspected=2)
    assert elsewhere.caught
    assert not elsewhere.named
    missed = dataclasses.replace(caught, verdict=Verdict.NO_BACKDOOR_FOUND, suspected=None)
    assert missed.planted
    assert not missed.caught
    without = dataclasses.replace(caught, attack=BENIGN, target=None, asr=None)
    assert without.accused
    assert not without.planted
    assert not without.caught
    weak = dataclasses.replace(caught, asr=0.4)
    assert not weak.planted
    assert not weak.caught


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (PlantSettings(("wanet",)), "--attacks cannot be 'wanet'"),
        (PlantSettings(()), "--attacks"),
        (PlantSettings(targets=0), "--targets cannot be 0"),
        (PlantSettings(poison_rate=1.0), "--poison-rate cannot be 1.0"),
        (PlantSettings(lr=float("nan")), "--lr cannot be nan"),
    ],
)
def test_settings_out_of_range(
    wrong: PlantSettings, message: str, tiny_model: HubModel, tiny_set: ImageSet
) -> None:
    with pytest.raises(UsageError, match=message):
        next(selftest(tiny_model, tiny_set, plant=wrong))


def test_too_few_images(tiny_model: HubModel, tiny_set: ImageSet) -> None:
    two = tiny_set.subset(torch.tensor([0, 1]))
    with pytest.raises(DataError):
        next(selftest(tiny_model, two, plant=PlantSettings(poison_rate=0.99), settings=QUICK))


def test_too_high_a_rate_is_refused_before_anything_is_tuned(
    tiny_model: HubModel, tiny_set: ImageSet
) -> None:
    stages: list[str] = []

    def noted(items: Iterable[T], description: str = "", total: float | None = None) -> Iterable[T]:
        stages.append(description)
        return items

    plant = PlantSettings(poison_rate=0.99)
    with pytest.raises(DataError, match="cannot be poisoned"):
        next(selftest(tiny_model, tiny_set, plant=plant, settings=QUICK, progress=noted))
    assert stages == []
