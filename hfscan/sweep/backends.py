"""Where audits run: in processes of this machine, or on the workers of a Dask or Ray cluster.

joblib has backends for both clusters. They are not used: joblib's cannot give results as they come from Dask
(``supports_return_generator`` is false), so that a sweep that is interrupted would have nothing to show; and it
scatters large arguments to single workers, whose loss then loses them. Each cluster's own "submit, then take
what is done" is as short.
"""

from __future__ import annotations

import importlib
import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from functools import partial
from typing import Any

from hfscan.errors import AuditError, UsageError
from hfscan.sweep.process import Job, Outcome, Processes, perform
from hfscan.sweep.record import Record

Backend = Callable[[Sequence[Job], int, str | None, Processes], Iterator[Outcome]]
"""Jobs, how many at a time, the scheduler's address, and what is running -> outcomes, as they come."""

WAIT = 30
"""Seconds to wait for a scheduler, and for its first worker."""


def on_this_machine(
    jobs: Sequence[Job], workers: int, scheduler: str | None, processes: Processes
) -> Iterator[Outcome]:
    """Audit on this machine, several models at a time; what still runs at the end is killed."""
    if scheduler is not None:
        raise UsageError("--scheduler is for other machines", "name one: --backend dask or ray")
    pool = ThreadPoolExecutor(workers)
    try:
        futures = [pool.submit(perform, job, processes) for job in jobs]
        for future in as_completed(futures):
            yield future.result()
    finally:
        processes.kill_all()
        pool.shutdown(cancel_futures=True)


def on_dask(
    jobs: Sequence[Job], workers: int, scheduler: str | None, processes: Processes
) -> Iterator[Outcome]:
    """Audit on the workers of a Dask cluster; a worker's audits go to another one when it is lost."""
    dask = _extra("distributed", "dask")
    if scheduler is None:
        raise UsageError("--backend dask needs a scheduler", "--scheduler tcp://host:8786")
    try:
        client = dask.Client(scheduler, timeout=WAIT, set_as_default=False)
        client.wait_for_workers(1, timeout=WAIT)
    except (OSError, ValueError, TimeoutError) as error:
        raise _unreachable("Dask", scheduler, error) from error
    with client:
        run = uuid.uuid4().hex
        futures = {
            client.submit(perform, job, key=f"hfscan-{run}-{index}", pure=False): job
            for index, job in enumerate(jobs)
        }
        try:
            for future in dask.as_completed(futures, loop=client.loop):
                yield _outcome(future.result, futures[future])
        finally:
            client.cancel(list(futures), force=True)


def on_ray(
    jobs: Sequence[Job], workers: int, scheduler: str | None, processes: Processes
) -> Iterator[Outcome]:
    """Audit on the workers of a Ray cluster; a lost audit is made again by Ray."""
    ray = _extra("ray", "ray")
    try:
        ray.init(address=scheduler or "auto", log_to_driver=False, configure_logging=False)
    except (OSError, ValueError, RuntimeError) as error:
        raise _unreachable("Ray", scheduler or "auto", error) from error
    try:
        remote = ray.remote(perform)
        pending = {remote.remote(job): job for job in jobs}
        while pending:
            (done, *_), _ = ray.wait(list(pending), num_returns=1)
            job = pending.pop(done)
            yield _outcome(partial(ray.get, done), job)
    finally:
        ray.shutdown()


BACKENDS: dict[str, Backend] = {"local": on_this_machine, "dask": on_dask, "ray": on_ray}
"""Name -> how to run jobs."""


def _outcome(result: Callable[[], Outcome], job: Job) -> Outcome:
    """What a worker gave back, or that it never did, whatever the cluster's error is."""
    try:
        return result()
    except Exception as error:
        reason = (
            f"its worker was lost ({type(error).__name__}: {' '.join(str(error).split())[:200]})"
        )
        options = " ".join(job.arguments)
        return Outcome(Record(job.model, "failed", reason=reason, options=options))


def _extra(module: str, extra: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise UsageError(
            f"--backend {extra} needs {module}, which is not installed",
            f"pip install 'hfscan[{extra}]'",
        ) from error


def _unreachable(kind: str, address: str, error: Exception) -> AuditError:
    detail = " ".join(str(error).split())[:160]
    return AuditError(
        f"no {kind} cluster with workers at {address} ({type(error).__name__}: {detail})",
        "start a scheduler and a worker, or check the address",
    )
