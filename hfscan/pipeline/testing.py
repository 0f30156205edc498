"""Runs model-level tests, within memory and time."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from torch import nn

from hfscan.channels import one_image, probing
from hfscan.clock import TimeUpError
from hfscan.fmt import (
    Limits,
    choose_precision,
    default_memory,
    give_back,
    measure_limits,
)
from hfscan.fmt.precision import working_copy
from hfscan.fmt.profile import PASS_ERRORS, failure
from hfscan.model_tests import TESTS, ChannelTest, ModelTest
from hfscan.reasons import TEST_OUT_OF_TIME
from hfscan.types import (
    AuditSettings,
    ImageSet,
    LayerAudit,
    Precision,
    Progress,
    TestResult,
    silent,
)

MAX_BATCH = 256
"""Images per pass of a model-level test, where memory allows it."""

USUAL = AuditSettings()
OF_THE_CHANNELS = ("images", "steps", "step_size", "eps", "gradient")
"""Settings that change what the channels show; calibrations are made with the defaults."""

PRECISION_IMAGES = 32
"""Clean images with which half precision is compared."""


def make_tests(
    names: Sequence[str],
    net: nn.Module,
    clean: ImageSet,
    batch_size: int | None = None,
    memory: int | None = None,
) -> list[ModelTest]:
    """The model-level tests of these names, all of the registry if empty.

    Args:
        names: Of `hfscan.model_tests.TESTS`.
        net: What is tested.
        clean: Images of its size.
        batch_size: Most images per pass; None for what memory allows.
        memory: Bytes to use beside the network; None for what there is.
    """
    most = min(MAX_BATCH, limits_of(net, clean, batch_size, memory).graph)
    return [make(most) for name, make in TESTS.items() if not names or name in names]


def tests_of_network(net: nn.Module, clean: ImageSet) -> list[ModelTest]:
    """All of the registry that look at the network as a whole, not at what an audit has seen of the channels."""
    return [test for test in make_tests((), net, clean) if not isinstance(test, ChannelTest)]


def run_tests(
    net: nn.Module,
    clean: ImageSet,
    tests: Sequence[ModelTest] | None = None,
    *,
    seed: int,
    precision: Precision = "auto",
    progress: Progress = silent,
) -> tuple[TestResult, ...]:
    """Run model-level tests of a network.

    Args:
        net: The network; it is left as it was.
        clean: Clean images that fit it.
        tests: None for all of the registry but those of the channels, which an audit has tested (`judge`).
        seed: Of everything random.
        precision: Of the tests that tolerate half precision; ``"auto"`` chooses.
        progress: Shaped like ``rich.progress.track``.
    """
    if tests is None:
        tests = tests_of_network(net, clean)
    with probing(net):
        half = _half(net, clean, seed, precision) if any(map(_tolerates_half, tests)) else net
        return tuple(
            _run_test(test, half if _tolerates_half(test) else net, clean, seed, progress)
            for test in tests
        )


def run_as_audit(
    net: nn.Module,
    clean: ImageSet,
    tests: Sequence[ModelTest],
    settings: AuditSettings,
    progress: Progress = silent,
) -> tuple[TestResult, ...]:
    """The tests of these that look at the network as a whole, with an audit's seed and precision."""
    of_network = [test for test in tests if not isinstance(test, ChannelTest)]
    seed, precision = settings.seed, settings.precision
    return run_tests(net, clean, of_network, seed=seed, precision=precision, progress=progress)


def judge(
    tests: Sequence[ModelTest],
    layers: Sequence[LayerAudit],
    clean_predictions: Sequence[int],
    settings: AuditSettings,
) -> tuple[TestResult, ...]:
    """What the tests of channels among ``tests`` say of what an audit has seen.

    Nothing, if feature map testing was done otherwise than in the networks that a calibration compares with.
    """
    others = [name for name in OF_THE_CHANNELS if getattr(settings, name) != getattr(USUAL, name)]
    reason = f"feature map testing was not made with the usual {' and '.join(others)}"
    return tuple(
        TestResult(test.name, None, None, None, (), "", reason)
        if others
        else test.judge(layers, clean_predictions)
        for test in tests
        if isinstance(test, ChannelTest)
    )


def _tolerates_half(test: ModelTest) -> bool:
    return bool(getattr(test, "tolerates_half", False))


def _half(net: nn.Module, clean: ImageSet, seed: int, precision: Precision) -> nn.Module:
    """A copy in half precision where that was settled, or is faster and keeps the answers; or the network itself."""
    if precision == "auto":
        sample = clean.sample(PRECISION_IMAGES, seed=seed)
        precision = choose_precision(net, sample, AuditSettings(seed=seed)).name
    return net if precision == "fp32" else working_copy(net, precision)


def _run_test(
    test: ModelTest, net: nn.Module, clean: ImageSet, seed: int, progress: Progress
) -> TestResult:
    try:
        found = test.run(net, clean, seed=seed, progress=progress)
        if all(math.isfinite(figure or 0) for figure in (found.statistic, found.p_value)):
            return found
        reason = "its figures are not finite"
    except TimeUpError:
        reason = TEST_OUT_OF_TIME
    except PASS_ERRORS as error:
        reason = failure(error)
    finally:
        give_back()
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
