from __future__ import annotations

import copy
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from hfscan.errors import AuditError
from hfscan.types import (
    AuditReport,
    AuditSettings,
    CalibrationFacts,
    DataFacts,
    Evidence,
    LayerAudit,
    Metrics,
    ModelFacts,
    Picture,
    Proof,
    Rate,
    Reactivation,
    Relearning,
    RepairReport,
    RepairSettings,
    Suppression,
    TestResult,
    TriggerOutcome,
    Verdict,
)

PIXEL = (
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR42mP4z8AAAAMBAQD3A0FDAAAAAElFTkSuQmCC"
)
"""A red one."""


def report() -> AuditReport:
    """Two tested layers and a skipped one, 10 images of 3 classes."""
    counts = np.array([[[4, 3, 3], [10, 0, 0]], [[0, 0, 10], [3, 3, 4]]])
    accuracy = np.array([[0.9, 0.4], [1 / 3, 1.0]], np.float32)
    return AuditReport(
        model=ModelFacts(
            "org/net", "0" * 40, "resnet18", (3, 8, 8), 3, ("a", "b", "c"), "1" * 64, "x", (0.5,)
        ),
        data=DataFacts(
            "org/data", None, "test", "2" * 64, 10, ("a", "b", "c"), *("img", "fine", {"x": 1})
        ),
        settings=AuditSettings(images=10),
        clean_accuracy=0.9,
        clean_predictions=(4, 3, 3),
        layers=(
            LayerAudit("one", 2, accuracy, counts, np.array([True, False]), np.array([10, 10])),
            LayerAudit("two", 2, accuracy, counts, np.array([False, False]), np.array([10, 10])),
            LayerAudit("three", 5, skipped="Conv1d is not supported"),
        ),
        tests=(
            TestResult(
                *("margin", 3.0, 0.01, 2, (1.0, 2.0, 9.0), "logits"),
                seconds=1.5,
                evidence=Evidence("patch", 0.01, "share of the pixels", 0.9),
                calibrated=True,
            ),
            TestResult("other", None, None, None, (), "logits", skipped="too few classes"),
        ),
        verdict=Verdict.SUSPICIOUS,
        reason="one class stands out",
        target=2,
        notes=("note",),
        seconds={"tests": 1.5},
        versions={"hfscan": "0"},
        p_value=0.01,
        calibration=CalibrationFacts("zoo", 12, "near", 0.02, 0.002, {"clean": Rate(12, 1, 0, 0)}),
        pictures=(Picture("reversed", PIXEL, "one", 1, 0, 2, share=0.5),),
        suppression=Suppression("HFS002", "a toy model", "2027-01-31"),
    )


def plain(report: AuditReport | RepairReport) -> dict[str, Any]:
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
    bool: [None, "true", 1, [], {}],
    float: [None, "0.5", True, [0.5], {}],
    list: [None, 5, "list", {"0": 1}],
    dict: [5, "object", [1]],
    type(None): [5, ["x"], {}],
}
"""JSON of other types, by type."""

OPTIONAL = {
    ("model", "revision"),
    *(("data", key) for key in ("revision", "image_column", "label_column", "label_map")),
    *(("tests", 0, key) for key in ("statistic", "p_value", "target", "evidence")),
    ("p_value",),
    ("calibration",),
    ("target",),
    ("suppression",),
    *(("pictures", 0, key) for key in ("channel", "label", "predicted", "share")),
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
        (("clean_predictions", 0), -1),
        (("clean_predictions", 0), 10**19),
        (("layers", 0, "channels"), 3),
        (("layers", 0, "channels"), 10**15),
        (("layers", 0, "tested"), [10]),
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
        (("clean_accuracy",), 10**19),
        (("seconds", "tests"), -(10**19)),
        (("settings", "images"), 2**63),
        (("suppression", "expires"), "soon"),
        (("suppression", "expires"), "20270131"),
        (("suppression", "expires"), "2027-02-30"),
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


PROOF = Proof(
    images=8,
    triggers=(TriggerOutcome("patch", 0.01, "share of the pixels", 0.9, 0.1),),
    reactivation=Reactivation(
        "patch", (0, 5), Relearning(0, (0.1, 0.3)), (Relearning(1, (0.0, 0.4)),)
    ),
)


def repair_report() -> RepairReport:
    return RepairReport(
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
        proof=PROOF,
    )


def test_a_repair_is_no_audit() -> None:
    with pytest.raises(AuditError, match="the report of a repair, not of an audit"):
        AuditReport.from_dict(plain(repair_report()))


def test_repair_report() -> None:
    result = repair_report()
    assert result.accuracy_drop == pytest.approx(0.025)
    data = json.loads(json.dumps(result.to_dict()))
    assert data["erased"] == {"one": [0, 1]}
    assert AuditReport.from_dict(data["audit"]).to_dict() == report().to_dict()
    again = RepairReport.from_dict(data)
    assert again.proof == PROOF
    assert plain(again) == data


@pytest.mark.parametrize(
    ("path", "wrong"),
    [
        (("reactivation", "suspected", "target"), 99),
        (("reactivation", "controls", 0, "target"), -1),
        (("reactivation", "suspected", "success"), [0.1]),
        (("reactivation", "controls"), []),
        (("triggers", 0, "before"), "all"),
        (("images",), None),
    ],
    ids=str,
)
def test_a_proof_that_makes_no_sense(path: tuple[Any, ...], wrong: Any) -> None:
    data = plain(repair_report())
    at(data["proof"], path[:-1])[path[-1]] = wrong
    with pytest.raises(AuditError, match="damaged"):
        RepairReport.from_dict(data)
