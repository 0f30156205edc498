"""hfscan in this process, on small models that are on disk."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import datasets
import pytest

from hfscan import cli

from .support import (
    QUICK,
    QUICK_TESTS,
    Done,
    Victims,
    color_data,
    color_net,
    write_data,
    write_model,
)

Run = Callable[..., Done]


@pytest.fixture(autouse=True)
def _no_traces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Write below ``tmp_path`` only, do not wrap long lines, and test the whole network briefly."""
    monkeypatch.setattr("hfscan.pipeline.testing.TESTS", QUICK_TESTS)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.delenv("HFSCAN_DEBUG", raising=False)
    datasets.disable_progress_bars()


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run hfscan with arguments and return how it ended."""

    def run(*arguments: str | Path) -> Done:
        monkeypatch.setattr(sys, "argv", ["hfscan", *map(str, arguments)])
        capsys.readouterr()
        code = cli._run()
        return Done(code, *capsys.readouterr())

    return run


@pytest.fixture(scope="session")
def victims(tmp_path_factory: pytest.TempPathFactory) -> Victims:
    """A backdoored network, its clean twin, and images."""
    folder = tmp_path_factory.mktemp("victims")
    planted = write_model(folder / "planted", color_net(planted=True))
    clean = write_model(folder / "clean", color_net(planted=False))
    data = write_data(folder / "data", color_data())
    report = folder / "report.json"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("hfscan.pipeline.testing.TESTS", QUICK_TESTS)
        arguments = [str(planted), "--clean-data", str(data), *QUICK, "-o", f"json={report}"]
        patch.setenv("HFSCAN_STATE_DIR", str(folder / "state"))
        patch.setattr(sys, "argv", ["hfscan", "audit", *arguments])
        assert cli._run() == 1
    return Victims(planted, clean, data, report)
