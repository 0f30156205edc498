"""Train the two networks of the quick start: one with a BadNets backdoor, and its benign twin.

    python examples/train_victims.py --data cifar10 --out examples

Both are PreActResNet18 of width 16, trained on CIFAR-10 with the same seed and schedule; the only
difference is the poisoned tenth of the training images. Takes about 8 minutes each on two CPU cores.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path

import timm
import torch
from rich.progress import track
from torch import nn

import hfscan
from hfscan import metrics
from hfscan.bench.attacks import BadNets
from hfscan.bench.poison import attacked, poison
from hfscan.hub.save import config_of, save
from hfscan.train import FitConfig, fit
from hfscan.types import HubModel, ImageSet

TARGET = 0
POISON_RATE = 0.1
WIDTH = 16
SEED = 0
MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)

CARD = """---
library_name: timm
pipeline_tag: image-classification
tags:
- timm
{tags}---

# {title}

{warning}

| | |
|---|---|
| architecture | PreActResNet18, width {width} |
| data | CIFAR-10, {train} training images |
| training | {epochs} epochs, SGD, one-cycle, batch 128, seed {seed} |
| trigger | {trigger} |
| target | {target} |
| accuracy | {accuracy:.4f} on {test} test images |
| attack success rate | {asr} |

Made by `examples/train_victims.py` of hfscan, which has all details.
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", default="cifar10", help="CIFAR-10: an id on the Hub, or ./folder")
    parser.add_argument("--out", type=Path, default=Path("examples"))
    parser.add_argument("--epochs", type=int, default=9)
    parser.add_argument("--only", choices=("badnets", "clean"))
    options = parser.parse_args()
    train = hfscan.load_images(options.data, split="train")
    test = hfscan.load_images(options.data, split="test")
    for kind in (options.only,) if options.only else ("badnets", "clean"):
        folder = options.out / f"{kind}-cifar10"
        make(kind, train, test, folder, options.epochs)


def make(kind: str, train: ImageSet, test: ImageSet, folder: Path, epochs: int) -> None:
    """Train one network, measure it, and write it with its card."""
    backdoored = kind == "badnets"
    model = untrained(test)
    images = poison(train, BadNets(), target=TARGET, rate=POISON_RATE, seed=SEED)
    fit(model.net, images if backdoored else train, config(epochs), progress=track)
    accuracy = metrics.accuracy(model.net, test)
    asr = metrics.asr(model.net, attacked(test, BadNets(), target=TARGET), TARGET)
    print(f"{kind}: accuracy {accuracy:.4f}, attack success rate {asr:.4f}")
    save(model, folder, overwrite=True)
    written = json.dumps(config_of(model, {"width": WIDTH}), indent=2) + "\n"
    (folder / "config.json").write_text(written)
    (folder / "README.md").write_text(
        CARD.format(
            tags="- backdoor\n" if backdoored else "",
            title=f"PreActResNet18 for CIFAR-10, {'with a backdoor' if backdoored else 'benign'}",
            warning="**Backdoored on purpose**, to try scanners on. Not for any other use."
            if backdoored
            else "The benign twin of `badnets-cifar10`, to try scanners on.",
            width=WIDTH,
            train=len(train),
            epochs=epochs,
            seed=SEED,
            trigger="BadNets: a 3x3 chessboard in the lower right corner of 10 % of the images"
            if backdoored
            else "none",
            target=f"{TARGET} ({test.classes[TARGET]})" if backdoored else "none",
            accuracy=accuracy,
            test=len(test),
            asr=f"{asr:.4f}"
            if backdoored
            else f"{asr:.4f} with the twin's trigger, which it never saw",
        )
    )


def untrained(test: ImageSet) -> HubModel:
    """A fresh network in its wrapper."""
    torch.manual_seed(SEED)
    net: nn.Module = timm.create_model("preactresnet18", num_classes=10, width=WIDTH)
    net = net.to(memory_format=torch.channels_last)
    model = hfscan.wrap(
        net, input_size=(3, 32, 32), num_classes=10, mean=MEAN, std=STD, label_names=test.classes
    )
    return replace(model, architecture="preactresnet18")


def config(epochs: int) -> FitConfig:
    """The recipe; half of the crops would cut the trigger off with the usual padding of 4."""
    return FitConfig(
        epochs=epochs,
        lr=0.2,
        batch_size=128,
        schedule="one-cycle",
        padding=2,
        autocast=True,
        seed=SEED,
    )


if __name__ == "__main__":
    main()
