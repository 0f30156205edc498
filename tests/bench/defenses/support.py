"""Defenses with hyper-parameters for images of 8x8 pixels and networks of two layers."""

from __future__ import annotations

from hfscan.bench.defenses import DEFENSES, Defense
from hfscan.bench.defenses.anp import AdversarialPruning
from hfscan.bench.defenses.clp import LipschitzPruning
from hfscan.bench.defenses.fmt import FeatureMapTesting
from hfscan.bench.defenses.fmt_flow import FeatureMapFlow
from hfscan.bench.defenses.fp import FinePruning
from hfscan.bench.defenses.nc import NeuralCleanse
from hfscan.train import FitConfig
from hfscan.types import AuditSettings, RepairSettings

TUNING = FitConfig(epochs=1, lr=1e-3, batch_size=16, padding=1)
AUDIT = AuditSettings(images=40, steps=3, step_size=0.1, eps=0.3, detector="kmeans")

QUICK: dict[str, Defense] = {
    "fp": FinePruning(step=1 / 8, tuning=TUNING),
    "clp": LipschitzPruning(u=1.0),
    "anp": AdversarialPruning(eps=0.01, iterations=5, batch_size=20),
    "nc": NeuralCleanse(steps=20, batch_size=16, tuning=TUNING),
    "fmt": FeatureMapTesting(audit=AUDIT, tuning=TUNING),
    "fmt-flow": FeatureMapFlow(
        audit=AUDIT, settings=RepairSettings(erase_rate=0.125, epochs=1, lr=1e-3, batch_size=16)
    ),
}


def quick(name: str) -> Defense:
    """An entry of the registry that is done in a moment."""
    make = DEFENSES[name]
    return QUICK[name] if name in QUICK else make(tuning=TUNING)  # type: ignore[call-arg]
