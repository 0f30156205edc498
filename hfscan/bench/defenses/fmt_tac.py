"""FMT with the channels that inverted triggers move most: erase them and fine-tune, as the paper does with those it flags.

Where it leaves the FMT paper (Huang et al., sections III-E and III-F): a model-level test names the suspected class, and
the channels are not those that an outlier detector flags but those with the largest trigger-activated change of triggers
inverted for that class. What the paper does to them is the same: erase, then fine-tune on clean images; nothing is
unlearned.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from hfscan.bench.defenses.fmt_flow import FeatureMapFlow
from hfscan.types import RepairSettings


@dataclass(frozen=True)
class TriggerActivatedErasing(FeatureMapFlow):
    """Audit, erase the channels that inverted triggers of the suspected class move most, fine-tune.

    Args:
        settings: Of the repair: 3 % of each layer's channels, at least one, and no unlearning.
    """

    settings: RepairSettings = field(
        default_factory=lambda: RepairSettings(erase_rate=0.03, unlearn_norm=0.0)
    )
