"""A small audit and a small repair, the same on every machine, and the golden files."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from hfscan.types import (
    AuditReport,
    AuditSettings,
    Coverage,
    DataFacts,
    LayerAudit,
    Metrics,
    ModelFacts,
    Picture,
    Proof,
    Reactivation,
    Relearning,
    RepairReport,
    RepairSettings,
    TestResult,
    TriggerOutcome,
    Verdict,
)

GOLDEN = Path(__file__).parent / "golden"
IMAGES = 64
CLASSES = (
    *("airplane", "automobile", "bird", "cat", "deer"),
    *("dog", "frog", "horse", "ship", "truck"),
)
PNG = "iVBORw0KGgoAAAANSUhEUgAAAAQAAAAECAIAAAAmkwkpAAAAFElEQVR42mNsaGhggAEmBiSAmwMATAQBiHvQRdYAAAAASUVORK5CYII="
"""A gray picture."""

HOSTILE = (
    "[red]x[/red]",
    "\x1b[2J\x1b]0;owned\x07",
    "a|b`c`<script>alert(1)</script>",
    "\u202eevil\u2066\u200b",
    "two\nlines\r\n# heading",
    "![image](https://evil.example/x.png) [link](javascript:alert(1))",
    "@everyone see #1 and https://evil.example or www.evil.example",
    "\ud800 \x9b31m $x$ ~~gone~~ **bold** __bold__ \\",
    "- item\x00\x7f\u2028",
    "x" * 500,
)


def audit_report(
    *,
    verdict: Verdict = Verdict.BACKDOORED,
    names: Sequence[str] = CLASSES,
    layer_names: Sequence[str] = ("conv1", "layer1.0.conv1", "layer1.0.conv2", "stem.conv1d"),
) -> AuditReport:
    """Ten classes and four layers, of which the last one is skipped."""
    found = verdict in (Verdict.BACKDOORED, Verdict.SUSPICIOUS)
    *tested, skipped = layer_names or [""]
    rng = np.random.default_rng(0)
    layers = [_layer(rng, name, len(names), planted=name == tested[-1]) for name in tested]
    channels = sum(layer.channels for layer in layers)
    return AuditReport(
        model=_model(names),
        data=_data(names),
        settings=AuditSettings(images=IMAGES, precision="fp32"),
        clean_accuracy=0.9316,
        clean_predictions=(7, 6, 6, 7, 6, 6, 7, 6, 6, 7),
        layers=(
            *layers,
            *([LayerAudit(skipped, 8, skipped="Conv1d is not covered")] if skipped else []),
        ),
        tests=(margin_test(found=found), _skipped_test()),
        coverage=Coverage(channels, channels),
        verdict=verdict,
        reason=_REASONS[verdict],
        target=0 if found else None,
        notes=("The clean images are few: 512.",),
        seconds={"load": 1.31, "tests": 11.42, "profile": 61.8},
        versions={"hfscan": "0.1.0", "torch": "2.15.0"},
    )


_REASONS = {
    Verdict.BACKDOORED: "one class stands out in the maximum-margin test as in backdoored networks",
    Verdict.SUSPICIOUS: "one class stands out in the maximum-margin test, less than usual",
    Verdict.NO_BACKDOOR_FOUND: "no class stands out in the maximum-margin test",
    Verdict.INCONCLUSIVE: "clean accuracy is 0.120, too near to chance (0.100)",
}


def hostile_report(verdict: Verdict) -> AuditReport:
    """An audit in which everything that an uploader can choose is hostile."""
    report = audit_report(verdict=verdict, names=HOSTILE, layer_names=HOSTILE[1:5])
    evil = " ".join(HOSTILE)
    tests = (replace(report.tests[0], name=evil, unit=evil), replace(report.tests[1], skipped=evil))
    return replace(
        report,
        model=replace(report.model, ref=evil, architecture=evil, interpolation=evil, notes=HOSTILE),
        data=DataFacts(evil, evil, evil, evil, 512, HOSTILE, image_column=evil, label_column=evil),
        settings=replace(report.settings, detector=evil),
        layers=(*report.layers, LayerAudit(evil, 3, skipped=evil)),
        tests=tests,
        reason=evil,
        notes=HOSTILE,
        seconds={evil: 1.0},
        versions={evil: evil},
    )


def repair_report(
    *, drop: float = 0.008, found: bool = False, names: Sequence[str] = CLASSES
) -> RepairReport:
    """The repair that goes on from `audit_report`."""
    audit = audit_report(names=names)
    return RepairReport(
        audit=audit,
        data=audit.data,
        settings=RepairSettings(),
        erased={"conv1": [2, 11], "layer1.0.conv2": [0, 3, 7, 9]},
        method="per layer the 10% of channels whose images flow most into class airplane",
        before=Metrics(0.931, images=102, interval=(0.8651, 0.966)),
        erased_only=Metrics(0.804, images=102, interval=(0.7166, 0.8693)),
        after=Metrics(0.931 - drop, images=102, interval=(0.8529, 0.9593)),
        tests_before=audit.tests,
        tests_after=(margin_test(found=found), _skipped_test()),
        verdict_after=Verdict.BACKDOORED if found else Verdict.NO_BACKDOOR_FOUND,
        weights_sha256="fedcba9876543210" * 4,
        unlearned=0.5781,
        triggers=("patch", "warp"),
        proof=_proof(found=found),
        seconds={"erase": 0.04, "fine-tune": 95.0, "tests": 11.2},
    )


def _proof(*, found: bool) -> Proof:
    """The patch trigger works on, or is learned again as fast as toward other classes."""
    return Proof(
        images=92,
        triggers=(
            TriggerOutcome(
                "patch", 0.012, "share of the pixels", 0.9891, 0.9783 if found else 0.0217
            ),
            TriggerOutcome("warp", 1.5, "pixels", 0.5109, 0.0435),
        ),
        reactivation=Reactivation(
            family="patch",
            steps=(0, 5, 10, 20),
            suspected=Relearning(0, (0.97, 1.0, 1.0, 1.0) if found else (0.02, 0.05, 0.36, 0.9)),
            controls=(
                Relearning(8, (0.02, 0.07, 0.73, 0.98)),
                Relearning(5, (0.01, 0.05, 0.42, 0.92)),
            ),
        ),
    )


def margin_test(*, found: bool) -> TestResult:
    """The maximum-margin test, with class 0 far above the others or not."""
    margins = [14.61, 12.92, 10.33, 14.84, 11.47, 11.02, 13.15, 12.2, 10.71, 12.75]
    if found:
        margins[0] = 208.13
    return TestResult(
        name="maximum-margin",
        statistic=23.41 if found else 0.87,
        p_value=3.2e-7 if found else 0.4127,
        target=0 if found else 3,
        class_statistics=tuple(margins),
        unit="logits",
        seconds=11.42,
    )


def with_pictures(report: AuditReport) -> AuditReport:
    """The audit with pictures of a channel and of an inverted trigger, 4 x 4 pixels each."""
    clean = Picture("clean", PNG, "layer1.0.conv2", 3, 4, 4)
    return replace(
        report,
        pictures=(
            clean,
            replace(clean, role="reversed", predicted=0),
            replace(clean, role="difference", predicted=None, gain=4.0),
            Picture("trigger", PNG, predicted=0, family="patch", share=0.98),
        ),
    )


def many_layers(count: int) -> AuditReport:
    """An audit of ``count`` tested layers."""
    report = audit_report()
    layers = tuple(
        replace(report.layers[i % 3], layer=f"features.denseblock{i}.denselayer{i}.conv2")
        for i in range(count)
    )
    return replace(report, layers=layers)


def check_golden(name: str, text: str) -> None:
    """Compare with ``golden/<name>``; HFSCAN_UPDATE_GOLDEN=1 writes the file instead."""
    path = GOLDEN / name
    if os.environ.get("HFSCAN_UPDATE_GOLDEN"):
        path.write_text(text, encoding="utf-8")
    assert path.read_text(encoding="utf-8") == text


def _model(names: Sequence[str]) -> ModelFacts:
    return ModelFacts(
        ref="example-org/preactresnet18-cifar10",
        revision="0123456789abcdef0123456789abcdef01234567",
        architecture="preactresnet18",
        input_size=(3, 32, 32),
        num_classes=len(names) or len(CLASSES),
        label_names=tuple(names),
        weights_sha256="0123456789abcdef" * 4,
        weights_file="model.safetensors",
        mean=(0.4914, 0.4822, 0.4465),
        std=(0.247, 0.2435, 0.2616),
        notes=("config.json has no crop_pct: 1.0 was assumed.",),
    )


def _data(names: Sequence[str]) -> DataFacts:
    return DataFacts(
        name="uoft-cs/cifar10",
        revision="89abcdef0123456789abcdef0123456789abcdef",
        split="test",
        fingerprint="00112233445566778899aabbccddeeff" * 2,
        images=512,
        classes=tuple(names),
        image_column="img",
        label_column="label",
    )


def _skipped_test() -> TestResult:
    return TestResult(
        name="small-radius",
        statistic=None,
        p_value=None,
        target=None,
        class_statistics=(),
        unit="images",
        skipped="fewer than 10 images of some classes",
    )


def _layer(rng: np.random.Generator, name: str, classes: int, *, planted: bool) -> LayerAudit:
    """Sixteen channels; in a planted layer the images of four of them go to class 0."""
    channels, steps = 16, 2
    predictions = np.zeros((channels, steps, classes), np.int64)
    predictions += np.bincount(np.arange(IMAGES) % 10, minlength=classes)
    kept = np.zeros((channels, steps))
    for channel in range(channels):
        caught = planted and channel in (0, 3, 7, 9)
        goal = 0 if caught else int(rng.integers(1, 10))
        for step, most in enumerate([0.1, 0.3]):
            share = 0.8 if caught and step else float(rng.random()) * most
            kept[channel, step] = 1 - _move(predictions[channel, step], goal, share)
    accuracy = (kept * (0.93 - 0.05 * rng.random(kept.shape))).astype(np.float32)
    flagged = accuracy[:, 1] <= np.sort(accuracy[:, 1])[1]
    return LayerAudit(name, channels, accuracy, predictions, flagged, predictions[:, 0].sum(1))


def _move(counts: npt.NDArray[np.int64], goal: int, share: float) -> float:
    """Move a share of each class' predictions to class ``goal``; the share that was moved."""
    moved = np.floor(counts * share).astype(np.int64)
    moved[goal] = 0
    counts -= moved
    counts[goal] += moved.sum()
    return float(moved.sum() / counts.sum())
