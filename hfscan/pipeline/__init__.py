"""The two main jobs: audit a model, and repair one."""

from __future__ import annotations

from hfscan.pipeline.auditing import audit
from hfscan.pipeline.flagging import low_outliers
from hfscan.pipeline.inputs import check_repair_settings, check_settings, fitted
from hfscan.pipeline.repairing import FlowRepair, repair
from hfscan.pipeline.testing import run_tests

__all__ = [
    "FlowRepair",
    "audit",
    "check_repair_settings",
    "check_settings",
    "fitted",
    "low_outliers",
    "repair",
    "run_tests",
]
