"""Draw `examples/fmt.svg`: what feature map testing does, on a real network and a real image.

hfscan audit ./examples/badnets-cifar10 --clean-data ./examples/cifar10-clean -o json=report.json
python examples/fmt_figure.py report.json ./examples/cifar10-clean examples/fmt.svg
"""

from __future__ import annotations

import base64
import io
import json
import sys
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

import hfscan
from hfscan.channels import probing
from hfscan.fmt.reverse import reverse_features, start
from hfscan.report.findings import suspicious_channels
from hfscan.types import AuditReport

TEXT = 'font-family="sans-serif" font-size="13" fill="#777"'


def main(report_file: str, clean_data: str, out: str) -> None:
    report = AuditReport.from_dict(json.loads(Path(report_file).read_text()))
    model = hfscan.load(report.model.ref)
    sample = hfscan.load_images(clean_data).sample(report.settings.images, seed=0)
    (strongest,) = suspicious_channels(report, 1)  # the largest flow into the suspected class
    layer, channel = strongest.layer, strongest.channel
    images = sample.images.float() / 255
    noise = (2 * torch.rand(images.shape, generator=torch.Generator().manual_seed(0)) - 1) * 0.02
    with probing(model.net):
        begin = start(model.net, layer, images, noise)
        *_, (changed, logits) = reverse_features(model.net, begin, [channel], report.settings)
    moved = (logits.argmax(1) == report.target) & (sample.labels != report.target)
    shown = int(moved.nonzero()[0]) if moved.any() else 0
    went = report.model.label(int(logits[shown].argmax()))
    difference = (changed[shown] - images[shown]) / (2 * report.settings.eps) + 0.5
    parts = [
        picture(0, images[shown], f"clean: {sample.classes[int(sample.labels[shown])]}"),
        picture(1, difference, f"moves {layer} #{channel}"),
        picture(2, changed[shown], f"changed: classified {went}"),
        histogram(3, report),
    ]
    svg = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 760 190">{"".join(parts)}</svg>\n'
    Path(out).write_text(svg)


def picture(column: int, pixels: Tensor, caption: str) -> str:
    """An image of 32x32 pixels, enlarged, with a caption."""
    array = (pixels.clamp(0, 1) * 255).byte().permute(1, 2, 0).numpy()
    stream = io.BytesIO()
    Image.fromarray(array).resize((160, 160), Image.Resampling.NEAREST).save(stream, "PNG")
    data = base64.b64encode(stream.getvalue()).decode()
    x = column * 190
    return (
        f'<image x="{x}" y="4" width="160" height="160" href="data:image/png;base64,{data}"/>'
        f'<text x="{x}" y="182" {TEXT}>{caption}</text>'
    )


def histogram(column: int, report: AuditReport) -> str:
    """How many channels leave the network how much accuracy."""
    accuracy = [layer.accuracy[:, -1] for layer in report.layers if not layer.skipped]
    counts, _ = np.histogram(np.concatenate(accuracy), bins=16, range=(0, 1))
    x = column * 190
    bars = "".join(
        f'<rect x="{x + index * 11}" y="{164 - height:.1f}" width="9" height="{height:.1f}" fill="#48c"/>'
        for index, height in enumerate(150 * counts / counts.max())
    )
    return f'{bars}<text x="{x}" y="182" {TEXT}>accuracy of all channels, 0 to 1</text>'


if __name__ == "__main__":
    main(*sys.argv[1:4])
