"""Repair a model."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from hfscan.activated import inverted_tac, largest
from hfscan.calibration import Calibration
from hfscan.channels import erase, one_image
from hfscan.errors import AuditError, DataError
from hfscan.fmt import PRECISIONS
from hfscan.half import fast_half
from hfscan.inversion import Additive, Blend, Patch, Smooth, Warp
from hfscan.metrics import interval, predict
from hfscan.model_tests import ModelTest
from hfscan.pipeline.calibrating import Calibrated
from hfscan.pipeline.inputs import check_repair_settings, fitted
from hfscan.pipeline.pictures import without_pictures
from hfscan.pipeline.proof import prove
from hfscan.pipeline.testing import run_tests, tests_of_network, timed
from hfscan.train import FitConfig, fit
from hfscan.types import (
    AuditReport,
    Channels,
    Defense,
    HubModel,
    ImageSet,
    Metrics,
    Precision,
    Progress,
    Repaired,
    RepairReport,
    RepairSettings,
    TestResult,
    Verdict,
    silent,
)
from hfscan.unlearn import Unlearning
from hfscan.verdict import disordered, obstacle
from hfscan.weights import weights_sha256

UNSEEN = (
    "with the held-out images the tests do not see in the network as it was what the audit saw, "
    "so that they say nothing about the repair; use more clean images"
)
"""Why a verdict on a repaired network is INCONCLUSIVE."""

ONLY_UNLEARNED = "no channel: the suspected class is only unlearned"
"""How channels are chosen where none is to be erased."""

ONLY_TUNED = "no channel: only fine-tuned"
"""The same without inverted triggers."""

OTHER_TRIGGERS = 1000
"""Added to the seed: the triggers that prove a repair are not the ones that were unlearned."""


def repair(
    model: HubModel,
    report: AuditReport,
    clean: ImageSet,
    *,
    settings: RepairSettings | None = None,
    defense: Defense | None = None,
    calibration: Calibration | None = None,
    progress: Progress = silent,
) -> tuple[HubModel, RepairReport]:
    """Repair a model with a part of the clean images, and measure it with the others.

    Args:
        model: The audited model; it is left as it was.
        report: Of the audit.
        clean: Clean images; ``settings.clean_rate`` of them tune, the rest measures.
        settings: What decides the result; the defaults if None.
        defense: How to repair, with hyper-parameters of its own: any of `hfscan.bench.defenses` or yours.
            None is `FlowRepair`: unlearn the suspected class, and erase the channels that its triggers move most.
        calibration: Where p-values are from; the closest that comes with hfscan if None.
        progress: Shaped like ``rich.progress.track``.

    Returns:
        The repaired model and what was measured. Whether the loss of accuracy is acceptable is for the
        caller to decide: compare ``accuracy_drop`` with ``settings.max_accuracy_drop``.

    Raises:
        AuditError: The report is of other weights, or no calibration is given and hfscan's is not the report's, or
            no channel is to be erased.
        DataError: The images do not fit the model, it does not know them, or they are too few to split or to
            find triggers with.
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
    calibrated = _as_audited(model, report, calibration)
    clean = fitted(model, clean)
    tuning, held_out = clean.split_at(settings.clean_rate, seed=settings.seed)
    if not len(tuning) or not len(held_out):
        raise DataError(
            f"{len(clean)} images cannot be split {settings.clean_rate} : {1 - settings.clean_rate:.2f}",
            "use more clean images or another --clean-rate",
        )
    classified = predict(model.net, held_out)
    before = _measured(classified, held_out)
    if reason := obstacle(before.accuracy, len(clean), model.num_classes) or disordered(
        held_out.labels, classified
    ):
        raise DataError(
            reason,
            "repair with images of the model's own classes; --label-map is for labels in another order",
        )
    chosen = defense or FlowRepair.after(report, settings)
    seconds: dict[str, float] = {}
    with timed(seconds, "repair"):
        repaired = chosen.repair(model.net, tuning, seed=settings.seed, progress=progress)
    tests, precision = _made_by(report, model.net, held_out), _precision(report, model.net)
    with timed(seconds, "tests before"):
        tests_before = calibrated.applied(
            run_tests(
                model.net,
                held_out,
                tests,
                seed=settings.seed,
                precision=precision,
                progress=progress,
            )
        )
    with timed(seconds, "tests after"):
        tests_after = calibrated.applied(
            run_tests(
                repaired.net,
                held_out,
                tests,
                seed=settings.seed,
                precision=precision,
                progress=progress,
            )
        )
    proof = None
    if report.target is not None:
        with timed(seconds, "proof"):
            proof = prove(
                model.net,
                repaired.net,
                tuning,
                held_out,
                report.target,
                seed=settings.seed + OTHER_TRIGGERS,
                progress=progress,
            )
    erased_only = erase(model.net, repaired.erased, one_image(model.net, held_out))
    after = _measured(predict(repaired.net, held_out), held_out)
    verdict_after, unclear = _after(calibrated, report.target, tests_before, tests_after)
    if meaningless := obstacle(after.accuracy, len(clean), model.num_classes):
        verdict_after, unclear = Verdict.INCONCLUSIVE, meaningless
    digest = weights_sha256(repaired.net)
    result = RepairReport(
        audit=report,
        data=clean.facts,
        settings=settings,
        erased=repaired.erased,
        method=repaired.how,
        before=before,
        erased_only=_measured(predict(erased_only, held_out), held_out),
        after=after,
        tests_before=without_pictures(tests_before),
        tests_after=without_pictures(tests_after),
        verdict_after=verdict_after,
        unclear=unclear,
        weights_sha256=digest,
        unlearned=repaired.unlearned,
        triggers=repaired.triggers,
        defense=type(chosen).__name__,
        parameters=None if defense is None else _parameters(defense),
        proof=proof,
        seconds=seconds,
    )
    return dataclasses.replace(model, net=repaired.net, weights_sha256=digest), result


@dataclass(frozen=True, eq=False)
class FlowRepair:
    """Unlearn the class that an audit suspects, and erase the channels that its triggers move most: the default.

    Without a suspected class the channels that the audit flagged are erased, and nothing is unlearned.

    Args:
        target: The suspected class, for which triggers are inverted; None inverts none.
        flagged: To erase without a suspected class.
        detector: That flagged them.
        settings: How much to erase otherwise, how to fine-tune and to unlearn.
    """

    target: int | None
    flagged: Channels
    detector: str
    settings: RepairSettings

    @classmethod
    def after(cls, report: AuditReport, settings: RepairSettings) -> FlowRepair:
        """What an audit asks for.

        Raises:
            AuditError: No class is suspected, and no channel flagged.
        """
        if report.target is None and not report.flagged:
            raise AuditError(
                "the audit points at no channel, there is nothing to erase",
                "audit with more --images, or another --detector",
            )
        return cls(report.target, report.flagged, report.settings.detector, settings)

    def repair(
        self, net: nn.Module, clean: ImageSet, *, seed: int, progress: Progress = silent
    ) -> Repaired:
        """Invert triggers, erase, unlearn, fine-tune.

        Raises:
            DataError: There are too few images of other classes to find triggers with.
        """
        settings = dataclasses.replace(self.settings, seed=seed)
        inverted, rate = _inverted(net, clean, self.target, settings)
        channels, how = self._channels(net, clean, inverted)
        tuned = erase(net, channels, one_image(net, clean))
        fit(tuned, clean, fit_config(settings), unlearning=inverted, progress=progress)
        triggers = () if inverted is None else tuple(inverted.kinds)
        return Repaired(tuned, channels, how, rate, triggers)

    def _channels(
        self, net: nn.Module, clean: ImageSet, inverted: Unlearning | None
    ) -> tuple[Channels, str]:
        """What to erase, and how it was chosen."""
        if self.target is None:
            return self.flagged, f"the channels flagged by the {self.detector} detector"
        if inverted is None:
            return {}, ONLY_TUNED
        share, channels = self.settings.erase_rate, {}
        if share:
            pairs = max(
                1, self.settings.batch_size // 2
            )  # no more images at once than a step of training
            moved = inverted_tac(net, clean, inverted.triggers, batch_size=pairs)
            channels = largest(moved, share)
        if not channels:
            return {}, ONLY_UNLEARNED
        return channels, f"per layer the {share:.1%} of channels that inverted triggers move most"


def _after(
    calibrated: Calibrated,
    target: int | None,
    before: Sequence[TestResult],
    after: Sequence[TestResult],
) -> tuple[Verdict, str]:
    """What the tests say of the repaired network, and why nothing if they do not: as of an old backdoor that they miss."""
    found = calibrated.conclude(after)
    seen = target is None or calibrated.conclude(before).target == target
    if found.verdict is Verdict.NO_BACKDOOR_FOUND and not seen:
        return Verdict.INCONCLUSIVE, UNSEEN
    return found.verdict, found.reason if found.verdict is Verdict.INCONCLUSIVE else ""


def _as_audited(
    model: HubModel, report: AuditReport, calibration: Calibration | None
) -> Calibrated:
    """The calibration to judge by: the given one, or the audit's if it comes with hfscan."""
    calibrated = Calibrated.of(model.facts, calibration)
    compared = calibration is None and any(test.p_value is not None for test in report.tests)
    if compared and (differ := calibrated.differs(report.calibration)):
        raise AuditError(
            f"the audit cannot be compared: {differ}",
            "pass its calibration with --calibration, or audit again",
        )
    return calibrated


def _made_by(report: AuditReport, net: nn.Module, clean: ImageSet) -> list[ModelTest] | None:
    """The tests of the network as a whole that the audit made; None, which is all of them, if it made none."""
    made = {test.name for test in report.tests if not test.skipped}
    return [test for test in tests_of_network(net, clean) if test.name in made] or None


def _precision(report: AuditReport, net: nn.Module) -> Precision:
    """The audit's, where it is fast here: both networks are to be tested in the same."""
    fast = fast_half(next(net.parameters()).device)
    audited = report.settings.precision
    return audited if PRECISIONS.get(audited) is fast else "fp32"


def _parameters(defense: Defense) -> dict[str, Any]:
    """The hyper-parameters of a defense, if it is a dataclass."""
    if dataclasses.is_dataclass(defense) and not isinstance(defense, type):
        return dataclasses.asdict(defense)
    return {}


def _measured(classified: Tensor, images: ImageSet) -> Metrics:
    share = float((classified == images.labels).float().mean())
    return Metrics(accuracy=share, images=len(images), interval=interval(share, len(images)))


def _inverted(
    net: nn.Module, tuning: ImageSet, target: int | None, settings: RepairSettings
) -> tuple[Unlearning | None, float | None]:
    """Triggers of the network as it was for a suspected class, and the largest share of images that one reaches."""
    if target is None or not settings.unlearn_norm:
        return None, None
    families = (Patch(), Warp(), Blend(), Additive(norm=settings.unlearn_norm), Smooth())
    inverted = Unlearning(tuning, target, families, seed=settings.seed)
    return inverted, inverted.renew(net)


def fit_config(settings: RepairSettings) -> FitConfig:
    """How a repair fine-tunes."""
    return FitConfig(
        epochs=settings.epochs,
        lr=settings.lr,
        batch_size=settings.batch_size,
        momentum=settings.momentum,
        weight_decay=settings.weight_decay,
        padding=2,
        flip=settings.flip,
        autocast=True,
        seed=settings.seed,
    )
