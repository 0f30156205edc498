from __future__ import annotations

import hashlib
import json
import os
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load, save_file
from torch import nn

from hfscan.errors import ModelError, UnsafeWeightsError
from hfscan.types import HubModel
from hfscan.weights import (
    DTYPES,
    file_sha256,
    find_weights,
    read_weights,
    serialize,
    weights_sha256,
)

TENSORS = {"a.weight": torch.arange(6.0).view(2, 3), "a.count": torch.tensor(3)}


def same(tensors: dict[str, torch.Tensor]) -> bool:
    return tensors.keys() == TENSORS.keys() and all(
        torch.equal(tensors[name], TENSORS[name]) for name in TENSORS
    )


class Exploit:
    """A pickle of it makes a folder when it is loaded."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.folder),)


# --- which file


def test_safetensors_come_first(tmp_path: Path) -> None:
    for name in ("model.safetensors", "pytorch_model.bin"):
        (tmp_path / name).touch()
    for allow in (False, True):
        assert find_weights(tmp_path, allow_pickle=allow).name == "model.safetensors"


@pytest.mark.parametrize("name", ["pytorch_model.bin", "pytorch_model.pth", "model.pth"])
def test_a_pickle_must_be_allowed(tmp_path: Path, name: str) -> None:
    (tmp_path / name).touch()
    with pytest.raises(UnsafeWeightsError, match=name) as caught:
        find_weights(tmp_path, allow_pickle=False)
    assert "--allow-pickle" in caught.value.hint
    assert find_weights(tmp_path, allow_pickle=True).name == name


@pytest.mark.parametrize("name", ["weights.safetensors", "model-00001-of-00002.safetensors"])
def test_other_files_are_not_weights(tmp_path: Path, name: str) -> None:
    (tmp_path / name).touch()
    with pytest.raises(ModelError, match=r"there is no model\.safetensors"):
        find_weights(tmp_path, allow_pickle=True)


# --- reading


def test_safetensors(tmp_path: Path) -> None:
    save_file(TENSORS, tmp_path / "model.safetensors")
    assert same(read_weights(tmp_path / "model.safetensors"))


@pytest.mark.parametrize("key", ["", "state_dict", "model_ema"])
def test_pickle(tmp_path: Path, key: str) -> None:
    torch.save({key: TENSORS, "epoch": 3} if key else TENSORS, tmp_path / "model.pth")
    assert same(read_weights(tmp_path / "model.pth"))


def test_a_pickle_of_two_networks(tmp_path: Path) -> None:
    """timm takes the averaged one, others the other one."""
    torch.save({"state_dict": TENSORS, "state_dict_ema": TENSORS}, tmp_path / "model.pth")
    with pytest.raises(ModelError, match="weights in state_dict_ema and state_dict"):
        read_weights(tmp_path / "model.pth")


def test_two_tensors_of_one_name(tmp_path: Path) -> None:
    """timm takes the prefix off when it reads a folder, and has the last of the two."""
    name = next(iter(TENSORS))
    other = {f"module._orig_mod.{name}": torch.zeros(2)}
    save_file(TENSORS | other, tmp_path / "model.safetensors")
    with pytest.raises(ModelError, match=f"two tensors for {name}"):
        read_weights(tmp_path / "model.safetensors")


@pytest.mark.parametrize("protocol", ["torch", "pickle"])
def test_a_pickle_never_runs_code(tmp_path: Path, protocol: str) -> None:
    path, folder = tmp_path / "model.pth", tmp_path / "owned"
    state = {**TENSORS, "exploit": Exploit(folder)}
    if protocol == "torch":
        torch.save(state, path)
    else:
        path.write_bytes(pickle.dumps(state, protocol=2))
    with pytest.raises(UnsafeWeightsError, match="more than tensors"):
        read_weights(path)
    assert not folder.exists()


@pytest.mark.parametrize("name", ["model.safetensors", "model.pth"])
@pytest.mark.parametrize("damage", ["cut", "empty", "noise"])
def test_damaged_files(tmp_path: Path, name: str, damage: str) -> None:
    path = tmp_path / name
    if name.endswith(".pth"):
        torch.save(TENSORS, path)
    else:
        save_file(TENSORS, path)
    contents = path.read_bytes()
    path.write_bytes({"cut": contents[:-20], "empty": b"", "noise": b"\x93" * 100}[damage])
    with pytest.raises(ModelError, match=r"model\.(pth|safetensors)"):
        read_weights(path)


@pytest.mark.parametrize(
    "content", [b"\x80\x02.", b"\x80\x02X.", b"\x80\x02h.", b"\x80\x02U."], ids=repr
)
def test_damaged_pickles(tmp_path: Path, content: bytes) -> None:
    """As IndexError, struct.error, KeyError and EOFError of torch's reader."""
    (tmp_path / "model.pth").write_bytes(content)
    with pytest.raises(ModelError, match=r"model\.pth is damaged"):
        read_weights(tmp_path / "model.pth")


@pytest.mark.parametrize(
    "content", [[1, 2], {"a": "text"}, {1: torch.zeros(2)}, torch.zeros(2)], ids=str
)
def test_a_pickle_of_something_else(tmp_path: Path, content: Any) -> None:
    torch.save(content, tmp_path / "model.pth")
    with pytest.raises(ModelError, match="not a state dict"):
        read_weights(tmp_path / "model.pth")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_values_that_are_not_finite(tmp_path: Path, value: float, dtype: torch.dtype) -> None:
    broken = {"fine": torch.zeros(2), "broken": torch.tensor([0.0, value], dtype=dtype)}
    save_file(broken, tmp_path / "model.safetensors")
    with pytest.raises(ModelError, match=r"tensor broken in model\.safetensors"):
        read_weights(tmp_path / "model.safetensors")


ODD = {
    "float8": (torch.zeros(4).to(torch.float8_e5m2), "is of float8_e5m2"),
    "complex": (torch.zeros(4, dtype=torch.complex64), "is of complex64"),
    "sparse": (torch.eye(3).to_sparse(), "is sparse, or has no values"),
    "meta": (torch.zeros(3, device="meta"), "is sparse, or has no values"),
    "huge": (torch.zeros(1).expand(10**14), "has 100,000,000,000,000 values, and has fewer"),
    "overlapping": (torch.zeros(6).as_strided((3, 3), (1, 1)), "has 9 values, and has fewer"),
}


@pytest.mark.parametrize("odd", ODD)
def test_odd_tensors_in_a_pickle(tmp_path: Path, odd: str) -> None:
    tensor, problem = ODD[odd]
    torch.save({"odd": tensor}, tmp_path / "model.pth")
    with pytest.raises(ModelError, match=f"tensor odd in model.pth .*{problem}"):
        read_weights(tmp_path / "model.pth")


@pytest.mark.parametrize("odd", ["F4", "F8_E8M0", "F6_E2M3", "C64"])
def test_odd_tensors_in_safetensors(tmp_path: Path, odd: str) -> None:
    size = {"F4": 4, "F8_E8M0": 8, "F6_E2M3": 6, "C64": 64}[odd]
    entry = {"odd": {"dtype": odd, "shape": [8], "data_offsets": [0, size]}}
    header = json.dumps(entry).encode()
    content = len(header).to_bytes(8, "little") + header + bytes(size)
    (tmp_path / "model.safetensors").write_bytes(content)
    with pytest.raises(ModelError, match=r"model\.safetensors"):
        read_weights(tmp_path / "model.safetensors")


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_plain_tensors(tmp_path: Path, dtype: torch.dtype) -> None:
    part = torch.ones(9, dtype=dtype)[3:].view(2, 3).t()
    torch.save({"a": part, "none": torch.ones(0)}, tmp_path / "model.pth")
    assert torch.equal(read_weights(tmp_path / "model.pth")["a"], part)


# --- writing


def test_file_sha256(tmp_path: Path) -> None:
    content = bytes(range(256)) * 9000  # more than a block
    (tmp_path / "file").write_bytes(content)
    assert file_sha256(tmp_path / "file") == hashlib.sha256(content).hexdigest()


def test_serialize_has_the_names_of_the_network(tiny_model: HubModel, tiny_net: nn.Module) -> None:
    tensors = load(serialize(tiny_model.net))
    expected = tiny_net.state_dict()
    assert tensors.keys() == expected.keys()
    assert all(torch.equal(tensors[name], expected[name]) for name in expected)


def test_serialize_is_what_timm_expects(tmp_path: Path, tiny_model: HubModel) -> None:
    (tmp_path / "model.safetensors").write_bytes(serialize(tiny_model.net))
    with safe_open(tmp_path / "model.safetensors", "pt") as file:
        assert file.metadata()["format"] == "pt"


def test_shared_and_strided_tensors() -> None:
    net = nn.Module()
    net.one = nn.Parameter(torch.rand(2, 3, 4, 4).to(memory_format=torch.channels_last))
    net.two = net.one
    tensors = load(serialize(net))
    assert torch.equal(tensors["one"], net.one)
    assert torch.equal(tensors["two"], net.one)


def test_the_digest_is_that_of_the_bytes(tiny_model: HubModel) -> None:
    digest = hashlib.sha256(serialize(tiny_model.net)).hexdigest()
    assert weights_sha256(tiny_model.net) == digest
    assert weights_sha256(tiny_model.net.to(memory_format=torch.channels_last)) == digest


def test_a_pointer_of_git_lfs(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 3\n")
    with pytest.raises(ModelError, match="a pointer of Git LFS") as caught:
        read_weights(path)
    assert "lfs: true" in caught.value.hint
