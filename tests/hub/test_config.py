from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from hfscan.errors import ModelError
from hfscan.hub.config import REDIRECTS, REFUSED_ARGS, Config, read_config

CFG = {"input_size": [3, 32, 32], "mean": [0.5, 0.5, 0.5], "std": [0.2, 0.2, 0.2]}
GOOD: dict[str, Any] = {
    "architecture": "resnet18",
    "num_classes": 3,
    "label_names": ["a", "b", "c"],
    "model_args": {"width": 2},
    "pretrained_cfg": CFG,
}


def read(folder: Path, data: Any) -> Config:
    (folder / "config.json").write_text(data if isinstance(data, str) else json.dumps(data))
    return read_config(folder)


def test_a_good_one(tmp_path: Path) -> None:
    config = read(tmp_path, GOOD)
    assert config.architecture == "resnet18"
    assert config.num_classes == 3
    assert config.label_names == ("a", "b", "c")
    assert config.model_args == {"width": 2}
    assert config.pretrained_cfg == {**CFG, "num_classes": 3}
    assert config.notes == ()


def test_a_tag_belongs_to_the_architecture(tmp_path: Path) -> None:
    assert read(tmp_path, {**GOOD, "architecture": "resnet18.a1_in1k"}).architecture == (
        "resnet18.a1_in1k"
    )


def test_the_old_flat_layout(tmp_path: Path) -> None:
    config = read(tmp_path, {"architecture": "resnet18", "num_features": 512, **CFG})
    assert config.num_classes == 1000
    assert config.pretrained_cfg == {**CFG, "num_classes": 1000}


@pytest.mark.parametrize(
    ("data", "classes"),
    [
        ({"num_classes": 7}, 7),
        ({"pretrained_cfg": {**CFG, "num_classes": 8}}, 8),
        ({"num_classes": 9, "pretrained_cfg": {**CFG, "num_classes": 8}}, 9),
        ({"model_args": {"num_classes": 6}}, 6),
        ({}, 1000),
    ],
)
def test_number_of_classes(tmp_path: Path, data: dict[str, Any], classes: int) -> None:
    config = read(tmp_path, {"architecture": "resnet18", "pretrained_cfg": CFG, **data})
    assert config.num_classes == config.pretrained_cfg["num_classes"] == classes


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ({"label_names": ["x", "y", "z"]}, ("x", "y", "z")),
        ({"pretrained_cfg": {**CFG, "label_names": ["x", "y", "z"]}}, ("x", "y", "z")),
        ({"id2label": {"0": "x", "1": "y", "2": "z"}}, ("x", "y", "z")),
        ({"id2label": {"0": "x", "1": "y"}}, ()),
        ({"label_names": {"2": "z", "0": "x", "1": "y"}}, ("x", "y", "z")),
        ({"label_names": ["x", "y"]}, ()),
        ({"label_names": {"x": 0, "y": 1, "z": 2}}, ()),
        ({"label_names": "xyz"}, ()),
        ({}, ()),
    ],
)
def test_label_names(tmp_path: Path, names: dict[str, Any], expected: tuple[str, ...]) -> None:
    data = {key: value for key, value in GOOD.items() if key != "label_names"}
    config = read(tmp_path, {**data, **names})
    assert config.label_names == expected
    assert bool(config.notes) == (bool(names) and not expected)
    assert all("the same order was not checked" in note for note in config.notes)


def test_arguments_may_be_nested_deeply(tmp_path: Path) -> None:
    deep = f'{{"x": {"[" * 900}8193{"]" * 900}}}'
    text = json.dumps({**GOOD, "model_args": "ARGS"}).replace('"ARGS"', deep)
    with pytest.raises(ModelError, match="numbers that no network needs"):
        read(tmp_path, text)


def test_what_is_missing_is_noted(tmp_path: Path) -> None:
    config = read(tmp_path, {**GOOD, "pretrained_cfg": {"input_size": [3, 32, 32]}})
    assert config.notes == ("config.json does not say mean, std: timm's defaults are used",)


@pytest.mark.parametrize(("mode", "noted"), [("squash", True), ("center", False), (None, False)])
def test_another_crop_is_noted(tmp_path: Path, mode: str | None, noted: bool) -> None:
    config = read(tmp_path, {**GOOD, "pretrained_cfg": {**CFG, "crop_mode": mode}})
    assert any("crop_mode 'squash'" in note for note in config.notes) == noted


@pytest.mark.parametrize(
    ("fixed", "args", "expected"),
    [
        (False, {"in_chans": 1}, [1, 32, 32]),
        (False, {"img_size": 48}, [3, 32, 32]),
        (True, {"img_size": 48}, [3, 48, 48]),
        (True, {"img_size": [48, 40], "in_chans": 1}, [1, 48, 40]),
        (True, {"img_size": 48, "dynamic_img_size": True}, [3, 32, 32]),
    ],
)
def test_the_input_size_of_older_exports(
    tmp_path: Path, fixed: bool, args: dict[str, Any], expected: list[int]
) -> None:
    cfg = {**CFG, "fixed_input_size": fixed}
    config = read(tmp_path, {**GOOD, "pretrained_cfg": cfg, "model_args": args})
    assert config.pretrained_cfg["input_size"] == expected


def test_where_weights_came_from_is_dropped(tmp_path: Path) -> None:
    places = {"url": "https://x.example/w.pth", "file": "/w", "hf_hub_id": "a/b", "source": "url"}
    places["custom_load"] = "hf"
    config = read(tmp_path, {**GOOD, "pretrained_cfg": {**CFG, **places}})
    assert config.pretrained_cfg == {**CFG, "num_classes": 3}


@pytest.mark.parametrize("key", REDIRECTS)
@pytest.mark.parametrize("flat", [False, True])
def test_other_weights_are_refused(tmp_path: Path, key: str, flat: bool) -> None:
    data = (
        {"architecture": "resnet18", **CFG, key: "other.bin"}
        if flat
        else {**GOOD, "pretrained_cfg": {**CFG, key: "other.bin"}}
    )
    with pytest.raises(ModelError, match=f"config.json sets {key}"):
        read(tmp_path, data)


@pytest.mark.parametrize("key", REFUSED_ARGS)
def test_arguments_of_the_builder_are_refused(tmp_path: Path, key: str) -> None:
    with pytest.raises(ModelError, match=f"config.json sets model_args.{key}"):
        read(tmp_path, {**GOOD, "model_args": {key: False}})


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("", "not valid JSON"),
        ("{", "not valid JSON"),
        ("[" * 100_000, "not valid JSON"),
        ("[1]", "not a JSON object"),
        ({}, "names no timm architecture"),
        ({"architectures": ["ViTForImageClassification"]}, "ViTForImageClassification"),
        ({**GOOD, "architecture": 5}, "names no timm architecture"),
        ({**GOOD, "architecture": "resnet_18"}, "does not know the architecture 'resnet_18'"),
        ({**GOOD, "architecture": "../x"}, "does not know the architecture"),
        ({**GOOD, "pretrained_cfg": []}, "must be objects"),
        ({**GOOD, "model_args": [1]}, "must be objects"),
        ({**GOOD, "num_classes": 1}, "declares 1 classes"),
        ({**GOOD, "num_classes": -1}, "declares -1 classes"),
        ({**GOOD, "num_classes": "3"}, "declares '3' classes"),
        ({**GOOD, "num_classes": True}, "declares True classes"),
        ({**GOOD, "num_classes": 0}, "declares 0 classes: the model is no classifier"),
        ({**GOOD, "model_args": {"num_classes": 4}}, "contradicts itself"),
        ({**GOOD, "model_args": {"aa_layer": None}}, "null, about which loaders disagree"),
        ({**GOOD, "model_args": {"depth": 10**7}}, "numbers that no network needs"),
        ({**GOOD, "model_args": {"depth": 10**400}}, "numbers that no network needs"),
        ({**GOOD, "model_args": {"width": math.inf}}, "numbers that no network needs"),
        ({**GOOD, "model_args": {"x": [math.nan]}}, "numbers that no network needs"),
        ({**GOOD, "model_args": {"layers": [{"n": [5000, 5000]}]}}, "numbers that no network"),
        ({**GOOD, "model_args": {"in_chans": "3"}}, "input_size in config.json cannot be"),
        ({**GOOD, "pretrained_cfg": {**CFG, "mean": [10**400] * 3}}, "mean in config.json cannot"),
        (
            {**GOOD, "pretrained_cfg": {**CFG, "std": [float("nan")] * 3}},
            "std in config.json cannot",
        ),
        ({**GOOD, "pretrained_cfg": {**CFG, "crop_pct": float("inf")}}, "crop_pct in config.json"),
        ({**GOOD, "pretrained_cfg": {**CFG, "surprise": 1}}, "unknown key .* 'surprise'"),
    ],
)
def test_refused(tmp_path: Path, data: Any, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        read(tmp_path, data)


def test_a_near_name_is_suggested(tmp_path: Path) -> None:
    with pytest.raises(ModelError) as caught:
        read(tmp_path, {**GOOD, "architecture": "resnet_18"})
    assert "did the author mean" in caught.value.hint


def test_a_config_that_has_no_end(tmp_path: Path) -> None:
    (tmp_path / "config.json").symlink_to("/dev/zero")
    with pytest.raises(ModelError, match=r"config\.json in .* is not a regular file"):
        read_config(tmp_path)


def test_no_config(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"there is no config\.json"):
        read_config(tmp_path)
