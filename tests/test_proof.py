from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from hfscan.data import load_images
from hfscan.hub.load import load
from hfscan.inversion import Additive, Patch
from hfscan.pipeline.proof import STEPS, prove
from hfscan.types import ImageSet, Proof, Reactivation, Relearning

EXAMPLES = Path(__file__).parents[1] / "examples"
TARGET = 2
STRONG = Additive(norm=3.0)


def proof(before: nn.Module, after: nn.Module, images: ImageSet, target: int = TARGET) -> Proof:
    found = prove(before, after, images, images, target, families=(STRONG,), seed=1)
    assert found is not None
    return found


def strongest(found: Proof) -> float:
    return max(trigger.after for trigger in found.triggers)


def test_the_same_network_still_obeys(planted_net: nn.Module, tiny_set: ImageSet) -> None:
    found = proof(planted_net, planted_net, tiny_set)
    assert [trigger.family for trigger in found.triggers] == ["additive"]
    assert all(trigger.before == trigger.after for trigger in found.triggers)
    assert found.images == int((tiny_set.labels != TARGET).sum())
    assert strongest(found) > 0.8
    again = found.reactivation
    assert again is not None
    assert again.suspected.target == TARGET
    assert TARGET not in [control.target for control in again.controls]
    assert {len(one.success) for one in (again.suspected, *again.controls)} == {len(STEPS)}
    assert again.suspected.success[0] == strongest(found)
    assert again.faster


def test_a_clean_network_obeys_no_trigger_of_a_backdoored_one() -> None:
    backdoored, clean = (
        load(str(EXAMPLES / name)).net for name in ("badnets-cifar10", "clean-cifar10")
    )
    images = load_images(str(EXAMPLES / "cifar10-clean"), split="test", size=(32, 32))
    tuning, held_out = images.sample(200, seed=0).split_at(0.5, seed=0)
    found = prove(backdoored, clean, tuning, held_out, 0, families=(Patch(),), seed=1)
    assert found is not None
    (patch,) = found.triggers
    assert patch.before > 0.9
    assert patch.after < 0.1
    again = found.reactivation
    assert again is not None
    assert again.suspected.success[0] == patch.after
    assert not again.faster


def test_the_same_seed_gives_the_same(planted_net: nn.Module, tiny_set: ImageSet) -> None:
    before = copy.deepcopy(planted_net.state_dict())
    random_state = torch.random.get_rng_state()
    first, second = (proof(planted_net, planted_net, tiny_set) for _ in range(2))
    assert first == second
    after = planted_net.state_dict()
    assert all(torch.equal(before[key], after[key]) for key in before)
    assert not any(parameter.grad is not None for parameter in planted_net.parameters())
    assert torch.equal(torch.random.get_rng_state(), random_state)


class Bright(nn.Module):
    """Takes bright images for the target, others for class 0."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.eye(4)[TARGET])

    def forward(self, images: Tensor) -> Tensor:
        return (images.mean((1, 2, 3)) - 0.5)[:, None] * self.weight


def test_what_makes_a_trigger_does_not_measure_it(tiny_set: ImageSet) -> None:
    """What tunes is dark, what measures is bright."""
    tuning, held_out = (replace(tiny_set, images=tiny_set.images // 4 + k) for k in (0, 180))
    brightest: list[float] = []

    class Watched(Additive):
        def apply(self, images: Tensor, parameters: Tensor) -> Tensor:
            if torch.is_grad_enabled():
                brightest.append(float(images.max()))
            return super().apply(images, parameters)

    net = Bright()
    found = prove(net, net, tuning, held_out, TARGET, families=(Watched(norm=0.01),), seed=1)
    assert found is not None
    assert max(brightest) < 0.5
    (weak,) = found.triggers
    assert weak.before == weak.after == 1.0
    assert found.reactivation is not None
    assert found.reactivation.suspected.success[0] == 1.0


def test_images_of_the_class_alone_prove_nothing(
    planted_net: nn.Module, tiny_set: ImageSet
) -> None:
    own = tiny_set.subset((tiny_set.labels == TARGET).nonzero().flatten())
    assert prove(planted_net, planted_net, own, own, TARGET, seed=0) is None


@pytest.mark.parametrize(("controls", "faster"), [((0.1, 0.7), False), ((0.1, 0.3), True)])
def test_faster_than_all_controls(controls: tuple[float, ...], faster: bool) -> None:
    others = tuple(Relearning(k, (share, share)) for k, share in enumerate(controls))
    assert Reactivation("patch", (0, 5), Relearning(2, (0.5, 0.9)), others).faster is faster
