"""What is audited is the network that timm builds for those who load the repository."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import load_file, save_file
from torch import nn

import hfscan
from hfscan.errors import ModelError

CLASSES = 4

CFG = {"input_size": [3, 32, 32], "mean": [0.5] * 3, "std": [0.25] * 3, "num_classes": CLASSES}

MODELS: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "plain": ("resnet10t", {}, {}),
    "one channel": ("resnet10t", {"in_chans": 1}, {"mean": [0.5], "std": [0.25]}),
    "a list": ("test_convnext", {"kernel_sizes": [7, 7, 5, 5]}, {}),
    "a number": ("tf_mobilenetv3_small_minimal_100", {"bn_eps": 1e-2}, {}),
    "of hfscan": ("preactresnet18", {"width": 4}, {}),
    "a class token": ("test_vit", {"img_size": 32}, {"fixed_input_size": True}),
    "an odd size": ("test_vit", {"img_size": [32, 48]}, {"fixed_input_size": True}),
    "five dimensions": ("lambda_resnet26t", {}, {"input_size": [3, 64, 64]}),
}


def made(folder: Path, name: str, args: dict[str, Any], cfg: dict[str, Any]) -> Path:
    """A model folder as timm writes it, with random weights."""
    folder.mkdir()
    torch.manual_seed(3)
    net = timm.create_model(name, num_classes=CLASSES, **args)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):  # what they do to the images must be seen
            nn.init.uniform_(module.running_var, 1e-3, 1)
    save_file(
        {k: v.contiguous() for k, v in net.state_dict().items()}, folder / "model.safetensors"
    )
    write(folder, name, args, cfg)
    return folder


def write(folder: Path, name: str, args: dict[str, Any], cfg: dict[str, Any]) -> None:
    described = {
        "architecture": name,
        "num_classes": CLASSES,
        "model_args": args,
        "pretrained_cfg": CFG | cfg,
    }
    (folder / "config.json").write_text(json.dumps(described))


@pytest.mark.parametrize("what", MODELS)
def test_the_network_is_that_of_timms_users(tmp_path: Path, what: str) -> None:
    folder = made(tmp_path / "net", *MODELS[what])
    theirs = timm.create_model(f"local-dir:{folder}", pretrained=True).eval()
    ours = hfscan.load(str(folder))
    pixels = torch.rand((2, *ours.input_size), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = theirs(pixels)
        torch.testing.assert_close(ours.net.net(pixels), expected, rtol=1e-3, atol=1e-5)
    assert expected.std() > 0


def test_a_null_is_refused(tmp_path: Path) -> None:
    """timm leaves nulls out of its own arguments, and not out of a repository's."""
    name = "tf_mobilenetv3_small_minimal_100"
    folder = made(tmp_path / "net", name, {}, {})
    write(folder, name, {"bn_eps": None}, {})
    with pytest.raises(ModelError, match="null, about which loaders disagree"):
        hfscan.load(str(folder))


def test_weights_that_leave_tensors_random_are_refused(tmp_path: Path) -> None:
    """timm loads some architectures without being strict."""
    folder = made(tmp_path / "net", "dla34", {}, {})
    file = folder / "model.safetensors"
    tensors = load_file(file)
    hfscan.load(str(folder))
    del tensors["level5.tree1.conv1.weight"]
    save_file(tensors, file)
    with pytest.raises(ModelError, match=r"leaves 1 tensors of dla34 random, level5\.tree1\.conv1"):
        hfscan.load(str(folder))


@pytest.mark.parametrize("what", ["plain", "a class token"])
def test_the_global_random_state_is_kept(tmp_path: Path, what: str) -> None:
    folder = made(tmp_path / "net", *MODELS[what])
    state = torch.random.get_rng_state()
    hfscan.load(str(folder))
    assert torch.equal(torch.random.get_rng_state(), state)


@pytest.mark.parametrize(
    ("name", "args", "change"),
    [
        ("preactresnet18", {"width": 8}, {"model_args": {"width": 7000}}),
        ("resnet10t", {}, {"num_classes": 10**9}),
    ],
)
def test_a_network_far_larger_than_its_weights_is_not_built(
    tmp_path: Path, name: str, args: dict[str, Any], change: dict[str, Any]
) -> None:
    folder = made(tmp_path / "net", name, args, {})
    described = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(described | change))
    with pytest.raises(ModelError, match=r"describes a network of .* values, and the weights have"):
        hfscan.load(str(folder))
