from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

import hfscan
from hfscan.channels import conv_layers

BLOCKS = {
    "preactresnet18": (2, 2, 2, 2),
    "preactresnet34": (3, 4, 6, 3),
    "preactresnet50": (3, 4, 6, 3),
    "preactresnet101": (3, 4, 23, 3),
    "preactresnet152": (3, 8, 36, 3),
}
BASIC = ("preactresnet18", "preactresnet34")


def parameters(name: str, width: int = 64, classes: int = 10) -> int:
    """Number of parameters, from the tables of the paper."""
    total, before = 3 * width * 9, width
    for stage, blocks in enumerate(BLOCKS[name]):
        inside = width * 2**stage
        after = inside if name in BASIC else 4 * inside
        for _ in range(blocks):
            if name in BASIC:
                total += 9 * before * inside + 9 * inside * inside + 2 * (before + inside)
            else:
                total += before * inside + 9 * inside * inside + inside * after
                total += 2 * (before + 2 * inside)
            total += before * after if before != after else 0
            before = after
    return total + (before + 1) * classes


def count(net: nn.Module) -> int:
    return sum(parameter.numel() for parameter in net.parameters())


@pytest.mark.parametrize("name", BLOCKS)
def test_number_of_parameters(name: str) -> None:
    with torch.device("meta"):
        assert count(timm.create_model(name)) == parameters(name)


def test_preactresnet18_of_the_literature() -> None:
    assert parameters("preactresnet18") == 11_171_146


def test_the_final_norm_is_off_unless_asked_for() -> None:
    assert timm.create_model("preactresnet18", width=4).norm is None
    with_norm = timm.create_model("preactresnet18", width=4, final_norm=True).eval()
    assert count(with_norm) == parameters("preactresnet18", width=4) + 2 * 32
    assert with_norm(torch.zeros(1, 3, 8, 8)).shape == (1, 10)


def test_conv_channels() -> None:
    layers = conv_layers(timm.create_model("preactresnet18"), torch.zeros(1, 3, 8, 8))
    assert len(layers) == 20
    assert sum(layer.channels for layer in layers) == 4800


@pytest.mark.parametrize("name", BLOCKS)
def test_shapes(name: str) -> None:
    net = timm.create_model(name, width=2, num_classes=7).eval()
    images = torch.zeros(2, 3, 32, 32)
    features = net.forward_features(images)
    assert features.shape == (2, net.num_features, 4, 4)
    assert net(images).shape == (2, 7)
    assert net.forward_head(features, pre_logits=True).shape == (2, net.num_features)


def test_imagenet_stem() -> None:
    net = timm.create_model("preactresnet18", width=2, stem="imagenet").eval()
    assert net.conv1.weight.shape == (2, 3, 7, 7)
    assert net.forward_features(torch.zeros(1, 3, 224, 224)).shape == (1, 16, 7, 7)


def test_no_activation_works_in_place() -> None:
    net = timm.create_model("preactresnet50", width=2).eval()
    seen: list[tuple[Tensor, int]] = []
    for module in net.modules():
        if isinstance(module, nn.Conv2d | nn.BatchNorm2d):
            module.register_forward_hook(lambda m, x, y: seen.append((y, y._version)))
    with torch.no_grad():
        net(torch.zeros(1, 3, 32, 32))
    assert len(seen) > 100
    assert all(output._version == version for output, version in seen)


def test_classifier_of_timm() -> None:
    net = timm.create_model("preactresnet18", width=2, num_classes=0).eval()
    assert net(torch.zeros(1, 3, 8, 8)).shape == (1, 16)
    net.reset_classifier(3)
    assert net.get_classifier().out_features == net.num_classes == 3


@pytest.mark.parametrize(("argument", "value"), [("width", 0), ("stem", "large")])
def test_wrong_arguments(argument: str, value: Any) -> None:
    with pytest.raises(ValueError, match=argument):
        timm.create_model("preactresnet18", **{argument: value})


# --- through the files of a repository


def repository(
    folder: Path, state: dict[str, Tensor], arguments: dict[str, Any], classes: int = 10
) -> str:
    folder.mkdir()
    save_file(state, folder / "model.safetensors")
    config = {
        "architecture": "preactresnet18",
        "num_classes": classes,
        "model_args": arguments,
        "pretrained_cfg": {
            "input_size": [3, 32, 32],
            "mean": [0.0, 0.0, 0.0],
            "std": [1.0, 1.0, 1.0],
        },
    }
    (folder / "config.json").write_text(json.dumps(config))
    return str(folder)


@pytest.mark.parametrize(
    "arguments",
    [
        {"width": 4},
        {"width": 3, "stem": "imagenet"},
        {"width": 2, "final_norm": True},
    ],
    ids=str,
)
def test_arguments_travel_in_the_config(tmp_path: Path, arguments: dict[str, Any]) -> None:
    torch.manual_seed(0)
    net = timm.create_model("preactresnet18", num_classes=5, **arguments).eval()
    model = hfscan.load(repository(tmp_path / "net", net.state_dict(), arguments, classes=5))
    images = torch.rand(2, 3, 32, 32)
    torch.testing.assert_close(model.net(images), net(images))
    assert model.num_classes == 5


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [("", "module."), ("fc.", "linear."), (".shortcut.", ".shortcut.0.")],
)
def test_key_names_of_other_code_bases(tmp_path: Path, ours: str, theirs: str) -> None:
    torch.manual_seed(0)
    net = timm.create_model("preactresnet18", width=2).eval()
    state = {
        key.replace(ours, theirs) if ours else theirs + key: tensor
        for key, tensor in net.state_dict().items()
    }
    assert state.keys() != net.state_dict().keys()
    model = hfscan.load(repository(tmp_path / "net", state, {"width": 2}))
    images = torch.rand(2, 3, 32, 32)
    torch.testing.assert_close(model.net(images), net(images))


@pytest.mark.parametrize(("ours", "theirs"), [("fc.", "linear."), (".shortcut.", ".shortcut.0.")])
def test_a_tensor_by_both_names_is_refused(tmp_path: Path, ours: str, theirs: str) -> None:
    """A loader that knows the other name only would run weights that were not audited."""
    state = timm.create_model("preactresnet18", width=2).state_dict()
    (name, *_) = (key for key in state if ours in key)
    both = state | {name.replace(ours, theirs): torch.zeros_like(state[name])}
    with pytest.raises(hfscan.ModelError, match=f"has two tensors for {name}: other loaders"):
        hfscan.load(repository(tmp_path / "net", both, {"width": 2}))


def test_missing_weights_are_an_error(tmp_path: Path) -> None:
    state = timm.create_model("preactresnet18", width=2).state_dict()
    del state["layer4.1.conv2.weight"]
    with pytest.raises(hfscan.ModelError, match="wrong keys"):
        hfscan.load(repository(tmp_path / "net", state, {"width": 2}))
