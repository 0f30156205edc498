from __future__ import annotations

from dataclasses import replace

import pytest
import timm
import torch
from torch import Tensor, nn

from hfscan.errors import UsageError
from hfscan.fmt import profile
from hfscan.fmt.precision import choose_precision, working_copy
from hfscan.types import AuditSettings, ImageSet

SETTINGS = AuditSettings(images=40, steps=1, step_size=0.1, eps=0.1)


@pytest.mark.parametrize(
    ("precision", "dtype"),
    [("fp32", torch.float32), ("bf16", torch.bfloat16), ("fp16", torch.float16)],
)
def test_the_copy_is_in_that_precision(
    tiny_net: nn.Module, tiny_set: ImageSet, precision: str, dtype: torch.dtype
) -> None:
    made = working_copy(tiny_net.train(), precision)
    pixels, labels = next(tiny_set.batches(40))
    assert made.net.conv1.weight.dtype == dtype
    assert not any(module.training for module in made.modules())
    assert not any(parameter.requires_grad for parameter in made.parameters())
    logits = made(pixels)
    assert logits.dtype == torch.float32
    assert (logits.argmax(1) == labels).all()
    assert tiny_net.training
    assert tiny_net.conv1.weight.dtype == torch.float32
    assert tiny_net.conv1.weight.requires_grad


def test_weights_in_half_precision_are_computed_with_in_the_one_that_is_asked_for(
    tiny_net: nn.Module,
) -> None:
    made = working_copy(tiny_net.to(torch.bfloat16), "fp32")
    assert {parameter.dtype for parameter in made.parameters()} == {torch.float32}


def test_a_small_network_stays_in_float32(tiny_net: nn.Module, tiny_set: ImageSet) -> None:
    assert choose_precision(tiny_net, tiny_set, SETTINGS).name == "fp32"


class Brittle(nn.Module):
    """Its answers hang on bits that half precision does not have."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> Tensor:
        logits = self.net(x)
        return logits if logits.dtype == torch.float32 else -logits


def test_half_precision_must_keep_the_answers(tiny_net: nn.Module, tiny_set: ImageSet) -> None:
    wish = replace(SETTINGS, precision="bf16")
    assert choose_precision(tiny_net, tiny_set, wish).agreement == 1
    with pytest.raises(UsageError, match="changes this network's answers"):
        choose_precision(Brittle(tiny_net), tiny_set, wish)


@pytest.mark.parametrize(("dtype", "name"), [(torch.bfloat16, "bf16"), (None, "fp32")])
def test_auto_takes_what_is_fast_and_agrees(
    tiny_net: nn.Module,
    tiny_set: ImageSet,
    monkeypatch: pytest.MonkeyPatch,
    dtype: torch.dtype | None,
    name: str,
) -> None:
    monkeypatch.setattr("hfscan.fmt.precision.fast_half", lambda device: dtype)
    monkeypatch.setattr("hfscan.fmt.precision.MIN_WEIGHTS", 0)
    assert choose_precision(tiny_net, tiny_set, SETTINGS).name == name
    assert choose_precision(Brittle(tiny_net), tiny_set, SETTINGS).name == "fp32"


def test_it_does_not_look_at_a_clock(
    tiny_net: nn.Module, tiny_set: ImageSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.perf_counter", None)
    monkeypatch.setattr("time.monotonic", None)
    wish = replace(SETTINGS, precision="bf16")
    assert choose_precision(tiny_net, tiny_set, wish).agreement == 1


def test_profiles_hardly_differ(tiny_set: ImageSet) -> None:
    torch.manual_seed(0)
    net = timm.create_model("preactresnet18", width=4, num_classes=4)
    results = [
        list(profile(net, tiny_set, replace(SETTINGS, precision=precision)))
        for precision in ("fp32", "bf16")
    ]
    assert all(not layer.skipped for layers in results for layer in layers)
    moved = [
        abs(one.predictions - other.predictions).sum() / 2 / one.predictions.sum()
        for one, other in zip(*results, strict=True)
    ]
    assert max(moved) < 0.1
