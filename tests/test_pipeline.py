from __future__ import annotations

import copy
import json
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from sklearn.ensemble import IsolationForest
from torch import Tensor, nn

import hfscan
from hfscan.calibration import NetworkFacts, Record, Score
from hfscan.calibration.fitting import fit
from hfscan.channels import erase, feature_map, one_image
from hfscan.errors import AuditError, DataError, UsageError
from hfscan.model_tests import TESTS, FeatureMaps, MaximumMargin
from hfscan.pipeline import FlowRepair, fitted
from hfscan.pipeline.flagging import low_outliers
from hfscan.pipeline.testing import judge, make_tests
from hfscan.train import FitConfig
from hfscan.types import (
    AuditReport,
    AuditSettings,
    CalibrationFacts,
    FloatArray,
    HubModel,
    ImageSet,
    IntArray,
    Precision,
    Progress,
    Repaired,
    RepairReport,
    RepairSettings,
    TestResult,
    Verdict,
    silent,
)

SETTINGS = AuditSettings(images=40, steps=3, step_size=0.1, eps=0.3)
TUNING = RepairSettings(erase_rate=0.125, epochs=2, lr=0.001, batch_size=16, clean_rate=0.5)
CHANNEL, TARGET = 6, 2


@pytest.fixture
def planted_report(planted_model: HubModel, tiny_set: ImageSet) -> AuditReport:
    return hfscan.audit(planted_model, tiny_set, settings=SETTINGS)


def flow(report: AuditReport) -> FloatArray:
    """How many more of each channel's images end in the target class than of the clean ones, in the first layer."""
    share = report.layers[0].predictions[:, :, TARGET].mean(1) - report.clean_predictions[TARGET]
    return np.asarray(share / sum(report.clean_predictions), np.float32)


def timeless(report: AuditReport) -> dict[str, Any]:
    tests = tuple(replace(test, seconds=0) for test in report.tests)
    return replace(report, seconds={}, tests=tests).to_dict()


def wrap(net: nn.Module, classes: int = 4, **options: Any) -> HubModel:
    return hfscan.wrap(net.eval(), input_size=(3, 8, 8), num_classes=classes, **options)


# --- audit


def test_an_audit_makes_all_tests(
    tiny_model: HubModel, tiny_set: ImageSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hfscan.pipeline.testing.TESTS", TESTS)
    report = hfscan.audit(tiny_model, tiny_set, settings=SETTINGS)
    assert {test.name for test in report.tests} == set(TESTS)
    assert report.verdict is Verdict.NO_BACKDOOR_FOUND


def test_other_settings_than_a_calibration_has_say_nothing_of_the_channels(
    planted_report: AuditReport,
) -> None:
    for settings, reason in ((AuditSettings(), ""), (SETTINGS, "images and steps and step_size")):
        (result,) = judge(
            [FeatureMaps()], planted_report.layers, planted_report.clean_predictions, settings
        )
        assert reason in result.skipped
        assert (result.statistic is None) == bool(reason)


def test_a_planted_backdoor(planted_report: AuditReport, planted_model: HubModel) -> None:
    assert planted_report.verdict is Verdict.SUSPICIOUS
    assert planted_report.target == TARGET
    assert CHANNEL in planted_report.flagged["conv1"]
    assert planted_report.clean_accuracy == 1.0
    assert planted_report.clean_predictions == (10, 10, 10, 10)
    assert [layer.layer for layer in planted_report.layers] == ["conv1", "conv2"]
    assert planted_report.model == planted_model.facts
    assert planted_report.data.images == 40
    assert planted_report.versions["hfscan"] == hfscan.__version__


def test_the_flow_goes_into_the_target(planted_report: AuditReport) -> None:
    values = flow(planted_report)
    assert values.argmax() == CHANNEL
    assert values[CHANNEL] > 0.3
    assert np.delete(values, CHANNEL).max() < 0.2


def test_an_ordinary_network(tiny_model: HubModel, tiny_set: ImageSet) -> None:
    report = hfscan.audit(tiny_model, tiny_set, settings=SETTINGS)
    assert report.verdict is Verdict.NO_BACKDOOR_FOUND
    assert report.target is None
    assert "no class stands out" in report.reason


def test_the_report_is_json(planted_report: AuditReport) -> None:
    again = AuditReport.from_dict(json.loads(json.dumps(planted_report.to_dict())))
    assert again.to_dict() == planted_report.to_dict()


def test_same_seed_same_report(planted_model: HubModel, tiny_set: ImageSet) -> None:
    settings = AuditSettings(images=40, steps=1, step_size=0.2, eps=0.2)
    other_seed = replace(settings, seed=1)
    reports = [
        timeless(hfscan.audit(planted_model, tiny_set, settings=each, batch_size=size))
        for each, size in ((settings, 256), (settings, 256), (settings, 24), (other_seed, 256))
    ]
    assert reports[0] == reports[1]
    assert reports[0]["layers"] != reports[3]["layers"]
    figures = ("p_value", "tests", "reason")  # of searches, whose last digits depend on the batch
    whole, small = ({k: v for k, v in each.items() if k not in figures} for each in reports[::2])
    assert whole == small
    for one, other in zip(reports[0]["tests"], reports[2]["tests"], strict=True):
        assert (one["name"], one["target"]) == (other["name"], other["target"])
        assert one["statistic"] == pytest.approx(other["statistic"], rel=0.01)


def test_the_model_is_left_as_it_was(planted_model: HubModel, tiny_set: ImageSet) -> None:
    net = planted_model.net.train()
    before = copy.deepcopy(net.state_dict())
    random_state = torch.random.get_rng_state()
    report = hfscan.audit(planted_model, tiny_set, settings=SETTINGS)
    hfscan.repair(planted_model, report, tiny_set, settings=TUNING)
    assert all(torch.equal(before[key], value) for key, value in net.state_dict().items())
    assert all(module.training for module in net.modules())
    assert all(p.requires_grad and p.grad is None for p in net.parameters())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in net.modules())
    assert torch.equal(torch.random.get_rng_state(), random_state)


class Marked:
    """A detector that flags the lowest channel."""

    def fit_predict(self, X: FloatArray) -> IntArray:
        labels = np.ones(len(X), np.int64)
        labels[X.mean(1).argmin()] = -1
        return labels


@pytest.mark.parametrize("detector", [Marked(), IsolationForest(random_state=0)])
def test_a_detector_of_the_callers_own(
    planted_model: HubModel, tiny_set: ImageSet, detector: Any
) -> None:
    report = hfscan.audit(planted_model, tiny_set, settings=SETTINGS, detector=detector)
    assert CHANNEL in report.flagged["conv1"]
    assert report.settings.detector == type(detector).__name__
    again = replace(report.settings, steps=1)  # a name that is in no registry
    assert hfscan.audit(planted_model, tiny_set, settings=again, detector=detector).layers


class Strict:
    """A detector that wants many channels."""

    def fit_predict(self, X: FloatArray) -> IntArray:
        raise ValueError(f"{len(X)} are\ntoo few")


def test_a_detector_that_fails(planted_model: HubModel, tiny_set: ImageSet) -> None:
    with pytest.raises(AuditError, match=r"the detector fails on \d+ channels \(\d+ are too few\)"):
        hfscan.audit(planted_model, tiny_set, settings=SETTINGS, detector=Strict())


@pytest.mark.parametrize("profile", [np.zeros((1, 2)), np.full((9, 2), 0.5)])
def test_nothing_stands_out_where_nothing_differs(profile: FloatArray) -> None:
    assert not low_outliers(Strict(), profile.astype(np.float32)).any()


def test_tests_keep_within_a_pass_and_within_memory(
    planted_net: nn.Module, tiny_set: ImageSet
) -> None:
    def largest(**bounds: int) -> int:
        made = make_tests(("maximum-margin",), planted_net, tiny_set, **bounds)
        return max(test.batch_size for test in made)  # type: ignore[attr-defined]

    assert largest() > 100
    assert largest(batch_size=3) == 3
    assert largest(memory=1 << 20) < largest()


def test_the_report_says_in_which_precision_the_tests_were(
    planted_model: HubModel, tiny_set: ImageSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hfscan.fmt.precision.fast_half", lambda _: torch.bfloat16)
    monkeypatch.setattr("hfscan.fmt.precision.MIN_WEIGHTS", 0)
    seen: set[torch.dtype] = set()

    class Looking(MaximumMargin):
        def run(self, net: nn.Module, clean: ImageSet, **options: Any) -> TestResult:
            seen.update(parameter.dtype for parameter in net.parameters())
            return super().run(net, clean, **options)

    for precision, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
        seen.clear()
        settings = replace(SETTINGS, precision=precision, min_agreement=0.0)
        report = hfscan.audit(planted_model, tiny_set, settings=settings, tests=[Looking(steps=2)])
        assert report.settings.precision == precision
        assert dtype in seen
        assert len(seen) == 1 or precision == "bf16"  # norms may stay in float32


def test_tests_of_the_callers_own(planted_model: HubModel, tiny_set: ImageSet) -> None:
    tests = [MaximumMargin(steps=3), MaximumMargin(steps=4)]
    report = hfscan.audit(planted_model, tiny_set, settings=SETTINGS, tests=tests)
    assert len(report.tests) == 2


class Opaque(nn.Module):
    """Lets no gradient through."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    @torch.no_grad()
    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.net(x)
        return logits


def test_a_test_whose_passes_fail_is_skipped(tiny_net: nn.Module, tiny_set: ImageSet) -> None:
    report = hfscan.audit(wrap(Opaque(tiny_net)), tiny_set, settings=SETTINGS)
    assert report.verdict is Verdict.INCONCLUSIVE
    (test,) = report.tests
    assert test.statistic is None
    assert test.skipped.startswith("its passes fail (element 0 of tensors does not require grad")


def test_no_tests(planted_model: HubModel, tiny_set: ImageSet) -> None:
    report = hfscan.audit(planted_model, tiny_set, settings=SETTINGS, tests=[])
    assert report.verdict is Verdict.INCONCLUSIVE
    assert "none was run" in report.reason


@pytest.mark.parametrize(
    "setting",
    [
        {"images": 0},
        {"steps": 0},
        {"step_size": 0.0},
        {"step_size": float("nan")},
        {"eps": 1.5},
        {"tau": 0.5},
        {"detector": "magic"},
    ],
    ids=str,
)
def test_settings_out_of_range(
    tiny_model: HubModel, tiny_set: ImageSet, setting: dict[str, Any]
) -> None:
    with pytest.raises(UsageError, match=str(next(iter(setting.values())))):
        hfscan.audit(tiny_model, tiny_set, settings=AuditSettings(**setting))


# --- inconclusive


class Colors(nn.Module):
    """Tells the colors of `tiny_set` apart without a convolution of two dimensions."""

    def __init__(self, first: nn.Module) -> None:
        super().__init__()
        self.first = first
        self.fc = nn.Linear(3, 4)
        with torch.no_grad():
            self.fc.weight.copy_(20 * torch.eye(4, 3))
            self.fc.bias.copy_(torch.tensor([0.0, 0.0, 0.0, 8.0]))

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(x.mean((2, 3)) + 0 * self.first(x.flatten(2)).mean())


def test_no_conv_layer(tiny_set: ImageSet) -> None:
    report = hfscan.audit(wrap(Colors(nn.Identity())), tiny_set)
    assert (report.verdict, report.reason) == (Verdict.INCONCLUSIVE, "it has no conv layer")
    assert report.clean_accuracy == 1.0


def test_all_layers_skipped(tiny_set: ImageSet) -> None:
    report = hfscan.audit(wrap(Colors(nn.Conv1d(3, 3, 1))), tiny_set)
    assert report.verdict is Verdict.INCONCLUSIVE
    assert report.reason == "none of its conv layers can be tested"
    assert [layer.skipped for layer in report.layers] == ["Conv1d is not supported"]


def test_too_few_images(tiny_model: HubModel, tiny_set: ImageSet) -> None:
    report = hfscan.audit(tiny_model, tiny_set.subset(torch.arange(3)))
    assert report.verdict is Verdict.INCONCLUSIVE
    assert report.reason == "3 clean images are too few for 4 classes"
    assert report.layers == report.tests == ()


def test_accuracy_near_chance(tiny_model: HubModel, tiny_set: ImageSet) -> None:
    wrong = replace(tiny_set, labels=(tiny_set.labels + 1) % 4)
    report = hfscan.audit(tiny_model, wrong)
    assert report.verdict is Verdict.INCONCLUSIVE
    assert "clean accuracy is 0.000, too near to chance (0.250)" in report.reason


def test_too_few_classes_for_a_test(tiny_set: ImageSet) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 4, 8), nn.Flatten(), nn.Linear(4, 2))
    with torch.no_grad():
        net[2].bias -= net(tiny_set.images / 255).mean(0)
    model = wrap(net, classes=2)
    labels = model.net(tiny_set.images / 255).argmax(1)
    report = hfscan.audit(model, replace(tiny_set, labels=labels, classes=()), settings=SETTINGS)
    assert report.verdict is Verdict.INCONCLUSIVE
    assert "2 classes are too few" in report.reason
    assert [layer.skipped for layer in report.layers] == [""]


@dataclass(frozen=True)
class Slow:
    """A test that finds a class, and takes all the time there is."""

    monkeypatch: pytest.MonkeyPatch
    name: ClassVar[str] = "slow"

    def run(
        self, net: nn.Module, clean: ImageSet, *, seed: int, progress: Progress = silent
    ) -> TestResult:
        self.monkeypatch.setattr("hfscan.clock.Clock.left", lambda clock: 0.0)
        return TestResult(self.name, 9.0, 1e-6, 1, (0.0, 9.0, 0.0, 0.0), "")


def test_a_verdict_without_time_for_any_layer(
    tiny_model: HubModel, tiny_set: ImageSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    tests = [Slow(monkeypatch)]
    report = hfscan.audit(tiny_model, tiny_set, settings=SETTINGS, tests=tests, budget=1e6)
    assert all("time budget" in layer.skipped for layer in report.layers)
    assert (report.verdict, report.target) == (Verdict.BACKDOORED, 1)
    assert report.p_value == 1e-6


@dataclass(frozen=True)
class Fixed:
    """A test that says what it was told to say."""

    name: str
    p_value: float
    statistic: float = 9.0

    def run(
        self, net: nn.Module, clean: ImageSet, *, seed: int, progress: Progress = silent
    ) -> TestResult:
        return TestResult(self.name, self.statistic, self.p_value, 1, (0.0, 9.0, 0.0, 0.0), "")


@pytest.mark.parametrize("broken", [Fixed("nan", math.nan), Fixed("inf", 0.5, math.inf)])
@pytest.mark.parametrize("order", [1, -1])
def test_figures_that_are_not_finite_hide_nothing(
    tiny_model: HubModel, tiny_set: ImageSet, broken: Fixed, order: int
) -> None:
    tests = [Fixed("sure", 1e-9), broken][::order]
    report = hfscan.audit(tiny_model, tiny_set, settings=SETTINGS, tests=tests)
    assert (report.verdict, report.target) == (Verdict.BACKDOORED, 1)
    assert {t.name: t.skipped for t in report.tests}[broken.name] == "its figures are not finite"


def test_all_layers_fail(
    tiny_model: HubModel, tiny_set: ImageSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: Any, **__: Any) -> None:
        raise RuntimeError

    monkeypatch.setattr("hfscan.fmt.engine.start", fails)
    report = hfscan.audit(tiny_model, tiny_set, settings=SETTINGS)
    assert report.verdict is Verdict.INCONCLUSIVE
    assert report.reason == "none of its conv layers can be tested"


# --- images that do not fit


def test_labels_out_of_range(tiny_model: HubModel, tiny_set: ImageSet) -> None:
    with pytest.raises(DataError, match="label 4 of tiny is out of range: the model has 4 classes"):
        hfscan.audit(tiny_model, replace(tiny_set, labels=tiny_set.labels + 1))


def test_one_class(tiny_model: HubModel, tiny_set: ImageSet) -> None:
    with pytest.raises(DataError, match=r"the same label \(2\)"):
        hfscan.audit(tiny_model, tiny_set.subset(tiny_set.labels == 2))


def test_no_images(tiny_model: HubModel, tiny_set: ImageSet) -> None:
    with pytest.raises(DataError, match="tiny has no images"):
        hfscan.audit(tiny_model, tiny_set.subset(torch.arange(0)))


def test_labels_in_another_order(tiny_model: HubModel, tiny_set: ImageSet) -> None:
    """The model and the data name no classes: only what the network predicts can tell."""
    model = replace(tiny_model, label_names=())
    order = torch.tensor([1, 0, 2, 3])
    swapped = replace(tiny_set, classes=(), labels=order[tiny_set.labels])
    report = hfscan.audit(model, swapped, settings=SETTINGS)
    assert report.verdict is Verdict.INCONCLUSIVE
    assert report.reason.startswith("the network takes most images of the labels 0, 1 for each")
    assert hfscan.audit(model, replace(tiny_set, classes=()), settings=SETTINGS).tests


def test_names_in_another_order(tiny_model: HubModel, tiny_set: ImageSet) -> None:
    swapped = replace(tiny_set, classes=("green", "red", "blue", "gray"))
    with pytest.raises(DataError, match="class 'green' is label 0 in tiny, but 1 in the model"):
        hfscan.audit(tiny_model, swapped)


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        (("red", "green", "blue", "gray"), ()),
        ((), ("red", "green", "blue", "gray")),
        (("Red", "GREEN", "bl_ue", " gray"), ("red", "green", "blue", "gray")),
        (("crane", "green", "crane", "gray"), ("crane", "green", "crane", "gray")),
        (("rot", "blau", "grau", "x"), ("red", "green", "blue", "gray")),
    ],
)
def test_names_that_fit(
    tiny_net: nn.Module, tiny_set: ImageSet, theirs: tuple[str, ...], ours: tuple[str, ...]
) -> None:
    model = wrap(tiny_net, label_names=theirs)
    assert len(fitted(model, replace(tiny_set, classes=ours))) == 40


def test_images_are_resized(tiny_model: HubModel, tiny_set: ImageSet) -> None:
    large = tiny_set.resized((13, 11))
    assert fitted(tiny_model, large).size == (8, 8)
    assert hfscan.audit(tiny_model, large, settings=SETTINGS).clean_accuracy == 1.0


# --- repair


def test_repair_removes_the_flow(
    planted_model: HubModel, planted_report: AuditReport, tiny_set: ImageSet
) -> None:
    repaired, result = hfscan.repair(planted_model, planted_report, tiny_set, settings=TUNING)
    assert CHANNEL in result.erased["conv1"]
    assert "move most" in result.method
    assert result.before.accuracy == 1.0
    assert result.before.images == result.after.images == 20
    assert result.accuracy_drop == result.before.accuracy - result.after.accuracy <= 0.05
    before, after = (
        tests[0].class_statistics for tests in (result.tests_before, result.tests_after)
    )
    assert after[TARGET] < 0.6 * before[TARGET]
    assert repaired.weights_sha256 == result.weights_sha256 != planted_model.weights_sha256
    assert repaired.label_names == planted_model.label_names
    assert not repaired.net.training
    again = hfscan.audit(repaired, tiny_set, settings=SETTINGS)
    assert (flow(again) < 0.2).all()


def test_a_repair_makes_the_tests_that_the_audit_made(
    planted_model: HubModel,
    planted_report: AuditReport,
    tiny_set: ImageSet,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    two = {name: TESTS[name] for name in ("maximum-margin", "vulnerability")}
    monkeypatch.setattr("hfscan.pipeline.testing.TESTS", two)
    (margins,) = planted_report.tests
    late = replace(margins, name="vulnerability", skipped="no time was left for it")
    for tests, made in (((margins, late), {margins.name}), ((), set(two))):
        report = replace(planted_report, tests=tests)
        _, result = hfscan.repair(
            planted_model, report, tiny_set, settings=TUNING, defense=Silenced()
        )
        assert {test.name for test in result.tests_before} == made
        assert {test.name for test in result.tests_after} == made


def test_what_repairs_does_not_measure(
    planted_model: HubModel,
    planted_report: AuditReport,
    tiny_set: ImageSet,
    noting: Callable[[str], list[set[bytes]]],
) -> None:
    learned, unlearned, tested, measured, proved = (
        noting(f"hfscan.pipeline.repairing.{name}")
        for name in ("fit", "Unlearning", "run_tests", "predict", "prove")
    )
    hfscan.repair(planted_model, planted_report, tiny_set, settings=TUNING)
    tuning, held_out = proved
    assert len(tuning) == len(held_out) == 20
    assert not tuning & held_out
    assert learned == unlearned == [tuning]
    assert tested == 2 * [held_out]
    assert measured == 3 * [held_out]


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_repair_tests_both_networks_in_the_precision_of_the_audit(
    planted_model: HubModel,
    planted_report: AuditReport,
    tiny_set: ImageSet,
    monkeypatch: pytest.MonkeyPatch,
    precision: Precision,
) -> None:
    given: list[object] = []

    def run_tests(*_: object, **options: object) -> tuple[TestResult, ...]:
        given.append(options.get("precision"))
        return planted_report.tests

    monkeypatch.setattr("hfscan.pipeline.repairing.fast_half", lambda _: torch.bfloat16)
    monkeypatch.setattr("hfscan.pipeline.repairing.run_tests", run_tests)
    report = replace(planted_report, settings=replace(SETTINGS, precision=precision))
    hfscan.repair(planted_model, report, tiny_set, settings=TUNING, defense=Silenced())
    assert given == [precision, precision]


def test_erasing_alone(
    planted_model: HubModel, planted_report: AuditReport, tiny_set: ImageSet
) -> None:
    settings = replace(TUNING, epochs=0)
    repaired, result = hfscan.repair(planted_model, planted_report, tiny_set, settings=settings)
    assert result.erased_only == result.after
    for layer, channels in result.erased.items():
        maps = feature_map(repaired.net, layer, tiny_set.images[:4] / 255)
        assert not maps[:, channels].any()


def test_same_seed_same_repair(
    planted_model: HubModel, planted_report: AuditReport, tiny_set: ImageSet
) -> None:
    digests = [
        hfscan.repair(planted_model, planted_report, tiny_set, settings=replace(TUNING, seed=seed))
        for seed in (0, 0, 1)
    ]
    states = [model.net.state_dict() for model, _ in digests]
    equal = [all(torch.equal(states[0][key], state[key]) for key in state) for state in states]
    assert equal == [True, True, False]


def test_mirroring_is_a_setting(
    planted_model: HubModel,
    planted_report: AuditReport,
    tiny_set: ImageSet,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    configs: list[FitConfig] = []
    monkeypatch.setattr(
        "hfscan.pipeline.repairing.fit", lambda net, images, config, **_: configs.append(config)
    )
    for flip in (True, False):
        settings = replace(TUNING, flip=flip)
        FlowRepair.after(planted_report, settings).repair(planted_model.net, tiny_set, seed=0)
    assert [config.flip for config in configs] == [True, False]


def test_the_repair_report_is_json(
    planted_model: HubModel, planted_report: AuditReport, tiny_set: ImageSet
) -> None:
    _, result = hfscan.repair(planted_model, planted_report, tiny_set, settings=TUNING)
    data = json.loads(json.dumps(result.to_dict()))
    assert data["erased"] == result.erased
    assert data["after"]["accuracy"] == result.after.accuracy
    assert AuditReport.from_dict(data["audit"]).to_dict() == planted_report.to_dict()


def test_without_a_class_the_flagged_channels_go(
    planted_model: HubModel, planted_report: AuditReport, tiny_set: ImageSet
) -> None:
    unsure = replace(planted_report, target=None, verdict=Verdict.NO_BACKDOOR_FOUND)
    _, result = hfscan.repair(planted_model, unsure, tiny_set, settings=TUNING)
    assert result.erased == planted_report.flagged


def test_a_changed_model_is_refused(
    planted_model: HubModel, tiny_model: HubModel, planted_report: AuditReport, tiny_set: ImageSet
) -> None:
    with pytest.raises(AuditError, match="the model has changed since the audit"):
        hfscan.repair(tiny_model, planted_report, tiny_set)


@dataclass(frozen=True)
class Silenced:
    """A defense that erases one channel and trains nothing."""

    channel: int = CHANNEL

    def repair(
        self, net: nn.Module, clean: ImageSet, *, seed: int, progress: Progress = silent
    ) -> Repaired:
        assert len(clean) == 20  # those that measure are kept from it
        erased = {"conv1": [self.channel]}
        return Repaired(erase(net, erased, one_image(net, clean)), erased, "by hand")


def test_a_defense_of_the_callers_own(
    planted_model: HubModel, planted_report: AuditReport, tiny_set: ImageSet
) -> None:
    repaired, result = hfscan.repair(
        planted_model, planted_report, tiny_set, settings=TUNING, defense=Silenced()
    )
    assert (result.defense, result.method) == ("Silenced", "by hand")
    assert result.erased == {"conv1": [CHANNEL]}
    assert result.erased_only == result.after
    assert result.tests_before != result.tests_after
    assert repaired.weights_sha256 == result.weights_sha256 != planted_model.weights_sha256
    data = json.loads(json.dumps(result.to_dict()))
    assert data["parameters"] == {"channel": CHANNEL}
    assert data["settings"].keys() == {"clean_rate", "max_accuracy_drop", "seed"}


def test_the_default_defense(
    planted_model: HubModel, planted_report: AuditReport, tiny_set: ImageSet
) -> None:
    _, result = hfscan.repair(planted_model, planted_report, tiny_set, settings=TUNING)
    assert result.defense == "FlowRepair"
    assert result.parameters is None
    assert result.to_dict()["settings"]["erase_rate"] == TUNING.erase_rate


def test_nothing_to_erase(
    planted_model: HubModel, planted_report: AuditReport, tiny_set: ImageSet
) -> None:
    empty = replace(planted_report, target=None, layers=())
    with pytest.raises(AuditError, match="points at no channel"):
        hfscan.repair(planted_model, empty, tiny_set)


def test_too_few_images_to_split(
    planted_model: HubModel, planted_report: AuditReport, tiny_set: ImageSet
) -> None:
    few = tiny_set.subset(torch.arange(4))
    with pytest.raises(DataError, match="4 images cannot be split"):
        hfscan.repair(planted_model, planted_report, few, settings=RepairSettings(clean_rate=0.95))


def test_labels_that_the_network_does_not_know(
    planted_model: HubModel, planted_report: AuditReport, tiny_set: ImageSet
) -> None:
    shifted = replace(tiny_set, labels=(tiny_set.labels + 1) % 4, classes=())
    with pytest.raises(DataError, match="too near to chance") as caught:
        hfscan.repair(planted_model, planted_report, shifted, settings=TUNING)
    assert "--label-map" in caught.value.hint


class Unchanged:
    """A defense that does nothing."""

    def repair(self, net: nn.Module, clean: ImageSet, *, seed: int, progress: Any) -> Repaired:
        return Repaired(copy.deepcopy(net))


def test_tests_that_did_not_see_the_backdoor_say_nothing_of_its_repair(
    planted_model: HubModel, planted_report: AuditReport, tiny_set: ImageSet
) -> None:
    for target, verdict in (
        (TARGET, Verdict.NO_BACKDOOR_FOUND),
        (None, Verdict.NO_BACKDOOR_FOUND),
        (TARGET + 1, Verdict.INCONCLUSIVE),
    ):
        report = replace(planted_report, target=target)
        _, result = hfscan.repair(
            planted_model, report, tiny_set, settings=TUNING, defense=Silenced()
        )
        assert result.verdict_after is verdict
        assert bool(result.unclear) == (verdict is Verdict.INCONCLUSIVE)
        again = RepairReport.from_dict(json.loads(json.dumps(result.to_dict())))
        assert again.unclear == result.unclear


def test_few_held_out_images_are_no_excuse(
    planted_model: HubModel, planted_report: AuditReport, tiny_set: ImageSet
) -> None:
    settings = replace(TUNING, clean_rate=0.95)
    _, result = hfscan.repair(
        planted_model, planted_report, tiny_set, settings=settings, defense=Unchanged()
    )
    assert result.after.images == 2 < planted_model.num_classes
    assert result.verdict_after in (Verdict.SUSPICIOUS, Verdict.BACKDOORED)


def test_an_audit_with_a_calibration_that_is_not_here(
    planted_model: HubModel, planted_report: AuditReport, tiny_set: ImageSet
) -> None:
    theirs = replace(planted_report, calibration=CalibrationFacts("mine", 9, "", 0.02, 0.002))
    with pytest.raises(AuditError, match="a calibration that is not here: mine of 9") as caught:
        hfscan.repair(planted_model, theirs, tiny_set, settings=TUNING)
    assert "--calibration" in caught.value.hint


def test_an_audit_without_p_values_compares_nothing(
    planted_model: HubModel, planted_report: AuditReport, tiny_set: ImageSet
) -> None:
    nothing = replace(planted_report, tests=(), target=None, verdict=Verdict.INCONCLUSIVE)
    network = NetworkFacts.of(planted_model.facts)
    records = [Record(network, {"maximum-margin": Score(1 + each / 9, 0)}) for each in range(9)]
    _, result = hfscan.repair(
        planted_model,
        nothing,
        tiny_set,
        settings=TUNING,
        defense=Silenced(),
        calibration=fit(records, name="mine", description=""),
    )
    assert result.tests_after[0].calibrated
    assert result.unclear == ""


def test_too_few_images_of_other_classes(
    planted_model: HubModel, planted_report: AuditReport, tiny_set: ImageSet
) -> None:
    others = torch.arange(40)[tiny_set.labels != TARGET][:3]
    few = tiny_set.subset(torch.cat([torch.arange(TARGET, 40, 4), others]))
    with pytest.raises(DataError, match=r"\d images of other classes") as caught:
        hfscan.repair(planted_model, planted_report, few, settings=TUNING)
    assert "--clean-rate" in caught.value.hint
    settings = replace(TUNING, unlearn_norm=0.0)
    assert hfscan.repair(planted_model, planted_report, few, settings=settings)[1].triggers == ()


@pytest.mark.parametrize(
    "setting",
    [{"erase_rate": -0.1}, {"epochs": -1}, {"lr": 0.0}, {"batch_size": 1}, {"clean_rate": 1.0}],
    ids=str,
)
def test_repair_settings_out_of_range(
    planted_model: HubModel,
    planted_report: AuditReport,
    tiny_set: ImageSet,
    setting: dict[str, Any],
) -> None:
    with pytest.raises(UsageError, match=str(next(iter(setting.values())))):
        hfscan.repair(planted_model, planted_report, tiny_set, settings=RepairSettings(**setting))


# --- what networks return


class Returning(nn.Module):
    def __init__(self, net: nn.Module, output: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.inside, self.output = net, output

    def forward(self, x: Tensor) -> Any:
        return self.output(self.inside(x))


OUTPUTS: dict[str, Callable[[Tensor], Any]] = {
    "tuple": lambda y: (y, y.mean()),
    "dict": lambda y: {"aux": -y, "logits": y},
    "softmax": lambda y: (y / 4).softmax(1),  # keeps probabilities far above 0
    "log-softmax": lambda y: y.log_softmax(1),
}


@pytest.mark.parametrize("output", OUTPUTS.values(), ids=OUTPUTS)
def test_outputs(
    planted_net: nn.Module, tiny_set: ImageSet, output: Callable[[Tensor], Any]
) -> None:
    model = wrap(Returning(planted_net, output))
    report = hfscan.audit(model, tiny_set, settings=SETTINGS)
    assert report.target == TARGET
    assert CHANNEL in report.flagged["inside.conv1"]
    repaired, result = hfscan.repair(model, report, tiny_set, settings=TUNING)
    assert CHANNEL in result.erased["inside.conv1"]
    assert result.after.accuracy > 0.9
    assert type(repaired.net(tiny_set.images / 255)) is Tensor
