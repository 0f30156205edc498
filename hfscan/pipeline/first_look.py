"""What is known of a model before any test of it."""

from __future__ import annotations

import dataclasses
from importlib.metadata import version

import numpy as np

from hfscan.channels import conv_layers, one_image
from hfscan.fmt import Limits, give_back
from hfscan.metrics import predict
from hfscan.pipeline.testing import timed
from hfscan.reasons import NO_CONV, NOTHING_TESTED
from hfscan.types import (
    AuditReport,
    AuditSettings,
    HubModel,
    ImageSet,
    LayerAudit,
    ModelFacts,
    Verdict,
)
from hfscan.verdict import disordered, obstacle

PACKAGES = ("hfscan", "torch", "timm", "huggingface-hub", "datasets", "scikit-learn")


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
        classified = predict(model.net, clean, batch_size=limits.batch)
        clean_accuracy = float((classified == clean.labels).float().mean())
        predictions = predict(model.net, sample, batch_size=limits.batch)
        give_back()
    convs = conv_layers(model.net, one_image(model.net, sample))
    reason = obstacle(clean_accuracy, len(clean), model.num_classes) or disordered(
        clean.labels, classified
    )
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


def _named(facts: ModelFacts, classes: tuple[str, ...]) -> ModelFacts:
    """A model without label names gets those of the clean images, if there are as many."""
    if facts.label_names or len(classes) != facts.num_classes:
        return facts
    return dataclasses.replace(facts, label_names=classes)
