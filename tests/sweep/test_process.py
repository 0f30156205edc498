from __future__ import annotations

import json
import threading

import pytest

from hfscan.sweep.process import Processes, perform

from .support import job


def test_a_verdict() -> None:
    outcome = perform(job("backdoored", threads=3, token="hf_secret"))
    record = outcome.record
    assert (record.status, record.counts, record.verdict) == ("audited", True, "BACKDOORED")
    assert (record.target, record.p_value, record.exit_code) == ("<b>green</b>", 1e-6, 1)
    assert (record.clean_accuracy, record.revision) == (0.875, "0" * 40)
    assert (record.options, record.model) == ("--split=test", "org/backdoored")
    assert outcome.reports["markdown"] == "report of org/backdoored"
    report = json.loads(outcome.reports["json"])
    assert {"--threads=3", "--json", "--quiet", "--split=test"} < set(report["options"])
    assert (report["env"]["HF_TOKEN"], report["env"]["OMP_NUM_THREADS"]) == ("hf_secret", "3")
    assert "hf_secret" not in str(report["options"]) + repr(outcome) + repr(
        job("x", token="hf_secret")
    )


@pytest.mark.parametrize(
    ("model", "status", "counts"),
    [
        ("clean", "audited", False),
        ("suspicious", "audited", True),
        ("tolerated", "audited", False),
        ("odd", "inconclusive", False),
        ("mlp", "unsupported", False),
    ],
)
def test_exit_codes(model: str, status: str, counts: bool) -> None:
    record = perform(job(model)).record
    assert (record.status, record.counts) == (status, counts)
    assert record.verdict


@pytest.mark.parametrize(
    ("model", "status", "reason"),
    [
        ("UnsupportedModelError", "unsupported", "a UnsupportedModelError of this model"),
        ("PickleRefusedError", "unsupported", "a PickleRefusedError of this model"),
        ("ModelError", "failed", "a ModelError of this model"),
        ("UnsafeWeightsError", "failed", "a UnsafeWeightsError of this model"),
        ("HubError", "failed", "a HubError of this model"),
        ("UsageError", "failed", "a UsageError of this model"),
        ("crash", "failed", "killed by signal 11, as a crash or a lack of memory does"),
        ("memory", "failed", "killed by signal 9, as a crash or a lack of memory does"),
        ("garbage", "failed", "its report cannot be read (JSONDecodeError: Expecting "),
        ("unknown", "failed", "it ended with exit code 1"),
    ],
)
def test_what_can_go_wrong(model: str, status: str, reason: str) -> None:
    outcome = perform(job(model))
    assert outcome.record.status == status
    if model != "unknown":
        assert outcome.record.reason.startswith(reason)
    assert outcome.record.verdict is None
    assert outcome.reports == {}


@pytest.mark.parametrize("error", [MemoryError, OSError("no room"), ValueError("a null byte")])
def test_what_cannot_be_started_has_failed(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    def popen(*arguments: object, **options: object) -> None:
        raise error

    monkeypatch.setattr("subprocess.Popen", popen)
    record = perform(job("clean")).record
    assert (record.status, record.exit_code) == ("failed", None)
    assert record.reason.startswith("it could not be started")


def test_an_audit_that_takes_too_long_is_killed() -> None:
    record = perform(job("hang", timeout=0.2)).record
    assert (record.status, record.exit_code) == ("failed", None)
    assert record.reason == "it was not done after 0.2 s, and was killed"
    assert record.seconds < 60


def test_all_processes_can_be_ended() -> None:
    began = threading.Event()
    processes = Processes(lambda _: began.set())
    records = []
    thread = threading.Thread(target=lambda: records.append(perform(job("hang"), processes).record))
    thread.start()
    began.wait()
    processes.kill_all()
    thread.join()
    assert records[0].exit_code == -9
    assert perform(job("hang"), processes).record.exit_code == -9  # also what begins afterwards
