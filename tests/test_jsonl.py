from __future__ import annotations

import json
from pathlib import Path

import pytest

from hfscan.jsonl import append_line, read_lines


@pytest.mark.parametrize(
    ("end", "kept"),
    [
        ('{"n": 1}\n', [1]),
        ('{"n": 1}', [1]),  # by an editor, or a copy
        ('{"n": 1}\n{"n": 2, "mo', [1]),  # by a kill
        ('{"n', []),
    ],
)
def test_what_was_read_is_not_lost_when_a_line_is_added(
    tmp_path: Path, end: str, kept: list[int]
) -> None:
    path = tmp_path / "results.jsonl"
    path.write_text(end)
    assert [json.loads(line)["n"] for _, line in read_lines(path, "a test")] == kept
    append_line(path, {"n": 9})
    assert [json.loads(line)["n"] for line in path.read_text().splitlines()] == [*kept, 9]
