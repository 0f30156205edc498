"""Weights on disk: safetensors in, safetensors out, pickles only when allowed and never unsafely."""

from __future__ import annotations

import hashlib
import pickle
import tempfile
from collections.abc import Mapping
from pathlib import Path

import safetensors
import torch
from safetensors.torch import load_file, save
from torch import Tensor, nn

from hfscan.errors import (
    ModelError,
    PickleRefusedError,
    UnsafeWeightsError,
    UnsupportedModelError,
)
from hfscan.models.classifier import inner

SAFETENSORS = "model.safetensors"
PICKLES = ("pytorch_model.bin", "pytorch_model.pth", "model.pth")
"""What timm falls back to, in its order."""

STATES = ("state_dict_ema", "model_ema", "state_dict", "model")
"""Where checkpoints of training have the weights; timm takes the first."""

WRAPPERS = ("_orig_mod.", "module.")
"""What compiled and parallel training put before the names of tensors; timm takes it off."""

LFS_POINTER = b"version https://git-lfs"
"""What a file begins with whose content Git LFS has not fetched."""

DTYPES = (
    torch.float64,
    torch.float32,
    torch.float16,
    torch.bfloat16,
    torch.int64,
    torch.int32,
    torch.int16,
    torch.int8,
    torch.uint8,
    torch.bool,
)
"""Of the tensors that are read; others are packed, quantized or complex."""

PICKLE_SUFFIXES = (".bin", ".pth", ".pt", ".ckpt", ".pkl", ".pickle", ".tar")
WEIGHTS_SUFFIXES = (*PICKLE_SUFFIXES, ".safetensors", ".onnx", ".h5", ".msgpack", ".tflite", ".npz")
"""Of files that a loader might take weights from."""


def find_weights(folder: Path, *, allow_pickle: bool) -> Path:
    """The weights file of a repository that timm would load.

    Raises:
        PickleRefusedError: There is only a pickle, and pickles are not allowed.
        UnsupportedModelError: There is none.
    """
    if (folder / SAFETENSORS).is_file():
        return folder / SAFETENSORS
    for name in PICKLES:
        if (folder / name).is_file():
            if allow_pickle:
                return folder / name
            raise pickle_refused(name)
    raise UnsupportedModelError(
        f"there is no {SAFETENSORS} in {folder}",
        "hfscan reads timm models: config.json and model.safetensors, not sharded",
    )


def pickle_refused(name: str) -> PickleRefusedError:
    """The error for weights that are only there as a pickle."""
    return PickleRefusedError(
        f"the only weights are a pickle ({name}), which can run code when it is loaded",
        "ask the author for safetensors, or pass --allow-pickle (loads tensors only, no code)",
    )


def read_weights(path: Path) -> dict[str, Tensor]:
    """Read the tensors of a weights file, on the CPU.

    Raises:
        UnsafeWeightsError: A pickle contains more than tensors.
        ModelError: The file is damaged, has tensors that are no plain ones or values that are not finite, or weights
            of which loaders may take others.
    """
    if path.suffix == ".safetensors":
        try:
            tensors = load_file(path)
        except (safetensors.SafetensorError, OSError, ValueError, KeyError) as error:
            raise _damaged(path, error) from error
    else:
        tensors = _read_pickle(path)
    if not tensors:
        raise ModelError(f"{path.name} is empty", "download or export it again")
    if twice := [name for name in tensors if name != _bare(name) and _bare(name) in tensors]:
        raise ambiguous(path.name, f"two tensors for {_bare(twice[0])}")
    for name, tensor in tensors.items():
        if problem := _oddity(tensor):
            raise ModelError(
                f"tensor {name} in {path.name} {problem}",
                "ask the author for a file of plain tensors, such as float32",
            )
        if tensor.is_floating_point() and not torch.isfinite(tensor.float()).all():
            raise ModelError(
                f"tensor {name} in {path.name} has NaN or infinite values",
                "the weights are broken; ask the author for a working file",
            )
    return tensors


def _oddity(tensor: Tensor) -> str:
    """What is unusual for weights, found without computing; empty if nothing is."""
    if tensor.dtype not in DTYPES:
        return f"is of {str(tensor.dtype).removeprefix('torch.')}, which hfscan does not read"
    if tensor.layout is not torch.strided or tensor.device.type != "cpu":
        return "is sparse, or has no values"
    if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
        return f"says that it has {tensor.numel():,} values, and has fewer"
    return ""


def _damaged(path: Path, error: Exception) -> ModelError:
    with path.open("rb") as stream:
        if stream.read(len(LFS_POINTER)) == LFS_POINTER:
            return ModelError(
                f"{path.name} is a pointer of Git LFS, not the weights",
                "git lfs pull; in a workflow: lfs: true for actions/checkout",
            )
    return ModelError(
        f"{path.name} is damaged ({_first_line(error)})", "download or export it again"
    )


def _bare(name: str) -> str:
    """The name of a tensor without what training put before it."""
    for wrapper in WRAPPERS:
        if name.startswith(wrapper):
            return _bare(name.removeprefix(wrapper))
    return name


def ambiguous(source: str, what: str) -> ModelError:
    """The error for a file of which another loader may run other weights than those audited."""
    return ModelError(
        f"{source} has {what}: other loaders may take those that hfscan does not",
        "ask the author for a file of one network",
    )


def write_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write tensors as safetensors, so that the file is either there and whole or not there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}.") as scratch:
        fresh = Path(scratch) / path.name
        fresh.write_bytes(_as_bytes(tensors))
        fresh.replace(path)


def tensors_sha256(tensors: Mapping[str, Tensor]) -> str:
    """Hex digest of the file that `write_tensors` writes."""
    return hashlib.sha256(_as_bytes(tensors)).hexdigest()


def _as_bytes(tensors: Mapping[str, Tensor]) -> bytes:
    return bytes(save({name: tensor.contiguous() for name, tensor in tensors.items()}))


def _read_pickle(path: Path) -> dict[str, Tensor]:
    try:
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise UnsafeWeightsError(
            f"{path.name} contains more than tensors and was not loaded",
            "it may run code on the machines of those who load it; report it to the Hub",
        ) from error
    except Exception as error:  # torch's reader of pickles checks little: damage can raise anything
        raise ModelError(
            f"{path.name} is damaged ({_first_line(error)})", "download or export it again"
        ) from error
    states = [
        key for key in STATES if isinstance(loaded, dict) and isinstance(loaded.get(key), dict)
    ]
    if len(states) > 1:
        raise ambiguous(path.name, f"weights in {' and '.join(states)}")
    if states:
        loaded = loaded[states[0]]
    if not isinstance(loaded, dict) or not all(
        isinstance(name, str) and isinstance(value, Tensor) for name, value in loaded.items()
    ):
        raise ModelError(
            f"{path.name} is not a state dict: a mapping of names to tensors",
            "export it again: safetensors.torch.save_model(net, 'model.safetensors')",
        )
    return loaded


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:120]


def file_sha256(path: Path) -> str:
    """Hex digest of a file, as the Hub shows it for large files."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def serialize(net: nn.Module) -> bytes:
    """A network as the bytes of a safetensors file, without the wrapper that normalizes its input.

    The same tensors give the same bytes: safetensors writes metadata of several keys in random order.
    """
    tensors = {
        name: tensor.detach().cpu().contiguous().clone()
        for name, tensor in inner(net).state_dict().items()
    }
    return save(tensors, {"format": "pt"})


def weights_sha256(net: nn.Module) -> str:
    """Hex digest of `serialize`."""
    return hashlib.sha256(serialize(net)).hexdigest()
