from __future__ import annotations

import json
from pathlib import Path

import pytest

from hfscan.errors import DataError
from hfscan.jsonl import append_line, read_lines


@pytest.mark.parametrize(
    ("end", "kept"),
    [
        ('{"n": 1}\n', [1]),
        ('{"n": 1}', [1]),  # by an editor, or a copy
        ('{"n": 1}\n{"n": 2, "mo', [1]),  # by a kill
        ('{"n', []),
        ('{"n": 1}\n  ', [1]),
    ],
)
def test_what_was_read_is_not_lost_when_a_line_is_added(
    tmp_path: Path, end: str, kept: list[int]
) -> None:
    path = tmp_path / "results.jsonl"
    path.write_text(end)
    assert [json.loads(line)["n"] for _, line in read_lines(path, "a test")] == kept
    append_line(path, {"n": 9})
    assert [json.loads(line)["n"] for _, line in read_lines(path, "a test")] == [*kept, 9]


def test_a_file_of_something_else_is_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("hf_abcdefg")
    assert list(read_lines(path, "a test")) == [(1, "hf_abcdefg")]  # for its reader to refuse
    with pytest.raises(DataError, match="token is not a file of JSON lines"):
        append_line(path, {"n": 9})
    assert path.read_text() == "hf_abcdefg"
