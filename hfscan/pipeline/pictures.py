"""Pictures of the most suspicious channels: a clean image, the image reversed for the channel, the difference."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from hfscan.fmt.engine import Engine, make_engine
from hfscan.fmt.profile import PASS_ERRORS
from hfscan.fmt.reverse import reverse_features, start
from hfscan.png import to_png
from hfscan.report.findings import suspicious_channels
from hfscan.types import AuditReport, ImageSet, Picture, TestResult, stratified_order

CHANNELS = 6
"""So many channels are shown, from the top of the report's list."""

CANDIDATES = 8
"""For each of them so many images are tried; the one that moves most is shown."""

AMPLITUDE = 0.25
"""How far the amplified difference goes from gray, of the pixel range."""


def draw_channels(
    net: nn.Module, sample: ImageSet, report: AuditReport, *, memory: int | None = None
) -> tuple[Picture, ...]:
    """Draw what feature reverse generation does to an image, for the report's most suspicious channels.

    The same noise, steps and functions as in the audit, in float32. What is shown of a channel is the image
    that it leads furthest to the suspected class, or without one furthest from its label, of some images that
    the network classifies correctly; one that was not shown yet, if it gets there too.

    Args:
        net: float32 ``(B, 3, H, W)`` in [0, 1] -> logits ``(B, K)``; it is left as it was.
        sample: The N clean images that tested the channels.
        report: The audit, with its layers.
        memory: Bytes to use beside the model; None for 1 GiB or a quarter of what is free.

    Returns:
        Three pictures per channel, none where its passes fail.
    """
    channels = suspicious_channels(report, CHANNELS)
    if not channels:
        return ()
    settings = replace(report.settings, precision="fp32")
    engine = make_engine(net, sample, settings, memory=memory)
    chosen = _candidates(engine, report.target, min(CANDIDATES, engine.limits.graph))
    found: list[Picture] = []
    shown = [0] * len(chosen)
    for one in channels:
        with contextlib.suppress(*PASS_ERRORS):  # then there is nothing to see
            found += _draw(engine, one.layer, one.channel, chosen, report.target, shown)
    return tuple(found)


def _candidates(engine: Engine, target: int | None, count: int) -> Tensor:
    """Images that are not of the suspected class, those that are classified correctly first: ``(n,)``."""
    order = stratified_order(engine.labels.cpu(), engine.settings.seed)
    with torch.inference_mode():
        predicted = torch.cat([engine.net(part).argmax(1) for part in engine.pixels.split(count)])
    wrong = (predicted != engine.labels).cpu()[order]
    outside = engine.labels.cpu()[order] != (-1 if target is None else target)
    return order[outside][wrong[outside].int().argsort(stable=True)][:count]


def _draw(
    engine: Engine, layer: str, channel: int, which: Tensor, target: int | None, shown: list[int]
) -> list[Picture]:
    """The three pictures of one channel; ``shown`` counts how often each image was taken."""
    begin = start(engine.net, layer, engine.pixels[which], engine.noise[which])
    *_, (perturbed, logits) = reverse_features(engine.net, begin, [channel], engine.settings)
    ends, labels = logits.argmax(1), engine.labels[which]
    there = (ends != labels if target is None else ends == target).tolist()
    moved = _moved(logits, labels, target).tolist()
    best = max(range(len(which)), key=lambda i: (there[i], -shown[i] * there[i], moved[i]))
    shown[best] += 1
    clean, reverse = begin.images[best], perturbed[best]
    gain = max(1, int(AMPLITUDE / engine.settings.eps))
    with torch.inference_mode():
        seen = int(engine.net(clean[None]).argmax(1))
    first = Picture("clean", to_png(clean), layer, channel, int(labels[best]), seen)
    return [
        first,
        replace(first, role="reversed", png=to_png(reverse), predicted=int(ends[best])),
        replace(
            first,
            role="difference",
            png=to_png(0.5 + gain * (reverse - clean)),
            predicted=None,
            gain=float(gain),
        ),
    ]


def _moved(logits: Tensor, labels: Tensor, target: int | None) -> Tensor:
    """How far the target's logit, or any, is above the label's: ``(n, K)`` and ``(n,)`` -> ``(n,)``."""
    own = logits.gather(1, labels[:, None]).squeeze(1)
    if target is not None:
        return logits[:, target] - own
    return logits.scatter(1, labels[:, None], -torch.inf).amax(1) - own


def trigger_pictures(tests: Sequence[TestResult], target: int | None) -> list[Picture]:
    """What the triggers inverted for the suspected class do to an image; nothing without such a class."""
    return [
        picture
        for test in tests
        if test.evidence is not None and target is not None and test.target == target
        for picture in test.evidence.pictures
    ]


def without_pictures(tests: Sequence[TestResult]) -> tuple[TestResult, ...]:
    """The results as a report keeps them: it has the pictures in one place."""
    return tuple(
        test
        if test.evidence is None
        else replace(test, evidence=replace(test.evidence, pictures=()))
        for test in tests
    )
