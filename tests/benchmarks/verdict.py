"""How long the tests take that make the verdict, for a network of a given width.

    python tests/benchmarks/verdict.py --data FOLDER --width 64

A PreActResNet18 is trained for a minute or so on CIFAR-10, so that its classes are not noise, and tested as ``hfscan
audit`` does, without the channels. Baseline: forward passes of the same network with the same images in float32.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from pathlib import Path

import torch
from rich import print as show
from rich.progress import track

from hfscan.bench.tasks import load_task
from hfscan.bench.victims import BENIGN, VictimSpec, fresh
from hfscan.bench.zoo import smaller
from hfscan.metrics import accuracy
from hfscan.pipeline.testing import run_tests
from hfscan.train import fit

LR = 0.02
"""So few steps do not bear the learning rate of a long training."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--train", type=int, default=5000, help="images it is trained with")
    parser.add_argument("--images", type=int, default=1000, help="clean images of the tests")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    task = smaller(load_task("cifar10", options.data), options.train)
    spec = VictimSpec(task.name, BENIGN, 1, width=options.width, poison_rate=0.0)
    net = fresh(spec, task).net
    recipe = replace(
        task.recipe(spec.architecture, width=spec.width, epochs=1, seed=0), lr=LR, batch_size=64
    )
    fit(net, task.train, recipe, progress=track)
    clean = task.test.sample(options.images, seed=0)
    began = time.perf_counter()
    show(f"accuracy {accuracy(net, clean):.3f}")
    forward = time.perf_counter() - began
    began = time.perf_counter()
    tests = run_tests(net, clean, seed=0, progress=track)
    took = time.perf_counter() - began
    for test in tests:
        show(f"{test.name}: {test.seconds:.1f} s, {test.seconds / forward:.0f} x")
    show(
        f"all tests {took:.0f} s, {took / forward:.0f} x one forward pass of {options.images} images"
        f" ({forward:.2f} s); {options.threads} threads"
    )


if __name__ == "__main__":
    main()
