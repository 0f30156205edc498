"""Write a repaired model as a folder that timm loads, all of it or nothing."""

from __future__ import annotations

import ctypes
import errno
import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from hfscan.card import edit_card
from hfscan.channels import probing
from hfscan.errors import ModelError, RepairError
from hfscan.hub.load import load
from hfscan.hub.own_file import read_own_file
from hfscan.types import HubModel, RepairReport
from hfscan.weights import SAFETENSORS, serialize

REPORT = "hfscan-report.json"
CARD = "README.md"
CONFIG = "config.json"

_AT_FDCWD = -100
_RENAME_EXCHANGE = 2


def save(
    model: HubModel,
    folder: Path,
    report: RepairReport | None = None,
    *,
    overwrite: bool = False,
    more: Mapping[str, bytes] | None = None,
) -> Path:
    """Write a model in the Hub's layout, which `hfscan.load` and timm read.

    ``timm.create_model("local-dir:<folder>", pretrained=True)`` loads it; without ``pretrained=True`` the weights
    are random. For a PreActResNet, which timm does not have, ``import hfscan.models`` first. Of a module from
    `hfscan.wrap`, ``config.json`` has the architecture and what was given to `wrap`: timm loads it if it made the
    module, with no other arguments than the number of classes.

    The files are written to a folder beside the wanted one, which then takes its place. A killed process
    leaves the old folder or the new one, and perhaps a hidden folder beside it. Where the system cannot
    swap two folders in one step (Linux can), a process that is killed between two renames leaves the old
    folder as ``old`` in that hidden one.

    Args:
        model: From `hfscan.repair` or `hfscan.load`.
        folder: Where to.
        report: Of the repair; adds ``hfscan-report.json`` and a section to the card.
        overwrite: Replace the folder if it exists and has only files in it.
        more: Further files, name -> bytes; they replace those of the same name.

    Returns:
        ``folder``.

    Raises:
        RepairError: The folder exists already, has folders in it, or cannot be written; or what is written does
            not load as the same network.
        ModelError: ``config.json`` or ``README.md`` of the source are links to files outside of its folder.
    """
    check_target(folder, overwrite=overwrite)
    files = contents(model, report) | dict(more or {})
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(
            dir=folder.parent, prefix=f".{folder.name}.", ignore_cleanup_errors=True
        ) as scratch:
            fresh = Path(scratch) / "new"
            fresh.mkdir()
            for name, content in files.items():
                (fresh / name).write_bytes(content)
            if model.folder is not None and CONFIG not in (more or {}):
                _check_loads(fresh, model)
            _exchange(folder, fresh, Path(scratch) / "old")
    except OSError as error:
        raise _cannot_write(folder, error) from error
    return folder


@torch.no_grad()
def _check_loads(folder: Path, model: HubModel) -> None:
    """Whoever loads the files must get the network that was measured."""
    device = next(model.net.parameters()).device
    pixels = torch.rand((2, 3, *model.input_size[1:]), generator=torch.Generator().manual_seed(0))
    try:
        loaded = load(str(folder.absolute())).net(pixels)
    except ModelError as error:
        raise RepairError(
            f"the model that is written does not load: {error}", error.hint
        ) from error
    with probing(model.net):
        meant = model.net(pixels.to(device)).cpu()
    if not torch.allclose(loaded, meant, rtol=1e-2, atol=1e-2 * float(meant.abs().max())):
        raise RepairError(
            "the model that is written loads as another network than the one that was measured",
            "is there something in config.json that changes the weights when they are loaded?",
        )


def _exchange(folder: Path, fresh: Path, old: Path) -> None:
    if not folder.is_dir():
        fresh.rename(folder)
        return
    if _swap(fresh, folder):
        return
    try:
        folder.rename(old)
        fresh.rename(folder)
    except BaseException:
        if old.is_dir() and not folder.exists():
            old.rename(folder)
        raise


def _swap(one: Path, other: Path) -> bool:
    """Exchange two folders in one step, or return False where that cannot be done."""
    try:
        renameat2 = ctypes.CDLL(None).renameat2  # of Linux; Python has no name for it
    except (AttributeError, OSError, TypeError):
        return False
    here = ctypes.c_int(_AT_FDCWD)
    failed = renameat2(here, os.fsencode(one), here, os.fsencode(other), _RENAME_EXCHANGE)
    return not failed


def check_target(folder: Path, *, overwrite: bool) -> None:
    """Raise a RepairError if `save` would refuse to write there."""
    try:
        _check_target(folder, overwrite)
    except OSError as error:  # the name is too long, for one
        raise _cannot_write(folder, error) from error


def _check_target(folder: Path, overwrite: bool) -> None:
    if folder.is_dir() and (folder.samefile(".") or os.path.ismount(folder)):
        what = "the working directory" if folder.samefile(".") else "a mount point"
        raise RepairError(
            f"{folder} is {what}, which a new folder cannot take the place of",
            f"name a folder in it: --out {folder / 'repaired'}",
        )
    above = folder.absolute().parents or (folder,)
    parent = next(parent for parent in above if parent.exists())
    if not parent.is_dir() or not os.access(parent, os.W_OK):
        raise RepairError(f"nothing can be written to {parent}", "choose another --out")
    if folder.exists() and not folder.is_dir():
        raise RepairError(f"{folder} is not a folder", "choose another --out")
    if folder.is_dir() and any(folder.iterdir()) and not overwrite:
        raise RepairError(f"{folder} exists already", "choose another --out, or pass --overwrite")
    if folder.is_dir() and any(path.is_dir() for path in folder.iterdir()):
        raise RepairError(
            f"{folder} has folders in it, which --overwrite would delete", "choose another --out"
        )


def contents(model: HubModel, report: RepairReport | None) -> dict[str, bytes]:
    """The files of a model's repository: name -> bytes."""
    files = {SAFETENSORS: serialize(model.net), CONFIG: _config(model)}
    if report is not None:
        report = _portable(report)
        files[CARD] = edit_card(source_card(model), report).encode()
        files[REPORT] = (json.dumps(_timeless(report.to_dict())) + "\n").encode()
    elif (card := source_card(model)) is not None:
        files[CARD] = card
    return files


def source_card(model: HubModel) -> bytes | None:
    """The ``README.md`` that a model came with: better asked before a repair, too, than after it only.

    Raises:
        ModelError: It is not a file of the model's folder, or too large.
    """
    try:
        return None if model.folder is None else read_own_file(model.folder, CARD)
    except FileNotFoundError:
        return None


def _portable(report: RepairReport) -> RepairReport:
    """A report without the paths of this machine: they lead nowhere elsewhere, and tell who made it.

    Nor are there pictures: the clean images need not be public.
    """
    audit = report.audit
    audit = replace(
        audit,
        model=replace(audit.model, ref=_shortened(audit.model.ref)),
        data=replace(audit.data, name=_shortened(audit.data.name)),
        pictures=(),
    )
    return replace(
        report, audit=audit, data=replace(report.data, name=_shortened(report.data.name))
    )


def _shortened(name: str) -> str:
    """The last part of a folder's reference; another name as it is."""
    path = Path(name)
    return f"./{path.name}" if path.is_absolute() or name.startswith((".", "~")) else name


def _timeless(value: Any) -> Any:
    """A report without its durations, so that the same repair gives the same bytes."""
    if isinstance(value, dict):
        return {k: type(v)() if k == "seconds" else _timeless(v) for k, v in value.items()}
    return [_timeless(item) for item in value] if isinstance(value, list) else value


def _config(model: HubModel) -> bytes:
    """The source's ``config.json``, byte for byte; one made from the facts where there is none.

    But for ``label_offset``: at loading, timm cut so many rows off the classifier, which are gone now.
    """
    if model.folder is not None:
        content = read_own_file(model.folder, CONFIG)
        described = json.loads(content)
        if not described.get("pretrained_cfg", described).pop("label_offset", 0):
            return content
        return (json.dumps(described, indent=2) + "\n").encode()
    return (json.dumps(config_of(model), indent=2) + "\n").encode()


def config_of(model: HubModel, model_args: dict[str, Any] | None = None) -> dict[str, Any]:
    """A ``config.json`` in timm's layout.

    Args:
        model: What to describe.
        model_args: Arguments of the architecture, such as ``{"width": 16}``.
    """
    return {
        "architecture": model.architecture,
        "num_classes": model.num_classes,
        **({"label_names": list(model.label_names)} if model.label_names else {}),
        **({"model_args": model_args} if model_args else {}),
        "pretrained_cfg": {
            "num_classes": model.num_classes,
            "input_size": list(model.input_size),
            "interpolation": model.interpolation,
            "crop_pct": model.crop_pct,
            "mean": list(model.mean),
            "std": list(model.std),
        },
    }


def _cannot_write(folder: Path, error: OSError) -> RepairError:
    hints = {
        errno.ENOSPC: "free some space or choose another --out",
        errno.EACCES: "you may not write there; choose another --out",
        errno.EROFS: "it is read-only; choose another --out",
    }
    hint = hints.get(error.errno or 0, "choose another --out")
    return RepairError(f"{folder} cannot be written ({error.strerror or error})", hint)
