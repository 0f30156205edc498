"""Runs model-level tests, within memory and time."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from torch import nn

from hfscan.channels import one_image, probing
from hfscan.clock import TimeUpError
from hfscan.fmt import (
    Limits,
    default_memory,
    measure_limits,
)
from hfscan.model_tests import TESTS, ModelTest
from hfscan.types import (
    ImageSet,
    Progress,
    TestResult,
    silent,
)


def run_tests(
    net: nn.Module,
    clean: ImageSet,
    tests: Sequence[ModelTest] | None = None,
    *,
    seed: int,
    progress: Progress = silent,
) -> tuple[TestResult, ...]:
    """Run model-level tests, all of the registry if ``tests`` is None."""
    if tests is None:
        batch_size = min(MAX_BATCH, limits_of(net, clean).graph)
        tests = [make(batch_size) for make in TESTS.values()]
    with probing(net):
        return tuple(_run_test(test, net, clean, seed, progress) for test in tests)


MAX_BATCH = 256
"""Images per pass of a model-level test, where memory allows it."""


def _run_test(
    test: ModelTest, net: nn.Module, clean: ImageSet, seed: int, progress: Progress
) -> TestResult:
    try:
        return test.run(net, clean, seed=seed, progress=progress)
    except TimeUpError:
        reason = "the time budget ended before it was done"
        return TestResult(test.name, None, None, None, (), "", reason)


def limits_of(
    net: nn.Module, images: ImageSet, batch_size: int | None = None, memory: int | None = None
) -> Limits:
    """How many images fit into a pass of ``net``, within ``memory`` bytes."""
    bound = default_memory() if memory is None else memory
    with probing(net):
        return measure_limits(net, one_image(net, images), bound, batch_size, retained=False)


@contextmanager
def timed(seconds: dict[str, float], stage: str) -> Iterator[None]:
    """Enter how long the block takes."""
    began = time.perf_counter()
    yield
    seconds[stage] = round(time.perf_counter() - began, 3)
