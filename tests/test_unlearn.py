from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from hfscan.errors import DataError
from hfscan.inversion import Additive, Blend, Search, Trigger, Warp
from hfscan.train import FitConfig, fit
from hfscan.types import ImageSet
from hfscan.unlearn import Unlearning, all_families

TARGET = 2
STRONG = Additive(norm=2.0)
WEAK = Additive(norm=0.01)


def success(net: nn.Module, images: ImageSet) -> float:
    pixels = images.images[images.labels != TARGET] / 255
    return Search(steps=40).invert(net, pixels, TARGET, family=STRONG, seed=9).success


def test_families_that_reach_the_class_are_kept(planted_net: nn.Module, tiny_set: ImageSet) -> None:
    unlearning = Unlearning(tiny_set, TARGET, (WEAK, STRONG, Warp(displacement=0.01)))
    assert unlearning.renew(planted_net) == unlearning.triggers[0].success > 0.9
    assert [trigger.family for trigger in unlearning.triggers] == [STRONG]
    assert unlearning.kinds == ["additive"]


def test_the_best_is_kept_where_none_reaches_it(planted_net: nn.Module, tiny_set: ImageSet) -> None:
    unlearning = Unlearning(tiny_set, TARGET, (STRONG, WEAK), reach=1.1)
    unlearning.renew(planted_net)
    assert [trigger.family for trigger in unlearning.triggers] == [STRONG]


@pytest.mark.parametrize(
    ("successes", "seeds", "kept"),
    [
        ([0.6, 0.9, 0.9], [4], 0.6),
        ([0.1, 0.3, 0.8, 0.9], [4, 104, 204], 0.8),
        ([0.1, 0.3, 0.2, 0.9], [4, 104, 204], 0.3),
    ],
)
def test_other_starts_are_tried_only_where_none_reaches_the_class(
    planted_net: nn.Module,
    tiny_set: ImageSet,
    monkeypatch: pytest.MonkeyPatch,
    successes: list[float],
    seeds: list[int],
    kept: float,
) -> None:
    tried: list[int] = []

    def invert(search: Search, *_: Any, seed: int, **__: Any) -> Trigger:
        tried.append(seed)
        return Trigger(STRONG, TARGET, torch.zeros(1, 3, 8, 8), successes[len(tried) - 1])

    monkeypatch.setattr(Search, "invert", invert)
    unlearning = Unlearning(tiny_set, TARGET, (STRONG,), starts=3, seed=4)
    assert unlearning.renew(planted_net) == kept
    assert tried == seeds


def test_each_renewal_goes_on_with_the_same_families(
    planted_net: nn.Module, tiny_set: ImageSet
) -> None:
    again = Search(steps=1)
    unlearning = Unlearning(tiny_set, TARGET, (STRONG, Blend(ratio=0.5)), reach=0, again=again)
    for _ in range(3):
        unlearning.renew(planted_net)
    assert [t.family.name for t in unlearning.triggers] == ["additive", "blend"] * 3
    assert unlearning.kinds == ["additive", "blend"]
    first, second = unlearning.triggers[0].parameters, unlearning.triggers[2].parameters
    assert 0 < (first - second).norm() < first.norm()


def test_no_search_sees_images_of_the_class(
    planted_net: nn.Module, tiny_set: ImageSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those of the class are black."""
    black = tiny_set.labels.eq(TARGET).view(-1, 1, 1, 1)
    images = replace(tiny_set, images=tiny_set.images.masked_fill(black, 0))
    darkest: list[float] = []
    invert = Search.invert

    def noted(search: Search, net: nn.Module, pixels: Tensor, *rest: Any, **options: Any) -> Any:
        darkest.append(float(pixels.mean((1, 2, 3)).min()))
        return invert(search, net, pixels, *rest, **options)

    monkeypatch.setattr(Search, "invert", noted)
    unlearning = Unlearning(images, TARGET, (STRONG,))
    for _ in range(2):
        unlearning.renew(planted_net)
    assert len(darkest) == 2
    assert min(darkest) > 0.2


def test_two_triggers_of_one_family_are_both_renewed(
    planted_net: nn.Module, tiny_set: ImageSet
) -> None:
    other = Additive(norm=1.0)
    unlearning = Unlearning(tiny_set, TARGET, (STRONG, other), reach=0)
    for _ in range(3):
        unlearning.renew(planted_net)
    assert [trigger.family for trigger in unlearning.triggers] == 3 * [STRONG, other]


def test_the_network_is_left_as_it_was(planted_net: nn.Module, tiny_set: ImageSet) -> None:
    planted_net.train()
    before = copy.deepcopy(planted_net.state_dict())
    random_state = torch.random.get_rng_state()
    Unlearning(tiny_set, TARGET, first=Search(steps=2)).renew(planted_net)
    after = planted_net.state_dict()
    assert all(torch.equal(before[key], after[key]) for key in before)
    assert planted_net.training
    assert torch.equal(torch.random.get_rng_state(), random_state)


def test_a_share_of_the_batch_carries_them(tiny_set: ImageSet) -> None:
    shades = [torch.full((1, 3, 8, 8), value) for value in (0.1, 0.2)]
    triggers = [Trigger(STRONG, TARGET, shade, 1.0) for shade in shades]
    unlearning = Unlearning(tiny_set, TARGET, share=0.5, triggers=triggers)
    pixels = torch.full((40, 3, 8, 8), 0.5)
    carried = unlearning.carry(pixels, torch.Generator().manual_seed(0))
    values = carried[:, 0, 0, 0]
    assert set(values[:20].mul(10).round().int().tolist()) == {6, 7}
    assert torch.equal(carried[20:], pixels[20:])
    assert torch.equal(pixels, torch.full_like(pixels, 0.5))


def test_training_unlearns_the_class(planted_net: nn.Module, tiny_set: ImageSet) -> None:
    config = FitConfig(epochs=5, lr=0.01, batch_size=8, padding=0)
    unlearning = Unlearning(tiny_set, TARGET, (STRONG,))
    before = unlearning.renew(planted_net)
    fit(planted_net, tiny_set, config, unlearning=unlearning)
    assert len(unlearning.triggers) == 6  # one more for each epoch
    assert before > 0.9
    assert success(planted_net, tiny_set) < 0.2


def test_one_of_each_family_by_default() -> None:
    names = [family.name for family in all_families()]
    assert names == ["patch", "warp", "blend", "additive", "smooth"]
    assert pytest.approx(0.25) == Unlearning.share


def test_too_few_images_of_other_classes_to_invert_with(
    planted_net: nn.Module, tiny_set: ImageSet
) -> None:
    (mine,) = tiny_set.labels.eq(2).nonzero(as_tuple=True)
    few = tiny_set.subset(torch.cat([mine, torch.tensor([0, 1, 3])]))
    with pytest.raises(DataError, match="3 images of other classes"):
        Unlearning(few, 2).renew(planted_net)
