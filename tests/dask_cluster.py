"""A Dask cluster on this machine."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

TESTS = str(Path(__file__).parent)


class DaskCluster:
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
