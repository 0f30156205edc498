"""How reproducible the flagged channels are, and how many of them fast mode finds.

    python tests/benchmarks/overlap.py MODEL... --clean-data ./examples/cifar10-clean

Overlap is the Jaccard index of two sets of flagged channels, all layers together. Compared with exact mode:
fast mode with two ways to rank (accuracy, mean margin); exact mode with half of the images, in float32, and with
other images, which show how far the flagged channels are determined at all.
"""

from __future__ import annotations

import argparse
from dataclasses import replace

import numpy as np
import torch
from rich import print as show
from rich.table import Table

import hfscan
from hfscan.detectors import DETECTORS
from hfscan.fmt import LayerProfile, profile
from hfscan.fmt.screen import Screen
from hfscan.pipeline import low_outliers
from hfscan.types import AuditSettings, ImageSet, IntArray, Precision

Flags = list[np.ndarray]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", nargs="+")
    parser.add_argument("--clean-data", required=True)
    parser.add_argument("--images", type=int, default=32)
    parser.add_argument("--effort", type=float, nargs="+", default=[0.15, 0.3])
    options = parser.parse_args()
    table = Table("model", "compared with exact mode", "flagged", "overlap", "share of the work")
    for name in options.models:
        model = hfscan.load(name)
        both = hfscan.load_images(options.clean_data).sample(2 * options.images, seed=0)
        halves = both.split_at(0.5, seed=0)
        for row in _rows(model.net, halves, options.effort):
            table.add_row(name.rstrip("/").rpartition("/")[2], *row)
    show(table)


def _rows(
    net: torch.nn.Module, halves: tuple[ImageSet, ImageSet], efforts: list[float]
) -> list[tuple[str, str, str, str]]:
    settings = AuditSettings(images=len(halves[0]), precision="bf16")
    exact = _flags(list(profile(net, halves[0], settings)), settings)
    rows = [("itself", exact, 1.0)]
    for effort in efforts:
        fast = replace(settings, mode="fast", effort=effort)
        for ranking in ("accuracy", "mean margin"):
            layers = _profiles(net, halves[0], fast, ranking)
            share = sum(int(layer.tested.sum()) for layer in layers)
            share /= sum(layer.layer.channels for layer in layers) * len(halves[0])
            rows.append((f"fast {effort:g}, by {ranking}", _flags(layers, fast), share))
    half = halves[0].sample(len(halves[0]) // 2, seed=0)
    others: tuple[tuple[str, ImageSet, Precision, float], ...] = (
        ("half of the images", half, "bf16", 0.5),
        ("float32", halves[0], "fp32", 1.0),
        ("other images", halves[1], "bf16", 1.0),
    )
    for what, images, precision, share in others:
        other = replace(settings, images=len(images), precision=precision)
        rows.append((what, _flags(list(profile(net, images, other)), other), share))
    return [
        (what, f"{sum(f.sum() for f in flags)}", f"{_overlap(exact, flags):.2f}", f"{share:.0%}")
        for what, flags, share in rows
    ]


def _profiles(
    net: torch.nn.Module, images: ImageSet, settings: AuditSettings, ranking: str
) -> list[LayerProfile]:
    if ranking == "accuracy":
        return list(profile(net, images, settings))
    usual = Screen._most_suspicious
    Screen._most_suspicious = _by_margin  # type: ignore[method-assign]
    try:
        return list(profile(net, images, settings))
    finally:
        Screen._most_suspicious = usual  # type: ignore[method-assign]


def _by_margin(screen: Screen, alive: IntArray, count: int) -> IntArray:
    margin = np.nanmean(screen.responses.margin[alive], (1, 2))
    return alive[np.argsort(margin, kind="stable")[:count]]


def _flags(layers: list[LayerProfile], settings: AuditSettings) -> Flags:
    detector = DETECTORS["elliptic"](settings.tau, settings.seed)
    return [low_outliers(detector, layer.accuracy) & layer.verified for layer in layers]


def _overlap(one: Flags, other: Flags) -> float:
    both = sum(int((a & b).sum()) for a, b in zip(one, other, strict=True))
    either = sum(int((a | b).sum()) for a, b in zip(one, other, strict=True))
    return both / max(1, either)


if __name__ == "__main__":
    main()
