"""Everything that can be wrong with the input, and what hfscan says about it: one table."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from loopback_hub import LoopbackHub

from .bad_case import Case, Place
from .bad_data import DATA
from .bad_hub import HUB
from .bad_models import MODELS
from .bad_options import OPTIONS
from .conftest import Run
from .support import Done, Site, Victims, hfscan_batch, private_environment, tree

CASES = MODELS + DATA + HUB + OPTIONS


@pytest.fixture(scope="module")
def answers(
    victims: Victims, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Done]]:
    """The cases that need a Hub, each Hub's in one process; ``org/net`` is a folder there."""
    with LoopbackHub() as hub:
        site = Site.furnished(hub, tmp_path_factory.mktemp("bad"))
        place = Place(site.folder, victims, site)
        found: dict[str, Done] = {}
        dead = private_environment(site.folder / "home2")
        for where, env in (("hub", site.environment()), ("nowhere", dead)):
            cases = [case for case in CASES if case.where == where]
            runs = [case.arguments(place) for case in cases]
            before = written(site.folder)
            done = hfscan_batch(runs, env=env, cwd=site.folder)
            assert written(site.folder) == before
            found |= {case.id: one for case, one in zip(cases, done, strict=True)}
        yield found


def written(folder: Path) -> dict[str, int]:
    """The files below a folder, without hfscan's state and the caches."""
    ours = ("state", "cache", "home")
    return {name: size for name, size in tree(folder).items() if not name.startswith(ours)}


@contextmanager
def small_disk(size: int | None) -> Iterator[None]:
    """No file can grow beyond ``size`` bytes."""
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    if size is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, old[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_bad_input(case: Case, request: pytest.FixtureRequest) -> None:
    if case.where == "here":
        done = here(case, request)
    else:
        done = request.getfixturevalue("answers")[case.id]
    assert done.code == case.code, done.err
    if case.error:
        lines = [line for line in done.err.splitlines() if not line.startswith("warning: ")]
        error, hint = lines
        assert error.startswith("error: ")
        assert hint.startswith("hint: ")
        assert case.error in error
        assert case.hint in hint
    assert case.says in done.out
    assert done.out or not case.says
    assert "Traceback" not in done.out + done.err
    assert not [c for c in done.out + done.err if c != "\n" and not c.isprintable()]


def here(case: Case, request: pytest.FixtureRequest) -> Done:
    """Run a case in this process; it must not leave anything behind."""
    folder: Path = request.getfixturevalue("tmp_path")
    run: Run = request.getfixturevalue("run")
    request.getfixturevalue("monkeypatch").chdir(folder)
    arguments = case.arguments(Place(folder, request.getfixturevalue("victims")))
    before = written(folder)
    with small_disk(case.disk):
        done = run(*arguments)
    assert written(folder) == before
    return done
