from __future__ import annotations

from dataclasses import replace

import timm
from torch import nn

import hfscan
from hfscan.pipeline.suspecting import as_model, suspected
from hfscan.types import AuditSettings, ImageSet


def test_the_class_of_a_backdoor(planted_net: nn.Module, tiny_set: ImageSet) -> None:
    target = suspected(planted_net, tiny_set, settings=AuditSettings())
    assert target is not None
    assert tiny_set.classes[target] == "blue"


def test_none_in_a_clean_network(tiny_net: nn.Module, tiny_set: ImageSet) -> None:
    assert suspected(tiny_net, tiny_set, settings=AuditSettings()) is None


def test_none_by_labels_that_are_not_the_networks(
    planted_net: nn.Module, tiny_set: ImageSet
) -> None:
    wrong = replace(tiny_set, labels=(tiny_set.labels + 1) % 4)
    assert suspected(planted_net, wrong, settings=AuditSettings()) is None


def test_none_by_tests_that_are_not_asked_for(planted_net: nn.Module, tiny_set: ImageSet) -> None:
    settings = AuditSettings(tests=("feature-maps",))
    assert suspected(planted_net, tiny_set, settings=settings) is None


def test_a_victim_is_judged_as_a_model_is(tiny_set: ImageSet) -> None:
    """By the calibration of its architecture, which is inside of what a defense is given."""
    net = timm.create_model("preactresnet18", num_classes=4, width=2)
    model = hfscan.wrap(net.eval(), input_size=(3, 8, 8), num_classes=4)
    assert (
        as_model(model.net, tiny_set).facts.architecture == model.architecture == "preactresnet18"
    )
