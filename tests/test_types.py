from __future__ import annotations

import copy
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from hfscan.errors import AuditError, DataError
from hfscan.types import (
    AuditReport,
    AuditSettings,
    DataFacts,
    ImageSet,
    LayerAudit,
    Metrics,
    ModelFacts,
    RepairReport,
    RepairSettings,
    TestResult,
    Verdict,
    stratified_order,
)

# --- image sets


def image_set(labels: list[int], size: tuple[int, int] = (4, 6)) -> ImageSet:
    images = torch.arange(len(labels), dtype=torch.uint8)[:, None, None, None]
    return ImageSet("set", images.expand(-1, 3, *size).contiguous(), torch.tensor(labels))


def numbers(images: ImageSet) -> list[int]:
    """Which images of `image_set` these are."""
    return images.images[:, 0, 0, 0].tolist()


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (torch.zeros(2, 3, 4, 4), torch.zeros(2).long(), "images must be uint8"),
        (torch.zeros(2, 1, 4, 4).byte(), torch.zeros(2).long(), "images must be uint8"),
        (torch.zeros(3, 4, 4).byte(), torch.zeros(3).long(), "images must be uint8"),
        (torch.zeros(2, 3, 4, 4).byte(), torch.zeros(2), "labels must be int64"),
        (torch.zeros(2, 3, 4, 4).byte(), torch.zeros(3).long(), "labels must be int64"),
        (torch.zeros(2, 3, 4, 4).byte(), torch.zeros(2, 1).long(), "labels must be int64"),
        (torch.zeros(2, 3, 4, 4).byte(), torch.tensor([0, -1]), "label -1 is negative"),
    ],
)
def test_wrong_shapes_and_types(images: torch.Tensor, labels: torch.Tensor, message: str) -> None:
    with pytest.raises(DataError, match=message):
        ImageSet("set", images, labels)


def test_from_arrays() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (5, 4, 6, 3), np.uint8)
    last = ImageSet.from_arrays(pixels, [0, 1, 2, 1, 0], ["a", "b", "c"], name="mine")
    first = ImageSet.from_arrays(pixels.transpose(0, 3, 1, 2), np.array([0, 1, 2, 1, 0], np.int32))
    assert torch.equal(last.images, first.images)
    assert last.images[1, 2, 3, 4] == pixels[1, 3, 4, 2]
    assert last.labels.tolist() == first.labels.tolist() == [0, 1, 2, 1, 0]
    assert (last.name, last.classes, last.size, len(last)) == ("mine", ("a", "b", "c"), (4, 6), 5)


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (np.zeros((2, 4, 4, 3)), [0, 1], "images must be uint8 in"),
        (np.zeros((2, 4, 4, 3), np.uint8), [0.0, 1.0], "labels must be integers"),
        (np.zeros((2, 4, 4, 4), np.uint8), [0, 1], "images must be uint8"),
        (np.zeros((2, 4, 4, 3), np.uint8), [0, 1, 2], "labels must be int64"),
    ],
)
def test_arrays_that_do_not_fit(images: Any, labels: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        ImageSet.from_arrays(images, labels)


def test_batches() -> None:
    images = image_set([0, 1, 0, 1, 0])
    batches = list(images.batches(2))
    assert [len(labels) for _, labels in batches] == [2, 2, 1]
    pixels = torch.cat([pixels for pixels, _ in batches])
    assert pixels.dtype == torch.float32
    torch.testing.assert_close(pixels[:, 0, 0, 0], torch.arange(5) / 255)


def test_batches_are_shuffled_by_the_generator() -> None:
    images = image_set(list(range(20)))
    orders = [
        torch.cat([y for _, y in images.batches(6, generator=torch.Generator().manual_seed(seed))])
        for seed in (0, 0, 1)
    ]
    assert orders[0].tolist() == orders[1].tolist() != orders[2].tolist()
    assert sorted(orders[0].tolist()) == list(range(20))


def test_stratified_order() -> None:
    labels = torch.tensor([0] * 50 + [1] * 10 + [2] * 3)
    order = stratified_order(labels, seed=0)
    assert sorted(order.tolist()) == list(range(63))
    assert torch.bincount(labels[order[:9]]).tolist() == [3, 3, 3]
    assert torch.bincount(labels[order[:23]]).tolist() == [10, 10, 3]
    assert order.tolist() == stratified_order(labels, seed=0).tolist()
    assert order.tolist() != stratified_order(labels, seed=1).tolist()


def test_sample() -> None:
    images = image_set([0, 0, 0, 0, 0, 0, 1, 1, 2, 2])
    sample = images.sample(6, seed=0)
    assert torch.bincount(sample.labels).tolist() == [2, 2, 2]
    assert numbers(sample) == sorted(numbers(sample))
    assert images.sample(10, seed=0) is images


@pytest.mark.parametrize(("fraction", "expected"), [(0.8, 16), (0.5, 10), (0.01, 0), (0.99, 20)])
def test_split(fraction: float, expected: int) -> None:
    images = image_set([0, 1] * 10)
    first, rest = images.split_at(fraction, seed=0)
    assert (len(first), len(rest)) == (expected, 20 - expected)
    assert sorted(numbers(first) + numbers(rest)) == list(range(20))
    counts = torch.bincount(first.labels, minlength=2)
    assert abs(int(counts[0] - counts[1])) <= 1


def test_resized() -> None:
    images = image_set([0, 1, 2])
    resized = images.resized((8, 12))
    assert resized.size == (8, 12)
    assert resized.images.dtype == torch.uint8
    assert numbers(resized) == [0, 1, 2]
    assert images.resized((4, 6)) is images


def test_the_fingerprint_is_of_pixels_and_labels() -> None:
    images = image_set([0, 1, 2])
    prints = {
        images.facts.fingerprint,
        replace(images, name="other", split="train").facts.fingerprint,
    }
    assert len(prints) == 1
    prints.add(replace(images, labels=torch.tensor([0, 1, 1])).facts.fingerprint)
    prints.add(replace(images, images=images.images + 1).facts.fingerprint)
    assert len(prints) == 3


# --- reports


def report() -> AuditReport:
    """Two tested layers and a skipped one, 10 images of 3 classes."""
    counts = np.array([[[4, 3, 3], [10, 0, 0]], [[0, 0, 10], [3, 3, 4]]])
    accuracy = np.array([[0.9, 0.4], [1 / 3, 1.0]], np.float32)
    return AuditReport(
        model=ModelFacts(
            "org/net", "0" * 40, "resnet18", (3, 8, 8), 3, ("a", "b", "c"), "1" * 64, "x", (0.5,)
        ),
        data=DataFacts("org/data", None, "test", "2" * 64, 10, ("a", "b", "c")),
        settings=AuditSettings(images=10),
        clean_accuracy=0.9,
        clean_predictions=(4, 3, 3),
        layers=(
            LayerAudit("one", 2, accuracy, counts, np.array([True, False])),
            LayerAudit("two", 2, accuracy, counts, np.array([False, False])),
            LayerAudit("three", 5, skipped="Conv1d is not supported"),
        ),
        tests=(
            TestResult("margin", 3.0, 0.01, 2, (1.0, 2.0, 9.0), "logits", seconds=1.5),
            TestResult("other", None, None, None, (), "logits", skipped="too few classes"),
        ),
        verdict=Verdict.SUSPICIOUS,
        reason="one class stands out",
        target=2,
        notes=("note",),
        seconds={"tests": 1.5},
        versions={"hfscan": "0"},
    )


def plain(report: AuditReport) -> dict[str, Any]:
    return json.loads(json.dumps(report.to_dict()))


def test_round_trip() -> None:
    again = AuditReport.from_dict(plain(report()))
    assert again.to_dict() == report().to_dict()
    assert again.model == report().model
    assert again.tests == report().tests
    assert again.verdict is Verdict.SUSPICIOUS
    assert again.layers[0].accuracy.dtype == np.float32
    assert again.layers[0].predictions.dtype == np.int64
    assert again.layers[0].predictions.tolist() == report().layers[0].predictions.tolist()
    assert again.flagged == {"one": [0]}


@pytest.mark.parametrize("verdict", Verdict)
def test_round_trip_without_a_target(verdict: Verdict) -> None:
    bare = replace(report(), verdict=verdict, target=None, layers=(), tests=())
    assert AuditReport.from_dict(plain(bare)).to_dict() == bare.to_dict()


def test_the_class_is_there_by_name() -> None:
    assert report().to_dict()["target"] == {"index": 2, "name": "c"}
    nameless = replace(report().model, label_names=())
    assert nameless.label(2) == "class 2"


@pytest.mark.parametrize("data", [None, [], "report", {}, {"schema": 0}, {"schema": "1"}])
def test_something_else(data: Any) -> None:
    with pytest.raises(AuditError, match="not an hfscan audit report"):
        AuditReport.from_dict(data)


def damaged(change: Callable[[dict[str, Any]], object]) -> None:
    data = plain(report())
    change(data)
    with pytest.raises(AuditError, match="audit report"):
        AuditReport.from_dict(data)


@pytest.mark.parametrize("key", plain(report()))
def test_a_missing_key(key: str) -> None:
    damaged(lambda data: data.pop(key))


@pytest.mark.parametrize(
    "path",
    [
        *(("model", key) for key in ("ref", "revision", "num_classes", "weights_sha256")),
        *(("data", key) for key in ("name", "fingerprint", "images")),
        *(("tests", 0, key) for key in ("name", "statistic", "p_value", "target")),
        *(("layers", 0, key) for key in plain(report())["layers"][0]),
        ("layers", 2, "skipped"),
        ("target", "index"),
    ],
)
def test_a_missing_key_further_down(path: tuple[Any, ...]) -> None:
    damaged(lambda data: at(data, path[:-1]).pop(path[-1]))


def at(data: Any, path: tuple[Any, ...]) -> Any:
    for key in path:
        data = data[key]
    return data


WRONG: dict[type, list[Any]] = {
    str: [None, 5, ["x"], {}],
    int: [None, "5", 1.5, True, [5], {}],
    float: [None, "0.5", True, [0.5], {}],
    list: [None, 5, "list", {"0": 1}],
    dict: [5, "object", [1]],
    type(None): [5, ["x"], {}],
}
"""JSON of other types, by type."""

OPTIONAL = {
    ("model", "revision"),
    ("data", "revision"),
    *(("tests", 0, key) for key in ("statistic", "p_value", "target")),
    ("target",),
}
"""Where null is right too."""


def leaves(data: Any, path: tuple[Any, ...] = ()) -> list[tuple[tuple[Any, ...], Any]]:
    """All values with the way to them; of a list the first one stands for all."""
    below: list[tuple[tuple[Any, ...], Any]] = [(path, data)] if path else []
    if isinstance(data, dict):
        return below + [leaf for key in data for leaf in leaves(data[key], (*path, key))]
    if isinstance(data, list) and data:
        return below + leaves(data[0], (*path, 0))
    return below


MUTATIONS = [
    (path, wrong)
    for path, value in leaves(plain(report()))
    if path[0] != "schema" and path != ("target", "name")
    for wrong in WRONG[type(value)]
    if not (wrong is None and path in OPTIONAL)
]


def test_there_are_many_mutations() -> None:
    assert len(MUTATIONS) > 200


@pytest.mark.parametrize(("path", "wrong"), MUTATIONS, ids=str)
def test_a_value_of_another_type(path: tuple[Any, ...], wrong: Any) -> None:
    damaged(lambda data: at(data, path[:-1]).__setitem__(path[-1], copy.copy(wrong)))


@pytest.mark.parametrize(
    ("path", "wrong"),
    [
        (("verdict",), "CLEAN"),
        (("target", "index"), 3),
        (("target", "index"), -1),
        (("tests", 0, "target"), 3),
        (("tests", 0, "unknown"), 3),
        (("model", "num_classes"), 4),
        (("model", "num_classes"), 10**15),
        (("model", "input_size"), [3, 8]),
        (("clean_predictions",), [5, 5]),
        (("layers", 0, "channels"), 3),
        (("layers", 0, "channels"), 10**15),
        (("layers", 0, "flagged"), [2]),
        (("layers", 0, "flagged"), [-1]),
        (("layers", 0, "accuracy"), [[0.9, 0.4]]),
        (("layers", 0, "accuracy"), [[0.9, 0.4], [0.5]]),
        (("layers", 0, "accuracy"), [[0.9], [0.5]]),
        (("layers", 0, "accuracy"), [0.9, 0.5]),
        (("layers", 0, "predictions", 0, 0), {"3": 10}),
        (("layers", 0, "predictions", 0, 0), {"-1": 10}),
        (("layers", 0, "predictions", 0, 0), {"one": 10}),
        (("layers", 0, "predictions", 0, 0), {"0": 9}),
        (("layers", 0, "predictions", 0, 0), {"0": 10**30}),
        (("layers", 0, "predictions", 0), [{"0": 10}]),
        (("layers", 0, "predictions"), []),
    ],
    ids=str,
)
def test_a_value_out_of_range(path: tuple[Any, ...], wrong: Any) -> None:
    damaged(lambda data: at(data, path[:-1]).__setitem__(path[-1], wrong))


def test_the_arrays_of_a_layer_belong_together() -> None:
    layer = report().layers[0]
    for change in (
        {"flagged": np.zeros(3, np.bool_)},
        {"channels": 3},
        {"accuracy": layer.accuracy.reshape(-1, 1)},
    ):
        with pytest.raises(AssertionError):
            replace(layer, **change)


def test_repair_report() -> None:
    result = RepairReport(
        audit=report(),
        data=report().data,
        settings=RepairSettings(),
        erased={"one": [0, 1]},
        method="by hand",
        before=Metrics(0.9, images=10),
        erased_only=Metrics(0.5, images=10),
        after=Metrics(0.875, images=10),
        tests_before=report().tests,
        tests_after=(),
        verdict_after=Verdict.NO_BACKDOOR_FOUND,
        weights_sha256="3" * 64,
    )
    assert result.accuracy_drop == pytest.approx(0.025)
    data = json.loads(json.dumps(result.to_dict()))
    assert data["erased"] == {"one": [0, 1]}
    assert AuditReport.from_dict(data["audit"]).to_dict() == report().to_dict()
