"""The plain data that passes between the stages: frozen dataclasses without I/O.

Letters used in shapes: N images, B batch, C channels, S steps, K classes, H and W height and width.
"""

from __future__ import annotations

from hfscan.types.audit import (
    AuditReport,
    AuditSettings,
    CalibrationFacts,
    Coverage,
    Evidence,
    LayerAudit,
    Precision,
    Rate,
    TestResult,
)
from hfscan.types.basic import (
    SCHEMA,
    BoolArray,
    Channels,
    FloatArray,
    IntArray,
    Progress,
    Verdict,
    silent,
)
from hfscan.types.images import DataFacts, ImageSet, stratified_order
from hfscan.types.model import HubModel, ModelFacts
from hfscan.types.pictures import Picture
from hfscan.types.proof import Proof, Reactivation, Relearning, TriggerOutcome
from hfscan.types.repair import Defense, Metrics, Repaired, RepairReport, RepairSettings
from hfscan.types.suppression import Suppression
from hfscan.types.trial import Cell, Trial

__all__ = [
    "SCHEMA",
    "AuditReport",
    "AuditSettings",
    "BoolArray",
    "CalibrationFacts",
    "Cell",
    "Channels",
    "Coverage",
    "DataFacts",
    "Defense",
    "Evidence",
    "FloatArray",
    "HubModel",
    "ImageSet",
    "IntArray",
    "LayerAudit",
    "Metrics",
    "ModelFacts",
    "Picture",
    "Precision",
    "Progress",
    "Proof",
    "Rate",
    "Reactivation",
    "Relearning",
    "RepairReport",
    "RepairSettings",
    "Repaired",
    "Suppression",
    "TestResult",
    "Trial",
    "TriggerOutcome",
    "Verdict",
    "silent",
    "stratified_order",
]
