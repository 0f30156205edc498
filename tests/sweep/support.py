"""A sweep whose audits take no time."""

from __future__ import annotations

import sys
from pathlib import Path

from hfscan.sweep.process import Job

FAKE = (sys.executable, "-S", str(Path(__file__).with_name("fake_audit.py")))
"""Instead of ``python -m hfscan``."""


def job(model: str, timeout: float | None = None, **more: object) -> Job:
    return Job(f"org/{model}", ("--split=test",), ("markdown",), timeout, program=FAKE, **more)  # type: ignore[arg-type]
