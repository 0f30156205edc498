"""From options to a model and clean images."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from hfscan.cli.options import Device
from hfscan.cli.state import Inputs
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


def load_inputs(
    inputs: Inputs,
    device: Device,
    *,
    images: int,
    per_class: int = 1,
    seed: int,
    token: str | None,
    cache_dir: Path | None,
) -> tuple[HubModel, ImageSet]:
    """Load a model onto a device, and clean images in its size.

    Args:
        inputs: Which.
        device: Where the model goes.
        images: Clean images, at most, but
        per_class: so many for each class of the model.
        seed: Which images.
        token: Of the Hub.
        cache_dir: Of models and images.
    """
    from hfscan.data import load_images
    from hfscan.hub.load import load, with_device

    loaded = load(
        inputs.model,
        revision=inputs.revision,
        token=token,
        allow_pickle=inputs.allow_pickle,
        cache_dir=cache_dir,
    )
    model = with_device(loaded, _device(device))
    clean = load_images(
        inputs.clean_data,
        model=model,
        split=inputs.split,
        images=max(images, per_class * model.num_classes),
        seed=seed,
        image_column=inputs.image_column,
        label_column=inputs.label_column,
        label_map=inputs.label_map,
        token=token,
        cache_dir=cache_dir,
    )
    return model, clean


def read_map(path: Path | None) -> dict[str, int] | None:
    """The label map in a file, if one was named."""
    from hfscan.labels import read_label_map

    return None if path is None else read_label_map(path)


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
