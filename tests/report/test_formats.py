"""What every report format must do."""

from __future__ import annotations

import math
import re
import subprocess
import sys
from dataclasses import replace

import pytest

from hfscan.pipeline.repairing import UNSEEN
from hfscan.report import FORMATS, REPAIR_FORMATS
from hfscan.types import Verdict

from .sample import CLASSES, HOSTILE, audit_report, hostile_report, repair_report

EVERY_FORMAT = pytest.mark.parametrize("name", FORMATS)


@EVERY_FORMAT
@pytest.mark.parametrize("verdict", Verdict)
def test_nothing_of_a_hostile_model_reaches_the_terminal(name: str, verdict: Verdict) -> None:
    text = FORMATS[name](hostile_report(verdict))
    assert text.isascii() or text.replace("\n", "").isprintable()
    assert not {ord(char) for char in text if ord(char) < 32} - {10}
    text.encode("utf-8")


@EVERY_FORMAT
def test_the_target_is_there_by_name(name: str) -> None:
    text = FORMATS[name](audit_report())
    assert CLASSES[0] in text
    assert "BACKDOORED" in text
    assert "malicious" not in text


@EVERY_FORMAT
def test_a_report_without_layers_tests_and_names(name: str) -> None:
    text = FORMATS[name](audit_report(verdict=Verdict.INCONCLUSIVE, names=(), layer_names=()))
    assert "too near to chance" in text


@EVERY_FORMAT
def test_a_report_ends_with_one_line_break(name: str) -> None:
    text = FORMATS[name](audit_report())
    assert text.endswith("\n")
    assert not text.endswith("\n\n")


@EVERY_FORMAT
def test_figures_of_a_damaged_file_are_shown_as_unknown(name: str) -> None:
    """Python's JSON reader takes 1e999 and NaN."""
    seconds = {"tests": math.nan, "channels": math.inf}
    text = FORMATS[name](replace(audit_report(), clean_accuracy=math.inf, seconds=seconds))
    assert not re.search(r"\b(nan|inf|NaN|Infinity)\b", text)


@pytest.mark.parametrize("name", REPAIR_FORMATS)
def test_nothing_of_a_hostile_repair_reaches_the_terminal(name: str) -> None:
    evil = " ".join(HOSTILE)
    report = replace(
        repair_report(names=HOSTILE),
        audit=hostile_report(Verdict.BACKDOORED),
        method=evil,
        triggers=HOSTILE,
        defense=evil,
        weights_sha256=evil,
        parameters=None,
        erased={name: [0] for name in HOSTILE},
        seconds={evil: 1.0},
    )
    for one in (report, replace(report, parameters={evil: {evil: evil}})):
        text = REPAIR_FORMATS[name](one)
        assert text.isascii() or text.replace("\n", "").isprintable()
        assert "<script" not in text or name in ("json", "console")
        text.encode("utf-8")


@EVERY_FORMAT
def test_overlong_names_do_not_flood_the_report(name: str) -> None:
    if name != "json":
        assert "x" * 81 not in FORMATS[name](audit_report(names=HOSTILE))


def test_hostile_names_are_really_hostile() -> None:
    assert any(not name.isprintable() for name in HOSTILE)


def test_formats_can_be_listed_without_loading_torch() -> None:
    code = "import sys, hfscan.report; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("name", REPAIR_FORMATS)
def test_a_repair_without_a_verdict_says_why(name: str) -> None:
    report = replace(repair_report(), verdict_after=Verdict.INCONCLUSIVE, unclear=UNSEEN)
    text = REPAIR_FORMATS[name](report)
    said = " ".join(re.sub("[│|]", " ", text).split())
    assert UNSEEN in said
