"""Does a report say what an audit would find?"""

from __future__ import annotations

from hfscan.verify.check import Check
from hfscan.verify.verifying import agreement, verify

__all__ = ["Check", "agreement", "verify"]
