"""What ANP and Neural Cleanse do with the budgets of their papers, beside those of the benchmark and the default.

    python tests/benchmarks/paper_budget.py --data FOLDER --dataset cifar10 --attack wanet

``anp`` trains its masks for 300 steps on 64 images, its paper for 2,000 on 128; ``nc`` looks for a trigger of each class
for 100 steps, the authors' release for 1,000. Victims of ``hfscan bench run`` (which are trained if they are not there).
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from pathlib import Path

import torch
from rich import print as show

from hfscan.bench.attacks import ATTACKS
from hfscan.bench.defenses import Defense
from hfscan.bench.defenses.anp import AdversarialPruning
from hfscan.bench.defenses.fmt_flow import FeatureMapFlow
from hfscan.bench.defenses.nc import NeuralCleanse
from hfscan.bench.run import adapted, prepare
from hfscan.bench.tasks import load_task, usual_epochs
from hfscan.bench.victims import Victims, VictimSpec
from hfscan.metrics import measure
from hfscan.types import Metrics

ANP, NC = AdversarialPruning(), NeuralCleanse()

DEFENSES: dict[str, Defense] = {
    "fmt-flow": FeatureMapFlow(),
    "anp": ANP,
    "nc": NC,
    "nc, 1,000 steps": replace(NC, steps=1000),
    "anp, 2,000 steps of 128": replace(ANP, iterations=2000, batch_size=128),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--dataset", default="cifar10")
    parser.add_argument("--attack", nargs="+", default=list(ATTACKS))
    parser.add_argument("--defense", nargs="+", default=list(DEFENSES))
    parser.add_argument("--width", type=int, default=16)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    task = load_task(options.dataset, options.data)
    clean = task.train.sample(len(task.train) // 10, seed=0)
    for attack in options.attack:
        spec = VictimSpec(task.name, attack, usual_epochs(task.name, attack), width=options.width)
        subject = prepare(Victims().get(spec, task), task)
        net, triggered, target = subject.victim.model.net, subject.attacked, spec.target
        _show(f"{attack}, no defense", subject.before)
        for name in options.defense:
            began = time.process_time()
            repaired = adapted(DEFENSES[name], flip=task.settings.flip).repair(net, clean, seed=0)
            seconds = time.process_time() - began
            erased = sum(map(len, repaired.erased.values()))
            after = measure(repaired.net, task.test, triggered, target)
            _show(f"{attack}, {name}, {erased} channels erased, {seconds:.0f} CPU seconds", after)


def _show(what: str, measured: Metrics) -> None:
    show(
        f"{what}: ACC {measured.accuracy:.2%}, ASR {measured.asr:.2%}, RA {measured.ra:.2%}",
        flush=True,
    )


if __name__ == "__main__":
    main()
