"""What unlearning is worth with and without the smooth family, measured with the true trigger.

    python tests/benchmarks/families.py --data FOLDER cifar10-20000-lowfreq-smallresnet-w16-p0.1-t8-e6-s5

Takes networks of the zoo (`hfscan.bench.zoo`) by their keys, trains them if they are not in the cache, and unlearns
their true class with a tenth of CIFAR-10's training images, in the loop of ``hfscan repair``, without its audit.
"""

from __future__ import annotations

import argparse
import copy
from collections.abc import Sequence
from pathlib import Path

from rich import print as show
from rich.progress import track
from torch import nn

from hfscan.bench.poison import attacked
from hfscan.bench.tasks import load_task
from hfscan.bench.victims import Victims, cache_folder
from hfscan.bench.zoo import smaller, zoo
from hfscan.inversion import Additive, Blend, Family, Patch, Smooth, Warp
from hfscan.metrics import measure
from hfscan.pipeline.repairing import fit_config
from hfscan.train import fit
from hfscan.types import ImageSet, RepairSettings
from hfscan.unlearn import Unlearning

SETTINGS = RepairSettings()
WITHOUT = (Patch(), Warp(), Blend(), Additive(norm=SETTINGS.unlearn_norm))
CLEAN_RATE, MEASURED = 0.1, 1500


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("keys", nargs="+")
    options = parser.parse_args()
    whole = load_task("cifar10", options.data)
    clean, _ = whole.train.split_at(CLEAN_RATE, seed=1)
    task = smaller(whole)
    specs = {one.spec.key: one.spec for one in zoo(task.name, len(task.train.classes))}
    for key in options.keys:
        victim = Victims(cache_folder()).get(specs[key], task, progress=track)
        assert victim.attack is not None, f"{key} is clean"
        target = specs[key].target
        images = task.test.sample(MEASURED, seed=3)
        triggered = attacked(images, victim.attack, target=target)
        show(key, "before:", measure(victim.model.net, images, triggered, target))
        for families in (WITHOUT, (*WITHOUT, Smooth())):
            net = copy.deepcopy(victim.model.net)
            kinds = unlearn(net, clean, target, families)
            show(kinds, measure(net, images, triggered, target))


def unlearn(net: nn.Module, clean: ImageSet, target: int, families: Sequence[Family]) -> list[str]:
    """Repair ``net`` in place; returns which families were unlearned."""
    unlearning = Unlearning(clean, target, families, seed=SETTINGS.seed)
    unlearning.renew(net)
    fit(net, clean, fit_config(SETTINGS), unlearning=unlearning, progress=track)
    return unlearning.kinds


if __name__ == "__main__":
    main()
