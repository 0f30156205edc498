"""Backdoor attacks, for experiments only: an audit never knows the attack."""

from __future__ import annotations

from hfscan.bench.attacks.badnets import BadNets
from hfscan.bench.attacks.blended import Blended
from hfscan.bench.attacks.low_frequency import LowFrequency
from hfscan.bench.attacks.protocol import Attack, CoveringAttack, FittedAttack
from hfscan.bench.attacks.ssba import SSBA
from hfscan.bench.attacks.wanet import WaNet

ATTACKS: dict[str, type[Attack]] = {
    "badnets": BadNets,
    "blended": Blended,
    "lowfreq": LowFrequency,
    "ssba": SSBA,
    "wanet": WaNet,
}
"""In the order of the paper's tables."""

__all__ = [
    "ATTACKS",
    "SSBA",
    "Attack",
    "BadNets",
    "Blended",
    "CoveringAttack",
    "FittedAttack",
    "LowFrequency",
    "WaNet",
]
