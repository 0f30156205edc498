from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import timm
import torch
from torch import Tensor, nn

from hfscan.metrics import accuracy
from hfscan.train import FitConfig, augment, fit
from hfscan.types import ImageSet

QUICK = FitConfig(epochs=2, lr=0.05, batch_size=16, padding=1)


def learner() -> nn.Module:
    torch.manual_seed(0)
    return timm.create_model("preactresnet18", width=4, num_classes=4)


def dropping() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(192, 4))


def weights(net: nn.Module) -> list[Tensor]:
    return [tensor.clone() for tensor in net.state_dict().values()]


def equal(one: list[Tensor], other: list[Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("schedule", ["cosine", "one-cycle"])
def test_learns(tiny_set: ImageSet, schedule: Any) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Flatten(), nn.Linear(192, 4)
    )  # without a norm, batches cannot be unlucky
    assert accuracy(net, tiny_set) < 0.6
    config = FitConfig(epochs=30, lr=0.05, batch_size=16, padding=1, schedule=schedule)
    losses = fit(net, tiny_set, config)
    assert len(losses) == 30
    assert losses[-1] < 0.5 * losses[0]
    assert accuracy(net, tiny_set) == 1.0


@pytest.mark.parametrize(("max_norm", "longest"), [(None, 1.0), (1e-3, 1e-3), (1e9, 1.0)])
def test_long_gradients_are_clipped(
    tiny_set: ImageSet, max_norm: float | None, longest: float
) -> None:
    """One step of a loss that is one of the weights: its gradient is 1 there, and 0 elsewhere."""
    net = nn.Sequential(nn.Flatten(), nn.Linear(192, 4))
    before = copy.deepcopy(net.state_dict())
    config = FitConfig(
        1, lr=1.0, batch_size=len(tiny_set), momentum=0, weight_decay=0, max_norm=max_norm
    )
    fit(net, tiny_set, config, objective=lambda net, pixels, labels: next(net.parameters())[0, 0])
    moved = [(after - before[name]).norm() for name, after in net.state_dict().items()]
    assert torch.stack(moved).norm() == pytest.approx(longest, rel=1e-4)


@pytest.mark.parametrize(("schedule", "nesterov"), [("cosine", False), ("one-cycle", True)])
def test_the_optimizer(
    tiny_net: nn.Module,
    tiny_set: ImageSet,
    monkeypatch: pytest.MonkeyPatch,
    schedule: Any,
    nesterov: bool,
) -> None:
    config = FitConfig(
        epochs=1, momentum=0.7, weight_decay=0.03, batch_size=40, padding=1, schedule=schedule
    )
    groups: list[dict[str, Any]] = []
    step = torch.optim.SGD.step

    def noted(optimizer: torch.optim.SGD, *arguments: Any) -> Any:
        groups.extend(optimizer.param_groups)
        return step(optimizer, *arguments)

    monkeypatch.setattr(torch.optim.SGD, "step", noted)
    fit(tiny_net, tiny_set, config)
    (group,) = groups
    assert (group["momentum"], group["weight_decay"]) == (0.7, 0.03)
    assert group["nesterov"] is nesterov
    assert set(map(id, group["params"])) == set(map(id, tiny_net.parameters()))


def test_it_fits_in_bfloat16(tiny_set: ImageSet) -> None:
    net = learner()
    losses = fit(net, tiny_set, FitConfig(epochs=4, lr=0.05, batch_size=16, autocast=True))
    assert losses[-1] < losses[0]
    assert {tensor.dtype for tensor in net.parameters()} == {torch.float32}


@pytest.mark.parametrize("steps", [1, 2, 3, 4, 5])
def test_one_cycle_of_few_steps(tiny_net: nn.Module, tiny_set: ImageSet, steps: int) -> None:
    config = FitConfig(epochs=steps, batch_size=40, padding=1, schedule="one-cycle")
    assert len(fit(tiny_net, tiny_set, config)) == steps


def test_bfloat16_only_where_it_is_fast(
    tiny_set: ImageSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained = []
    for fast, wanted in ((True, True), (False, True), (True, False)):
        monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda fast=fast: fast)
        net = learner()
        fit(net, tiny_set, FitConfig(epochs=1, lr=0.05, batch_size=16, autocast=wanted))
        trained.append(weights(net))
    assert equal(trained[1], trained[2])
    assert not equal(trained[0], trained[1])


@pytest.mark.parametrize("make", [learner, dropping])
def test_the_seed_decides(tiny_set: ImageSet, make: Callable[[], nn.Module]) -> None:
    def trained(seed: int, before: int) -> list[Tensor]:
        net = make()
        torch.manual_seed(before)  # whatever the global random state is
        fit(net, tiny_set, FitConfig(epochs=1, batch_size=16, seed=seed))
        return weights(net)

    assert equal(trained(1, before=2), trained(1, before=3))
    assert not equal(trained(1, before=2), trained(2, before=2))


def test_global_random_state_is_kept(tiny_set: ImageSet) -> None:
    net = dropping()
    state = torch.random.get_rng_state()
    fit(net, tiny_set, QUICK)
    assert torch.equal(torch.random.get_rng_state(), state)


def test_eval_mode_afterwards(tiny_net: nn.Module, tiny_set: ImageSet) -> None:
    modes: list[bool] = []
    tiny_net.bn1.register_forward_hook(lambda module, x, y: modes.append(module.training))
    fit(tiny_net, tiny_set, QUICK)
    assert modes == [True] * 6
    assert not any(module.training for module in tiny_net.modules())


def test_eval_mode_after_an_exception(tiny_net: nn.Module, tiny_set: ImageSet) -> None:
    narrow = tiny_set.resized((2, 2))
    with pytest.raises(RuntimeError):
        fit(tiny_net, narrow, FitConfig(padding=4))  # larger than the image
    assert not any(module.training for module in tiny_net.modules())


@pytest.mark.parametrize("part", ["", "fc"], ids=["all frozen", "backbone frozen"])
def test_frozen_parameters_are_trained_too(tiny_set: ImageSet, part: str) -> None:
    net = learner()
    for name, parameter in net.named_parameters():
        parameter.requires_grad_(bool(part) and name.startswith(part))
    flags = [parameter.requires_grad for parameter in net.parameters()]
    before = [parameter.clone() for parameter in net.parameters()]
    fit(net, tiny_set, QUICK)
    assert not any(map(torch.equal, before, net.parameters()))
    assert [parameter.requires_grad for parameter in net.parameters()] == flags


def test_no_epochs_change_nothing(tiny_net: nn.Module, tiny_set: ImageSet) -> None:
    before = weights(tiny_net)
    assert fit(tiny_net, tiny_set, FitConfig(epochs=0)) == []
    assert equal(weights(tiny_net), before)


def test_a_last_batch_of_one_image(tiny_set: ImageSet) -> None:
    net = learner()  # its last maps have one pixel: batch norms cannot train on one image
    losses = fit(net, tiny_set.subset(torch.arange(33)), QUICK)
    assert len(losses) == 2


def test_progress_sees_every_step(tiny_net: nn.Module, tiny_set: ImageSet) -> None:
    seen: list[float] = []

    def progress(sequence: Any, description: str, total: float) -> Any:
        seen.append(total)
        return sequence

    fit(tiny_net, tiny_set, QUICK, progress=progress)
    assert seen == [6]  # 2 epochs of 3 batches


# --- augmentation


def pictures() -> Tensor:
    return torch.rand(64, 3, 6, 8, generator=torch.Generator().manual_seed(0))


def augmented(config: FitConfig, seed: int = 0) -> Tensor:
    return augment(pictures(), config, torch.Generator().manual_seed(seed))


def test_augmentation_keeps_the_shape_and_the_input() -> None:
    images = pictures()
    out = augment(images, FitConfig(padding=2), torch.Generator().manual_seed(0))
    assert out.shape == images.shape
    assert torch.equal(images, pictures())
    assert not torch.equal(out, images)


def test_augmentation_is_decided_by_the_generator() -> None:
    config = FitConfig(padding=2)
    assert torch.equal(augmented(config, 1), augmented(config, 1))
    assert not torch.equal(augmented(config, 1), augmented(config, 2))


def test_no_augmentation() -> None:
    assert torch.equal(augmented(FitConfig(padding=0, flip=False)), pictures())


def test_flip_mirrors_about_half() -> None:
    out, images = augmented(FitConfig(padding=0)), pictures()
    mirrored = [torch.equal(a, b.flip(2)) for a, b in zip(out, images, strict=True)]
    kept = [torch.equal(a, b) for a, b in zip(out, images, strict=True)]
    assert sum(mirrored) + sum(kept) == 64
    assert 20 < sum(mirrored) < 44


def test_padding_shifts_with_reflection() -> None:
    out, images = augmented(FitConfig(padding=2, flip=False)), pictures()
    padded = nn.functional.pad(images, [2] * 4, mode="reflect")
    shifts = set()
    for index in range(64):
        found = [
            (top, left)
            for top in range(5)
            for left in range(5)
            if torch.equal(padded[index, :, top : top + 6, left : left + 8], out[index])
        ]
        assert len(found) == 1
        shifts |= set(found)
    assert len(shifts) > 15  # of 25
