"""Model-level tests: does the network as a whole behave as if it had a backdoor, and to which class?"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, runtime_checkable

from torch import nn

from hfscan.inversion import Additive, Blend, Family, Patch, Smooth, Warp
from hfscan.inversion.halving import Halving
from hfscan.model_tests.feature_maps import FeatureMaps
from hfscan.model_tests.maximum_margin import MaximumMargin
from hfscan.model_tests.trigger_inversion import TriggerInversion
from hfscan.model_tests.vulnerability import Vulnerability
from hfscan.types import ImageSet, LayerAudit, Progress, TestResult, silent


class ModelTest(Protocol):
    """What every model-level test can do.

    A test that sets ``tolerates_half`` to True may be given a network in half precision.
    """

    @property
    def name(self) -> str:
        """Key in the registry."""

    def run(
        self, net: nn.Module, clean: ImageSet, *, seed: int, progress: Progress = silent
    ) -> TestResult:
        """Test a network; ``clean`` gives the size of the images, and the images if they are needed."""


@runtime_checkable
class ChannelTest(ModelTest, Protocol):
    """A model-level test of what an audit has seen of the channels; alone, it looks at them by itself."""

    def judge(self, layers: Sequence[LayerAudit], clean_predictions: Sequence[int]) -> TestResult:
        """Test a network by its channels, and the predictions ``(K,)`` for the images they were tested with."""


def _inversion(family: Family) -> Callable[[int], ModelTest]:
    return lambda batch_size: TriggerInversion(family, Halving(batch_size=min(64, batch_size)))


TESTS: dict[str, Callable[[int], ModelTest]] = {
    "maximum-margin": lambda batch_size: MaximumMargin(batch_size=batch_size),
    "vulnerability": lambda batch_size: Vulnerability(batch_size=min(64, batch_size)),
    "patch-inversion": _inversion(Patch(lr=0.4)),
    "warp-inversion": _inversion(Warp()),
    "blend-inversion": _inversion(Blend()),
    "additive-inversion": _inversion(Additive()),
    "smooth-inversion": _inversion(Smooth()),
    "feature-maps": lambda batch_size: FeatureMaps(batch_size=batch_size),
}
"""Name -> maker, given the most images per pass."""

SUMMARIES = {
    "maximum-margin": "The largest margin over the other classes that any image reaches; needs no images",
    "vulnerability": "How many images of other classes a change of 1/255 per pixel brings to the class",
    "patch-inversion": "How many images one small patch, the same for all, leads to the class",
    "warp-inversion": "How many images one smooth warp, the same for all, leads to the class",
    "blend-inversion": "How many images one faint picture blended into all of them leads to the class",
    "additive-inversion": "How many images one faint pattern added to all of them leads to the class",
    "smooth-inversion": "How many images one smooth, low-frequency pattern added to all leads to the class",
    "feature-maps": "How many images of the channel tests end up in the class",
}
"""Name -> the figure that each class gets, in a line."""

__all__ = [
    "SUMMARIES",
    "TESTS",
    "ChannelTest",
    "FeatureMaps",
    "MaximumMargin",
    "ModelTest",
    "TriggerInversion",
    "Vulnerability",
]
