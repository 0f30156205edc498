"""What erasing the channels that inverted triggers move does by itself, and what it adds to unlearning.

    python tests/benchmarks/erasing.py --data FOLDER --dataset gtsrb --attack blended --unlearn
    python tests/benchmarks/erasing.py --data FOLDER

The first takes a victim of ``hfscan bench run --width 16`` (and trains it if it is not there), and also repairs it as
``hfscan repair`` does by default, after erasing; the second the example network, without any fine-tuning. Target class
0, as `fmt-tac` would have it from a verdict. Coverage is measured against the true trigger.
"""

from __future__ import annotations

import argparse
import copy
from pathlib import Path

import torch
from rich import print as show

import hfscan
from hfscan.activated import inverted_tac, largest
from hfscan.bench.attacks import BadNets
from hfscan.bench.poison import attacked
from hfscan.bench.tasks import load_task, usual_epochs
from hfscan.bench.victims import Victims, VictimSpec
from hfscan.channels import erase, one_image
from hfscan.metrics import coverage, measure, tac
from hfscan.pipeline.repairing import fit_config
from hfscan.train import fit
from hfscan.types import RepairSettings
from hfscan.unlearn import Unlearning

EXAMPLE = Path(__file__).parents[2] / "examples" / "badnets-cifar10"
TARGET = 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--dataset", default="cifar10")
    parser.add_argument("--attack", default="", help="none is the example network")
    parser.add_argument("--rate", type=float, nargs="+", default=[0.01, 0.03, 0.06])
    parser.add_argument("--unlearn", action="store_true", help="repair the network after erasing")
    parser.add_argument("--epochs", type=int, default=RepairSettings().epochs, help="of the repair")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    task = load_task(options.dataset, options.data)
    if options.attack:
        epochs = usual_epochs(task.name, options.attack)
        victim = Victims().get(VictimSpec(task.name, options.attack, epochs, width=16), task)
        net, attack = victim.model.net, victim.attack
    else:
        net, attack = hfscan.load(str(EXAMPLE)).net, BadNets()
    test = task.test
    triggered = attacked(test, attack, target=TARGET)
    others = test.without(TARGET)
    true = tac(net, others, triggered)
    clean = task.train.sample(len(task.train) // 10, seed=0)
    inverted = Unlearning(clean, TARGET)
    inverted.renew(net)
    changes = inverted_tac(net, clean, inverted.triggers)
    show(f"triggers: {', '.join(inverted.kinds)}; before: {measure(net, test, triggered, TARGET)}")
    settings = RepairSettings(flip=task.settings.flip, epochs=options.epochs)
    for rate in options.rate:
        channels = largest(changes, rate)
        erased = erase(net, channels, one_image(net, clean))
        if options.unlearn:
            fit(erased, clean, fit_config(settings), unlearning=copy.deepcopy(inverted))
        after = measure(erased, test, triggered, TARGET)
        show(
            f"{rate:.0%} of each layer: coverage {coverage(channels, true):.1%}, ACC {after.accuracy:.1%}, "
            f"ASR {after.asr:.1%}, RA {after.ra:.1%}"
        )


if __name__ == "__main__":
    main()
