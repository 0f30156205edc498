from __future__ import annotations

from types import ModuleType

import pytest
from dask_cluster import DaskCluster

from hfscan import cluster
from hfscan.cluster import CLUSTERS, lost
from hfscan.errors import AuditError, UsageError


@pytest.mark.parametrize("name", CLUSTERS)
def test_an_extra_that_is_not_installed(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(module: str) -> ModuleType:
        raise ModuleNotFoundError(module)

    monkeypatch.setattr(cluster.importlib, "import_module", missing)
    with pytest.raises(UsageError, match=f"--backend {name} needs .* not installed") as caught:
        next(iter(CLUSTERS[name](abs, [1], address="somewhere")))
    assert caught.value.hint == f"in your clone of hfscan: pip install '.[{name}]'"


def test_no_cluster(dask_cluster: DaskCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "WAIT", 0.2)
    with pytest.raises(AuditError, match=f"no Dask cluster with workers at {dask_cluster.address}"):
        next(iter(CLUSTERS["dask"](abs, [1], address=dask_cluster.address)))


def test_dask_needs_an_address() -> None:
    pytest.importorskip("distributed")
    with pytest.raises(UsageError, match="needs a scheduler"):
        next(iter(CLUSTERS["dask"](abs, [1], address=None)))


def test_results_and_errors_come_with_their_items(dask_cluster: DaskCluster) -> None:
    dask_cluster.start(1)
    results = {}
    for item, result in CLUSTERS["dask"](pow, [2, 3, "x"], (5, 7), address=dask_cluster.address):
        try:
            results[item] = result()
        except TypeError as error:
            results[item] = lost(error)
    assert results.pop("x").startswith("its worker was lost (TypeError: ")
    assert results == {2: 4, 3: 5}


def test_what_was_lost_is_one_short_line() -> None:
    text = lost(OSError("a\nb" * 1000))
    assert "\n" not in text
    assert len(text) < 260
