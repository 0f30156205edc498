from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from hfscan.errors import DataError, UsageError
from hfscan.sweep.names import report_name
from hfscan.sweep.queue import append_record, read_records, remaining, without
from hfscan.sweep.record import Record, Status, sweep_exit_code
from hfscan.sweep.sources import read_list

FULL = Record(
    "org/a", "audited", counts=True, verdict="BACKDOORED", target="cat", reason="why", p_value=0.0,
    clean_accuracy=1.0, revision="0" * 40, weights_sha256="1" * 64, seconds=1.5, exit_code=1,
    reports={"json": "r/a.json"}, options="--split=test",
)  # fmt: skip


def test_records_survive_the_file(tmp_path: Path) -> None:
    path = tmp_path / "new" / "sweep.jsonl"
    records = [FULL, Record("org/b", "failed", reason="\u2028\n")]
    for record in records:
        append_record(path, record)
    assert read_records(path) == records
    assert len(path.read_text().splitlines()) == 2
    assert read_records(tmp_path / "none.jsonl") == []


def test_a_line_that_was_cut_off_is_written_over(tmp_path: Path) -> None:
    path = tmp_path / "sweep.jsonl"
    append_record(path, FULL)
    whole = path.read_bytes()
    path.write_bytes(whole + whole[:40])
    assert read_records(path) == [FULL]
    append_record(path, replace(FULL, model="org/b"))
    assert [json.loads(line)["model"] for line in path.read_text().splitlines()] == [
        "org/a",
        "org/b",
    ]


@pytest.mark.parametrize(
    "line", ["{}", "[]", '{"schema": 2}', '{"schema": 1, "model": 3}', "x\n{}"]
)
def test_other_files_are_refused(tmp_path: Path, line: str) -> None:
    (tmp_path / "sweep.jsonl").write_text(line + "\n")
    with pytest.raises(DataError, match=r"line 1 of .*sweep.jsonl is not of a sweep"):
        read_records(tmp_path / "sweep.jsonl")


def test_what_is_left_to_do() -> None:
    failed = Record("org/b", "failed")
    assert remaining(["org/c", "org/a", "org/b"], [FULL, failed]) == ["org/c"]
    kept = without([FULL, failed, replace(failed, model="org/x")], {"org/a", "org/b"})
    assert [json.loads(line)["model"] for line in kept.splitlines()] == ["org/a", "org/x"]


@pytest.mark.parametrize(
    ("statuses", "counts", "code"),
    [
        (["audited", "failed"], True, 1),
        (["audited", "failed"], False, 2),
        (["audited", "unsupported", "inconclusive"], False, 0),
        (["unsupported", "inconclusive"], False, 3),
        ([], False, 3),
    ],
)
def test_exit_codes(statuses: list[Status], counts: bool, code: int) -> None:
    records = [Record("a", status, counts=counts and not i) for i, status in enumerate(statuses)]
    assert sweep_exit_code(records) == code


def test_a_list() -> None:
    lines = ["\ufeff# mine", "org/a", "", "  org/b@v1 # old", "./folder#1", "org/a\r"]
    assert read_list(lines, "list") == ["org/a", "org/b@v1", "./folder#1"]


@pytest.mark.parametrize(
    "line", ["nonsense", "a b", "--help", "org/a@../x", "hf://datasets/a/b", "a" * 300]
)
def test_a_line_that_is_no_model(line: str) -> None:
    with pytest.raises(UsageError, match=r"line 2 of my list: "):
        read_list(["org/a", line], "my list")


def test_names_of_reports() -> None:
    names = {
        report_name(model, "json") for model in ("org/a", "org__a", "../../etc/passwd", "/", "…")
    }
    assert len(names) == 5
    assert report_name("org/a@refs/pr/1", "html").startswith("org__a__refs__pr__1-")
    assert not [name for name in names if "/" in name or name.startswith(".")]
    assert len(report_name("x/" + "y" * 500, "json")) < 120
