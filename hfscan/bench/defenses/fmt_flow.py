"""FMT as ``hfscan repair`` does it by default: audit, erase and unlearn what triggers of the suspected class reach.

Where it leaves the FMT paper (Huang et al., sections III-E and III-F): a model-level test names the suspected
class, triggers are inverted for it, the channels that they move most are erased instead of a detector's outliers, and
the triggers are unlearned while fine-tuning. If no class is suspected, ``hfscan repair`` would stop; here, as with
``--force``, the channels that the detector flagged are erased and nothing is unlearned.

Channels are tested only where that decides anything: if the tests of the network as a whole suspect no class. An
audit tests them always, for its report. (The name is of the first version, which erased the channels whose
reverse-generated images flow most into the class.)
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from torch import nn

from hfscan.pipeline import FlowRepair, audit
from hfscan.pipeline.suspecting import as_model, suspected
from hfscan.types import AuditSettings, ImageSet, Progress, Repaired, RepairSettings, silent


@dataclass(frozen=True)
class FeatureMapFlow:
    """The default of hfscan repair: erase and unlearn what leads to the class that the audit suspects.

    Cost: the model-level tests, an audit where they suspect no class, and ``settings.epochs`` passes over the clean
    images with the unlearning's search.

    Args:
        audit: Of the audit; its seed is replaced.
        settings: Of the repair; its seed is replaced, all clean images tune.
    """

    audit: AuditSettings = field(default_factory=AuditSettings)
    settings: RepairSettings = field(default_factory=RepairSettings)

    def repair(
        self, net: nn.Module, clean: ImageSet, *, seed: int, progress: Progress = silent
    ) -> Repaired:
        """Audit, invert triggers, erase, unlearn, fine-tune.

        Raises:
            AuditError: The audit points at no channel.
        """
        settings = replace(self.audit, seed=seed)
        target = suspected(net, clean, settings=settings, progress=progress)
        if target is None:
            report = audit(as_model(net, clean), clean, settings=settings, progress=progress)
            flow = FlowRepair.after(report, self.settings)
        else:
            flow = FlowRepair(target, {}, settings.detector, self.settings)
        return flow.repair(net, clean, seed=seed, progress=progress)
