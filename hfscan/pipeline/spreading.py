"""Tests the layers of one network on several machines."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import nn

from hfscan.channels import ConvLayer, conv_layers, one_image
from hfscan.cluster import Spread, lost
from hfscan.fmt import LayerProfile, profile
from hfscan.types import AuditSettings, ImageSet, Progress, silent

PARTS = 16
"""Into how many parts the layers of a network are divided: enough for some workers to be slower than others."""

Part = tuple[str, ...]
"""Names of layers."""


@dataclass(frozen=True, eq=False)
class Work:
    """What all parts share. One object, since Dask takes a bare network apart in a way that breaks its hooks.

    Args:
        net: The network; a copy goes to each worker.
        images: The N clean images.
        settings: With the precision that has been settled on.
        target: The suspected class, or None.
        memory: Bytes that a worker may use beside the model; None for 1 GiB or a quarter of what is free there.
        batch_size: Most images per pass; None for what the worker's device likes and its memory allows.
    """

    net: nn.Module
    images: ImageSet
    settings: AuditSettings
    target: int | None = None
    memory: int | None = None
    batch_size: int | None = None


def profile_elsewhere(
    work: Work,
    spread: Spread[Part],
    *,
    known: Callable[[ConvLayer], LayerProfile | None],
    keep: Callable[[LayerProfile], None],
    progress: Progress = silent,
) -> tuple[dict[str, LayerProfile], str]:
    """Test the layers of a network where ``spread`` says.

    Args:
        work: The network, and how to test it.
        spread: One of `hfscan.cluster.CLUSTERS`, with its address.
        known: Gives the profile of a layer that needs no test.
        keep: Given each profile as it comes.
        progress: Wraps the loop over the parts.

    Returns:
        Name -> profile of the layers that were tested, and why others were not; empty if all were.
    """
    layers = [
        layer
        for layer in conv_layers(work.net, one_image(work.net, work.images))
        if not layer.skipped and known(layer) is None
    ]
    parts = balanced(layers, PARTS)
    found: dict[str, LayerProfile] = {}
    reason = ""
    results = spread(profile_part, parts, (work,))
    for _, result in progress(results, "testing channels on the cluster", len(parts)):
        try:
            profiles = result()
        except Exception as error:  # whatever a cluster raises
            reason = lost(error)
            continue
        for tested in profiles:
            keep(tested)
            found[tested.layer.name] = tested
    return found, reason


def balanced(layers: Sequence[ConvLayer], parts: int) -> list[Part]:
    """Divide layers into parts of about the same work, the largest first.

    The longest layer first, always to the part that has least so far (Graham, "Bounds on Multiprocessing Timing
    Anomalies", SIAM Journal on Applied Mathematics, 1969).
    """
    before, work = 0.0, {}
    total = max(1, sum(layer.macs for layer in layers))
    for layer in layers:  # in order of execution: a deeper layer has a longer way back
        before += layer.macs / total
        work[layer.name] = layer.channels * (2 + before)
    heap: list[tuple[float, int, Part]] = [
        (0.0, index, ()) for index in range(min(parts, len(work)))
    ]
    for name in sorted(work, key=lambda name: -work[name]):
        load, index, names = heapq.heappop(heap)
        heapq.heappush(heap, (load + work[name], index, (*names, name)))
    return [names for _, _, names in sorted(heap, reverse=True)]


def profile_part(part: Part, work: Work) -> list[LayerProfile]:
    """On a worker: test some layers."""
    layers = profile(
        work.net,
        work.images,
        work.settings,
        target=work.target,
        only=part,
        memory=work.memory,
        batch_size=work.batch_size,
    )
    return list(layers)
