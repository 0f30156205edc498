"""FMT with the channels of inverted triggers: erase those that a trigger moves and clean images do not, then fine-tune.

Where it leaves the FMT paper (Huang et al., sections III-D and III-E) is the choice of the channels: model-level tests
name a suspected class, and those are erased that triggers inverted for it move most (`hfscan.activated`). What is done
to them is the paper's: erase, then fine-tune on clean images.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace

from torch import nn

from hfscan.activated import inverted_tac, largest
from hfscan.bench.defenses.ft import TUNING
from hfscan.channels import erase, one_image
from hfscan.inversion import Search
from hfscan.pipeline.suspecting import suspected
from hfscan.train import FitConfig, fit
from hfscan.types import AuditSettings, ImageSet, Progress, Repaired, silent
from hfscan.unlearn import Unlearning


@dataclass(frozen=True)
class TriggerActivatedErasing:
    """FMT with inverted triggers: erase the channels that they move and clean images do not, then fine-tune.

    Cost: the model-level tests, one search for a trigger of each family, and ``tuning.epochs`` passes over the clean
    images.

    Args:
        rate: Share of each layer's channels that is erased, at least one, in (0, 1].
        tuning: How to fine-tune; its seed is replaced.
        target: The suspected class, where an audit has named it already; None looks for it with the tests.
    """

    rate: float = 0.03
    tuning: FitConfig = TUNING
    target: int | None = None

    def repair(
        self, net: nn.Module, clean: ImageSet, *, seed: int, progress: Progress = silent
    ) -> Repaired:
        """Test, invert, erase, fine-tune; a network without a suspected class is only copied."""
        target = self.target
        if target is None:
            target = suspected(net, clean, settings=AuditSettings(seed=seed), progress=progress)
        if target is None:
            how = "FMT-TAC: no class is suspected, left as it was"
            return Repaired(copy.deepcopy(net).eval(), how=how)
        inverted = Unlearning(clean, target, first=Search(), seed=seed)
        inverted.renew(net)
        erased = largest(inverted_tac(net, clean, inverted.triggers), self.rate, least=1)
        named = clean.classes[target] if target < len(clean.classes) else target
        tuned = erase(net, erased, one_image(net, clean))
        fit(tuned, clean, replace(self.tuning, seed=seed), progress=progress)
        how = (
            f"FMT-TAC: per layer the {self.rate:.0%} of channels that triggers toward class "
            f"{named} move most, then fine-tuned"
        )
        return Repaired(tuned, erased, how)
