"""How much of the work fits into memory at once."""

from __future__ import annotations

import contextlib
import ctypes
from dataclasses import dataclass

import psutil
import torch
from torch import Tensor, nn

DEFAULT_BYTES = 1 << 30
"""What an audit may use beside the model, if the machine has it."""

BEST_BATCH = {"cpu": 64}
"""Images per pass that a device computes fastest; others take what fits, at most `LARGEST_BATCH`."""

LARGEST_BATCH = 1024

BACKWARD_BATCH = 32
"""Images of a backward pass that are enough to be fast."""

LIVE_MAPS = 4
"""Feature maps of the largest size that are alive at a time in a pass without a graph."""

PASSES = 4
"""The memory is for one graph, its gradients, one pass without a graph, and the allocator's leftovers."""


@dataclass(frozen=True)
class Limits:
    """Of one pass.

    Args:
        batch: Most images per pass without a graph.
        graph: Most images whose graph is kept at a time.
    """

    batch: int
    graph: int

    def sizes(self, images: int) -> tuple[int, int]:
        """How many of ``images`` images to take at once, and how many channels with them."""
        group = max(1, min(images, self.batch, self.graph))
        return group, max(1, self.batch // group)

    def copies(self, images: int, channels: int) -> int:
        """How many channels a backward pass of ``images`` images each shall serve."""
        return max(1, min(channels, min(BACKWARD_BATCH, self.graph) // images))


def default_memory() -> int:
    """Bytes that an audit may use beside the model: 1 GiB, or a quarter of what is free."""
    return min(DEFAULT_BYTES, int(psutil.virtual_memory().available) // 4)


def give_back() -> None:
    """Give memory that passes have freed back to the system, where the C library can (glibc).

    Passes of many sizes leave holes in its heap, which adds up in the audit of a large network.
    """
    with contextlib.suppress(AttributeError, TypeError, OSError):
        ctypes.CDLL(None).malloc_trim(0)


def measure_limits(
    net: nn.Module, images: Tensor, memory: int, batch_size: int | None, *, retained: bool
) -> Limits:
    """Find the batch sizes that keep the passes within ``memory``.

    The size of a pass is measured: what one image's forward pass saves for its backward pass.

    Args:
        net: The network as it will be used.
        images: ``(N, 3, H, W)``; one of them is tried.
        memory: Bytes.
        batch_size: Most images per pass, or None for what the device likes.
        retained: Whether batches keep graphs too.
    """
    total, largest = _saved_bytes(net, images[:1])
    wanted = batch_size or BEST_BATCH.get(images.device.type, LARGEST_BATCH)
    per_image = total if retained else LIVE_MAPS * largest
    batch = max(1, min(wanted, memory // PASSES // max(1, per_image)))
    graph = max(1, memory // PASSES // max(1, total))
    return Limits(batch, graph if batch_size is None else min(graph, batch_size))


def _saved_bytes(net: nn.Module, image: Tensor) -> tuple[int, int]:
    """Bytes of all tensors that one image's pass saves for its backward pass, and of the largest."""
    sizes: dict[int, int] = {}
    weights = {p.untyped_storage().data_ptr() for p in net.parameters()}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            sizes[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        net(image.clone().requires_grad_())
    return sum(sizes.values()), max(sizes.values(), default=0)
