"""NAD: distill the attention of a fine-tuned copy into the network.

Li et al., "Neural Attention Distillation: Erasing Backdoor Triggers from Deep Neural Networks", ICLR 2021: the
teacher is the network fine-tuned on the clean images; the student is the network itself, fine-tuned on the
same images so that its attention maps resemble the teacher's (equations 2 to 4). The attention of a stage
is the sum over channels of the squared feature maps, divided by its norm; one map for each residual group.

Deviations: teacher and student are trained with the configuration that the FMT paper gives all defenses,
without Cutout. The distance of two maps is the mean of the squared differences, as in the authors' release,
whose weight of 500 to 1000 belongs to it, not the norm of equation 3. A network without residual groups
has a map for each resolution instead.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hfscan.bench.defenses.ft import TUNING, FineTuning
from hfscan.channels import one_image, probing, stages, watch_all
from hfscan.errors import AuditError
from hfscan.train import FitConfig, Objective, fit
from hfscan.types import ImageSet, Progress, Repaired, silent


@dataclass(frozen=True)
class AttentionDistillation:
    """Neural Attention Distillation: fine-tune a copy, then the network with the copy's attention.

    Cost: ``2 * tuning.epochs`` passes over the clean images, half of them with a pass of the teacher.

    Args:
        beta: Weight of the distance of the attention maps.
        tuning: How to train teacher and student; its seed is replaced.
    """

    beta: float = 1000.0
    tuning: FitConfig = TUNING

    def repair(
        self, net: nn.Module, clean: ImageSet, *, seed: int, progress: Progress = silent
    ) -> Repaired:
        """Train the teacher, distill.

        Raises:
            AuditError: The network has no feature maps with more than one pixel.
        """
        layers = stages(net, one_image(net, clean))
        if not layers:
            raise AuditError(
                "NAD finds no feature maps, whose attention it could distill",
                "choose another --method",
            )
        teacher = FineTuning(self.tuning).repair(net, clean, seed=seed, progress=progress).net
        student = copy.deepcopy(net)
        objective = distilling(teacher, layers, self.beta)
        config = replace(self.tuning, seed=seed + 1)
        with probing(teacher):
            fit(student, clean, config, objective=objective, progress=progress)
        how = f"NAD: fine-tuned with the attention of a fine-tuned copy at {', '.join(layers)}"
        return Repaired(student, how=how)


def attention(maps: Tensor) -> Tensor:
    """Attention of feature maps ``(B, C, h, w)``: ``(B, h * w)``, each row of norm 1."""
    own = maps.to(torch.float32, copy=True)  # a network may go on in place
    return F.normalize(own.square().sum(1).flatten(1))


def distilling(teacher: nn.Module, layers: Sequence[str], beta: float) -> Objective:
    """Cross-entropy plus the distance to the teacher's attention."""

    def objective(student: nn.Module, pixels: Tensor, labels: Tensor) -> Tensor:
        with torch.no_grad():
            wanted, _ = watch_all(teacher, layers, pixels, attention)
        maps, logits = watch_all(student, layers, pixels, attention)
        pairs = zip(maps, wanted, strict=True)
        distance = torch.stack([F.mse_loss(*pair) for pair in pairs]).sum()
        return F.cross_entropy(logits.float(), labels) + beta * distance

    return objective
