"""From options to a model and clean images."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from hfscan.cli.options import Device
from hfscan.errors import UsageError
from hfscan.types import HubModel, ImageSet


def prepare(threads: int | None, quiet: bool) -> None:
    """Set threads, and keep the libraries' own bars and messages off stderr where they are not wanted."""
    import torch

    from hfscan.data import quiet_datasets
    from hfscan.hub.client import quiet_hub

    if threads is not None:
        torch.set_num_threads(threads)
    quiet_datasets()
    quiet_hub(bars=not quiet and sys.stderr.isatty())


def usable_cores() -> int:
    """Processor cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def load_model(
    ref: str,
    device: Device,
    *,
    revision: str | None,
    token: str | None,
    allow_pickle: bool,
    cache_dir: Path | None,
) -> HubModel:
    """Load a model and move it to a device."""
    from hfscan.hub.load import load, with_device

    model = load(
        ref, revision=revision, token=token, allow_pickle=allow_pickle, cache_dir=cache_dir
    )
    return with_device(model, _device(device))


def _device(name: Device):  # type: ignore[no-untyped-def]  # noqa: ANN202
    import torch

    available = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "cpu": True,
    }
    if name == "auto":
        return torch.device(next(kind for kind, there in available.items() if there))
    if not available[name]:
        raise UsageError(f"this machine has no {name} device", "leave --device out")
    return torch.device(name)


def load_clean(
    clean_data: str,
    model: HubModel,
    *,
    images: int,
    seed: int,
    split: str,
    image_column: str | None,
    label_column: str | None,
    label_map: Path | None,
    token: str | None,
    cache_dir: Path | None,
) -> ImageSet:
    """Load clean images in the model's size."""
    from hfscan.data import load_images, read_label_map

    return load_images(
        clean_data,
        split=split,
        images=images,
        seed=seed,
        size=(model.input_size[1], model.input_size[2]),
        crop_pct=model.crop_pct,
        interpolation=model.interpolation,
        image_column=image_column,
        label_column=label_column,
        label_map=None if label_map is None else read_label_map(label_map),
        token=token,
        cache_dir=cache_dir,
    )
