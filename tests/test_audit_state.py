from __future__ import annotations

import contextlib
import random
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pytest
from torch import Tensor, nn

import hfscan
from hfscan.audit_state import AuditState
from hfscan.channels import ConvLayer
from hfscan.clock import Clock
from hfscan.fmt import Choice, LayerProfile
from hfscan.fmt.profile import failure
from hfscan.fmt.reverse import Start, start
from hfscan.model_tests import MaximumMargin
from hfscan.reasons import TEST_OUT_OF_TIME
from hfscan.types import AuditReport, AuditSettings, HubModel, ImageSet, TestResult

SETTINGS = AuditSettings(images=40, steps=2, step_size=0.1, eps=0.3, mode="fast", effort=0.4)
TESTS = {"maximum-margin": lambda _: MaximumMargin(starts=1, steps=5)}
T = TypeVar("T")


@pytest.fixture(autouse=True)
def quick_tests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hfscan.pipeline.testing.TESTS", TESTS)


def timeless(report: AuditReport) -> dict[str, Any]:
    tests = tuple(replace(test, seconds=0.0) for test in report.tests)
    return replace(report, seconds={}, tests=tests).to_dict()


class KilledError(BaseException):
    """Nothing that anybody catches."""


class KillAfter:
    """A progress bar that ends the run at an item."""

    def __init__(self, items: int) -> None:
        self.left = items

    def __call__(self, sequence: Iterable[T], description: str, total: float) -> Iterator[T]:
        for item in sequence:
            self.left -= 1
            if self.left < 0:
                raise KilledError
            yield item


def test_twenty_interruptions_change_nothing(
    planted_model: HubModel, tiny_set: ImageSet, tmp_path: Path
) -> None:
    expected = timeless(hfscan.audit(planted_model, tiny_set, settings=SETTINGS))
    rng = random.Random(0)
    for attempt in range(20):
        state = tmp_path / str(attempt)
        for point in (rng.randrange(1005), rng.randrange(1005)):  # 5 items of the test, 1000 of FMT
            with pytest.raises(KilledError):
                hfscan.audit(
                    planted_model,
                    tiny_set,
                    settings=SETTINGS,
                    state=state,
                    resume=True,
                    batch_size=40,
                    progress=KillAfter(point),
                )
        done = hfscan.audit(planted_model, tiny_set, settings=SETTINGS, state=state, resume=True)
        assert timeless(done) == expected
        assert not any(state.iterdir())


def test_only_the_layer_in_work_is_lost(
    planted_model: HubModel, tiny_set: ImageSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tested: list[str] = []

    def recorded(
        net: nn.Module, layer: str, images: Tensor, noise: Tensor, *, copies: int
    ) -> Start:
        tested.append(layer)
        return start(net, layer, images, noise, copies=copies)

    monkeypatch.setattr("hfscan.fmt.engine.start", recorded)

    def audit(items: int, *, resume: bool) -> list[str]:
        """The layers that are tested until so many items of progress have passed."""
        tested.clear()
        with contextlib.suppress(KilledError):
            hfscan.audit(
                planted_model,
                tiny_set,
                settings=replace(SETTINGS, mode="exact"),
                state=tmp_path,
                resume=resume,
                batch_size=40,
                progress=KillAfter(items),
            )
        return tested

    assert audit(900, resume=False) == ["conv1", "conv2"]
    assert audit(900, resume=True) == ["conv2"]  # the model-level tests are not run again either
    assert audit(900, resume=False) == ["conv1", "conv2"]
    (folder,) = tmp_path.iterdir()
    assert sorted(path.suffix for path in folder.iterdir()) == [".json", ".json", ".npz"]
    assert audit(1000, resume=True) == ["conv2"]
    assert not any(tmp_path.iterdir())


def test_an_interruption_while_pictures_are_drawn(
    planted_model: HubModel, tiny_set: ImageSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: Any, **__: Any) -> None:
        raise KilledError

    with monkeypatch.context() as patch:
        patch.setattr("hfscan.pipeline.auditing.draw_channels", killed)
        with pytest.raises(KilledError):
            hfscan.audit(planted_model, tiny_set, settings=SETTINGS, state=tmp_path)
    monkeypatch.setattr("hfscan.fmt.engine.start", killed)  # no layer is tested again
    monkeypatch.setattr("hfscan.pipeline.auditing.run_as_audit", killed)
    assert hfscan.audit(
        planted_model, tiny_set, settings=SETTINGS, state=tmp_path, resume=True
    ).pictures
    assert not any(tmp_path.iterdir())


def test_other_inputs_are_another_audit(
    planted_model: HubModel, tiny_set: ImageSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def folder(
        model: HubModel = planted_model,
        images: ImageSet = tiny_set,
        settings: AuditSettings = SETTINGS,
        budget: float | None = None,
    ) -> Path | None:
        clock = Clock(budget)
        return AuditState.of(tmp_path, model, images.facts, settings, clock, resume=True).folder

    rectified = nn.Sequential(planted_model.net, nn.ReLU())
    ours = folder()
    others = [
        folder(replace(planted_model, weights_sha256="1")),
        folder(replace(planted_model, mean=(0.5, 0.5, 0.5))),
        folder(replace(planted_model, std=(0.5, 0.5, 0.5))),
        folder(replace(planted_model, net=rectified)),
        folder(images=tiny_set.subset(tiny_set.labels.argsort())),
        folder(settings=replace(SETTINGS, seed=1)),
        folder(budget=60),
    ]
    assert folder() == ours
    assert folder(replace(planted_model, ref="./moved")) == ours
    monkeypatch.setattr("hfscan.audit_state.version", lambda _: "0.0.1")
    assert len({ours, *others, folder()}) == 9


def test_without_a_folder_nothing_is_kept(planted_model: HubModel, tiny_set: ImageSet) -> None:
    what = planted_model, tiny_set.facts, SETTINGS, Clock(None)
    assert AuditState.of(None, *what, resume=True).folder is None


def test_tests_of_the_callers_own_are_not_kept(
    planted_model: HubModel, tiny_set: ImageSet, tmp_path: Path
) -> None:
    """Nobody knows what is behind their names."""
    with pytest.raises(KilledError):
        hfscan.audit(
            planted_model,
            tiny_set,
            settings=SETTINGS,
            tests=[MaximumMargin(starts=1, steps=5)],
            state=tmp_path,
            progress=KillAfter(6),
        )
    assert not list(tmp_path.glob("*/tests.json"))
    assert list(tmp_path.glob("*/precision.json"))


LAYER = ConvLayer("conv", 2)
PROFILE = LayerProfile(
    LAYER,
    np.ones((2, 1), np.float32),
    np.ones((2, 1, 3), np.int64),
    *(np.array([True, False]), np.array([3, 1]), np.array([True, False]), np.array([False, True])),
)


def test_what_is_kept_comes_back(tmp_path: Path) -> None:
    state = AuditState(tmp_path / "audit", resume=True)
    assert state.layer(LAYER) is state.choice() is state.tests() is None
    state.keep_layer(PROFILE)
    state.keep_choice(Choice("bf16", 0.99))
    again = state.layer(LAYER)
    assert again is not None
    np.testing.assert_array_equal(again.tested, PROFILE.tested)
    np.testing.assert_array_equal(again.control, PROFILE.control)
    assert state.choice() == Choice("bf16", 0.99)
    assert AuditState(tmp_path / "audit").layer(LAYER) is None
    state.discard()
    assert not (tmp_path / "audit").exists()


def test_what_may_go_well_the_next_time_is_not_kept(tmp_path: Path) -> None:
    made = TestResult("made", 1.0, 0.5, 0, (1.0,), "")
    ended = TestResult("ended", None, None, None, (), "", TEST_OUT_OF_TIME)
    state = AuditState(tmp_path, resume=True)
    for again in (ended, replace(ended, skipped=failure(RuntimeError("can't allocate memory")))):
        state.keep_tests((made, again))
        assert state.tests() is None
    over = replace(state, clock=Clock(0))
    over.keep_tests((made,))
    over.keep_layer(PROFILE)
    over.keep_choice(Choice("fp32"))
    assert over.layer(LAYER) is over.choice() is over.tests() is None
    state.keep_tests((made,))
    assert state.tests() == (made,)


def test_a_layer_tested_for_another_class_does_not_come_back(tmp_path: Path) -> None:
    state = AuditState(tmp_path, resume=True, target=1)
    state.keep_layer(PROFILE)
    assert replace(state, target=None).layer(LAYER) is replace(state, target=2).layer(LAYER) is None
    assert state.layer(LAYER) is not None


@pytest.mark.parametrize("damage", [b"", b"{", b"PK\x03\x04", b'{"name": 5, "agreement": 1}'])
def test_damaged_files_count_as_missing(tmp_path: Path, damage: bytes) -> None:
    state = AuditState(tmp_path, resume=True)
    state.keep_layer(PROFILE)
    state.keep_choice(Choice("bf16", 0.99))
    for path in tmp_path.iterdir():
        path.write_bytes(damage)
    assert state.layer(LAYER) is None
    assert state.choice() is None


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    state = AuditState(tmp_path / "file" / "audit", resume=True)
    state.keep_layer(PROFILE)
    assert state.layer(LAYER) is None


SCRIPT = """
import sys
from pathlib import Path
import torch
import hfscan
from hfscan.models.preactresnet import preactresnet18
from hfscan.types import AuditSettings, ImageSet

torch.manual_seed(0)
net = preactresnet18(width=4, num_classes=4)
images = torch.randint(0, 256, (16, 3, 16, 16), dtype=torch.uint8)
model = hfscan.wrap(net, input_size=(3, 16, 16), num_classes=4)
with torch.no_grad():
    labels = model.net.eval()(images / 255).argmax(1)
labels[:4] = torch.arange(4)
settings = AuditSettings(images=16, precision="fp32")
print("ready", flush=True)
report = hfscan.audit(
    model, ImageSet("i", images, labels), settings=settings, state=Path(sys.argv[1]), resume=True
)
print([layer.predictions.tolist() for layer in report.layers])
"""


def test_sigkill(tmp_path: Path) -> None:
    def run(state: str, seconds: float | None) -> str:
        command = [sys.executable, "-c", SCRIPT, str(tmp_path / state)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            try:
                return process.communicate(timeout=seconds)[0]
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGKILL)
                return ""

    expected = run("whole", None)
    assert expected
    for seconds in (1.0, 2.0, 1.5):
        run("parts", seconds)
    assert run("parts", None) == expected
