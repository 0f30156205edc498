"""Does an audit keep to its time budget on a large network, and does it cover every layer?

    python tests/benchmarks/budget.py --architecture resnet50 --size 224 --budget 600

Random weights and images: the labels are the network's own answers, so that the audit goes through all stages.
"""

from __future__ import annotations

import argparse
import resource
import time

import timm
import torch
from rich import print as show
from rich.progress import track

import hfscan
from hfscan.types import AuditSettings, ImageSet


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--architecture", default="resnet50")
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--classes", type=int, default=10)
    parser.add_argument("--budget", type=float, default=600, help="seconds")
    options = parser.parse_args()
    torch.manual_seed(0)
    net = timm.create_model(options.architecture, num_classes=options.classes).eval()
    size = (options.size, options.size)
    model = hfscan.wrap(net, input_size=(3, *size), num_classes=options.classes, name="random")
    clean = _clean(model.net, size)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    began = time.perf_counter()
    report = hfscan.audit(
        model, clean, settings=AuditSettings(mode="fast"), budget=options.budget, progress=track
    )
    took = time.perf_counter() - began
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    skipped = [layer.layer for layer in report.layers if layer.skipped]
    show(report.coverage, f"{len(report.layers)} layers, {len(skipped)} skipped")
    show({test.name: test.skipped or test.p_value for test in report.tests}, report.verdict.value)
    show(f"budget {options.budget:.0f} s, took {took:.0f} s; stages {dict(report.seconds)}")
    show(
        f"{torch.get_num_threads()} threads; peak memory grew by {(after - before) / 2**20:.2f} GiB"
    )


def _clean(net: torch.nn.Module, size: tuple[int, int]) -> ImageSet:
    """Smooth random images, and what the network says of them once no class is favored."""
    coarse = torch.rand(64, 3, 8, 8)
    images = torch.nn.functional.interpolate(coarse, size, mode="bicubic").clamp(0, 1)
    pixels = images.mul(255).round().to(torch.uint8)
    head = net.net.get_classifier()
    with torch.no_grad():
        logits = torch.cat([net(batch.float() / 255) for batch in pixels.split(8)])
        head.bias -= logits.mean(0)
        labels = (logits - logits.mean(0)).argmax(1)
    return ImageSet("random", pixels, labels)


if __name__ == "__main__":
    main()
