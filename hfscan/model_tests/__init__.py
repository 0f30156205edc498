"""Model-level tests: does the network as a whole behave as if it had a backdoor, and to which class?"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from torch import nn

from hfscan.model_tests.maximum_margin import MaximumMargin
from hfscan.types import ImageSet, Progress, TestResult, silent


class ModelTest(Protocol):
    """What every model-level test can do."""

    @property
    def name(self) -> str:
        """Key in the registry."""

    def run(
        self, net: nn.Module, clean: ImageSet, *, seed: int, progress: Progress = silent
    ) -> TestResult:
        """Test a network; ``clean`` gives the size of the images, and the images if they are needed."""


TESTS: dict[str, Callable[[int], ModelTest]] = {
    "maximum-margin": lambda batch_size: MaximumMargin(batch_size=batch_size)
}
"""Name -> maker, given the images per pass."""

__all__ = ["TESTS", "MaximumMargin", "ModelTest"]
