"""Audit a model."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from hfscan.audit_state import AuditState
from hfscan.calibration import Calibration
from hfscan.clock import Clock
from hfscan.cluster import Spread
from hfscan.detectors import Detector
from hfscan.errors import UsageError
from hfscan.fmt import Choice, LayerProfile, choose_precision, profile
from hfscan.model_tests import TESTS, ModelTest
from hfscan.pipeline.calibrating import Calibrated
from hfscan.pipeline.first_look import first_look
from hfscan.pipeline.flagging import coverage, flagged, named_detector
from hfscan.pipeline.inputs import check_settings, fitted
from hfscan.pipeline.pictures import draw_channels, trigger_pictures, without_pictures
from hfscan.pipeline.spreading import Part, Work, profile_elsewhere
from hfscan.pipeline.testing import judge, limits_of, make_tests, run_as_audit, timed
from hfscan.reasons import LAYER_OUT_OF_TIME, NOTHING_TESTED
from hfscan.types import (
    AuditReport,
    AuditSettings,
    HubModel,
    ImageSet,
    Progress,
    Verdict,
    silent,
)
from hfscan.verdict import Conclusion, disagreements


def audit(
    model: HubModel,
    clean: ImageSet,
    *,
    settings: AuditSettings | None = None,
    detector: Detector | None = None,
    tests: Sequence[ModelTest] | None = None,
    calibration: Calibration | None = None,
    budget: float | None = None,
    batch_size: int | None = None,
    memory: int | None = None,
    state: Path | None = None,
    resume: bool = False,
    pictures: bool = True,
    spread: Spread[Part] | None = None,
    progress: Progress = silent,
) -> AuditReport:
    """Look for a backdoor in a model.

    Args:
        model: From `hfscan.load` or `hfscan.wrap`; the network is left as it was.
        clean: Clean images of the model's classes, labelled in the model's order. All of them measure the
            clean accuracy, a sample of ``settings.images`` tests the channels.
        settings: What decides the result; the defaults if None.
        detector: A channel-level outlier detector of your own, instead of ``settings.detector``.
        tests: Model-level tests of your own, instead of those of `hfscan.model_tests.TESTS` that
            ``settings.tests`` names.
        calibration: Where p-values are from; the closest that comes with hfscan if None.
        budget: Seconds that the audit may take; None for as long as it takes. What does not fit is left out,
            and the report says so.
        batch_size: Most images per pass; None for what the device likes and memory allows.
        memory: Bytes to use beside the model; None for 1 GiB or a quarter of what is free.
        state: Folder in which to keep what is done so far, until all is done; None keeps nothing.
        resume: Go on from what an interrupted audit of the same model, images and settings has left there.
        pictures: Whether the report has pictures of suspicious channels, made from clean images.
        spread: Where the layers are tested: one of `hfscan.cluster.CLUSTERS`, with its address. None for here.
        progress: Shaped like ``rich.progress.track``.

    Returns:
        The report. Its verdict is INCONCLUSIVE, with the reason, where nothing could be concluded.

    Raises:
        DataError: The images do not fit the model.
        UsageError: A setting is out of its range, or there is a budget for a cluster.
    """
    if spread is not None and budget is not None:
        raise UsageError("a time budget is kept on one machine only", "leave out one of them")
    settings = settings or AuditSettings()
    check_settings(settings)
    if set(settings.tests) == set(TESTS):
        settings = dataclasses.replace(settings, tests=())
    if detector is None:
        detector = named_detector(settings)
    else:
        settings = dataclasses.replace(settings, detector=type(detector).__name__)
    clock = Clock(budget)
    clean = fitted(model, clean)
    sample = clean.sample(settings.images, seed=settings.seed)
    draft = first_look(
        model, clean, sample, settings, limits_of(model.net, sample, batch_size, memory)
    )
    if draft.reason:
        return draft
    kept = AuditState.of(state, model, clean.facts, settings, clock, resume=resume)
    seconds = dict(draft.seconds)
    calibrated = Calibrated.of(model.facts, calibration)
    with timed(seconds, "precision"):
        choice = kept.choice() or _precision(model, sample, settings, clock)
        kept.keep_choice(choice)
        settings = dataclasses.replace(settings, precision=choice.name)
    with timed(seconds, "tests"):
        limited = clock.share(TESTS_SHARE).limiting(progress)
        if tests is None:
            tests = make_tests(settings.tests, model.net, clean, batch_size, memory)
            of_network = kept.tests() or run_as_audit(model.net, clean, tests, settings, limited)
            kept.keep_tests(of_network)
        else:
            of_network = run_as_audit(model.net, clean, tests, settings, limited)
    target = calibrated.conclude(of_network).target
    kept = dataclasses.replace(kept, target=target)
    with timed(seconds, "channels"):
        work = Work(model.net, sample, settings, target, memory, batch_size)
        profiles, trouble = _profiles(work, kept, spread, clock, progress)
        layers = tuple(flagged(layer, detector) for layer in profiles)
    of_channels = judge(tests, layers, draft.clean_predictions, settings)
    results = calibrated.applied(of_network + of_channels)
    draft = dataclasses.replace(
        draft,
        settings=settings,
        agreement=choice.agreement,
        coverage=coverage(profiles, layers),
        layers=layers,
        tests=without_pictures(results),
        seconds=seconds,
        calibration=calibrated.facts(results),
        notes=(
            *draft.notes,
            *([f"Some layers were tested on this machine: {trouble}."] if trouble else []),
            *calibrated.notes(results, clean),
            *disagreements(results, draft.model.label),
        ),
    )
    report = _concluded(draft, calibrated.conclude(results))
    if pictures and clock.left() > 0:
        with timed(seconds, "pictures"):
            drawn = draw_channels(model.net, sample, report, memory=memory)
        triggers = trigger_pictures(results, report.target)
        report = dataclasses.replace(report, pictures=(*drawn, *triggers))
    kept.discard()
    return report


TESTS_SHARE = 0.5
"""Of a time budget: what the model-level tests may take of it. They make the verdict."""


def _profiles(
    work: Work, kept: AuditState, spread: Spread[Part] | None, clock: Clock, progress: Progress
) -> tuple[list[LayerProfile], str]:
    """The profiles of all layers, and why some were not made where ``spread`` says; empty if all were."""
    elsewhere: dict[str, LayerProfile] = {}
    trouble = ""
    if spread is not None:
        elsewhere, trouble = profile_elsewhere(
            work, spread, known=kept.layer, keep=kept.keep_layer, progress=progress
        )
    profiles = []
    for layer in profile(
        work.net,
        work.images,
        work.settings,
        target=work.target,
        clock=clock,
        recall=lambda layer: elsewhere.get(layer.name) or kept.layer(layer),
        memory=work.memory,
        batch_size=work.batch_size,
        progress=progress,
    ):
        kept.keep_layer(layer)
        profiles.append(layer)
    return profiles, trouble


def _concluded(draft: AuditReport, conclusion: Conclusion) -> AuditReport:
    """The report with its verdict."""
    if all(layer.skipped not in ("", LAYER_OUT_OF_TIME) for layer in draft.layers):
        conclusion = Conclusion(Verdict.INCONCLUSIVE, NOTHING_TESTED)
    return dataclasses.replace(
        draft,
        verdict=conclusion.verdict,
        reason=conclusion.reason,
        target=conclusion.target,
        p_value=conclusion.p_value,
    )


def _precision(model: HubModel, sample: ImageSet, settings: AuditSettings, clock: Clock) -> Choice:
    """The precision of the tests; nothing is compared when no time is left for them."""
    return choose_precision(model.net, sample, settings) if clock.left() > 0 else Choice("fp32")
