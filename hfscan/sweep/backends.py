"""Where audits run: in processes of this machine, or on the workers of a Dask or Ray cluster."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from functools import partial

from hfscan.cluster import AWAKE, CLUSTERS, check_address, lost
from hfscan.sweep.process import Job, Outcome, Processes, perform
from hfscan.sweep.record import Record

Backend = Callable[[Sequence[Job], int, str | None, Processes], Iterator[Outcome]]
"""Jobs, how many at a time, the scheduler's address, and what is running -> outcomes, as they come."""


def on_this_machine(
    jobs: Sequence[Job], workers: int, scheduler: str | None, processes: Processes
) -> Iterator[Outcome]:
    """Audit on this machine, several models at a time; what still runs at the end is killed."""
    check_address("local", scheduler)
    pool = ThreadPoolExecutor(workers)
    try:
        pending = {pool.submit(perform, job, processes) for job in jobs}
        while pending:
            done, pending = wait(pending, AWAKE, FIRST_COMPLETED)
            yield from (future.result() for future in done)
    finally:
        processes.kill_all()
        pool.shutdown(cancel_futures=True)


def on_cluster(
    name: str, jobs: Sequence[Job], workers: int, scheduler: str | None, processes: Processes
) -> Iterator[Outcome]:
    """Audit on the workers of a cluster; an audit whose worker is lost is made again on another one."""
    for job, result in CLUSTERS[name](perform, jobs, address=scheduler):
        yield _outcome(result, job)


BACKENDS: dict[str, Backend] = {
    "local": on_this_machine,
    **{name: partial(on_cluster, name) for name in CLUSTERS},
}
"""Name -> how to run jobs."""


def _outcome(result: Callable[[], Outcome], job: Job) -> Outcome:
    """What a worker gave back, or that it never did."""
    try:
        return result()
    except Exception as error:
        options = " ".join(job.arguments)
        return Outcome(Record(job.model, "failed", reason=lost(error), options=options))
