from __future__ import annotations

import signal
from collections import Counter

from dask_cluster import DaskCluster

from hfscan.sweep.backends import BACKENDS
from hfscan.sweep.process import Processes

from .support import job


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


def test_a_worker_is_killed_half_way(dask_cluster: DaskCluster) -> None:
    """Its audit is made again by the other worker, and each model is in the result once."""
    doomed, _ = dask_cluster.start(2)
    jobs = [job(f"clean-{index}-for-0.4") for index in range(8)] + [job("crash")]
    outcomes = BACKENDS["dask"](jobs, 1, dask_cluster.address, Processes())
    models = []
    for outcome in outcomes:
        models.append(outcome.record.model)
        assert outcome.record.status == ("failed" if "crash" in models[-1] else "audited")
        if len(models) == 2:
            doomed.send_signal(signal.SIGKILL)
    assert sorted(models) == sorted(each.model for each in jobs)
    assert doomed.wait() == -signal.SIGKILL
