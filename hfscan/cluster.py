"""Work on the workers of a Dask or Ray cluster, with results as they come.

joblib has backends for both. They are not used: joblib's cannot give results as they come from Dask
(``supports_return_generator`` is false), so that work that is interrupted would have nothing to show; and it
scatters large arguments to single workers, whose loss then loses them. Each cluster's own "submit, then take
what is done" is as short.
"""

from __future__ import annotations

import importlib
import uuid
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, TypeVar

from hfscan.errors import AuditError, UsageError

Item = TypeVar("Item")

Spread = Callable[
    [Callable[..., Any], Sequence[Item], tuple[object, ...]],
    Iterator[tuple[Item, Callable[[], Any]]],
]
"""A function, what to call it with, and further arguments that all calls share -> for each item, as it is done, the
item and what gives the result, or raises what went wrong."""

AWAKE = 0.5
"""Seconds between looks at what is done: an interrupt that comes just before a long wait is not heard in it."""

WAIT = 30
"""Seconds to wait for a scheduler, and for its first worker."""


def on_dask(
    function: Callable[..., Any],
    items: Sequence[Item],
    shared: tuple[object, ...] = (),
    *,
    address: str | None,
) -> Iterator[tuple[Item, Callable[[], Any]]]:
    """Work on a Dask cluster; a worker's items go to another one when it is lost.

    Args:
        function: Called on a worker, as ``function(item, *shared)``.
        items: Each is a call.
        shared: Sent to every worker once.
        address: Of the scheduler.

    Raises:
        UsageError: There is no address, or Dask is not installed.
        AuditError: The cluster does not answer, or has no workers.
    """
    dask = _extra("distributed", "dask")
    check_address("dask", address)
    try:
        client = dask.Client(address, timeout=WAIT, set_as_default=False)
        client.wait_for_workers(1, timeout=WAIT)
    except (OSError, ValueError, TimeoutError) as error:
        raise _unreachable("Dask", address, error) from error
    with client:
        run = uuid.uuid4().hex
        sent = [client.scatter(value, broadcast=True, hash=False) for value in shared]
        futures = {
            client.submit(function, item, *sent, key=f"hfscan-{run}-{index}", pure=False): item
            for index, item in enumerate(items)
        }
        try:
            for future in dask.as_completed(futures, loop=client.loop):
                yield futures[future], future.result
        finally:
            client.cancel(list(futures), force=True)


def on_ray(
    function: Callable[..., Any],
    items: Sequence[Item],
    shared: tuple[object, ...] = (),
    *,
    address: str | None,
) -> Iterator[tuple[Item, Callable[[], Any]]]:
    """Work on a Ray cluster; what is lost is made again by Ray. See `on_dask`.

    Args:
        function: Called on a worker, as ``function(item, *shared)``.
        items: Each is a call.
        shared: Sent to the cluster once.
        address: Of the cluster; None for the one that this machine belongs to.

    Raises:
        UsageError: Ray is not installed.
        AuditError: The cluster does not answer.
    """
    ray = _extra("ray", "ray")
    try:
        ray.init(address=address or "auto", log_to_driver=False, configure_logging=False)
    except (OSError, ValueError, RuntimeError) as error:
        raise _unreachable("Ray", address or "auto", error) from error
    try:
        remote = ray.remote(function)
        sent = [ray.put(value) for value in shared]
        pending = {remote.remote(item, *sent): item for item in items}
        while pending:
            for done in ray.wait(list(pending), num_returns=1, timeout=AWAKE)[0]:
                yield pending.pop(done), partial(ray.get, done)
    finally:
        ray.shutdown()


CLUSTERS = {"dask": on_dask, "ray": on_ray}
"""Name -> how to work there."""


def check_address(backend: str, address: str | None) -> None:
    """Refuse an address without a cluster, or a cluster that needs one.

    Raises:
        UsageError: With the option to give or to leave out.
    """
    if backend not in CLUSTERS and address is not None:
        raise UsageError("--scheduler is for other machines", "name one: --backend dask or ray")
    if backend == "dask" and address is None:
        raise UsageError("--backend dask needs a scheduler", "--scheduler tcp://host:8786")


def lost(error: Exception) -> str:
    """Why there is no result, whatever the cluster's error is, on one line."""
    return f"its worker was lost ({type(error).__name__}: {' '.join(str(error).split())[:200]})"


def _extra(module: str, extra: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise UsageError(
            f"--backend {extra} needs {module}, which is not installed",
            f"in your clone of hfscan: pip install '.[{extra}]'",
        ) from error


def _unreachable(kind: str, address: str | None, error: Exception) -> AuditError:
    detail = " ".join(str(error).split())[:160]
    return AuditError(
        f"no {kind} cluster with workers at {address} ({type(error).__name__}: {detail})",
        "start a scheduler and a worker, or check the address",
    )
