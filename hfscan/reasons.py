"""Why a network cannot be audited, in sentences that programs compare."""

from __future__ import annotations

NO_CONV = "it has no conv layer"
NOTHING_TESTED = "none of its conv layers can be tested"
