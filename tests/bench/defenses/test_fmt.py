from __future__ import annotations

from dataclasses import replace

from torch import nn

import hfscan
from hfscan.bench.defenses.fmt import FeatureMapTesting
from hfscan.types import HubModel, ImageSet

from .support import AUDIT, TUNING


def test_it_erases_what_an_audit_flags(
    planted_net: nn.Module, planted_model: HubModel, tiny_set: ImageSet
) -> None:
    defense = FeatureMapTesting(audit=AUDIT, tuning=TUNING)
    result = defense.repair(planted_net, tiny_set, seed=1)
    settings = replace(AUDIT, seed=1)
    assert result.erased == hfscan.audit(planted_model, tiny_set, settings=settings).flagged
    assert 6 in result.erased["conv1"]  # the planted channel
    assert "kmeans" in result.how


def test_the_papers_defaults() -> None:
    audit = FeatureMapTesting().audit
    assert (audit.detector, audit.tau) == ("elliptic", 0.1)
