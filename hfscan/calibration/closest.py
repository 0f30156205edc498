"""Which calibration fits a model, and how far the model is from it."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from functools import cache
from importlib.resources import files

from hfscan.calibration.calibration import Calibration
from hfscan.calibration.records import NetworkFacts


@cache
def shipped() -> tuple[Calibration, ...]:
    """The calibrations that come with the package, in order of their file names."""
    found = sorted(files("hfscan.calibration").iterdir(), key=lambda each: each.name)
    texts = [each.read_text(encoding="utf-8") for each in found if each.name.endswith(".json")]
    return tuple(Calibration.from_dict(json.loads(text)) for text in texts)


MAX_DISTANCE = 1.0
"""What clean networks do says nothing of models farther away: a factor of 1.4 in classes or of two in edge, none at all
for another architecture family. Eight of eight clean networks with 100 classes were called SUSPICIOUS by the
calibration of 43 classes, six of them BACKDOORED."""


def closest(model: NetworkFacts, among: Sequence[Calibration] | None = None) -> Calibration | None:
    """The calibration with the network that is most like a model.

    Args:
        model: What the model is like.
        among: Calibrations; those of the package if None.

    Returns:
        None if there is no calibration.
    """
    calibrations = shipped() if among is None else among
    return min(calibrations, key=lambda each: _distance(model, nearest(model, each)), default=None)


def is_near(model: NetworkFacts, calibration: Calibration) -> bool:
    """Whether a model is so much like a network of a calibration that its p-values mean something."""
    return _distance(model, nearest(model, calibration)) <= MAX_DISTANCE


def nearest(model: NetworkFacts, calibration: Calibration) -> NetworkFacts:
    """The clean network of a calibration that is most like a model."""
    return min(calibration.networks, key=lambda network: _distance(model, network))


def distance(model: NetworkFacts, calibration: Calibration) -> str:
    """How far a model is from a calibration, as a sentence."""
    network = nearest(model, calibration)
    pairs = [
        ("architecture", model.architecture, network.architecture),
        ("classes", str(model.num_classes), str(network.num_classes)),
        ("input size", _size(model), _size(network)),
    ]
    different = [
        f"{what} {ours} (calibrated: {theirs})" for what, ours, theirs in pairs if ours != theirs
    ]
    if not different:
        return (
            "The calibration has networks of this architecture, number of classes and input size."
        )
    return f"The model is unlike all networks of the calibration in: {'; '.join(different)}."


def _distance(model: NetworkFacts, network: NetworkFacts) -> float:
    """0 for the same kind; a factor of two in edge or of 1.4 in classes, or another architecture family, counts 1.

    The more classes, the larger is the largest of their statistics.
    """
    if model.architecture == network.architecture:
        architecture = 0.0
    else:
        architecture = 0.5 if _family(model) == _family(network) else 1.0
    classes = 2 * abs(math.log2(model.num_classes / network.num_classes))
    edge = abs(math.log2(model.input_size[1] / network.input_size[1]))
    return architecture + classes + edge + float(model.input_size[0] != network.input_size[0])


def _family(network: NetworkFacts) -> str:
    """The letters in front: ``resnet`` of ``resnet26d``."""
    found = re.match(r"[a-z]+", network.architecture.casefold())
    return found.group() if found else network.architecture


def _size(network: NetworkFacts) -> str:
    return "x".join(map(str, network.input_size))
