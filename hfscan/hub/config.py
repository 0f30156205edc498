"""A repository's ``config.json``: untrusted input that decides how timm builds the network."""

from __future__ import annotations

import difflib
import json
import math
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import timm
from timm.models import PretrainedCfg

from hfscan.errors import ModelError, UnsupportedModelError
from hfscan.hub.own_file import read_own_file

REDIRECTS = ("hf_hub_filename", "state_dict")
"""Keys that make timm load other weights than ``model.safetensors``."""

WHERE_FROM = ("url", "file", "hf_hub_id", "source", "custom_load")
"""Keys of the place that timm loads from: overwritten, or without effect on a repository; dropped."""

REFUSED_ARGS = (
    "pretrained",
    "pretrained_cfg",
    "pretrained_cfg_overlay",
    "pretrained_strict",
    "pretrained_filter_fn",
    "pretrained_model_args",
    "checkpoint_path",
    "cache_dir",
    "features_only",
    "feature_cfg",
    "kwargs_filter",
    "pruned",
    "scriptable",
    "exportable",
    "no_jit",
)
"""Arguments of timm's builder, not of an architecture: they change what is loaded, or how strictly."""


TIMM_LAYOUT = "hfscan reads models in timm's layout, as timm.models.push_to_hf_hub writes them"

MAX_EDGE = 2048
"""Largest height and width of an input that is believed."""

MAX_ARGUMENT = 8192
"""Largest number in ``model_args`` that is believed, and largest sum of all: a depth of millions fills the memory."""


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and abs(value) <= sys.float_info.max


def _is_size(value: Any) -> bool:
    return (
        isinstance(value, list)
        and len(value) == 3
        and all(type(edge) is int and 1 <= edge <= MAX_EDGE for edge in value)
    )


def _are_numbers(value: Any) -> bool:
    return isinstance(value, list) and all(map(_is_number, value))


PREPROCESSING: dict[str, Callable[[Any], bool]] = {
    "input_size": _is_size,
    "mean": _are_numbers,
    "std": _are_numbers,
    "crop_pct": lambda value: _is_number(value) and 0.1 <= value <= 1,
    "interpolation": lambda value: isinstance(value, str),
}
"""What these keys of ``pretrained_cfg`` may be; null is timm's default."""


@dataclass(frozen=True)
class Config:
    """What a ``config.json`` says, checked.

    Args:
        architecture: A name that timm knows.
        pretrained_cfg: timm's description of the weights, without a place to load them from.
        model_args: Arguments of the architecture.
        num_classes: K.
        label_names: Names of the classes, or nothing.
        notes: What was defaulted.
    """

    architecture: str
    pretrained_cfg: dict[str, Any]
    model_args: dict[str, Any]
    num_classes: int
    label_names: tuple[str, ...] = ()
    notes: tuple[str, ...] = field(default=())


def read_config(folder: Path) -> Config:
    """Read and check ``config.json``.

    Raises:
        ModelError: It is missing, malformed, of another library, or asks for something that would
            make the audit look at other weights than those that users run.
    """
    try:
        data = json.loads(read_own_file(folder, "config.json").decode())
    except FileNotFoundError as error:
        raise UnsupportedModelError(f"there is no config.json in {folder}", TIMM_LAYOUT) from error
    except (ValueError, RecursionError, OSError) as error:
        raise ModelError(
            f"config.json is not valid JSON ({str(error)[:100]})", "download or export it again"
        ) from error
    if not isinstance(data, dict):
        raise ModelError("config.json is not a JSON object", TIMM_LAYOUT)
    return _check(data)


def _check(data: dict[str, Any]) -> Config:
    architecture = _architecture(data)
    cfg = data.get("pretrained_cfg", data)
    args = data.get("model_args") or {}
    if not isinstance(cfg, dict) or not isinstance(args, dict):
        raise ModelError(
            "pretrained_cfg and model_args of config.json must be objects", TIMM_LAYOUT
        )
    if cfg is data:
        cfg = {k: v for k, v in data.items() if k not in ("architecture", "num_features")}
    _refuse(cfg, args)
    cfg = {key: value for key, value in cfg.items() if key not in WHERE_FROM}
    _check_preprocessing(cfg)
    _check_arguments(args)
    _describe_source(cfg, args)
    _check_preprocessing(cfg)
    classes = _num_classes(data, cfg, args)
    labels, unusable = _label_names(data, cfg, classes)
    notes = _defaulted(cfg) + _cropped(cfg) + unusable
    known = {f.name for f in fields(PretrainedCfg)}
    if data.get("pretrained_cfg") is None:
        cfg = {key: value for key, value in cfg.items() if key in known}
    unknown = sorted(set(cfg) - known)
    if unknown:
        raise ModelError(
            f"unknown key in pretrained_cfg of config.json: {unknown[0]!r}",
            "timm cannot load this model either; remove the key",
        )
    return Config(architecture, cfg, args, classes, labels, notes)


def _architecture(data: Mapping[str, Any]) -> str:
    architecture = data.get("architecture")
    if not isinstance(architecture, str):
        found = data.get("architectures") or data.get("model_type") or "nothing"
        raise UnsupportedModelError(
            f"config.json names no timm architecture (found: {found!r:.80})",
            "hfscan audits timm and PreActResNet image classifiers, not transformers models",
        )
    name = architecture.partition(".")[0]
    if not timm.is_model(name):
        near = difflib.get_close_matches(name, timm.list_models())
        hint = f"did the author mean {', '.join(near)}?" if near else "is a newer timm needed?"
        raise UnsupportedModelError(
            f"timm does not know the architecture {architecture!r:.80}", hint
        )
    return architecture


def _refuse(cfg: Mapping[str, Any], args: Mapping[str, Any]) -> None:
    for key in REDIRECTS:
        if cfg.get(key):
            raise ModelError(
                f"config.json sets {key}: users would run other weights than model.safetensors",
                "an audit of this file would say nothing about them; ask the author to remove it",
            )
    for key in REFUSED_ARGS:
        if key in args:
            raise ModelError(
                f"config.json sets model_args.{key}, which changes how weights are loaded",
                "with it some weights may stay random; ask the author to remove it",
            )
    for key, value in args.items():
        if value is None:
            raise ModelError(
                f"config.json sets model_args.{key} to null, about which loaders disagree",
                "users may run another network than the one that would be audited; remove the key",
            )


def _check_preprocessing(cfg: Mapping[str, Any]) -> None:
    for key, fine in PREPROCESSING.items():
        if cfg.get(key) is not None and not fine(cfg[key]):
            raise ModelError(
                f"{key} in config.json cannot be {cfg[key]!r:.80}", "compare with timm's models"
            )


def _check_arguments(args: Mapping[str, Any]) -> None:
    """Refuse numbers that would fill the memory, however deep and however large they are."""
    total = 0.0
    left = [value for key, value in args.items() if key != "num_classes"]
    while left and total <= MAX_ARGUMENT:
        value = left.pop()
        if isinstance(value, Mapping):
            left += value.values()
        elif isinstance(value, list):
            left += value
        elif isinstance(value, int | float):
            total += abs(value) if abs(value) <= MAX_ARGUMENT else math.inf
    if total > MAX_ARGUMENT:
        raise ModelError(
            "model_args of config.json has numbers that no network needs",
            "compare with timm's models",
        )


def _describe_source(cfg: dict[str, Any], args: Mapping[str, Any]) -> None:
    """Mend the input size of older exports as timm does when it reads a repository (``timm.models._hub``)."""
    if (
        args.get("dynamic_img_size")
        or args.get("strict_img_size") is False
        or args.get("use_naflex")
    ):
        cfg["fixed_input_size"] = False
    channels, height, width = cfg.get("input_size") or (3, 224, 224)
    if "in_chans" in args:
        cfg["input_size"] = [args["in_chans"], height, width]
    if "img_size" in args and cfg.get("fixed_input_size"):
        size = args["img_size"]
        edges = size if isinstance(size, list) else [size, size]
        cfg["input_size"] = [args.get("in_chans", channels), *edges]


def _num_classes(data: Mapping[str, Any], cfg: dict[str, Any], args: Mapping[str, Any]) -> int:
    declared = data.get("num_classes", cfg.get("num_classes"))
    if declared is None:
        declared = args.get("num_classes", 1000)
    if declared in (0, 1) and not isinstance(declared, bool):
        raise UnsupportedModelError(
            f"config.json declares {declared} classes: the model is no classifier",
            "hfscan audits classifiers of two classes and more",
        )
    if not isinstance(declared, int) or isinstance(declared, bool) or declared < 2:
        raise ModelError(f"config.json declares {declared!r:.40} classes", "at least 2 are needed")
    if args.get("num_classes", declared) != declared:
        raise ModelError(
            f"config.json contradicts itself: num_classes {declared}, in model_args "
            f"{args['num_classes']!r:.40}",
            "timm would leave the classifier random",
        )
    cfg["num_classes"] = declared
    return declared


def _label_names(
    data: Mapping[str, Any], cfg: dict[str, Any], classes: int
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Names of the classes, and a note if there are names that cannot be used.

    timm writes a list, or an object whose keys are the labels; ``id2label`` is of transformers.
    """
    found = [data.get("label_names"), cfg.pop("label_names", None), cfg.pop("labels", None)]
    names = next((name for name in [*found, data.get("id2label")] if name), None)
    if isinstance(names, dict):
        names = [names.get(str(index)) for index in range(len(names))]
    if names is None:
        return (), ()
    fine = isinstance(names, list) and len(names) == classes and None not in names
    if not fine:
        return (), (
            f"config.json does not name each of the {classes} classes once: "
            "whether the clean images have the same order was not checked",
        )
    return tuple(str(name) for name in names), ()


def _defaulted(cfg: Mapping[str, Any]) -> tuple[str, ...]:
    missing = [key for key in ("input_size", "mean", "std") if key not in cfg]
    if not missing:
        return ()
    return (f"config.json does not say {', '.join(missing)}: timm's defaults are used",)


def _cropped(cfg: Mapping[str, Any]) -> tuple[str, ...]:
    mode = cfg.get("crop_mode") or "center"
    if mode == "center":
        return ()
    return (f"config.json asks for crop_mode {mode!r:.20}: hfscan cuts out the center of images",)
