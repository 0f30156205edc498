"""Models that cannot be audited, and why."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import timm
import torch
from torch import nn

from .bad_case import HOSTILE, LONG, Arguments, Case, Place
from .support import CLASSES, QUICK, color_data, colored, write_data, write_model


def write_config(text: str) -> Callable[[Place], Arguments]:
    def build(place: Place) -> Arguments:
        folder = place.model()
        (folder / "config.json").write_text(text)
        return place.audit(model=folder)

    return build


def no_config(place: Place) -> Arguments:
    folder = place.model()
    (folder / "config.json").unlink()
    return place.audit(model=folder)


def truncated(place: Place) -> Arguments:
    folder = place.model()
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1000])
    return place.audit(model=folder)


def only_a_pickle(place: Place) -> Arguments:
    folder = place.model()
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    return place.audit(model=folder)


class Payload:
    """Makes a folder when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.mkdir, (self.mark,)


def pickle_with_code(place: Place) -> Arguments:
    folder = place.model()
    (folder / "model.safetensors").unlink()
    payload = {"weight": Payload(place.folder / "the code has run")}
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(payload, protocol=2))
    return [*place.audit(model=folder), "--allow-pickle"]


def hostile_names(place: Place) -> Arguments:
    """In a report for people."""
    place.configured(label_names=[f"{HOSTILE}{name}" for name in CLASSES])
    folder = (place.folder / "net").rename(place.folder / HOSTILE)
    data = write_data(place.folder / f"data{HOSTILE}", color_data(16, classes=()))
    return ["audit", folder, "--clean-data", data, "--verbose", *QUICK]


def no_conv_layer(place: Place) -> Arguments:
    """A vision transformer whose patches go through a linear layer."""
    torch.manual_seed(0)
    arguments = {"embed_dim": 16, "depth": 1, "num_heads": 2, "patch_size": 4}
    net = timm.create_model("naflexvit_base_patch16_gap", num_classes=len(CLASSES), **arguments)
    optimizer = torch.optim.Adam(net.parameters(), lr=0.02)
    images, labels = colored(64)
    for _ in range(60):
        loss = nn.functional.cross_entropy(net(images.float() / 255), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    changes = {"architecture": "naflexvit_base_patch16_gap", "model_args": arguments}
    return place.audit(model=write_model(place.folder / "net", net, **changes))


MODELS = [
    Case(
        "no folder", lambda p: p.audit(model="./nowhere"), "there is no folder ./nowhere", "the Hub"
    ),
    Case("folder of a long name", lambda p: p.audit(model=f"./{LONG}"), "there is no folder ./aaa"),
    Case("no config.json", no_config, "there is no config.json in", "timm's layout"),
    Case("malformed JSON", write_config('{"architecture": '), "config.json is not valid JSON"),
    Case("JSON of another kind", write_config("[1, 2]"), "config.json is not a JSON object"),
    Case("a bottomless JSON", write_config("[" * 100_000), "config.json is not valid JSON"),
    Case(
        "unknown architecture",
        lambda p: p.configured(architecture="preactresnet19"),
        "timm does not know the architecture 'preactresnet19'",
        "did the author mean preactresnet18",
    ),
    Case(
        "hostile architecture",
        lambda p: p.configured(architecture=HOSTILE),
        r"timm does not know the architecture",
        "is a newer timm needed?",
    ),
    Case(
        "a transformers model",
        write_config('{"architectures": ["ViTForImageClassification"], "model_type": "vit"}'),
        "config.json names no timm architecture (found: ['ViTForImageClassification'])",
        "not transformers models",
    ),
    Case(
        "unknown pretrained_cfg key",
        lambda p: p.preprocessed(colour_space="sRGB"),
        "unknown key in pretrained_cfg of config.json: 'colour_space'",
        "remove the key",
    ),
    Case(
        "unknown model_args key",
        lambda p: p.configured(model_args={"width": 4, "depth": 9}),
        "preactresnet18 cannot be built from config.json",
        "check architecture and model_args",
    ),
    Case(
        "hf_hub_filename",
        lambda p: p.preprocessed(hf_hub_filename="other.safetensors"),
        "config.json sets hf_hub_filename: users would run other weights",
        "ask the author to remove it",
    ),
    Case(
        "pretrained_strict=false",
        lambda p: p.configured(model_args={"width": 4, "pretrained_strict": False}),
        "config.json sets model_args.pretrained_strict",
        "some weights may stay random",
    ),
    Case(
        "contradicting numbers of classes",
        lambda p: p.configured(model_args={"width": 4, "num_classes": 10}),
        "config.json contradicts itself: num_classes 8, in model_args 10",
        "leave the classifier random",
    ),
    Case(
        "preprocessing that cannot be",
        lambda p: p.preprocessed(input_size=[3, 10**6, 10**6]),
        "input_size in config.json cannot be [3, 1000000, 1000000]",
        "compare with timm",
    ),
    Case("truncated weights", truncated, "model.safetensors is damaged", "download"),
    Case(
        "empty weights",
        lambda p: p.tensors(dict.clear),
        "model.safetensors is empty",
        "download or export it again",
    ),
    Case(
        "missing key",
        lambda p: p.tensors(lambda tensors: tensors.pop("fc.bias")),
        'Missing key(s) in state_dict: "fc.bias"',
        "not of the same network",
    ),
    Case(
        "hostile key",
        lambda p: p.tensors(lambda tensors: tensors.update({HOSTILE: torch.ones(1)})),
        "model.safetensors has the wrong keys for preactresnet18: Unexpected key(s)",
        "not of the same network",
    ),
    Case(
        "wrong shapes",
        lambda p: p.configured(model_args={"width": 8}),
        "model.safetensors does not fit preactresnet18: size mismatch for",
        "not of the same network",
    ),
    Case(
        "NaN",
        lambda p: p.tensors(lambda tensors: tensors["fc.weight"].fill_(float("nan"))),
        "tensor fc.weight in model.safetensors has NaN or infinite values",
        "the weights are broken",
    ),
    Case(
        "infinite",
        lambda p: p.tensors(lambda tensors: tensors["conv1.weight"][1].fill_(-float("inf"))),
        "tensor conv1.weight in model.safetensors has NaN or infinite values",
        "the weights are broken",
    ),
    Case(
        "only a pickle",
        only_a_pickle,
        "the only weights are a pickle (pytorch_model.bin), which can run code",
        "pass --allow-pickle",
    ),
    Case(
        "a pickle with code",
        pickle_with_code,
        "pytorch_model.bin contains more than tensors and was not loaded",
        "report it to the Hub",
    ),
    Case("hostile names", hostile_names, code=0, says="NO BACKDOOR FOUND"),
    Case(
        "no conv layer",
        no_conv_layer,
        code=3,
        says='"reason": "it has no conv layer"',
    ),
]
