"""Does a report say what an audit would find? A part of its evidence is made again, and compared.

Numbers are not compared bit by bit: other processors, thread counts and batch sizes round differently, and the
sign of a gradient near zero turns on that. How much is let through is stated with each check.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from hfscan.calibration import Calibration
from hfscan.channels import ConvLayer, conv_layers, one_image
from hfscan.detectors import DETECTORS
from hfscan.fmt.engine import Engine, Responses, make_engine
from hfscan.fmt.profile import PASS_ERRORS
from hfscan.fmt.screen import image_order
from hfscan.model_tests import ChannelTest
from hfscan.pipeline import check_settings, fitted, low_outliers, run_tests
from hfscan.pipeline.auditing import first_look
from hfscan.pipeline.calibrating import Calibrated
from hfscan.pipeline.testing import judge, limits_of, make_tests
from hfscan.reasons import TEST_OUT_OF_TIME
from hfscan.report.text import p_equation, p_value, percent, plural
from hfscan.types import (
    AuditReport,
    HubModel,
    ImageSet,
    LayerAudit,
    Precision,
    Progress,
    TestResult,
    Verdict,
    silent,
)
from hfscan.verdict import P_BACKDOORED, P_SUSPICIOUS, SEVERITY

ACCURACY = 0.01
"""Largest difference of the clean accuracy that agrees."""

MOVED: Mapping[Precision, float] = {"fp32": 0.03, "bf16": 0.1, "fp16": 0.1}
"""Precision -> largest share of a channel's predictions that may be of other classes, on average over channels.

Measured with the example network and 60 channels, with other threads and batch sizes than in the audit: 0.0 % in
fp32, 0.1 % in bf16. A report in bf16 that was tested again in fp32 came to 5.1 % (200 channels).
"""

FLAGS = 0.01
"""Largest share of channels that may be flagged otherwise."""

P_FACTOR = 10
"""Largest factor between p-values that agrees, where they are on different sides of a threshold of the verdict.

Trigger inversions end elsewhere with other thread counts: their figures for single classes moved by up to 44 % of the
largest one, and their verdict did not.
"""


@dataclass(frozen=True)
class Check:
    """One comparison.

    Args:
        name: What was compared.
        agrees: None if it could not be compared.
        details: What was found, and what would have been let through.
    """

    name: str
    agrees: bool | None
    details: str


def verify(
    model: HubModel,
    clean: ImageSet,
    report: AuditReport,
    *,
    channels: int = 8,
    seed: int = 0,
    calibration: Calibration | None = None,
    memory: int | None = None,
    progress: Progress = silent,
) -> list[Check]:
    """Make a part of a report's evidence again.

    Args:
        model: What the report says it is about.
        clean: The images that it says it was made with.
        report: Of an audit.
        channels: How many channels to test again, chosen at random.
        seed: Which ones.
        calibration: Where the report's p-values are from; the closest that comes with hfscan if None.
        memory: Bytes to use beside the model; None for 1 GiB or a quarter of what is free.
        progress: Shaped like ``rich.progress.track``.

    Raises:
        DataError: The images do not fit the model.
        UsageError: The report's settings are out of their range.
    """
    check_settings(report.settings)
    checks = [weights(model, report)]
    if not checks[0].agrees:
        return checks
    clean = fitted(model, clean)
    checks.append(images(clean, report))
    checks.append(_flags(report))
    if not checks[1].agrees:
        return checks
    sample = clean.sample(report.settings.images, seed=report.settings.seed)
    looked = first_look(model, clean, sample, report.settings, limits_of(model.net, sample))
    checks += _clean_images(looked, report)
    chosen = choose(report, channels, seed)
    checks.append(_channels(model, sample, report, chosen, memory, progress))
    if looked.reason:
        return [*checks, _inconclusive(looked, report)]
    calibrated = Calibrated.of(model.facts, calibration)
    if differ := _other_calibration(calibrated, report):
        return [*checks, Check("verdict", None, differ)]
    ours = _results(model, clean, report, calibrated, progress)
    tests = [*_tests(report, calibrated, ours), *_missing(report, ours, looked)]
    needed = [*checks[-1:], *tests] if channels else tests
    layers = _layers(conv_layers(model.net, one_image(model.net, sample)), report)
    return [*checks, layers, *tests, _verdict(report, calibrated, ours, needed)]


def agreement(checks: Sequence[Check]) -> bool | None:
    """Whether a report agrees: False if a check does not, None if its verdict could not be checked.

    Args:
        checks: From `verify`.
    """
    if any(check.agrees is False for check in checks):
        return False
    return checks[-1].agrees


def weights(model: HubModel, report: AuditReport) -> Check:
    """Whether the model is the one of the report, bit by bit."""
    ours, theirs = model.weights_sha256, report.model.weights_sha256
    if ours == theirs:
        return Check("weights", True, f"sha256 {ours[:12]}")
    return Check("weights", False, f"sha256 {ours[:12]}, the report has {theirs[:12]}")


def images(clean: ImageSet, report: AuditReport) -> Check:
    """Whether the images are those of the report, bit by bit."""
    ours, theirs = clean.facts.fingerprint, report.data.fingerprint
    if ours == theirs:
        return Check(
            "clean images", True, f"{plural(len(clean), 'image')}, fingerprint {ours[:12]}"
        )
    return Check(
        "clean images",
        False,
        f"fingerprint {ours[:12]} of {plural(len(clean), 'image')}, "
        f"the report has {theirs[:12]} of {report.data.images}",
    )


def _clean_images(looked: AuditReport, report: AuditReport) -> Iterator[Check]:
    found = looked.clean_accuracy
    yield Check(
        "clean accuracy",
        abs(found - report.clean_accuracy) <= ACCURACY,
        f"{percent(found)}, the report has {percent(report.clean_accuracy)} "
        f"(may differ by {percent(ACCURACY, 0)})",
    )
    counts = np.asarray(looked.clean_predictions)
    moved = _moved(counts, np.asarray(report.clean_predictions))
    yield Check(
        "predictions of clean images",
        moved <= ACCURACY,
        f"{percent(moved)} of {plural(int(counts.sum()), 'image')} are of other classes "
        f"(may be {percent(ACCURACY, 0)})",
    )


def _moved(ours: np.ndarray, theirs: np.ndarray) -> float:
    """Share of the predictions that are of other classes, at least: counts ``(..., K)``."""
    return float(np.abs(ours - theirs).sum() / 2 / max(1, theirs.sum()))


def _flags(report: AuditReport) -> Check:
    """Whether the detector makes the report's flags of the report's own accuracy profiles."""
    tested = [layer for layer in report.layers if not layer.skipped]
    name = report.settings.detector
    if name not in DETECTORS or not tested:
        reason = "no layer was tested" if not tested else "the detector is not one of hfscan's"
        return Check("flags", None, reason)
    detector = DETECTORS[name](report.settings.tau, report.settings.seed)
    whole = _most_images(report)
    other = sum(
        int(
            (
                (low_outliers(detector, layer.accuracy) & (layer.tested == whole)) ^ layer.flagged
            ).sum()
        )
        for layer in tested
    )
    total = sum(layer.channels for layer in tested)
    return Check(
        "flags",
        other <= FLAGS * total,
        f"{other} of {plural(total, 'channel')} are flagged otherwise by {name} "
        f"(may be {percent(FLAGS, 0)})",
    )


def _most_images(report: AuditReport) -> int:
    return min(report.settings.images, report.data.images)


def _channels(
    model: HubModel,
    sample: ImageSet,
    report: AuditReport,
    chosen: Sequence[tuple[LayerAudit, int]],
    memory: int | None,
    progress: Progress,
) -> Check:
    """Whether some channels send their images where the report says."""
    precision = report.settings.precision
    if not chosen:
        return Check("channels", None, "no channel was tested")
    if precision == "auto":
        return Check(
            "channels", False, "the report does not say in which precision they were tested"
        )
    try:
        engine = make_engine(model.net, sample, report.settings, memory=memory)
        layers = {layer.name: layer for layer in engine.layers}
        moved = [
            _moved_of_channel(engine, layers[layer.layer], layer, channel, sample)
            for layer, channel in progress(chosen, "testing channels again", len(chosen))
        ]
    except KeyError as error:
        return Check("channels", False, f"the network has no conv layer {error}")
    except PASS_ERRORS as error:
        reason = (str(error).splitlines() or [""])[0][:100]
        return Check("channels", None, f"their passes fail in {precision} ({reason})")
    bound = MOVED[precision]
    worst = int(np.argmax(moved))
    return Check(
        "channels",
        float(np.mean(moved)) <= bound,
        f"{plural(len(chosen), 'channel')} in {precision}: {percent(float(np.mean(moved)))} of the predictions are of "
        f"other classes (may be {percent(bound, 0)}), at most {percent(moved[worst])}, in "
        f"{chosen[worst][0].layer} {chosen[worst][1]}",
    )


def choose(report: AuditReport, count: int, seed: int) -> list[tuple[LayerAudit, int]]:
    """Channels that were tested, chosen at random: every one is as likely.

    Args:
        report: Of an audit.
        count: How many, at most.
        seed: Which ones.
    """
    tested = [
        (layer, int(channel))
        for layer in report.layers
        if not layer.skipped
        for channel in np.flatnonzero(layer.tested)
    ]
    generator = np.random.default_rng(seed)
    order = generator.permutation(len(tested))[:count]
    return [tested[index] for index in sorted(order)]


def _moved_of_channel(
    engine: Engine, layer: ConvLayer, reported: LayerAudit, channel: int, sample: ImageSet
) -> float:
    """Share of a channel's predictions that are of other classes than in the report.

    A channel was tested with all images or with the first of them, in the order of the screen.
    """
    settings = engine.settings
    responses = Responses.empty(max(layer.channels, channel + 1), len(sample), settings.steps)
    order = image_order(sample, settings.seed)[: int(reported.tested[channel])]
    for _ in engine.test(layer, responses, [channel], order.tolist()):
        pass
    return _moved(responses.counts(engine.classes)[channel], reported.predictions[channel])


def _layers(ours: Sequence[ConvLayer], report: AuditReport) -> Check:
    """Whether the report knows all of the network's conv layers, tested or not."""
    found = {layer.name: layer.channels for layer in ours}
    same = found == {layer.layer: layer.channels for layer in report.layers}
    said = f"{plural(len(found), 'layer')}, the report has {len(report.layers)}"
    return Check("layers", same, said)


def _inconclusive(looked: AuditReport, report: AuditReport) -> Check:
    """The verdict where no test would mean anything."""
    same = report.verdict is Verdict.INCONCLUSIVE
    said = f"{looked.reason}; the report has {report.verdict.value}"
    return Check("verdict", same, said)


def _other_calibration(calibrated: Calibrated, report: AuditReport) -> str:
    """Why the report's p-values cannot be compared; empty if they can."""
    ours, theirs = (facts.name if facts else "" for facts in (calibrated.facts, report.calibration))
    if ours == theirs:
        return ""
    if theirs:
        return f"its p-values are from a calibration that is not here: {theirs}"
    return f"its p-values are from no calibration, an audit here has {ours}"


def _results(
    model: HubModel,
    clean: ImageSet,
    report: AuditReport,
    calibrated: Calibrated,
    progress: Progress,
) -> dict[str, TestResult]:
    """The model-level tests that the report's settings name, made again, by name."""
    tests = make_tests(report.settings.tests, model.net, clean)
    of_network = [test for test in tests if not isinstance(test, ChannelTest)]
    made = run_tests(model.net, clean, of_network, seed=report.settings.seed, progress=progress)
    made = calibrated.applied(
        made + judge(tests, report.layers, report.clean_predictions, report.settings)
    )
    return {result.name: result for result in made}


def _tests(
    report: AuditReport, calibrated: Calibrated, ours: Mapping[str, TestResult]
) -> Iterator[Check]:
    """Those that the report has: what it shows, and what its verdict is made of."""
    names = [test.name for test in report.tests]
    for shown, counted in zip(report.tests, calibrated.applied(report.tests), strict=True):
        made = ours.get(shown.name)
        if made is None or names.count(shown.name) > 1:
            yield Check(shown.name, None, "it cannot be made again by itself")
        elif not _same(shown.p_value, counted.p_value):
            yield Check(shown.name, False, "its p-value is not that of its statistic")
        else:
            yield _test(counted, made)


def _missing(
    report: AuditReport, ours: Mapping[str, TestResult], looked: AuditReport
) -> Iterator[Check]:
    """Those that the report should have; another version of hfscan may not have had them."""
    known = report.versions.get("hfscan") == looked.versions["hfscan"]
    made = {name for name, test in ours.items() if test.p_value is not None}
    for name in sorted(made - {test.name for test in report.tests}):
        yield Check(name, False if known else None, "the report does not have this test")


def _verdict(
    report: AuditReport,
    calibrated: Calibrated,
    ours: Mapping[str, TestResult],
    needed: Sequence[Check],
) -> Check:
    """Whether the verdict follows from the report's own test results, and ours find nothing that it does not have.

    Ours may find more without a lie in the report: time ended some of its tests, or rounding adds up.

    Args:
        report: The report.
        calibrated: What gives the p-values.
        ours: Results of the tests made again.
        needed: Checks without which the verdict is not checked.
    """
    found = calibrated.conclude(report.tests)
    said = f"{found.verdict.value} follows from its tests, the report has {report.verdict.value}"
    if report.verdict is Verdict.INCONCLUSIVE and all(layer.skipped for layer in report.layers):
        return Check("verdict", None, "there is none: no layer was tested")
    if (found.verdict, found.target) != (report.verdict, report.target):
        return Check("verdict", False, said)
    unchecked = [check.name for check in needed if check.agrees is None]
    if unchecked:
        return Check("verdict", None, f"{said}, but not checked: {', '.join(unchecked)}")
    here = calibrated.conclude(list(ours.values())).verdict
    if here in SEVERITY and found.verdict not in SEVERITY:
        return Check("verdict", None, f"{said}, but {here.value} from the same tests made again")
    return Check("verdict", True, said)


def _test(theirs: TestResult, ours: TestResult) -> Check:
    """Whether a test says the same again: p-values that agree, and the same class if it stands out."""
    if theirs.p_value is None:
        return _without_p(theirs, ours)
    if ours.p_value is None:
        return Check(theirs.name, None, ours.skipped or "it has no p-value")
    found = f"{p_equation(ours.p_value)}, the report has {p_value(theirs.p_value)}"
    bound = (
        f"may differ {P_FACTOR}fold, or stay on one side of {P_BACKDOORED:g} and {P_SUSPICIOUS:g}"
    )
    other = theirs.p_value < P_SUSPICIOUS and ours.target != theirs.target
    return Check(
        theirs.name,
        _same_p(ours.p_value, theirs.p_value) and not other,
        f"{found} ({bound})" + (", and another class stands out" if other else ""),
    )


def _without_p(theirs: TestResult, ours: TestResult) -> Check:
    """A test that says nothing: it must say nothing again, unless it was ended by time."""
    reason = theirs.skipped or "it has no p-value"
    if ours.p_value is None:
        return Check(theirs.name, True, f"{reason}, and neither here")
    return Check(
        theirs.name,
        theirs.skipped == TEST_OUT_OF_TIME,
        f"{p_equation(ours.p_value)}, the report has none: {reason}",
    )


def _same(one: float | None, other: float | None) -> bool:
    return one == other if one is None or other is None else _same_p(one, other)


def _same_p(one: float, other: float) -> bool:
    sides = [(p < P_BACKDOORED, p < P_SUSPICIOUS) for p in (one, other)]
    return sides[0] == sides[1] or max(one, other) <= P_FACTOR * min(one, other)
