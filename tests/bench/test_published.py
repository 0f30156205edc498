"""What `examples/benchmark` shows is what its results say."""

from __future__ import annotations

import re
from itertools import takewhile
from pathlib import Path

import pytest

from hfscan.bench.results import read_trials
from hfscan.bench.table import Figures, markdown
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


def test_the_readme_shows_table_one() -> None:
    made = tables(read_trials(FOLDER / "results.jsonl"), "1")
    (table,) = (one for one in made if "cifar10, preactresnet18 of width 16" in one.title)
    rows = {(row.label, row.source): [shown(cell) for cell in row.cells] for row in table.rows}
    lines = (FOLDER.parent.parent / "README.md").read_text().splitlines()
    begin = lines.index("|---|---|---|---|---|---|---|---|")
    seen = []
    for line in takewhile(lambda line: line.startswith("|"), lines[begin + 1 :]):
        label, *cells, paper = (part.strip() for part in line.strip("|").split("|"))
        defense = "none" if label == "no defense" else re.findall(r"`([a-z-]+)`", label)[-1]
        assert cells == rows[defense, "here"]
        assert paper == rows.get((defense, "paper"), ["-"])[-1]
        seen.append(defense)
    assert seen == [row.label for row in table.rows if row.source == "here" and all(row.cells)]


def shown(cell: Figures) -> str:
    """ACC / ASR / RA of a cell, in percent."""
    return " / ".join("-" if value is None else f"{value:.2%}"[:-1] for value in cell[:3])


def test_the_page_links_everything() -> None:
    page = (FOLDER / "README.md").read_text()
    for path in FOLDER.iterdir():
        assert path.name == "README.md" or f"({path.name})" in page, path.name
