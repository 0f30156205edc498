"""Audit a model."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import numpy as np

from hfscan.audit_state import AuditState
from hfscan.calibration import Calibration
from hfscan.channels import conv_layers, one_image
from hfscan.clock import Clock
from hfscan.cluster import Spread
from hfscan.detectors import DETECTORS, Detector
from hfscan.errors import AuditError, UsageError
from hfscan.fmt import (
    Choice,
    LayerProfile,
    Limits,
    choose_precision,
    give_back,
    profile,
)
from hfscan.metrics import accuracy, predict
from hfscan.model_tests import ChannelTest, ModelTest
from hfscan.pipeline.calibrating import Calibrated
from hfscan.pipeline.inputs import check_settings, fitted
from hfscan.pipeline.pictures import draw_channels, trigger_pictures, without_pictures
from hfscan.pipeline.spreading import Part, Work, profile_elsewhere
from hfscan.pipeline.testing import judge, limits_of, make_tests, run_tests, timed
from hfscan.reasons import LAYER_OUT_OF_TIME, NO_CONV, NOTHING_TESTED
from hfscan.types import (
    AuditReport,
    AuditSettings,
    BoolArray,
    Coverage,
    FloatArray,
    HubModel,
    ImageSet,
    LayerAudit,
    ModelFacts,
    Progress,
    Verdict,
    silent,
)
from hfscan.verdict import Conclusion, disagreements, obstacle

PACKAGES = ("hfscan", "torch", "timm", "huggingface-hub", "datasets", "scikit-learn")


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
    if detector is None:
        detector = _detector(settings)
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
    by_name = tests is None
    if tests is None:
        tests = make_tests(settings.tests, model.net, clean)
    calibrated = Calibrated.of(model.facts, calibration)
    of_network = [test for test in tests if not isinstance(test, ChannelTest)]
    with timed(seconds, "tests"):
        results = kept.tests() if by_name else None
        if results is None:
            limited = clock.share(TESTS_SHARE).limiting(progress)
            results = run_tests(model.net, clean, of_network, seed=settings.seed, progress=limited)
            if by_name:
                kept.keep_tests(results)
    conclusion = calibrated.conclude(results)
    kept = dataclasses.replace(kept, target=conclusion.target)
    with timed(seconds, "channels"):
        choice = kept.choice() or _precision(model, sample, settings, clock)
        kept.keep_choice(choice)
        settings = dataclasses.replace(settings, precision=choice.name)
        elsewhere: dict[str, LayerProfile] = {}
        trouble = ""
        if spread is not None:
            work = Work(model.net, sample, settings, conclusion.target, memory, batch_size)
            elsewhere, trouble = profile_elsewhere(
                work, spread, known=kept.layer, keep=kept.keep_layer, progress=progress
            )
        profiles = []
        for layer in profile(
            model.net,
            sample,
            settings,
            target=conclusion.target,
            clock=clock,
            recall=lambda layer: elsewhere.get(layer.name) or kept.layer(layer),
            memory=memory,
            batch_size=batch_size,
            progress=progress,
        ):
            kept.keep_layer(layer)
            profiles.append(layer)
        layers = tuple(_judge(layer, detector) for layer in profiles)
    results = calibrated.applied(results + judge(tests, layers, draft.clean_predictions, settings))
    conclusion = calibrated.conclude(results)
    if all(layer.skipped not in ("", LAYER_OUT_OF_TIME) for layer in layers):
        conclusion = Conclusion(Verdict.INCONCLUSIVE, NOTHING_TESTED)
    triggers = trigger_pictures(results, conclusion.target)
    results = without_pictures(results)
    draft = dataclasses.replace(
        draft,
        settings=settings,
        agreement=choice.agreement,
        coverage=_coverage(profiles, layers),
        layers=layers,
        tests=results,
        seconds=seconds,
        calibration=calibrated.facts,
        notes=(
            *draft.notes,
            *([f"Some layers were tested on this machine: {trouble}."] if trouble else []),
            *calibrated.notes,
            *disagreements(results, draft.model.label),
        ),
    )
    report = dataclasses.replace(
        draft,
        verdict=conclusion.verdict,
        reason=conclusion.reason,
        target=conclusion.target,
        p_value=conclusion.p_value,
    )
    if pictures and clock.left() > 0:
        with timed(seconds, "pictures"):
            drawn = draw_channels(model.net, sample, report, memory=memory)
        report = dataclasses.replace(report, pictures=(*drawn, *triggers))
    kept.discard()
    return report


def _precision(model: HubModel, sample: ImageSet, settings: AuditSettings, clock: Clock) -> Choice:
    """The precision of the channels' test; nothing is compared when no time is left for them."""
    return choose_precision(model.net, sample, settings) if clock.left() > 0 else Choice("fp32")


def first_look(
    model: HubModel, clean: ImageSet, sample: ImageSet, settings: AuditSettings, limits: Limits
) -> AuditReport:
    """The report before any test; with the reason, if there is one, why tests would mean nothing.

    Args:
        model: The model.
        clean: Images that fit it, which measure the clean accuracy.
        sample: Those of them that test the channels.
        settings: Of the audit.
        limits: Of memory.
    """
    seconds: dict[str, float] = {}
    with timed(seconds, "accuracy"):
        clean_accuracy = accuracy(model.net, clean, batch_size=limits.batch)
        predictions = predict(model.net, sample, batch_size=limits.batch)
        give_back()
    convs = conv_layers(model.net, one_image(model.net, sample))
    reason = obstacle(clean_accuracy, len(clean), model.num_classes)
    if not reason and not convs:
        reason = NO_CONV
    elif not reason and all(conv.skipped for conv in convs):
        reason = NOTHING_TESTED
    return AuditReport(
        model=_named(model.facts, clean.classes),
        data=clean.facts,
        settings=settings,
        clean_accuracy=round(clean_accuracy, 6),
        clean_predictions=tuple(np.bincount(predictions, minlength=model.num_classes).tolist()),
        layers=tuple(
            LayerAudit(conv.name, conv.channels, skipped=conv.skipped)
            for conv in convs
            if conv.skipped
        ),
        tests=(),
        verdict=Verdict.INCONCLUSIVE,
        reason=reason,
        seconds=seconds,
        versions={package: version(package) for package in PACKAGES},
    )


TESTS_SHARE = 0.5
"""Of a time budget: what the model-level tests may take of it. They make the verdict."""


def _coverage(profiles: Sequence[LayerProfile], layers: Sequence[LayerAudit]) -> Coverage:
    """How thoroughly the channels were tested, all layers together."""
    pairs = [
        (seen, judged) for seen, judged in zip(profiles, layers, strict=True) if not seen.skipped
    ]
    if not pairs:
        return Coverage()
    tested = np.concatenate([seen.tested for seen, _ in pairs])
    control = np.concatenate([seen.control for seen, _ in pairs])
    found = np.concatenate([seen.found for seen, _ in pairs])
    flagged = np.concatenate([judged.flagged for _, judged in pairs])
    verified = np.concatenate([seen.verified for seen, _ in pairs])
    return Coverage(
        channels=len(tested),
        verified=int(verified.sum()),
        screened=int(((tested > 0) & ~verified).sum()),
        control=int(control.sum()),
        control_flagged=int((control & flagged).sum()),
        control_found=int((control & flagged & found).sum()),
    )


def _named(facts: ModelFacts, classes: tuple[str, ...]) -> ModelFacts:
    """A model without label names gets those of the clean images, if there are as many."""
    if facts.label_names or len(classes) != facts.num_classes:
        return facts
    return dataclasses.replace(facts, label_names=classes)


def _detector(settings: AuditSettings) -> Detector:
    if settings.detector not in DETECTORS:
        raise UsageError(
            f"there is no detector {settings.detector!r:.40}", f"choose from {', '.join(DETECTORS)}"
        )
    return DETECTORS[settings.detector](settings.tau, settings.seed)


def _judge(layer: LayerProfile, detector: Detector) -> LayerAudit:
    name, channels = layer.layer.name, layer.layer.channels
    if layer.skipped:
        return LayerAudit(name, channels, skipped=layer.skipped)
    flagged = low_outliers(detector, layer.accuracy) & layer.verified
    return LayerAudit(name, channels, layer.accuracy, layer.predictions, flagged, layer.tested)


def low_outliers(detector: Detector, accuracy_profile: FloatArray) -> BoolArray:
    """Channels that a detector flags because their accuracy is low.

    Args:
        detector: Anything with ``fit_predict``.
        accuracy_profile: ``(C, S)``.

    Returns:
        bool ``(C,)``.

    Raises:
        AuditError: The detector did not return one label per channel.
    """
    labels = np.asarray(detector.fit_predict(accuracy_profile))
    if labels.shape != accuracy_profile.shape[:1]:
        raise AuditError(
            f"the detector returned shape {labels.shape} for {len(accuracy_profile)} channels",
            "fit_predict must return -1 or 1 for each row",
        )
    mean = accuracy_profile.mean(1)
    return np.asarray((labels == -1) & (mean < np.median(mean)), np.bool_)
