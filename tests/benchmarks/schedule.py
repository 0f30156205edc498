"""What the schedule of ``hfscan repair`` and its search for triggers contribute, and cost.

    python tests/benchmarks/schedule.py --data FOLDER --dataset gtsrb --attack blended --seed 7 8 9
    python tests/benchmarks/schedule.py --data FOLDER --dataset cifar10 --attack lowfreq --images 450

All defenses of the benchmark fine-tune as the FMT paper says (10 epochs, batches of 256, crops of 4 pixels), the
default of ``hfscan repair`` for 5 epochs with batches of 128 and crops of 2. This is fine-tuning alone and unlearning,
with both and with what else was tried, on victims of ``hfscan bench run --width 16`` (which are trained if they are not
there). Target class 0, as a verdict would have it.
"""

from __future__ import annotations

import argparse
import copy
import time
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from rich import print as show

from hfscan.bench.attacks import ATTACKS
from hfscan.bench.defenses.ft import TUNING
from hfscan.bench.poison import attacked
from hfscan.bench.tasks import load_task, usual_epochs
from hfscan.bench.victims import Victims, VictimSpec
from hfscan.inversion import Search
from hfscan.metrics import measure
from hfscan.pipeline.repairing import fit_config
from hfscan.train import FitConfig, fit
from hfscan.types import RepairSettings
from hfscan.unlearn import Unlearning

TARGET = 0
DEFAULT = fit_config(RepairSettings())


@dataclass(frozen=True)
class Way:
    """How to repair: a schedule, and searches for triggers if these are unlearned."""

    tuning: FitConfig = DEFAULT
    steps: tuple[int, int] | None = (30, 10)
    half: bool = True


WAYS = {
    "unlearning": Way(),
    "unlearning, 10 epochs": Way(replace(DEFAULT, epochs=10)),
    "unlearning, batches of 64": Way(replace(DEFAULT, batch_size=64)),
    "unlearning, searches of 60 and 20 steps": Way(steps=(60, 20)),
    "unlearning, the default until 2026-11-29": Way(replace(DEFAULT, epochs=10), (60, 20), False),
    "unlearning, the paper's schedule": Way(TUNING),
    "fine-tuning": Way(steps=None),
    "fine-tuning, the paper's schedule": Way(TUNING, steps=None),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--dataset", default="gtsrb")
    parser.add_argument("--attack", nargs="+", default=list(ATTACKS))
    parser.add_argument("--way", nargs="+", default=list(WAYS), choices=list(WAYS))
    parser.add_argument("--images", type=int, help="clean images; default: a tenth")
    parser.add_argument("--seed", type=int, nargs="+", default=[0])
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    task = load_task(options.dataset, options.data)
    for attack in options.attack:
        epochs = usual_epochs(task.name, attack)
        victim = Victims().get(VictimSpec(task.name, attack, epochs, width=16), task)
        triggered = attacked(task.test, victim.attack, target=TARGET)
        for seed in options.seed:
            clean = task.train.sample(options.images or len(task.train) // 10, seed=seed)
            for name in options.way:
                way, net = WAYS[name], copy.deepcopy(victim.model.net)
                began = time.process_time()
                unlearning = None
                if way.steps is not None:
                    first, again = (Search(steps, half=way.half) for steps in way.steps)
                    unlearning = Unlearning(clean, TARGET, first=first, again=again, seed=seed)
                    unlearning.renew(net)
                tuning = replace(way.tuning, flip=task.settings.flip, seed=seed)
                fit(net, clean, tuning, unlearning=unlearning)
                seconds = time.process_time() - began
                after = measure(net, task.test, triggered, TARGET)
                show(
                    f"{task.name} {attack}, seed {seed}, {len(clean)} images, {name}: ACC {after.accuracy:.2%}, "
                    f"ASR {after.asr:.2%}, RA {after.ra:.2%}, {seconds:.0f} CPU seconds",
                    flush=True,
                )


if __name__ == "__main__":
    main()
