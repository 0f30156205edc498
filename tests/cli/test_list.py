from __future__ import annotations

from typing import get_args

from hfscan.cli.list import KindName
from hfscan.registries import KINDS

from .conftest import Run


def test_the_choices_are_the_registries() -> None:
    assert get_args(KindName) == KINDS


def test_a_list_for_people(run: Run) -> None:
    done = run("list", "detectors")
    assert (done.code, done.err) == (0, "")
    first = done.out.splitlines()[0]
    assert first.split()[0] == "elliptic"
    assert "EllipticEnvelope" in first


def test_a_list_for_programs(run: Run) -> None:
    done = run("list", "formats", "--json")
    assert done.code == 0
    assert list(done.json) == ["formats"]
    assert {"console", "json", "markdown"} <= set(done.json["formats"])


def test_an_unknown_registry(run: Run) -> None:
    done = run("list", "nonsense")
    assert (done.code, done.out) == (4, "")
    assert "'detectors'" in done.err
