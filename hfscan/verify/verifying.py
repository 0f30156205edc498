"""Does a report say what an audit would find? A part of its evidence is made again, and compared.

Numbers are not compared bit by bit: other processors, thread counts and batch sizes round differently, and the
sign of a gradient near zero turns on that. How much is let through is stated with each check.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from hfscan.calibration import Calibration, shipped
from hfscan.channels import conv_layers, one_image
from hfscan.pipeline import check_settings, fitted
from hfscan.pipeline.calibrating import Calibrated, described
from hfscan.pipeline.first_look import first_look
from hfscan.pipeline.testing import judge, limits_of, make_tests, run_as_audit
from hfscan.types import (
    AuditReport,
    HubModel,
    ImageSet,
    Progress,
    TestResult,
    silent,
)
from hfscan.verify.channels import channels_again, choose, covered, flags, layers
from hfscan.verify.check import Check
from hfscan.verify.inputs import clean_images, images, weights
from hfscan.verify.verdict import inconclusive, missing, results_again, verdict


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
    checks += [flags(report), covered(report)]
    if not checks[1].agrees:
        return checks
    sample = clean.sample(report.settings.images, seed=report.settings.seed)
    looked = first_look(model, clean, sample, report.settings, limits_of(model.net, sample))
    checks += clean_images(looked, report)
    chosen = choose(report, channels, seed)
    tested = [channels_again(model, sample, report, chosen, memory, progress)]
    checks += tested
    if looked.reason:
        return [*checks, inconclusive(looked, report)]
    calibrated = Calibrated.of(model.facts, calibration)
    if differ := calibrated.differs(report.calibration):
        return [*checks, Check("verdict", None, differ)]
    checks += _own_calibration(calibrated)
    ours = _results(model, clean, report, calibrated, memory, progress)
    tests = [*results_again(report, calibrated, ours), *missing(report, ours, looked)]
    layered = layers(conv_layers(model.net, one_image(model.net, sample)), report)
    needed = [*(tested if channels else ()), layered, *tests]
    return [*checks, layered, *tests, verdict(report, calibrated, ours, needed)]


def agreement(checks: Sequence[Check]) -> bool | None:
    """Whether a report agrees: False if a check does not, None if its verdict could not be checked.

    Args:
        checks: From `verify`.
    """
    if any(check.agrees is False for check in checks):
        return False
    return checks[-1].agrees


def _own_calibration(calibrated: Calibrated) -> Iterator[Check]:
    """That the p-values are from a calibration that hfscan does not vouch for, if they are."""
    facts = calibrated.facts()
    if facts is not None and facts.fingerprint not in {each.fingerprint for each in shipped()}:
        yield Check("calibration", True, f"{described(facts)}, which does not come with hfscan")


def _results(
    model: HubModel,
    clean: ImageSet,
    report: AuditReport,
    calibrated: Calibrated,
    memory: int | None,
    progress: Progress,
) -> dict[str, TestResult]:
    """The model-level tests that the report's settings name, made again, by name."""
    settings = report.settings
    tests = make_tests(settings.tests, model.net, clean, memory=memory)
    made = run_as_audit(model.net, clean, tests, settings, progress)
    made = calibrated.applied(
        made + judge(tests, report.layers, report.clean_predictions, settings)
    )
    return {result.name: result for result in made}
