"""What `examples/benchmark` shows is what its results say."""

from __future__ import annotations

from pathlib import Path

import pytest

from hfscan.bench.results import read_trials
from hfscan.bench.table import markdown
from hfscan.bench.tables import BUILDERS, tables

FOLDER = Path(__file__).parent.parent.parent / "examples" / "benchmark"
SHOWN = sorted(path.name for path in FOLDER.glob("table-*.md"))


def what(name: str) -> tuple[str, str]:
    """Number of a table, and the defense that it is about, if it is about one."""
    number, _, defense = name.removeprefix("table-").removesuffix(".md").partition("-")
    return number, defense or "fmt"


def test_there_are_tables() -> None:
    assert {what(name)[0] for name in SHOWN} <= set(BUILDERS)
    assert "table-1.md" in SHOWN


@pytest.mark.parametrize("name", SHOWN)
def test_tables_are_those_of_the_results(name: str) -> None:
    number, defense = what(name)
    made = tables(read_trials(FOLDER / "results.jsonl"), number, defense=defense)
    assert (FOLDER / name).read_text() == "\n".join(map(markdown, made))


def test_the_page_links_everything() -> None:
    page = (FOLDER / "README.md").read_text()
    for path in FOLDER.iterdir():
        assert path.name == "README.md" or f"({path.name})" in page, path.name
