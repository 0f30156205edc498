"""FT: fine-tuning on clean images, the baseline of every repair.

With the configuration that the FMT paper gives all defenses (Huang et al., "FMT: Removing Backdoor Feature
Maps via Feature Map Testing in Deep Neural Networks", section IV-A): 10 epochs, batches of 256, SGD with
momentum 0.9, learning rate 0.01 with cosine annealing.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace

from torch import nn

from hfscan.train import FitConfig, fit
from hfscan.types import ImageSet, Progress, Repaired, silent

TUNING = FitConfig(epochs=10, lr=0.01, batch_size=256, momentum=0.9, autocast=True)
"""The configuration of the FMT paper; half of the time in bfloat16 where the CPU or GPU has it fast."""


@dataclass(frozen=True)
class FineTuning:
    """Fine-tune the whole network on clean images.

    Cost: ``tuning.epochs`` passes over the clean images.

    Args:
        tuning: How; its seed is replaced.
    """

    tuning: FitConfig = TUNING

    def repair(
        self, net: nn.Module, clean: ImageSet, *, seed: int, progress: Progress = silent
    ) -> Repaired:
        """Fine-tune a copy of the network."""
        tuned = copy.deepcopy(net)
        fit(tuned, clean, replace(self.tuning, seed=seed), progress=progress)
        return Repaired(tuned, how="FT: fine-tuned on clean images")
