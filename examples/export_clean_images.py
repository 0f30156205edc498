"""Write `examples/cifar10-clean`: 2,500 test images of CIFAR-10 as a dataset folder.

python examples/export_clean_images.py --data cifar10 --out examples/cifar10-clean
"""

from __future__ import annotations

import argparse
import io
from pathlib import Path

import datasets
from PIL import Image

import hfscan
from hfscan.types import ImageSet

IMAGES = 2500

CARD = """---
pretty_name: CIFAR-10, {images} clean test images
task_categories:
- image-classification
license: other
configs:
- config_name: default
  data_files:
  - split: test
    path: data/test-*
---

# {images} clean test images of CIFAR-10

For the quick start and the tests of hfscan: {images} of the official 10,000 test images, {each} per class,
losslessly stored. From A. Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009; its
authors ask users to cite that report. Made by `examples/export_clean_images.py`.
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", default="cifar10", help="CIFAR-10: an id on the Hub, or ./folder")
    parser.add_argument("--out", type=Path, default=Path("examples/cifar10-clean"))
    options = parser.parse_args()
    clean = hfscan.load_images(options.data, split="test", images=IMAGES, seed=0)
    (options.out / "data").mkdir(parents=True, exist_ok=True)
    table(clean).to_parquet(str(options.out / "data" / "test-00000-of-00001.parquet"))
    card = CARD.format(images=len(clean), each=len(clean) // len(clean.classes))
    (options.out / "README.md").write_text(card)


def table(clean: ImageSet) -> datasets.Dataset:
    """The images as lossless WebP, with their labels."""
    features = datasets.Features(
        {"img": datasets.Image(), "label": datasets.ClassLabel(names=list(clean.classes))}
    )
    files = [webp(pixels.permute(1, 2, 0).numpy()) for pixels in clean.images]
    rows = {
        "img": [{"bytes": file, "path": None} for file in files],
        "label": clean.labels.tolist(),
    }
    return datasets.Dataset.from_dict(rows, features=features)


def webp(pixels: object) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "WEBP", lossless=True, quality=100, method=6)
    return stream.getvalue()


if __name__ == "__main__":
    main()
