from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from hfscan.report import findings
from hfscan.types import LayerAudit, Verdict

from .sample import audit_report, many_layers, margin_test, repair_report


def test_channels_are_ranked_by_the_flow_into_the_target() -> None:
    found = findings.suspicious_channels(audit_report(), 10)
    assert [(one.layer, one.channel) for one in found] == (
        [("layer1.0.conv2", channel) for channel in (0, 3, 7, 9)]
    )
    move = found[0].moves[0]
    assert (move.label, round(move.share, 2), round(move.clean_share, 2)) == (0, 0.72, 0.11)


def test_channels_are_ranked_by_accuracy_without_a_target() -> None:
    report = audit_report(verdict=Verdict.NO_BACKDOOR_FOUND)
    found = findings.suspicious_channels(report, 5)
    accuracies = np.concatenate([layer.accuracy[:, -1] for layer in report.layers[:3]])
    assert [one.accuracy for one in found] == pytest.approx(np.sort(accuracies)[:5].tolist())


def test_a_gain_of_another_class_is_shown_beside_the_target() -> None:
    report = audit_report()
    layer = report.layers[0]
    predictions = np.zeros((16, 2, 10), np.int64)
    predictions[:, :, 5], predictions[:, :, 0] = 40, 24
    report = replace(report, layers=(replace(layer, predictions=predictions),))
    moves = findings.suspicious_channels(report, 1)[0].moves
    assert [move.label for move in moves] == [5, 0]


def test_layers_are_summarized() -> None:
    first, *_ = layers = findings.summarize_layers(audit_report())
    assert [layer.layer for layer in layers] == ["conv1", "layer1.0.conv1", "layer1.0.conv2"]
    assert sum(first.histogram) == first.channels == 16
    assert first.lowest is not None
    assert first.median is not None
    assert 0 < first.lowest < first.median < 1


def test_unknown_accuracies_are_left_out() -> None:
    report = audit_report()
    accuracy = np.full((16, 2), np.nan, np.float32)
    report = replace(report, target=None, layers=(replace(report.layers[0], accuracy=accuracy),))
    (layer,) = findings.summarize_layers(report)
    assert layer.lowest is layer.median is None
    assert len(findings.suspicious_channels(report, 3)) == 3


def test_the_most_interesting_layers_keep_their_order() -> None:
    layers = findings.summarize_layers(many_layers(9))
    shown = findings.most_interesting(layers, 3)
    assert [layer.layer.split(".")[1] for layer in shown] == (
        ["denseblock2", "denseblock5", "denseblock8"]
    )


def test_classes_are_called_what_model_or_data_call_them() -> None:
    report = audit_report()
    assert findings.label(report, 3) == "cat"
    unnamed = replace(report, model=replace(report.model, label_names=("", "  ")))
    assert findings.label(unnamed, 0) == "airplane"
    nameless = replace(unnamed, data=replace(report.data, classes=()))
    assert findings.label(nameless, 1) == "class 1"
    assert findings.target_phrase(nameless, 1) == "class 1"
    assert findings.target_phrase(report, 1) == "class automobile"


def test_the_leading_test_is_about_the_target() -> None:
    report = audit_report()
    other = replace(margin_test(found=True), name="other", p_value=0.0, target=5)
    assert findings.leading_test(replace(report, tests=(other, *report.tests))) == report.tests[0]
    assert findings.leading_test(replace(report, target=None, tests=())) is None


def test_unknown_statistics_are_ranked_last() -> None:
    statistics = (1.0, float("nan"), 3.0)
    test = replace(margin_test(found=True), class_statistics=statistics)
    assert [index for index, _ in findings.ranked_classes(test)] == [2, 0, 1]


def test_skipped_layers_are_grouped_by_reason() -> None:
    layers = tuple(LayerAudit(name, 4, skipped=name[0]) for name in ("a1", "b1", "a2"))
    skipped = findings.skipped_layers(replace(audit_report(), layers=layers))
    assert skipped == {"a": ["a1", "a2"], "b": ["b1"]}


def test_clean_predictions_of_another_length_are_unknown() -> None:
    report = replace(audit_report(), clean_predictions=(1, 2))
    assert findings.suspicious_channels(report, 1)[0].moves[0].clean_share == 0


def test_the_outcome_of_a_repair_is_the_worst_that_can_be_said() -> None:
    assert findings.repair_outcome(repair_report()) == "good"
    assert findings.repair_outcome(repair_report(found=True)) == "backdoored"
    suspicious = replace(repair_report(), verdict_after=Verdict.SUSPICIOUS)
    assert findings.repair_outcome(suspicious) == "standing out"
    assert findings.repair_outcome(repair_report(found=True, drop=0.2)) == "costly"
    assert (
        findings.repair_outcome(replace(repair_report(), verdict_after=Verdict.INCONCLUSIVE))
        == "untested"
    )
