"""Whether audits work here, and how fast: versions, processor, memory, disk, the Hub."""

from __future__ import annotations

import math
import os
import platform
import shutil
import timeit
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import Literal

import psutil
import torch
from packaging.requirements import Requirement
from torch import Tensor, cuda, nn

from hfscan.fmt.precision import NAMES, working_copy
from hfscan.half import fast_half
from hfscan.hub.reach import HubState
from hfscan.hub.untrained import untrained

State = Literal["fine", "note", "bad"]

CPU_FLAGS = ("avx2", "avx512f", "avx512_bf16", "amx_bf16", "avx512_fp16", "asimd", "bf16")
"""What makes convolutions fast, of what Linux says of the processor."""

MIN_MEMORY = 512 * 2**20
"""With fewer free bytes than these an audit is likely to be killed."""

MIN_DISK = 200 * 2**20
"""With fewer free bytes than these there is no room for a model of the usual size."""


@dataclass(frozen=True)
class Check:
    """One thing that was looked at.

    Args:
        name: What.
        value: What was found.
        state: ``"bad"`` would make an audit fail; ``"note"`` is worth knowing.
        hint: What to do about it, if anything.
    """

    name: str
    value: str
    state: State = "fine"
    hint: str = ""


def examine(hub: HubState, folders: Mapping[str, Path]) -> list[Check]:
    """Look at everything.

    Args:
        hub: From `hfscan.hub.reach.hub_state`.
        folders: What it is -> where hfscan keeps it.
    """
    return [
        _python(),
        *packages(),
        *_processor(),
        _precision(),
        _memory(),
        *(folder(name, path) for name, path in folders.items()),
        *_hub(hub),
    ]


def _python() -> Check:
    found = f"{platform.python_version()} on {platform.system()} {platform.machine()}"
    return Check("Python", found)


def packages() -> Iterator[Check]:
    """hfscan, and what it needs in any case, each with the version that is installed."""
    yield Check("hfscan", version("hfscan"))
    for text in requires("hfscan") or []:
        needed = Requirement(text)
        if needed.marker is None or needed.marker.evaluate({"extra": ""}):
            yield _package(needed)


def _package(needed: Requirement) -> Check:
    hint = f"pip install '{needed}'"
    try:
        found = version(needed.name)
    except PackageNotFoundError:
        return Check(needed.name, "not installed", "bad", hint)
    if not needed.specifier.contains(found, prereleases=True):
        return Check(needed.name, f"{found}, {needed.specifier} is needed", "bad", hint)
    return Check(needed.name, found)


def _processor() -> Iterator[Check]:
    cores = psutil.cpu_count(logical=False) or os.cpu_count()
    yield Check("threads", f"{torch.get_num_threads()} of {cores} cores")
    flags = [flag for flag in CPU_FLAGS if flag in _cpu_flags()]
    capability = torch.backends.cpu.get_cpu_capability()
    yield Check("processor", ", ".join([f"{capability} in PyTorch", *flags]))
    gpus = [cuda.get_device_name(index) for index in range(cuda.device_count())]
    if torch.backends.mps.is_available():
        gpus.append("Apple (mps)")
    yield Check("GPU", ", ".join(gpus) or "none; it is not needed")


def _cpu_flags() -> set[str]:
    """Of the first processor; only Linux has them in a file."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return set()
    named = [line.partition(":")[2] for line in lines if line.startswith(("flags", "Features"))]
    return set(named[0].split()) if named else set()


def _precision() -> Check:
    """Which precision an audit takes on the processor, and what a small network gains by it."""
    half = fast_half(torch.device("cpu"))
    if half is None:
        return Check("fastest precision", "fp32: the processor has no instructions for bfloat16")
    model = untrained(
        "preactresnet18",
        input_size=(3, 32, 32),
        num_classes=10,
        mean=(0.5,) * 3,
        std=(0.5,) * 3,
        model_args={"width": 32},
    )
    pixels = torch.rand(16, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    pixels = pixels.contiguous(memory_format=torch.channels_last)
    name = NAMES[half]
    plain, fast = (_seconds(working_copy(model.net, each), pixels) for each in ("fp32", name))
    return Check("fastest precision", f"{name}, {plain / fast:.1f} times as fast as fp32")


@torch.inference_mode()
def _seconds(net: nn.Module, pixels: Tensor) -> float:
    """Of the fastest of three passes."""
    return min(timeit.repeat(lambda: net(pixels), number=1, repeat=3))


def _memory() -> Check:
    memory = psutil.virtual_memory()
    found = f"{size(memory.available)} free of {size(memory.total)}"
    if memory.available < MIN_MEMORY:
        return Check("memory", found, "bad", "close other programs, or use another machine")
    return Check("memory", found)


def folder(name: str, path: Path) -> Check:
    """A place that hfscan writes to: how large it is, and whether there is room.

    Args:
        name: What it is for.
        path: Where; it does not have to be there yet.
    """
    there = next(each for each in (path, *path.absolute().parents) if os.path.exists(each))  # noqa: PTH110
    if not os.path.isdir(there) or not os.access(there, os.W_OK):  # noqa: PTH112
        return Check(
            name, f"{path} cannot be written", "bad", "choose another place, or its rights"
        )
    free = shutil.disk_usage(there).free
    found = f"{path}: {size(folder_size(path))}, {size(free)} free"
    if free < MIN_DISK:
        return Check(name, found, "bad", "free some space")
    return Check(name, found)


def folder_size(path: Path) -> int:
    """Bytes of all files below; links are not followed, what cannot be read does not count."""
    total, todo = 0, [str(path)]
    while todo:
        try:
            with os.scandir(todo.pop()) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        todo.append(entry.path)
                    elif entry.is_file(follow_symlinks=False):
                        total += entry.stat(follow_symlinks=False).st_size
        except OSError:
            continue
    return total


def _hub(hub: HubState) -> Iterator[Check]:
    if hub.problem:
        hint = "only what was downloaded before can be audited, and folders"
        yield Check("Hub", f"{hub.endpoint} cannot be reached: {hub.problem}", "note", hint)
    else:
        yield Check("Hub", f"{hub.endpoint} answers")
    if hub.token:
        yield Check("token", "there is one")
    else:
        hint = "hf auth login, for private and gated repositories and to push"
        yield Check("token", "none", "note", hint)


def size(count: float) -> str:
    """Bytes as people read them: ``2.1 GB``."""
    if count < 1000:
        return f"{count:.0f} bytes"
    power = min(4, int(math.log(count, 1000)))
    return f"{count / 1000**power:.1f} {('', 'kB', 'MB', 'GB', 'TB')[power]}"
