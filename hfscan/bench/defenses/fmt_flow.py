"""FMT as ``hfscan repair`` does it by default: audit, unlearn triggers of the suspected class.

Where it leaves the FMT paper (Huang et al., sections III-E and III-F): a model-level test names the suspected
class, and triggers inverted for it are unlearned while fine-tuning. Channels are erased if the settings ask for
it: those whose reverse-generated images flow most into that class. If no class is suspected, ``hfscan repair``
would stop; here, as with ``--force``, the channels that the detector flagged are erased and nothing is unlearned.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import torch
from torch import nn

from hfscan.channels import one_image, probing
from hfscan.models.classifier import architecture_of
from hfscan.pipeline import FlowRepair, audit
from hfscan.types import (
    AuditSettings,
    HubModel,
    ImageSet,
    Progress,
    Repaired,
    RepairSettings,
    silent,
)


@dataclass(frozen=True)
class FeatureMapFlow:
    """The default of hfscan repair: unlearn triggers that lead to the class that the audit suspects.

    Cost: one audit, and ``settings.epochs`` passes over the clean images with the unlearning's search.

    Args:
        audit: Of the audit; its seed is replaced.
        settings: Of the repair; its seed is replaced, all clean images tune.
    """

    audit: AuditSettings = field(default_factory=AuditSettings)
    settings: RepairSettings = field(default_factory=RepairSettings)

    def repair(
        self, net: nn.Module, clean: ImageSet, *, seed: int, progress: Progress = silent
    ) -> Repaired:
        """Audit, erase, unlearn, fine-tune.

        Raises:
            AuditError: The audit points at no channel.
        """
        settings = replace(self.audit, seed=seed)
        report = audit(as_model(net, clean), clean, settings=settings, progress=progress)
        flow = FlowRepair(report, replace(self.settings, seed=seed))
        return flow.repair(net, clean, seed=seed, progress=progress)


@torch.no_grad()
def as_model(net: nn.Module, clean: ImageSet) -> HubModel:
    """What an audit wants to know of a network that is no file."""
    with probing(net):
        classes = net(one_image(net, clean)).shape[1]
    return HubModel(
        ref="",
        revision=None,
        architecture=architecture_of(net),
        input_size=(3, *clean.size),
        num_classes=classes,
        label_names=clean.classes if len(clean.classes) == classes else (),
        weights_sha256="",
        net=net,
    )
