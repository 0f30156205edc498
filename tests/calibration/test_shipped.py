"""The calibrations that come with the package."""

from __future__ import annotations

from pathlib import Path

import pytest

from hfscan.bench.calibrating import calibrated, described, markdown, read_audited
from hfscan.calibration import Calibration, NetworkFacts, closest, is_near, shipped
from hfscan.types import TestResult, Verdict
from hfscan.verdict import conclude

EXAMPLES = Path(__file__).parents[2] / "examples" / "calibration"
NAMES = (
    *("maximum-margin", "vulnerability", "patch-inversion", "warp-inversion"),
    *("blend-inversion", "additive-inversion", "smooth-inversion", "feature-maps"),
)
BADNETS = ((21.67, 0), (1.58, 3), (5.95, 0), (0.64, 3), (1.27, 4), (0.80, 0), (1.45, 5), (3.33, 2))
CLEAN = ((0.92, 4), (1.63, 3), (1.81, 2), (0.71, 5), (1.46, 6), (1.14, 2), (1.13, 5), (2.84, 4))
"""Statistic and class of each test, as an audit of the two example networks has them."""


def named(name: str) -> Calibration:
    (found,) = (each for each in shipped() if each.name == name)
    return found


def test_what_is_shipped_can_be_read() -> None:
    assert len({each.name for each in shipped()}) == len(shipped()) > 0


@pytest.mark.parametrize("calibration", shipped(), ids=lambda each: each.name)
def test_it_is_what_the_published_audits_give(calibration: Calibration) -> None:
    folder = EXAMPLES / calibration.name
    networks = read_audited(folder / "zoo.jsonl")
    made, measured = calibrated(networks, name=calibration.name, description=described(networks))
    assert made == calibration
    assert markdown(measured) in (folder / "tables.md").read_text()


def test_networks_of_cifar10_are_near() -> None:
    cifar10 = named("cifar10")
    assert is_near(NetworkFacts("preactresnet18", (3, 32, 32), 10), cifar10)
    assert is_near(NetworkFacts("resnet18", (3, 32, 32), 10), cifar10)
    assert not is_near(NetworkFacts("resnet50", (3, 224, 224), 1000), cifar10)


@pytest.mark.parametrize("calibration", shipped(), ids=lambda each: each.name)
def test_rates_are_of_networks_that_had_no_part_in_the_fit(calibration: Calibration) -> None:
    clean = calibration.rates["clean"].networks
    attacked = sum(rate.networks for name, rate in calibration.rates.items() if name != "clean")
    assert min(clean, attacked) >= 2


@pytest.mark.parametrize(("classes", "name"), [(10, "cifar10"), (43, "gtsrb"), (100, "cifar100")])
def test_a_network_is_near_those_of_as_many_classes(classes: int, name: str) -> None:
    """More classes have a larger largest statistic: clean networks with 100 look backdoored beside those with 43."""
    network = NetworkFacts("preactresnet18", (3, 32, 32), classes)
    assert closest(network) is named(name)
    assert [each.name for each in shipped() if is_near(network, each)] == [name]


@pytest.mark.parametrize(
    ("found", "verdicts"),
    [
        (BADNETS, {Verdict.SUSPICIOUS, Verdict.BACKDOORED}),
        (CLEAN, {Verdict.NO_BACKDOOR_FOUND}),
    ],
)
def test_the_example_networks(found: tuple[tuple[float, int], ...], verdicts: set[Verdict]) -> None:
    cifar10 = named("cifar10")
    tests = [
        TestResult(name, statistic, None, target, (), "")
        for name, (statistic, target) in zip(NAMES, found, strict=True)
    ]
    conclusion = conclude(cifar10.applied(tests), cifar10)
    assert conclusion.verdict in verdicts
    assert conclusion.target == (0 if Verdict.SUSPICIOUS in verdicts else None)
