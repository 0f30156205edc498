"""The two main jobs: audit a model, and repair one."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from hfscan.audit_state import AuditState
from hfscan.channels import erase, one_image, probing
from hfscan.clock import Clock, TimeUpError
from hfscan.detectors import DETECTORS, Detector
from hfscan.errors import AuditError, DataError, UsageError
from hfscan.fmt import (
    PRECISIONS,
    LayerProfile,
    Limits,
    choose_precision,
    default_memory,
    measure_limits,
    profile,
    select_channels,
)
from hfscan.metrics import accuracy, predict
from hfscan.model_tests import TESTS, ModelTest
from hfscan.train import FitConfig, fit
from hfscan.types import (
    AuditReport,
    AuditSettings,
    BoolArray,
    Coverage,
    Defense,
    FloatArray,
    HubModel,
    ImageSet,
    LayerAudit,
    Metrics,
    ModelFacts,
    Progress,
    Repaired,
    RepairReport,
    RepairSettings,
    TestResult,
    Verdict,
    silent,
)
from hfscan.unlearn import Unlearning
from hfscan.verdict import conclude, obstacle
from hfscan.weights import weights_sha256

PACKAGES = ("hfscan", "torch", "timm", "huggingface-hub", "datasets", "scikit-learn")


def audit(
    model: HubModel,
    clean: ImageSet,
    *,
    settings: AuditSettings | None = None,
    detector: Detector | None = None,
    tests: Sequence[ModelTest] | None = None,
    budget: float | None = None,
    batch_size: int | None = None,
    memory: int | None = None,
    state: Path | None = None,
    resume: bool = False,
    progress: Progress = silent,
) -> AuditReport:
    """Look for a backdoor in a model.

    Args:
        model: From `hfscan.load` or `hfscan.wrap`; the network is left as it was.
        clean: Clean images of the model's classes, labelled in the model's order. All of them measure the
            clean accuracy, a sample of ``settings.images`` tests the channels.
        settings: What decides the result; the defaults if None.
        detector: A channel-level outlier detector of your own, instead of ``settings.detector``.
        tests: Model-level tests of your own, instead of all of `hfscan.model_tests.TESTS`.
        budget: Seconds that the audit may take; None for as long as it takes. What does not fit is left out,
            and the report says so.
        batch_size: Most images per pass; None for what the device likes and memory allows.
        memory: Bytes to use beside the model; None for 1 GiB or a quarter of what is free.
        state: Folder in which to keep what is done so far, until all is done; None keeps nothing.
        resume: Go on from what an interrupted audit of the same model, images and settings has left there.
        progress: Shaped like ``rich.progress.track``.

    Returns:
        The report. Its verdict is INCONCLUSIVE, with the reason, where nothing could be concluded.

    Raises:
        DataError: The images do not fit the model.
        UsageError: A setting is out of its range.
    """
    settings = settings or AuditSettings()
    check_settings(settings)
    if detector is None:
        detector = _detector(settings)
    else:
        settings = dataclasses.replace(settings, detector=type(detector).__name__)
    clock = Clock(budget)
    clean = fitted(model, clean)
    sample = clean.sample(settings.images, seed=settings.seed)
    seconds: dict[str, float] = {}
    with _timed(seconds, "accuracy"):
        limits = _limits(model.net, sample, batch_size, memory)
        clean_accuracy = accuracy(model.net, clean, batch_size=limits.batch)
        predictions = predict(model.net, sample, batch_size=limits.batch)
    draft = AuditReport(
        model=_named(model.facts, clean.classes),
        data=clean.facts,
        settings=settings,
        clean_accuracy=round(clean_accuracy, 6),
        clean_predictions=tuple(np.bincount(predictions, minlength=model.num_classes).tolist()),
        layers=(),
        tests=(),
        verdict=Verdict.INCONCLUSIVE,
        reason=obstacle(clean_accuracy, len(clean), model.num_classes),
        seconds=seconds,
        versions={package: version(package) for package in PACKAGES},
    )
    if draft.reason:
        return draft
    kept = AuditState.of(state, model.facts, clean.facts, settings, resume=resume)
    with _timed(seconds, "tests"):
        results = kept.tests() if tests is None else None
        if results is None:
            limited = clock.share(TESTS_SHARE).limiting(progress)
            results = run_tests(model.net, clean, tests, seed=settings.seed, progress=limited)
            kept.keep_tests(results)
    conclusion = conclude(results)
    with _timed(seconds, "channels"):
        choice = kept.choice() or choose_precision(model.net, sample, settings)
        kept.keep_choice(choice)
        settings = dataclasses.replace(settings, precision=choice.name)
        profiles = []
        for layer in profile(
            model.net,
            sample,
            settings,
            target=conclusion.target,
            clock=clock,
            recall=kept.layer,
            memory=memory,
            batch_size=batch_size,
            progress=progress,
        ):
            kept.keep_layer(layer)
            profiles.append(layer)
        layers = tuple(_judge(layer, detector) for layer in profiles)
    kept.discard()
    draft = dataclasses.replace(
        draft,
        settings=settings,
        agreement=choice.agreement,
        coverage=_coverage(profiles, layers),
        layers=layers,
        tests=results,
    )
    if all(layer.skipped for layer in layers):
        what = "none of its conv layers can be tested" if layers else "it has no conv layer"
        return dataclasses.replace(draft, reason=what)
    return dataclasses.replace(
        draft,
        verdict=conclusion.verdict,
        reason=conclusion.reason,
        target=conclusion.target,
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


def _limits(
    net: nn.Module, images: ImageSet, batch_size: int | None = None, memory: int | None = None
) -> Limits:
    bound = default_memory() if memory is None else memory
    with probing(net):
        return measure_limits(net, one_image(net, images), bound, batch_size, retained=False)


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


def check_settings(settings: AuditSettings) -> None:
    """Raise a UsageError for a setting out of its range."""
    ranges = {
        "images": settings.images >= 1,
        "steps": settings.steps >= 1,
        "step_size": 0 < settings.step_size <= 1,
        "eps": 0 < settings.eps <= 1,
        "mode": settings.mode in ("exact", "fast"),
        "effort": 0 < settings.effort <= 1,
        "gradient": settings.gradient in ("start", "every"),
        "precision": settings.precision == "auto" or settings.precision in PRECISIONS,
        "min_agreement": 0 <= settings.min_agreement <= 1,
        "tau": 0 < settings.tau < 0.5,
    }
    _check(ranges, settings, "audit")


def check_repair_settings(settings: RepairSettings) -> None:
    """Raise a UsageError for a setting out of its range."""
    ranges = {
        "erase_rate": 0 < settings.erase_rate <= 1,
        "epochs": settings.epochs >= 0,
        "lr": settings.lr > 0,
        "batch_size": settings.batch_size >= 2,
        "unlearn_norm": settings.unlearn_norm >= 0,
        "clean_rate": 0 < settings.clean_rate < 1,
        "max_accuracy_drop": 0 <= settings.max_accuracy_drop <= 1,
    }
    _check(ranges, settings, "repair")


def _check(
    ranges: Mapping[str, bool], settings: AuditSettings | RepairSettings, command: str
) -> None:
    for name, fine in ranges.items():
        if not fine:
            option = f"--{name.replace('_', '-')}"
            raise UsageError(
                f"{option} cannot be {getattr(settings, name)}", f"see hfscan {command} --help"
            )


def fitted(model: HubModel, clean: ImageSet) -> ImageSet:
    """Check that images fit a model, and resize them to its input size if they must be.

    Raises:
        DataError: There are no images, only one class, labels out of range, or class names that are
            in another order than the model's.
    """
    if not len(clean):
        raise DataError(f"{clean.name} has no images", "an audit needs images of every class")
    present = clean.labels.unique()
    if len(present) < 2:
        raise DataError(
            f"all images of {clean.name} have the same label ({int(present[0])})",
            "an audit needs images of every class",
        )
    highest = int(present[-1])
    if highest >= model.num_classes:
        raise DataError(
            f"label {highest} of {clean.name} is out of range: the model has {model.num_classes} classes",
            "use the data set that the model was trained for, or map the labels with --label-map",
        )
    _check_names(model, clean)
    return clean.resized(model.input_size[1:])


def _check_names(model: HubModel, clean: ImageSet) -> None:
    def key(name: str) -> str:
        return "".join(character for character in name.casefold() if character.isalnum())

    theirs: dict[str, list[int]] = {}  # ImageNet has names that are there twice
    for index, name in enumerate(model.label_names):
        theirs.setdefault(key(name), []).append(index)
    for index, name in enumerate(clean.classes):
        expected = theirs.get(key(name), [index])
        if index not in expected:
            raise DataError(
                f"class {name!r} is label {index} in {clean.name}, but {expected[0]} in the model",
                "map the data set's labels to the model's with --label-map FILE",
            )


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
        batch_size = min(MAX_BATCH, _limits(net, clean).graph)
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


def repair(
    model: HubModel,
    report: AuditReport,
    clean: ImageSet,
    *,
    settings: RepairSettings | None = None,
    defense: Defense | None = None,
    progress: Progress = silent,
) -> tuple[HubModel, RepairReport]:
    """Repair a model with a part of the clean images, and measure it with the others.

    Args:
        model: The audited model; it is left as it was.
        report: Of the audit.
        clean: Clean images; ``settings.clean_rate`` of them tune, the rest measures.
        settings: What decides the result; the defaults if None.
        defense: How to repair, with hyper-parameters of its own: any of `hfscan.bench.defenses` or yours.
            None is `FlowRepair`: erase the channels that the audit points at, fine-tune.
        progress: Shaped like ``rich.progress.track``.

    Returns:
        The repaired model and what was measured. Whether the loss of accuracy is acceptable is for the
        caller to decide: compare ``accuracy_drop`` with ``settings.max_accuracy_drop``.

    Raises:
        AuditError: The report is of other weights, or no channel is to be erased.
        DataError: The images do not fit the model, or are too few to split.
        UsageError: A setting is out of its range.

    References:
        FMT, section III-F.
    """
    settings = settings or RepairSettings()
    check_repair_settings(settings)
    if report.model.weights_sha256 != model.weights_sha256:
        raise AuditError(
            f"the model has changed since the audit (weights sha256 {model.weights_sha256[:12]}, "
            f"audited {report.model.weights_sha256[:12]})",
            "audit it again",
        )
    clean = fitted(model, clean)
    tuning, held_out = clean.split_at(settings.clean_rate, seed=settings.seed)
    if not len(tuning) or not len(held_out):
        raise DataError(
            f"{len(clean)} images cannot be split {settings.clean_rate} : {1 - settings.clean_rate:.2f}",
            "use more clean images or another --clean-rate",
        )
    flow = FlowRepair(report, settings)
    seconds: dict[str, float] = {}
    with _timed(seconds, "repair"):
        repaired = (defense or flow).repair(
            model.net, tuning, seed=settings.seed, progress=progress
        )
    with _timed(seconds, "tests before"):
        tests_before = run_tests(model.net, held_out, seed=settings.seed, progress=progress)
    with _timed(seconds, "tests after"):
        tests_after = run_tests(repaired.net, held_out, seed=settings.seed, progress=progress)
    erased_only = erase(model.net, repaired.erased, one_image(model.net, held_out))
    digest = weights_sha256(repaired.net)
    result = RepairReport(
        audit=report,
        data=clean.facts,
        settings=settings,
        erased=repaired.erased,
        method=repaired.how,
        before=_measure(model.net, held_out),
        erased_only=_measure(erased_only, held_out),
        after=_measure(repaired.net, held_out),
        tests_before=tests_before,
        tests_after=tests_after,
        verdict_after=conclude(tests_after).verdict,
        weights_sha256=digest,
        unlearned=repaired.unlearned,
        defense=type(defense or flow).__name__,
        parameters=None if defense is None else _parameters(defense),
        seconds=seconds,
    )
    return dataclasses.replace(model, net=repaired.net, weights_sha256=digest), result


@dataclass(frozen=True, eq=False)
class FlowRepair:
    """Erase the channels that an audit points at, and fine-tune on clean images: the default.

    Args:
        report: Of the audit. With a suspected class, the channels are those whose images flow most into
            it, and a trigger inverted for it is unlearned; otherwise, those that the detector flagged.
        settings: How much to erase, how to fine-tune and to unlearn.
    """

    report: AuditReport
    settings: RepairSettings

    def repair(
        self, net: nn.Module, clean: ImageSet, *, seed: int, progress: Progress = silent
    ) -> Repaired:
        """Erase, unlearn, fine-tune.

        Raises:
            AuditError: No channel is to be erased.
        """
        channels, how = select_channels(self.report, self.settings.erase_rate)
        if not channels:
            raise AuditError(
                "the audit points at no channel, there is nothing to erase",
                "audit with more --images, or another --detector",
            )
        settings = dataclasses.replace(self.settings, seed=seed)
        erased = erase(net, channels, one_image(net, clean))
        unlearning, rate = _unlearning(net, clean, self.report.target, settings)
        fit(erased, clean, _fit_config(settings), unlearning=unlearning, progress=progress)
        return Repaired(erased, channels, how, rate)


def _parameters(defense: Defense) -> dict[str, Any]:
    """The hyper-parameters of a defense, if it is a dataclass."""
    if dataclasses.is_dataclass(defense) and not isinstance(defense, type):
        return dataclasses.asdict(defense)
    return {}


def _measure(net: nn.Module, images: ImageSet) -> Metrics:
    return Metrics(accuracy=accuracy(net, images), images=len(images))


def _unlearning(
    net: nn.Module, tuning: ImageSet, target: int | None, settings: RepairSettings
) -> tuple[Unlearning | None, float | None]:
    """What to unlearn, if a class is suspected; it begins with the trigger of the network as it was."""
    if target is None or not settings.unlearn_norm:
        return None, None
    unlearning = Unlearning(tuning, target, norm=settings.unlearn_norm, seed=settings.seed)
    return unlearning, unlearning.renew(net)


def _fit_config(settings: RepairSettings) -> FitConfig:
    return FitConfig(
        epochs=settings.epochs,
        lr=settings.lr,
        batch_size=settings.batch_size,
        momentum=settings.momentum,
        weight_decay=settings.weight_decay,
        padding=2,
        flip=settings.flip,
        seed=settings.seed,
    )


@contextmanager
def _timed(seconds: dict[str, float], stage: str) -> Iterator[None]:
    began = time.perf_counter()
    yield
    seconds[stage] = round(time.perf_counter() - began, 3)
