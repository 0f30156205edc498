"""What the runner reads of what hfscan writes, hostile text included."""

from __future__ import annotations

from pathlib import Path

import pytest

from hfscan.cli.action.workflow import (
    SUMMARY_LIMIT,
    add_summary,
    annotate,
    fitted,
    no_commands,
    set_outputs,
)
from hfscan.errors import UsageError

from .runner import Command, commands, read_outputs

HOSTILE = "50%\r\n::add-mask::a,b:c##[error]x\u202e\x1b[31m"


def test_an_annotation_is_one_command(capsys: pytest.CaptureFixture[str]) -> None:
    annotate("error", HOSTILE, HOSTILE, file=HOSTILE)
    (line,) = capsys.readouterr().out.splitlines()
    (command,) = commands(line)
    shown = HOSTILE.encode("unicode_escape").decode()
    assert command == Command("error", {"title": shown, "file": shown}, shown)


def test_an_annotation_without_a_file(capsys: pytest.CaptureFixture[str]) -> None:
    annotate("notice", "hfscan", "done")
    assert capsys.readouterr().out == "::notice title=hfscan::done\n"


def test_commands_are_stopped(capsys: pytest.CaptureFixture[str]) -> None:
    with no_commands():
        print(
            "::add-mask::secret\n##[add-matcher]x\n::stop-commands::me\n::me::\n::error::x", end=""
        )
    print("::notice::after")
    log = capsys.readouterr().out
    assert [command.name for command in commands(log)] == ["notice"]


def test_commands_are_stopped_with_another_token_each_time(
    capsys: pytest.CaptureFixture[str],
) -> None:
    tokens = set()
    for _ in range(3):
        with no_commands():
            pass
        tokens.add(capsys.readouterr().out.splitlines()[0])
    assert len(tokens) == 3


def test_commands_go_on_after_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ZeroDivisionError), no_commands():
        1 / 0  # noqa: B018
    print("::notice::after")
    assert [command.name for command in commands(capsys.readouterr().out)] == ["notice"]


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY"):
        monkeypatch.setenv(name, str(tmp_path / name))
    return tmp_path


@pytest.mark.parametrize(
    "value", ["", "x", "a=b", "one\ntwo", "EOF\nexit-code=0", "hfscan_\nx<<y", "é"]
)
def test_no_value_makes_another_output(files: Path, value: str) -> None:
    set_outputs({"target": value, "exit-code": "1"})
    assert read_outputs((files / "GITHUB_OUTPUT").read_text(encoding="utf-8")) == {
        "target": value,
        "exit-code": "1",
    }


def test_later_outputs_replace_earlier_ones(files: Path) -> None:
    set_outputs({"exit-code": "2", "verdict": ""})
    set_outputs({"exit-code": "0"})
    outputs = read_outputs((files / "GITHUB_OUTPUT").read_text())
    assert outputs == {"exit-code": "0", "verdict": ""}


def test_not_on_github(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GITHUB_OUTPUT", raising=False)
    with pytest.raises(UsageError, match="for GitHub Actions"):
        set_outputs({"a": "b"})


def test_a_summary_that_fits(files: Path) -> None:
    add_summary("one\n")
    add_summary("two\n")
    assert (files / "GITHUB_STEP_SUMMARY").read_text() == "one\ntwo\n"


def test_a_summary_that_does_not_fit(files: Path) -> None:
    path = files / "GITHUB_STEP_SUMMARY"
    path.write_text("x" * 1000)
    add_summary("## Verdict\n\n" + "\n\n".join(["█" * 99] * 20_000))
    size = path.stat().st_size
    assert SUMMARY_LIMIT - 1000 < size <= SUMMARY_LIMIT
    text = path.read_text(encoding="utf-8")
    assert text.endswith("the rest was left out.*\n")
    assert "## Verdict" in text


def test_whole_blocks_are_left_out() -> None:
    table = "\n".join(["| a | b |"] * 100)
    text = f"first\n\n<details><summary>s</summary>\n\n{table}\n\n</details>\n\nlast\n"
    cut = fitted(text, 500)
    assert len(cut) <= 500
    assert cut.startswith("first\n\n<details><summary>s</summary>\n\n</details>\n\n*The report")
    assert fitted(text, len(text)) == text
    assert fitted(text, 10) == ""
