"""What an audit has done so far, kept on disk, so that an interrupted one can go on."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from hfscan.channels import ConvLayer
from hfscan.clock import Clock
from hfscan.fmt import Choice, LayerProfile
from hfscan.reasons import PASSES_FAIL, TEST_OUT_OF_TIME
from hfscan.types import AuditSettings, DataFacts, HubModel, TestResult
from hfscan.types.read import typed

ARRAYS = ("accuracy", "predictions", "verified", "tested", "found", "control")
DAMAGED = (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile)
"""What reading a damaged file may raise; such a file counts as missing."""


@dataclass(frozen=True)
class AuditState:
    """One audit's folder. Every file in it is whole: it was written aside and moved there.

    What cannot be written is not kept, and that is all: the audit goes on. What a time budget ended is not kept
    either.

    Args:
        folder: Made when it is needed; None keeps nothing.
        resume: Whether to read what is there already.
        clock: Once its time is over, nothing more is kept.
        target: The suspected class that layers are tested with. It follows from the calibration and from the
            tests that were made, which are not in the folder's name.
    """

    folder: Path | None = None
    resume: bool = False
    clock: Clock = field(default_factory=lambda: Clock(None))
    target: int | None = None

    @classmethod
    def of(
        cls,
        root: Path | None,
        model: HubModel,
        data: DataFacts,
        settings: AuditSettings,
        clock: Clock,
        *,
        resume: bool,
    ) -> AuditState:
        """The state below ``root`` of exactly this model, these images and these settings.

        With a budget time decides how thoroughly layers are tested, so such audits have a state of their own.
        """
        if root is None:
            return cls()
        budgeted = clock.seconds is not None
        what = [*_identity(model), data.fingerprint, asdict(settings), budgeted, version("hfscan")]
        name = hashlib.sha256(json.dumps(what).encode()).hexdigest()[:32]
        return cls(root / name, resume, clock)

    def choice(self) -> Choice | None:
        """The precision that was settled on."""
        data = self._read_json("precision.json")
        with contextlib.suppress(*DAMAGED):
            return None if data is None else typed(Choice, data)
        return None

    def keep_choice(self, choice: Choice) -> None:
        """Keep the precision."""
        self._write_json("precision.json", asdict(choice))

    def tests(self) -> tuple[TestResult, ...] | None:
        """The results of the model-level tests."""
        data = self._read_json("tests.json")
        with contextlib.suppress(*DAMAGED):
            return None if data is None else typed(tuple[TestResult, ...], data)
        return None

    def keep_tests(self, tests: tuple[TestResult, ...]) -> None:
        """Keep the results of the model-level tests, if none of them is to be tried again."""
        if not any(test.skipped.startswith((TEST_OUT_OF_TIME, PASSES_FAIL)) for test in tests):
            self._write_json("tests.json", [asdict(test) for test in tests])

    def layer(self, layer: ConvLayer) -> LayerProfile | None:
        """The profile of a layer."""
        if self.folder is None or not self.resume:
            return None
        path = self.folder / self._file_name(layer)
        with contextlib.suppress(*DAMAGED), np.load(path, allow_pickle=False) as data:
            arrays = {name: data[name] for name in ARRAYS}
            if arrays["tested"].shape == (layer.channels,):
                return LayerProfile(layer, **arrays)
        return None

    def keep_layer(self, profile: LayerProfile) -> None:
        """Keep the profile of a layer that was tested."""
        arrays = {name: getattr(profile, name) for name in ARRAYS}
        if not profile.skipped:
            self._write(self._file_name(profile.layer), lambda stream: np.savez(stream, **arrays))

    def discard(self) -> None:
        """Forget everything: the audit is done."""
        if self.folder is not None:
            shutil.rmtree(self.folder, ignore_errors=True)

    def _read_json(self, name: str) -> Any:
        if self.folder is None or not self.resume:
            return None
        with contextlib.suppress(*DAMAGED):
            return json.loads((self.folder / name).read_text(encoding="utf-8"))
        return None

    def _write_json(self, name: str, data: Any) -> None:
        text = json.dumps(data)
        self._write(name, lambda stream: stream.write(text.encode()))

    def _write(self, name: str, fill: Callable[[BinaryIO], Any]) -> None:
        if self.folder is None or self.clock.left() <= 0:
            return
        with contextlib.suppress(OSError):
            self.folder.mkdir(parents=True, exist_ok=True)
            descriptor, scratch = tempfile.mkstemp(dir=self.folder)
            with os.fdopen(descriptor, "wb") as stream:
                fill(stream)
            Path(scratch).replace(self.folder / name)

    def _file_name(self, layer: ConvLayer) -> str:
        """A name of a file for any name of a layer."""
        what = json.dumps([layer.name, self.target])
        return hashlib.sha256(what.encode()).hexdigest()[:24] + ".npz"


def _identity(model: HubModel) -> tuple[Any, ...]:
    """What decides the outputs of a model; other files with the same weights may normalize or connect otherwise."""
    return model.weights_sha256, model.architecture, model.mean, model.std, repr(model.net)
