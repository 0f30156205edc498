"""Calibrations: what the model-level tests say of networks that are known to be clean.

A calibration turns a test's statistic into a p-value. The ones that come with the package are the JSON files
beside this one. `hfscan.calibration.fitting` makes them.
"""

from __future__ import annotations

from hfscan.calibration.calibration import Calibration, load_calibration
from hfscan.calibration.closest import closest, distance, is_near, shipped
from hfscan.calibration.records import NetworkFacts, Record, Score, scores_of

__all__ = [
    "Calibration",
    "NetworkFacts",
    "Record",
    "Score",
    "closest",
    "distance",
    "is_near",
    "load_calibration",
    "scores_of",
    "shipped",
]
