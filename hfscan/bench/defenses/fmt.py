"""FMT as in its paper: test every feature map, erase the outliers, fine-tune.

Huang et al., "FMT: Removing Backdoor Feature Maps via Feature Map Testing in Deep Neural Networks":
Algorithm 1 gives the accuracy profiles, an Elliptic Envelope for each layer marks the outliers
(section III-E), their weights are set to zero and the network is fine-tuned (section III-F). All of it
is done by the functions that ``hfscan audit`` and ``hfscan repair`` call.

Deviations: of the outliers, those of high accuracy are kept, as in an audit: they hurt nothing. As in the authors'
release, all steps follow the gradient of the start (`hfscan.fmt.reverse`); Algorithm 1 takes a new one at every step,
which is ``audit.gradient="every"``. And 32 of the clean images test, not all of them.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from torch import nn

from hfscan.bench.defenses.ft import TUNING
from hfscan.channels import erase, one_image
from hfscan.fmt import profile
from hfscan.pipeline.flagging import flagged, named_detector
from hfscan.train import FitConfig, fit
from hfscan.types import AuditSettings, ImageSet, Progress, Repaired, silent


@dataclass(frozen=True)
class FeatureMapTesting:
    """FMT as in its paper: erase each layer's channels of abnormally low accuracy, then fine-tune.

    Cost: ``audit.steps`` passes with gradient over ``audit.images`` images for each channel, and
    ``tuning.epochs`` passes over the clean images.

    Args:
        audit: Of the test: images, steps, step size, eps, detector and its ratio tau.
        tuning: How to fine-tune; its seed is replaced.
    """

    audit: AuditSettings = field(default_factory=AuditSettings)
    tuning: FitConfig = TUNING

    def repair(
        self, net: nn.Module, clean: ImageSet, *, seed: int, progress: Progress = silent
    ) -> Repaired:
        """Test, erase, fine-tune."""
        sample = clean.sample(self.audit.images, seed=seed)
        settings = replace(self.audit, seed=seed)
        detector = named_detector(settings)
        erased = {
            layer.layer.name: np.flatnonzero(flagged(layer, detector).flagged).tolist()
            for layer in profile(net, sample, settings, progress=progress)
            if not layer.skipped
        }
        tuned = erase(net, erased, one_image(net, clean))
        fit(tuned, clean, replace(self.tuning, seed=seed), progress=progress)
        how = f"FMT: the outliers of low accuracy of the {self.audit.detector} detector, then fine-tuned"
        return Repaired(tuned, {layer: found for layer, found in erased.items() if found}, how)
