from __future__ import annotations

import importlib.util
import os
import signal
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from hfscan.errors import AuditError, UsageError
from hfscan.sweep import backends
from hfscan.sweep.backends import BACKENDS
from hfscan.sweep.process import Processes

from .support import job

TESTS = str(Path(__file__).parent.parent)


def test_several_at_a_time_on_this_machine() -> None:
    running: list[str] = []
    jobs = [job(f"clean-{index}-for-0.2") for index in range(3)] + [job("crash")]
    outcomes = list(BACKENDS["local"](jobs, 3, None, Processes(running.append)))
    assert sorted(outcome.record.model for outcome in outcomes) == sorted(running)
    assert Counter(outcome.record.status for outcome in outcomes) == {"audited": 3, "failed": 1}


def test_what_runs_is_killed_when_nobody_wants_the_rest() -> None:
    outcomes = BACKENDS["local"]([job("clean"), job("hang")], 2, None, Processes())
    assert next(outcomes).record.model == "org/clean"
    outcomes.close()  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", ["dask", "ray"])
def test_an_extra_that_is_not_installed(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(module: str) -> ModuleType:
        raise ModuleNotFoundError(module)

    monkeypatch.setattr(backends.importlib, "import_module", missing)
    with pytest.raises(UsageError, match=f"--backend {name} needs .* not installed") as caught:
        next(iter(BACKENDS[name]([job("clean")], 1, "somewhere", Processes())))
    assert caught.value.hint == f"pip install 'hfscan[{name}]'"


needs_dask = pytest.mark.skipif(
    importlib.util.find_spec("distributed") is None, reason="dask is not installed"
)


@needs_dask
def test_no_cluster(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backends, "WAIT", 0.2)
    with pytest.raises(AuditError, match=f"no Dask cluster with workers at {cluster.address}"):
        next(iter(BACKENDS["dask"]([job("clean")], 1, cluster.address, Processes())))


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    cluster = Cluster(tmp_path)
    yield cluster
    cluster.stop()


class Cluster:
    """A Dask scheduler and workers on loopback, in processes of their own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.processes: list[subprocess.Popen[bytes]] = []
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.address = f"tcp://127.0.0.1:{free.getsockname()[1]}"

    def start(self, workers: int) -> list[subprocess.Popen[bytes]]:
        port = self.address.rpartition(":")[2]
        self._run("scheduler", "--host=127.0.0.1", f"--port={port}", "--no-dashboard", "--no-show")
        options = ("--no-nanny", "--nthreads=1", "--no-dashboard", "--host=127.0.0.1")
        return [self._run("worker", self.address, *options) for _ in range(workers)]

    def _run(self, kind: str, *arguments: str) -> subprocess.Popen[bytes]:
        paths = [TESTS, os.environ.get("PYTHONPATH", "")]
        process = subprocess.Popen(
            [sys.executable, "-m", "distributed.cli.dask_" + kind, *arguments],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))},
            cwd=self.folder,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self.processes.append(process)
        return process

    def stop(self) -> None:
        for process in self.processes:
            process.kill()
            process.wait()


@needs_dask
def test_a_worker_is_killed_half_way(cluster: Cluster) -> None:
    """Its audit is made again by the other worker, and each model is in the result once."""
    doomed, _ = cluster.start(2)
    jobs = [job(f"clean-{index}-for-0.4") for index in range(8)] + [job("crash")]
    outcomes = BACKENDS["dask"](jobs, 1, cluster.address, Processes())
    models = []
    for outcome in outcomes:
        models.append(outcome.record.model)
        assert outcome.record.status == ("failed" if "crash" in models[-1] else "audited")
        if len(models) == 2:
            doomed.send_signal(signal.SIGKILL)
    assert sorted(models) == sorted(each.model for each in jobs)
    assert doomed.wait() == -signal.SIGKILL
