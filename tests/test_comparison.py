from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from report.sample import HOSTILE, audit_report, check_golden, hostile_report

from hfscan.comparison import DECISIVE, compare
from hfscan.errors import UsageError
from hfscan.report.comparison import headline, render_json, render_markdown
from hfscan.types import AuditReport, CalibrationFacts, LayerAudit, Verdict

FOUND, NOTHING = audit_report(), audit_report(verdict=Verdict.NO_BACKDOOR_FOUND)


def moved(report: AuditReport) -> AuditReport:
    """Other weights: the first layer's accuracy falls, and other channels are flagged."""
    layer, *rest = report.layers
    accuracy = layer.accuracy.copy()
    accuracy[:, -1] -= np.linspace(0, 0.3, 16, dtype=np.float32)
    layer = replace(layer, accuracy=accuracy, flagged=np.roll(layer.flagged, 1))
    model = replace(report.model, weights_sha256="f" * 64, revision="f" * 40)
    return replace(report, layers=(layer, *rest), model=model)


def test_nothing_moves_between_a_report_and_itself() -> None:
    comparison = compare(FOUND, FOUND)
    assert comparison.worse == ""
    assert all(one.change == 0 for test in comparison.tests for one in test.classes)
    assert all(not layer.gained and not layer.lost for layer in comparison.layers)
    assert "moved most" not in render_markdown(comparison)
    (warning,) = comparison.warnings
    assert warning.startswith("the weights are the same")


def test_what_moved() -> None:
    comparison = compare(NOTHING, moved(FOUND))
    (test,) = comparison.tests
    assert (test.classes[0].label, test.classes[0].change) == (0, pytest.approx(193.52))
    first, *others = comparison.layers
    assert [layer.layer for layer in comparison.layers] == [
        *("conv1", "layer1.0.conv1", "layer1.0.conv2")
    ]
    flagged = NOTHING.flagged["conv1"]
    assert first.lost == flagged
    assert first.gained == [channel + 1 for channel in flagged]
    assert first.moved[-1] == pytest.approx(-0.3)
    assert all((layer.moved == 0).all() for layer in others)
    assert comparison.warnings == ()


@pytest.mark.parametrize(
    ("before", "after", "worse"),
    [
        (NOTHING, FOUND, "the verdict was NO_BACKDOOR_FOUND and is BACKDOORED"),
        (audit_report(verdict=Verdict.SUSPICIOUS), FOUND, "the verdict was SUSPICIOUS"),
        (audit_report(verdict=Verdict.INCONCLUSIVE), FOUND, "the verdict was INCONCLUSIVE"),
        (FOUND, replace(FOUND, target=1), "another class is suspected"),
        (FOUND, audit_report(verdict=Verdict.SUSPICIOUS), ""),
        (FOUND, NOTHING, ""),
        (FOUND, audit_report(verdict=Verdict.INCONCLUSIVE), ""),
        (NOTHING, NOTHING, ""),
    ],
)
def test_worse(before: AuditReport, after: AuditReport, worse: str) -> None:
    comparison = compare(before, after)
    assert comparison.worse.startswith(worse)
    assert bool(comparison.worse) == bool(worse)
    assert headline(comparison).startswith("Worse" if worse else ("Not worse", "The second audit"))


@pytest.mark.parametrize("name", DECISIVE)
def test_other_settings_are_refused(name: str) -> None:
    changed = "kmeans" if name == "detector" else "every" if name == "gradient" else 0.5
    with pytest.raises(UsageError, match="the audits differ in --") as caught:
        compare(FOUND, replace(FOUND, settings=replace(FOUND.settings, **{name: changed})))
    assert name.replace("_", "-") in caught.value.hint


def test_other_classes_are_refused() -> None:
    with pytest.raises(UsageError, match="10 and 3 classes"):
        compare(FOUND, replace(FOUND, model=replace(FOUND.model, num_classes=3)))
    names = FOUND.model.label_names
    swapped = (names[1], names[0], *names[2:])
    with pytest.raises(UsageError, match="class 0 is 'airplane' in one model and 'automobile'"):
        compare(FOUND, replace(FOUND, model=replace(FOUND.model, label_names=swapped)))
    assert compare(FOUND, replace(FOUND, model=replace(FOUND.model, label_names=())))


OTHERS = CalibrationFacts("others", 9, "", 0.02, 0.002)


def other_settings(**changes: Any) -> Callable[[AuditReport], AuditReport]:
    return lambda report: replace(report, settings=replace(report.settings, **changes))


@pytest.mark.parametrize(
    ("change", "warning"),
    [
        (other_settings(seed=1), "--seed: 0 and 1"),
        (other_settings(mode="fast"), "--mode: exact and fast"),
        (other_settings(precision="bf16"), "--precision: fp32 and bf16"),
        (lambda r: replace(r, data=replace(r.data, fingerprint="0")), "clean images are others"),
        (lambda r: replace(r, versions={"hfscan": "9"}), "different versions"),
        (lambda r: replace(r, tests=r.tests[1:]), "only the first audit made the"),
        (lambda r: replace(r, calibration=OTHERS), "different calibrations: "),
        (lambda r: replace(r, layers=r.layers[1:]), "1 of 3 layers of the first audit"),
        (lambda r: replace(r, layers=(*r.layers, resized(r))), "1 of 4 layers of the second"),
    ],
)
def test_what_limits_a_comparison_is_warned_about(
    change: Callable[[AuditReport], AuditReport], warning: str
) -> None:
    found = [one for one in compare(FOUND, change(moved(FOUND))).warnings if warning in one]
    assert len(found) == 1


def resized(report: AuditReport) -> LayerAudit:
    """A layer that the other report does not have."""
    return replace(report.layers[0], layer="new")


def test_channels_that_were_not_tested_did_not_move() -> None:
    layer = FOUND.layers[0]
    tested = layer.tested.copy()
    tested[3] = 0
    report = replace(FOUND, layers=(replace(layer, tested=tested), *FOUND.layers[1:]))
    change = compare(report, moved(FOUND)).layers[0].moved
    assert np.isnan(change).nonzero()[0].tolist() == [3]
    assert (
        json.loads(render_json(compare(report, moved(FOUND))))["layers"][0]["accuracy_change"][3]
        is None
    )


def test_golden() -> None:
    comparison = compare(NOTHING, moved(FOUND))
    check_golden("diff.md", render_markdown(comparison))
    check_golden("diff.json", render_json(comparison))


def test_a_hostile_model_is_plain_text() -> None:
    hostile = hostile_report(Verdict.BACKDOORED)
    text = render_markdown(compare(hostile, moved(hostile)))
    assert text.replace("\n", "").isprintable()
    assert "<script" not in text
    assert "](" not in text
    assert all(line.count("|") >= 4 for line in text.splitlines() if line.startswith("|"))
    assert not any(name in text for name in HOSTILE if not name.isprintable())
    assert render_json(compare(hostile, hostile)).isascii()
