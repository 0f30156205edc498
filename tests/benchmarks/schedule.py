"""How much of what ``hfscan repair`` does is its schedule, which makes twice the steps of the paper's.

    python tests/benchmarks/schedule.py --data FOLDER --dataset gtsrb

All defenses of the benchmark fine-tune as the FMT paper says (batches of 256, crops of 4 pixels); the default of
``hfscan repair`` with batches of 128 and crops of 2. This is fine-tuning alone, and unlearning, with both, on victims of
``hfscan bench run --width 16`` (which are trained if they are not there). Target class 0, as a verdict would have it.
"""

from __future__ import annotations

import argparse
import copy
from dataclasses import replace
from pathlib import Path

import torch
from rich import print as show

from hfscan.bench.attacks import ATTACKS
from hfscan.bench.defenses.ft import TUNING
from hfscan.bench.poison import attacked
from hfscan.bench.tasks import load_task, usual_epochs
from hfscan.bench.victims import Victims, VictimSpec
from hfscan.metrics import measure
from hfscan.pipeline.repairing import fit_config
from hfscan.train import fit
from hfscan.types import RepairSettings
from hfscan.unlearn import Unlearning

TARGET = 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--dataset", default="gtsrb")
    parser.add_argument("--attack", nargs="+", default=list(ATTACKS))
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    task = load_task(options.dataset, options.data)
    flip = task.settings.flip
    clean = task.train.sample(len(task.train) // 10, seed=0)
    schedules = {
        "the paper": replace(TUNING, flip=flip),
        "hfscan repair": fit_config(RepairSettings(flip=flip)),
    }
    for attack in options.attack:
        epochs = usual_epochs(task.name, attack)
        victim = Victims().get(VictimSpec(task.name, attack, epochs, width=16), task)
        triggered = attacked(task.test, victim.attack, target=TARGET)
        for name, tuning in schedules.items():
            for what in ("fine-tuning", "unlearning"):
                net = copy.deepcopy(victim.model.net)
                unlearning = Unlearning(clean, TARGET) if what == "unlearning" else None
                if unlearning is not None:
                    unlearning.renew(net)
                fit(net, clean, tuning, unlearning=unlearning)
                after = measure(net, task.test, triggered, TARGET)
                show(
                    f"{task.name} {attack}, {what}, schedule of {name}: "
                    f"ACC {after.accuracy:.2%}, ASR {after.asr:.2%}, RA {after.ra:.2%}"
                )


if __name__ == "__main__":
    main()
