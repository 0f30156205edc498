from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from hfscan.fmt import flow, select_channels
from hfscan.types import AuditReport, AuditSettings, DataFacts, LayerAudit, ModelFacts, Verdict

CLEAN = (4, 3, 3)


def layer(name: str, into_one: list[list[int]], flagged: tuple[int, ...] = ()) -> LayerAudit:
    """A layer of which ``into_one[c][s]`` of 10 images end in class 1, the rest in class 0."""
    ones = np.array(into_one)
    counts = np.stack([10 - ones, ones, np.zeros_like(ones)], 2)
    accuracy = (counts[:, :, 0] / 10).astype(np.float32)
    marked = np.isin(np.arange(len(ones)), flagged)
    return LayerAudit(name, len(ones), accuracy, counts, marked, counts[:, 0].sum(1))


def report(*layers: LayerAudit, target: int | None = 1) -> AuditReport:
    return AuditReport(
        model=ModelFacts("./net", None, "net", (3, 8, 8), 3, ("a", "b", "c"), "0" * 64),
        data=DataFacts("./data", None, "test", "0" * 64, 10, ()),
        settings=AuditSettings(),
        clean_accuracy=0.9,
        clean_predictions=CLEAN,
        layers=layers,
        tests=(),
        verdict=Verdict.SUSPICIOUS,
        reason="",
        target=target,
    )


def test_flow_is_the_excess_over_the_clean_images() -> None:
    found = flow(layer("conv", [[3, 3], [10, 8], [0, 1]]), CLEAN, target=1)
    np.testing.assert_allclose(found, [0.0, 0.6, -0.25], atol=1e-6)
    assert found.dtype == np.float32


def test_the_largest_flows_of_each_layer() -> None:
    first = layer("first", [[5], [9], [4], [8]])
    second = layer("second", [[6]] * 3 + [[7]] + [[5]] * 6)
    channels, method = select_channels(report(first, second), 0.4)
    assert channels == {"first": [1, 3], "second": [0, 1, 2, 3]}
    assert "40%" in method
    assert "class b" in method


@pytest.mark.parametrize(("rate", "expected"), [(0.01, 1), (0.25, 1), (0.5, 2), (1.0, 4)])
def test_rate(rate: float, expected: int) -> None:
    channels, _ = select_channels(report(layer("conv", [[5], [9], [4], [8]])), rate)
    assert len(channels["conv"]) == expected


def test_rate_zero_is_none() -> None:
    channels, method = select_channels(report(layer("conv", [[5], [9]])), 0.0)
    assert channels == {}
    assert "only unlearned" in method


def test_equal_flows_go_by_index() -> None:
    channels, _ = select_channels(report(layer("conv", [[5], [5], [5], [5]])), 0.5)
    assert channels == {"conv": [0, 1]}


def test_a_layer_without_flow_loses_its_first_by_rank() -> None:
    outwards, skipped = layer("conv", [[1], [2]]), LayerAudit("stem", 4, skipped="Conv1d")
    assert select_channels(report(outwards, skipped), 0.1)[0] == {"conv": [1]}


def test_a_layer_that_saw_too_few_images_loses_none() -> None:
    unseen = layer("unseen", [[5], [9]])
    unseen = replace(unseen, tested=np.zeros_like(unseen.tested))
    channels, _ = select_channels(report(layer("conv", [[5], [9]]), unseen), 0.5)
    assert channels == {"conv": [1]}


def test_without_a_class_the_flagged_ones() -> None:
    layers = (layer("conv", [[3], [9], [2]], flagged=(0, 2)), layer("last", [[9], [9]]))
    channels, method = select_channels(report(*layers, target=None), 0.1)
    assert channels == {"conv": [0, 2]}
    assert "elliptic" in method
    named = replace(report(*layers, target=None), settings=AuditSettings(detector="kmeans"))
    assert "kmeans" in select_channels(named, 0.1)[1]
