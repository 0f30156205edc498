"""Find backdoors in the weights of image classifiers, and repair them.

>>> import hfscan
>>> model = hfscan.load("./examples/badnets-cifar10")
>>> clean = hfscan.load_images("./examples/cifar10-clean", model=model)
>>> report = hfscan.audit(model, clean)
>>> report.verdict, report.target
(<Verdict.BACKDOORED: 'BACKDOORED'>, 0)
>>> repaired, result = hfscan.repair(model, report, clean)
>>> hfscan.save(repaired, Path("repaired"), result)
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hfscan.calibration import Calibration, load_calibration
    from hfscan.data import load_images
    from hfscan.errors import (
        AuditError,
        DataError,
        HfscanError,
        HubError,
        ModelError,
        PickleRefusedError,
        RepairError,
        UnsafeWeightsError,
        UnsupportedModelError,
        UsageError,
    )
    from hfscan.hub.load import load, wrap
    from hfscan.hub.push import PushResult, push
    from hfscan.hub.save import save
    from hfscan.pipeline import audit, repair
    from hfscan.types import (
        AuditReport,
        AuditSettings,
        HubModel,
        ImageSet,
        LayerAudit,
        Metrics,
        RepairReport,
        RepairSettings,
        TestResult,
        Verdict,
    )

__version__ = "0.1.0"

_HOMES = {
    "hfscan.calibration": ("Calibration", "load_calibration"),
    "hfscan.data": ("load_images",),
    "hfscan.errors": (
        "AuditError",
        "DataError",
        "HfscanError",
        "HubError",
        "ModelError",
        "PickleRefusedError",
        "RepairError",
        "UnsafeWeightsError",
        "UnsupportedModelError",
        "UsageError",
    ),
    "hfscan.hub.load": ("load", "wrap"),
    "hfscan.hub.push": ("PushResult", "push"),
    "hfscan.hub.save": ("save",),
    "hfscan.pipeline": ("audit", "repair"),
    "hfscan.types": (
        "AuditReport",
        "AuditSettings",
        "HubModel",
        "ImageSet",
        "LayerAudit",
        "Metrics",
        "RepairReport",
        "RepairSettings",
        "TestResult",
        "Verdict",
    ),
}
"""Where the public names live. They are imported on first use, so that ``hfscan --help`` is quick."""

__all__ = [
    "AuditError",
    "AuditReport",
    "AuditSettings",
    "Calibration",
    "DataError",
    "HfscanError",
    "HubError",
    "HubModel",
    "ImageSet",
    "LayerAudit",
    "Metrics",
    "ModelError",
    "PickleRefusedError",
    "PushResult",
    "RepairError",
    "RepairReport",
    "RepairSettings",
    "TestResult",
    "UnsafeWeightsError",
    "UnsupportedModelError",
    "UsageError",
    "Verdict",
    "__version__",
    "audit",
    "load",
    "load_calibration",
    "load_images",
    "push",
    "repair",
    "save",
    "wrap",
]


def __getattr__(name: str) -> Any:
    for home, names in _HOMES.items():
        if name in names:
            return getattr(importlib.import_module(home), name)
    raise AttributeError(f"module 'hfscan' has no attribute {name!r}")
