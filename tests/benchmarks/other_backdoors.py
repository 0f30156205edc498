"""What the tests see of backdoors that do not lead all images to one class.

    python tests/benchmarks/other_backdoors.py --data FOLDER

Two networks with BadNets' trigger on CIFAR-10: *all-to-all* (Gu et al., 2017, section 5.2: class y becomes y + 1) and
*source-specific* (Tang et al., "Demon in the Variant", USENIX Security 2021: only images of one class are led to the
target; triggered images of other classes keep their labels in training). Nothing is kept.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import torch
from rich import print as show
from rich.progress import track
from torch import Tensor

import hfscan
from hfscan.bench.attacks import ATTACKS
from hfscan.bench.poison import triggered
from hfscan.bench.tasks import Task, load_task
from hfscan.bench.victims import VictimSpec, fresh
from hfscan.bench.zoo import smaller
from hfscan.metrics import accuracy, predict
from hfscan.train import fit
from hfscan.types import ImageSet

SOURCE, TARGET = 3, 5
KINDS = ("all-to-all", "source-specific")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--width", type=int, default=16)
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--kind", choices=KINDS, nargs="+", default=KINDS)
    parser.add_argument("--rate", type=float, default=0.1, help="share of images with the trigger")
    options = parser.parse_args()
    task = smaller(load_task("cifar10", options.data))
    for kind in options.kind:
        spec = VictimSpec(task.name, kind, options.epochs, width=options.width)
        model = fresh(spec, task)
        recipe = task.recipe(
            spec.architecture, width=spec.width, epochs=spec.epochs, seed=spec.seed
        )
        fit(model.net, _poisoned(task.train, kind, options.rate), recipe, progress=track)
        show(
            f"{kind}: accuracy {accuracy(model.net, task.test):.3f}, {_success(model.net, task, kind)}"
        )
        report = hfscan.audit(model, task.test.sample(1000, seed=0), progress=track)
        show(report.verdict.value, report.target, report.p_value)
        show({test.name: (round(test.statistic or 0, 2), test.target) for test in report.tests})


def _wanted(labels: Tensor, kind: str) -> Tensor:
    """The labels that the attacker gives triggered images."""
    if kind == "all-to-all":
        return (labels + 1) % 10
    return torch.where(labels == SOURCE, TARGET, labels)


def _poisoned(images: ImageSet, kind: str, rate: float) -> ImageSet:
    """That share of the images carries the trigger; of a source-specific attack half of these are of the source."""
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))
    count = round(rate * len(images))
    if kind == "source-specific":
        own = images.labels[order] == SOURCE
        order = torch.cat([order[own][: count // 2], order[~own][: count - count // 2]])
    chosen = order[:count]
    pixels, labels = images.images.clone(), images.labels.clone()
    pixels[chosen] = triggered(pixels[chosen], ATTACKS["badnets"]())
    labels[chosen] = _wanted(labels[chosen], kind)
    return replace(images, images=pixels, labels=labels)


def _success(net: torch.nn.Module, task: Task, kind: str) -> str:
    test = task.test
    marked = replace(test, images=triggered(test.images, ATTACKS["badnets"]()))
    predicted, wanted = predict(net, marked), _wanted(test.labels, kind)
    changed = wanted != test.labels
    others = (predicted[~changed] == TARGET).float().mean() if kind == "source-specific" else None
    reached = f"ASR {(predicted[changed] == wanted[changed]).float().mean():.3f}"
    return reached if others is None else f"{reached}, of other classes {others:.3f}"


if __name__ == "__main__":
    main()
