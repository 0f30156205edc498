from __future__ import annotations

from dataclasses import replace

import pytest
import timm
import torch
from torch import nn

import hfscan
from hfscan.bench.defenses.fmt_flow import FeatureMapFlow, as_model
from hfscan.errors import AuditError
from hfscan.pipeline import FlowRepair
from hfscan.types import HubModel, ImageSet, RepairSettings

from .support import AUDIT

SETTINGS = RepairSettings(erase_rate=0.02, epochs=1, lr=1e-3, batch_size=16)
DEFENSE = FeatureMapFlow(audit=AUDIT, settings=SETTINGS)


def test_it_is_an_audit_and_its_repair(
    planted_net: nn.Module, planted_model: HubModel, tiny_set: ImageSet
) -> None:
    report = hfscan.audit(planted_model, tiny_set, settings=replace(AUDIT, seed=1))
    product = FlowRepair(report, SETTINGS).repair(planted_model.net, tiny_set, seed=1)
    result = DEFENSE.repair(planted_net, tiny_set, seed=1)
    assert 6 in result.erased["conv1"]  # the planted channel
    assert (result.erased, result.how) == (product.erased, product.how)
    assert "class blue" in result.how
    assert result.unlearned == product.unlearned is not None
    states = result.net.state_dict(), product.net.net.state_dict()
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_a_victim_is_judged_as_a_model_is(tiny_set: ImageSet) -> None:
    """By the calibration of its architecture, which is inside of what a defense is given."""
    net = timm.create_model("preactresnet18", num_classes=4, width=2)
    model = hfscan.wrap(net.eval(), input_size=(3, 8, 8), num_classes=4)
    assert (
        as_model(model.net, tiny_set).facts.architecture == model.architecture == "preactresnet18"
    )


def test_where_an_audit_concludes_nothing(planted_net: nn.Module, tiny_set: ImageSet) -> None:
    wrong = replace(tiny_set, labels=(tiny_set.labels + 1) % 4)
    with pytest.raises(AuditError, match="points at no channel"):
        DEFENSE.repair(planted_net, wrong, seed=0)
