"""Defenses: ways to repair a backdoored network with a few clean images.

A defense is a frozen dataclass whose fields are its hyper-parameters, with the defaults of its paper, and one
verb, `repair`. It is given the network and clean images: nothing of the attack, the trigger or the target.
"""

from __future__ import annotations

from hfscan.bench.defenses.anp import AdversarialPruning
from hfscan.bench.defenses.clp import LipschitzPruning
from hfscan.bench.defenses.fmt import FeatureMapTesting
from hfscan.bench.defenses.fmt_flow import FeatureMapFlow
from hfscan.bench.defenses.fmt_tac import TriggerActivatedErasing
from hfscan.bench.defenses.fp import FinePruning
from hfscan.bench.defenses.ft import FineTuning
from hfscan.bench.defenses.nad import AttentionDistillation
from hfscan.bench.defenses.nc import NeuralCleanse
from hfscan.types import Defense, Repaired

DEFENSES: dict[str, type[Defense]] = {
    "ft": FineTuning,
    "fp": FinePruning,
    "clp": LipschitzPruning,
    "anp": AdversarialPruning,
    "nc": NeuralCleanse,
    "nad": AttentionDistillation,
    "fmt": FeatureMapTesting,
    "fmt-tac": TriggerActivatedErasing,
    "fmt-flow": FeatureMapFlow,
}
"""Name -> class; its fields are the hyper-parameters."""

__all__ = ["DEFENSES", "Defense", "Repaired"]
