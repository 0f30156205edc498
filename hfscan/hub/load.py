"""From a reference to a model that is ready to be audited."""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import timm
import torch
from huggingface_hub import snapshot_download
from timm.data import resolve_data_config
from torch import Tensor, nn

from hfscan.errors import HubError, ModelError
from hfscan.hub.client import hub_api, hub_errors
from hfscan.hub.config import Config, read_config
from hfscan.hub.reference import Reference, folder_name, parse_reference
from hfscan.hub.revision import pin
from hfscan.models.classifier import architecture_of
from hfscan.models.layout import channels_last
from hfscan.models.wrap import classifier
from hfscan.types import HubModel
from hfscan.weights import (
    PICKLE_SUFFIXES,
    PICKLES,
    SAFETENSORS,
    WEIGHTS_SUFFIXES,
    ambiguous,
    file_sha256,
    find_weights,
    pickle_refused,
    read_weights,
    tensors_sha256,
    weights_sha256,
)

LARGER, LARGER_BY = 2, 10**6
"""A network may have so many times the values of its weights, and so many more, before it is built."""

NAMED = 10
"""Files of other weights that a note names, at most."""


def load(
    ref: str,
    *,
    revision: str | None = None,
    token: str | None = None,
    allow_pickle: bool = False,
    cache_dir: Path | None = None,
) -> HubModel:
    """Load an image classifier in timm's layout from the Hub or from a folder.

    Nothing in the repository is executed. A revision is resolved once to a commit sha; only
    ``config.json``, ``README.md`` and the weights are downloaded.

    Args:
        ref: ``owner/name``, ``owner/name@revision``, ``hf://...``, ``hf-hub:...``, or a folder written
            as one (``./x``, ``../x``, ``~/x``, absolute, ``local-dir:x``).
        revision: Branch, tag or commit sha.
        token: Of the Hub; the saved one if None.
        allow_pickle: Read weights from a pickle (tensors only) where there is no safetensors file.
        cache_dir: Of the Hub's client; its default if None.

    Raises:
        UsageError: The reference is neither.
        HubError: The repository cannot be had.
        UnsafeWeightsError: The only weights are a pickle.
        ModelError: The files are not a working image classifier.
    """
    reference = parse_reference(ref, "model", revision)
    if reference.folder is None:
        folder, sha, files = _download(reference, token, allow_pickle, cache_dir)
        name = reference.id
    else:
        folder, sha, name = reference.folder, None, folder_name(reference.folder)
        if not os.path.isdir(folder):  # noqa: PTH112 - the other raises for a long name
            raise ModelError(
                f"there is no folder {name}", "check the path; a model on the Hub is owner/name"
            )
        files = [path.name for path in folder.iterdir()]
    return _build(folder, name, sha, files, allow_pickle)


def _download(
    reference: Reference, token: str | None, allow_pickle: bool, cache_dir: Path | None
) -> tuple[Path, str, list[str] | None]:
    """The folder, the commit, and the names of all files of the repository."""
    _, sha = pin(reference, "model", token=token, cache_dir=cache_dir)
    with hub_errors(reference.id, sha):
        fetch = partial(
            snapshot_download,
            reference.id,
            revision=sha,
            token=token,
            cache_dir=cache_dir,
            library_name="hfscan",
        )
        folder = fetch(allow_patterns=["config.json"])
        if (Path(folder) / "config.json").is_file():
            # the weights of what cannot be audited are not worth the wait
            read_config(Path(folder))
        pickles = PICKLES if allow_pickle else ()
        folder = fetch(allow_patterns=["config.json", "README.md", SAFETENSORS, *pickles])
    files = _files(reference, sha, token)
    _explain_missing_weights(Path(folder), files or [])
    return Path(folder), sha, files


def _files(reference: Reference, sha: str, token: str | None) -> list[str] | None:
    """Names of a repository's files; None if the Hub cannot be asked, as for a model in the cache."""
    try:
        with hub_errors(reference.id):
            return hub_api(token).list_repo_files(reference.id, revision=sha)
    except HubError:
        return None


def _explain_missing_weights(folder: Path, files: Sequence[str]) -> None:
    """Without safetensors, say what the repository has instead."""
    if (folder / SAFETENSORS).is_file() or any((folder / name).is_file() for name in PICKLES):
        return
    pickles = [name for name in files if name.endswith(PICKLE_SUFFIXES)]
    if "config.json" in files and pickles:
        raise pickle_refused(pickles[0])


def _build(
    folder: Path, name: str, sha: str | None, files: Sequence[str] | None, allow_pickle: bool
) -> HubModel:
    config = read_config(folder)
    weights = find_weights(folder, allow_pickle=allow_pickle)
    tensors = read_weights(weights)
    _check_size(config, tensors)
    net = _create(config, tensors, weights.name)
    data = resolve_data_config(model=net, verbose=False)
    wrapped = classifier(
        net,
        input_size=data["input_size"],
        num_classes=config.num_classes,
        mean=data["mean"],
        std=data["std"],
    )
    channels_last(wrapped).eval()
    return HubModel(
        ref=name,
        revision=sha,
        architecture=config.architecture,
        input_size=tuple(data["input_size"]),
        num_classes=config.num_classes,
        label_names=config.label_names,
        weights_sha256=file_sha256(weights),
        weights_file=weights.name,
        mean=tuple(data["mean"]),
        std=tuple(data["std"]),
        interpolation=str(data["interpolation"]),
        crop_pct=float(data["crop_pct"]),
        notes=config.notes + _other_weights(files, weights.name),
        net=wrapped,
        folder=folder,
    )


def _check_size(config: Config, tensors: Mapping[str, Tensor]) -> None:
    """Refuse a network that is far larger than its weights, before it takes the memory."""
    try:
        with torch.device("meta"), torch.random.fork_rng([]):
            net: nn.Module = timm.create_model(
                config.architecture.partition(".")[0],
                pretrained_cfg=config.pretrained_cfg,
                **config.model_args,
            )
    except Exception:  # whatever is wrong, building it with its weights will tell
        return
    wanted = sum(tensor.numel() for tensor in net.state_dict().values())
    there = sum(tensor.numel() for tensor in tensors.values())
    if wanted > LARGER * there + LARGER_BY:
        raise ModelError(
            f"config.json describes a network of {wanted:,} values, and the weights have {there:,}",
            "config.json and weights are not of the same network",
        )


def _create(config: Config, tensors: Mapping[str, Tensor], source: str) -> nn.Module:
    """Build the network with these very tensors, as timm does for who loads the repository.

    timm's own renaming of keys applies. Some of its architectures leave tensors that the weights do not have as
    they were drawn: the network is built twice, from two seeds, and refused if it is not the same.
    """
    other = _fingerprints(_built(config, tensors, source, seed=1))
    net = _built(config, tensors, source, seed=0)
    drawn = [name for name, sha in _fingerprints(net).items() if other[name] != sha]
    if drawn:
        raise ModelError(
            f"{source} leaves {len(drawn)} tensors of {config.architecture} random, {drawn[0]} among them",
            "config.json and weights are not of the same network",
        )
    return net


def _built(config: Config, tensors: Mapping[str, Tensor], source: str, *, seed: int) -> nn.Module:
    architecture = config.architecture.partition(".")[0]
    cfg = {**config.pretrained_cfg, "state_dict": dict(tensors)}  # timm changes the dict
    with torch.random.fork_rng([]):
        torch.manual_seed(seed)
        try:
            net: nn.Module = timm.create_model(
                architecture, pretrained=True, pretrained_cfg=cfg, **config.model_args
            )
        except Exception as error:  # a hostile config can make any constructor fail in any way
            raise _build_error(config, error, source) from error
    vars(net)["pretrained_cfg"].pop("state_dict", None)  # a second copy of all weights
    return net


def _fingerprints(net: nn.Module) -> dict[str, str]:
    """Name of each tensor -> what tells it from others."""
    return {name: tensors_sha256({name: tensor}) for name, tensor in net.state_dict().items()}


def _build_error(config: Config, error: Exception, source: str) -> ModelError:
    text = " ".join(str(error).split())
    architecture = config.architecture
    if "size mismatch" in text:
        detail = text[text.index("size mismatch") :]
        return ModelError(
            f"{source} does not fit {architecture}: {detail:.160}",
            "config.json and weights are not of the same network",
        )
    twice = re.search(r"two tensors for \S+", text)
    if twice:
        return ambiguous(source, f"{twice[0]:.80}")
    keys = re.search(r"(Missing|Unexpected) key\(s\).*", text)
    if keys:
        return ModelError(
            f"{source} has the wrong keys for {architecture}: {keys[0]:.160}",
            "config.json and weights are not of the same network",
        )
    return ModelError(
        f"{architecture} cannot be built from config.json ({type(error).__name__}: {text:.120})",
        "check architecture and model_args",
    )


def _other_weights(files: Sequence[str] | None, audited: str) -> tuple[str, ...]:
    """Name weights beside the audited ones: other loaders may take those."""
    if files is None:
        return ("not known: whether the repository has other weights; the Hub could not be asked",)
    others = sorted(name for name in files if name != audited and name.endswith(WEIGHTS_SUFFIXES))
    if not others:
        return ()
    more = f" and {len(others) - NAMED} more" if len(others) > NAMED else ""
    return (f"not audited: {', '.join(others[:NAMED])}{more}",)


def wrap(
    net: nn.Module,
    *,
    input_size: tuple[int, int, int],
    num_classes: int,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    label_names: Sequence[str] | None = None,
    name: str = "module",
) -> HubModel:
    """Make any module ready to be audited.

    Args:
        net: ``(B, *input_size)`` -> logits, probabilities or log-probabilities ``(B, K)``, or a tuple or
            dict that has them. It is used as it is, not copied, and left as it was.
        input_size: ``(channels, height, width)``; 1 or 3 channels.
        num_classes: K.
        mean: Per input channel, of images in [0, 1], if the network wants normalized images.
        std: As ``mean``.
        label_names: Names of the K classes, if they have any.
        name: What to call the model in reports.

    Raises:
        ModelError: The module does not work as an image classifier of K classes.
    """
    if label_names and len(label_names) != num_classes:
        raise ModelError(
            f"{len(label_names)} label names for {num_classes} classes", "name each class once"
        )
    mean = tuple(mean) if mean is not None else (0.0,) * input_size[0]
    std = tuple(std) if std is not None else (1.0,) * input_size[0]
    wrapped = classifier(net, input_size=input_size, num_classes=num_classes, mean=mean, std=std)
    return HubModel(
        ref=name,
        revision=None,
        architecture=architecture_of(net),
        input_size=input_size,
        num_classes=num_classes,
        label_names=tuple(label_names or ()),
        weights_sha256=weights_sha256(wrapped),
        mean=mean,
        std=std,
        net=wrapped,
    )


def with_device(model: HubModel, device: torch.device) -> HubModel:
    """The model on another device; the network itself moves."""
    return dataclasses.replace(model, net=model.net.to(device))
