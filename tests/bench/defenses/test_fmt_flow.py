from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

import hfscan
from hfscan.bench.defenses.fmt_flow import FeatureMapFlow
from hfscan.errors import AuditError
from hfscan.pipeline import FlowRepair
from hfscan.pipeline.repairing import ONLY_UNLEARNED
from hfscan.types import HubModel, ImageSet, RepairSettings

from .support import AUDIT

SETTINGS = RepairSettings(erase_rate=0.125, epochs=1, lr=1e-3, batch_size=16)
DEFENSE = FeatureMapFlow(audit=AUDIT, settings=SETTINGS)


def test_it_is_an_audit_and_its_repair(
    planted_net: nn.Module, planted_model: HubModel, tiny_set: ImageSet
) -> None:
    report = hfscan.audit(planted_model, tiny_set, settings=replace(AUDIT, seed=1))
    product = FlowRepair.after(report, SETTINGS).repair(planted_model.net, tiny_set, seed=1)
    result = DEFENSE.repair(planted_net, tiny_set, seed=1)
    assert 6 in result.erased["conv1"]  # the planted channel
    assert (result.erased, result.how) == (product.erased, product.how)
    assert "move most" in result.how
    assert result.unlearned == product.unlearned is not None
    states = result.net.state_dict(), product.net.net.state_dict()
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_what_only_unlearns_does_not_test_channels(
    planted_net: nn.Module,
    planted_model: HubModel,
    tiny_set: ImageSet,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It does what it would do after an audit that had tested them."""
    settings = replace(SETTINGS, erase_rate=0.0)
    report = hfscan.audit(planted_model, tiny_set, settings=replace(AUDIT, seed=1))
    product = FlowRepair.after(report, settings).repair(planted_model.net, tiny_set, seed=1)
    monkeypatch.delattr("hfscan.bench.defenses.fmt_flow.audit")
    result = FeatureMapFlow(audit=AUDIT, settings=settings).repair(planted_net, tiny_set, seed=1)
    assert (result.erased, result.how) == (product.erased, product.how) == ({}, ONLY_UNLEARNED)
    assert result.unlearned == product.unlearned is not None
    states = result.net.state_dict(), product.net.net.state_dict()
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_channels_are_tested_where_no_class_is_suspected(
    tiny_net: nn.Module, tiny_set: ImageSet
) -> None:
    settings = replace(SETTINGS, erase_rate=0.0)
    result = FeatureMapFlow(audit=AUDIT, settings=settings).repair(tiny_net, tiny_set, seed=0)
    assert "flagged" in result.how
    assert result.erased
    assert result.unlearned is None


def test_where_an_audit_concludes_nothing(planted_net: nn.Module, tiny_set: ImageSet) -> None:
    wrong = replace(tiny_set, labels=(tiny_set.labels + 1) % 4)
    with pytest.raises(AuditError, match="points at no channel"):
        DEFENSE.repair(planted_net, wrong, seed=0)
