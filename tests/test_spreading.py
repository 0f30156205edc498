from __future__ import annotations

import dataclasses
import signal
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import pytest
import torch
from dask_cluster import DaskCluster
from torch import nn

import hfscan
from hfscan.channels import ConvLayer
from hfscan.cluster import CLUSTERS
from hfscan.errors import UsageError
from hfscan.models.preactresnet import preactresnet18
from hfscan.pipeline.spreading import Part, Work, balanced, profile_part
from hfscan.types import AuditReport, AuditSettings, HubModel, ImageSet

SETTINGS = AuditSettings(images=8, steps=1, mode="fast", effort=0.5)


def timeless(report: AuditReport) -> AuditReport:
    return dataclasses.replace(report, seconds={}, tests=())


class Here:
    """A cluster of one: this process. It forgets its last part if it is told to, and counts."""

    def __init__(self, *, loses: bool = False) -> None:
        self.loses = loses
        self.parts: list[Part] = []

    def __call__(
        self, function: Callable[..., Any], items: Sequence[Part], shared: tuple[object, ...]
    ) -> Iterator[tuple[Part, Callable[[], Any]]]:
        for item in items:
            self.parts.append(item)
            if self.loses and item == items[-1]:
                yield item, partial(_raise, ConnectionError("gone"))
            else:
                yield item, partial(function, item, *shared)


def _raise(error: Exception) -> None:
    raise error


def test_the_same_report_as_on_one_machine(planted_model: HubModel, tiny_set: ImageSet) -> None:
    here = Here()
    spread = hfscan.audit(planted_model, tiny_set, settings=SETTINGS, spread=here)
    alone = hfscan.audit(planted_model, tiny_set, settings=SETTINGS)
    assert timeless(spread).to_dict() == timeless(alone).to_dict()
    assert sorted(name for part in here.parts for name in part) == sorted(
        layer.layer for layer in alone.layers
    )


def test_what_was_lost_is_tested_here(planted_model: HubModel, tiny_set: ImageSet) -> None:
    spread = hfscan.audit(planted_model, tiny_set, settings=SETTINGS, spread=Here(loses=True))
    alone = hfscan.audit(planted_model, tiny_set, settings=SETTINGS)
    reason = "its worker was lost (ConnectionError: gone)"
    assert f"Some layers were tested on this machine: {reason}." in spread.notes
    assert spread.to_dict()["layers"] == alone.to_dict()["layers"]


def test_a_part_of_a_network_with_an_unused_layer(tiny_net: nn.Module, tiny_set: ImageSet) -> None:
    tiny_net.unused = nn.Conv2d(3, 4, 3)
    (found,) = profile_part(("conv2",), Work(tiny_net, tiny_set, SETTINGS))
    assert found.layer.name == "conv2"
    assert found.tested.any()


def test_a_budget_is_for_one_machine(planted_model: HubModel, tiny_set: ImageSet) -> None:
    with pytest.raises(UsageError, match="budget"):
        hfscan.audit(planted_model, tiny_set, budget=60, spread=Here())


def test_a_worker_is_killed_half_way(dask_cluster: DaskCluster, tiny_set: ImageSet) -> None:
    """The layers in its hands are tested by the other one."""
    torch.manual_seed(0)
    net = preactresnet18(num_classes=4, width=4).eval()
    model = hfscan.wrap(net, input_size=(3, 8, 8), num_classes=4)
    with torch.no_grad():
        logits = model.net(tiny_set.images.float() / 255)
    clean = dataclasses.replace(tiny_set, labels=(logits - logits.mean(0)).argmax(1))
    net.fc.bias.data -= logits.mean(0)
    doomed, _ = dask_cluster.start(2)

    def progress(results: Any, description: str = "", total: float | None = None) -> Iterator[Any]:
        for index, result in enumerate(results):
            yield result
            if index == 0 and description == "testing channels on the cluster":
                doomed.send_signal(signal.SIGKILL)

    work = partial(CLUSTERS["dask"], address=dask_cluster.address)
    spread = hfscan.audit(model, clean, settings=SETTINGS, spread=work, progress=progress)
    alone = hfscan.audit(model, clean, settings=SETTINGS)
    assert doomed.wait() == -signal.SIGKILL
    assert timeless(spread).to_dict() == timeless(alone).to_dict()
    assert len(spread.layers) == 20


def test_parts_are_balanced() -> None:
    layers = [ConvLayer(f"conv{index}", 8 * 2**index, macs=1000) for index in range(6)]
    parts = balanced(layers, 3)
    assert sorted(name for part in parts for name in part) == [layer.name for layer in layers]
    assert parts[0] == ("conv5",)  # as much as all others together
    assert len(parts) == 3
    assert len(balanced(layers, 100)) == 6
    assert balanced([], 3) == []
