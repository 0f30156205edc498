"""One audit in a process of its own, which may crash, run out of memory or out of time by itself."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from hfscan.errors import PickleRefusedError, UnsupportedModelError
from hfscan.reasons import NO_CONV, NOTHING_TESTED
from hfscan.sweep.record import Record, Status

UNSUPPORTED = (UnsupportedModelError.__name__, PickleRefusedError.__name__)
"""Errors that say what the model is, not what went wrong."""

PROGRAM = (sys.executable, "-m", "hfscan")

KILLED = "killed by signal {}, as a crash or a lack of memory does"


@dataclass(frozen=True)
class Job:
    """An audit to be made.

    Args:
        model: Reference of the model.
        arguments: Of ``hfscan audit``, after the model.
        formats: Of the reports to make, beside JSON.
        timeout: Seconds after which it is killed; None for never.
        threads: Of the processor; None for what the environment says.
        token: Of the Hub; None for the saved one.
        program: What starts hfscan; empty for the module of the Python that is running.
        reference: What to load, where that is not ``model``: another machine has another working directory.
    """

    model: str
    arguments: tuple[str, ...]
    formats: tuple[str, ...] = ()
    timeout: float | None = None
    threads: int | None = None
    token: str | None = field(default=None, repr=False)
    program: tuple[str, ...] = ()
    reference: str = ""


@dataclass(frozen=True)
class Outcome:
    """What came of it.

    Args:
        record: For ``sweep.jsonl``.
        reports: Format -> text.
    """

    record: Record
    reports: dict[str, str] = field(default_factory=dict, repr=False)


class Processes:
    """The processes that are running, so that all of them can be ended.

    Args:
        started: Told of each model when its audit begins, from the thread that waits for it.
    """

    def __init__(self, started: Callable[[str], None] = lambda _: None) -> None:
        self.started = started
        self._lock = threading.Lock()
        self._running: set[subprocess.Popen[bytes]] = set()
        self._over = False

    def begin(self, process: subprocess.Popen[bytes], model: str) -> None:
        """A process has been started."""
        self.started(model)
        with self._lock:
            self._running.add(process)
            if self._over:
                kill(process)

    def end(self, process: subprocess.Popen[bytes]) -> None:
        """A process is done."""
        with self._lock:
            self._running.discard(process)

    def kill_all(self) -> None:
        """Kill what is running, and what is started from now on."""
        with self._lock:
            self._over = True
            for process in self._running:
                kill(process)


def kill(process: subprocess.Popen[bytes]) -> None:
    """Kill a process and its children, if it has not ended by itself."""
    if process.poll() is not None:
        return
    with contextlib.suppress(ProcessLookupError, PermissionError):
        if hasattr(os, "killpg"):
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()


def perform(job: Job, processes: Processes | None = None) -> Outcome:
    """Audit one model in a process of its own, and say what came of it: never an error."""
    began = time.perf_counter()
    code = None
    try:
        with tempfile.TemporaryDirectory(prefix="hfscan-", ignore_cleanup_errors=True) as scratch:
            folder = Path(scratch)
            code = _run(job, folder, processes or Processes())
            outcome = _interpret(job, code, folder)
    except (OSError, ValueError, MemoryError) as error:  # no memory or disk for another process
        reason = f"it could not be started ({str(error)[:100]})"
        outcome = Outcome(Record(job.model, "failed", reason=reason))
    seconds = round(time.perf_counter() - began, 1)
    record = replace(outcome.record, seconds=seconds, exit_code=code, options=_options(job))
    return replace(outcome, record=record)


def _options(job: Job) -> str:
    return " ".join(job.arguments)


def _run(job: Job, folder: Path, processes: Processes) -> int | None:
    """The exit code; None if it was killed because its time was over."""
    outputs = [f"--output={name}={folder / name}" for name in job.formats]
    threads = [] if job.threads is None else [f"--threads={job.threads}"]
    command = [*(job.program or PROGRAM), "audit", job.reference or job.model, *job.arguments]
    with (folder / "out").open("wb") as out, (folder / "err").open("wb") as err:
        process = subprocess.Popen(
            [*command, *threads, *outputs, "--json", "--quiet"],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            env=_environment(job, folder),
            start_new_session=True,
        )
    processes.begin(process, job.model)
    try:
        return process.wait(job.timeout)
    except subprocess.TimeoutExpired:
        return None
    finally:
        kill(process)
        process.wait()
        processes.end(process)


def _environment(job: Job, folder: Path) -> dict[str, str]:
    """Of the process: a state of its own, errors that can be read, no modules from the working directory."""
    own = {"HFSCAN_STATE_DIR": str(folder / "state"), "HFSCAN_ERRORS": "json"}
    threads = {} if job.threads is None else {"OMP_NUM_THREADS": str(job.threads)}
    token = {} if job.token is None else {"HF_TOKEN": job.token}
    return {**os.environ, "PYTHONSAFEPATH": "1", **own, **threads, **token}


def _interpret(job: Job, code: int | None, folder: Path) -> Outcome:
    if code is None:
        reason = f"it was not done after {job.timeout:g} s, and was killed"
        return Outcome(Record(job.model, "failed", reason=reason, hint="use a longer --timeout"))
    if code < 0:
        return Outcome(Record(job.model, "failed", reason=KILLED.format(-code)))
    if code in (0, 1, 3):
        return _audited(job, code, folder)
    error = _error(folder / "err")
    status: Status = "unsupported" if error.get("kind") in UNSUPPORTED else "failed"
    reason = str(error.get("error") or f"it ended with exit code {code}")
    return Outcome(Record(job.model, status, reason=reason, hint=str(error.get("hint") or "")))


def _error(path: Path) -> dict[str, Any]:
    """The last line of stderr that is an error, or nothing."""
    for line in reversed(path.read_text(encoding="utf-8", errors="replace").splitlines()):
        with contextlib.suppress(ValueError, RecursionError):
            data = json.loads(line)
            if isinstance(data, dict) and "error" in data:
                return data
    return {}


def _audited(job: Job, code: int, folder: Path) -> Outcome:
    try:
        text = (folder / "out").read_text(encoding="utf-8")
        record = _record(job.model, code, json.loads(text))
        others = {name: (folder / name).read_text(encoding="utf-8") for name in job.formats}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        reason = f"its report cannot be read ({type(error).__name__}: {str(error)[:100]})"
        return Outcome(Record(job.model, "failed", reason=reason))
    return Outcome(record, {"json": text, **others})


def _record(model: str, code: int, report: dict[str, Any]) -> Record:
    p_values = [test["p_value"] for test in report["tests"] if test["p_value"] is not None]
    return Record(
        model,
        _inconclusive(report["reason"]) if code == 3 else "audited",
        counts=code == 1,
        verdict=str(report["verdict"]),
        target=None if report["target"] is None else str(report["target"]["name"]),
        reason=str(report["reason"]),
        p_value=report.get("p_value", min(p_values, default=None)),
        clean_accuracy=report["clean_accuracy"],
        revision=report["model"]["revision"],
        weights_sha256=report["model"]["weights_sha256"],
    )


def _inconclusive(reason: str) -> Status:
    return "unsupported" if reason in (NO_CONV, NOTHING_TESTED) else "inconclusive"
