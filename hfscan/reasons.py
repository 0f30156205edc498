"""Why a network, or a part of it, was not audited, in sentences that programs compare."""

from __future__ import annotations

NO_CONV = "it has no conv layer"
NOTHING_TESTED = "none of its conv layers can be tested"

LAYER_OUT_OF_TIME = "the time budget ended before it was tested"
TEST_OUT_OF_TIME = "the time budget ended before it was done"
PASSES_FAIL = "its passes fail"
"""How a reason begins that may not be there the next time: memory was short."""

CHANNELS_SCREENED = "channels were tested with a few of the images only, or not at all"
