"""A finding that was accepted is shown as that, and not dropped."""

from __future__ import annotations

from dataclasses import replace

import pytest

from hfscan.report import FORMATS
from hfscan.types import Suppression

from .sample import HOSTILE, audit_report

REASON = "a toy that nobody deploys"


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_shows_the_finding_and_why_it_does_not_count(name: str) -> None:
    report = replace(audit_report(), suppression=Suppression("HFS001", REASON, "2030-12-31"))
    text = FORMATS[name](report)
    assert "BACKDOORED" in text
    assert "airplane" in text
    assert "uppress" in text
    assert "HFS001" in text
    assert "2030-12-31" in text
    assert REASON in " ".join(text.replace("│", " ").split())


@pytest.mark.parametrize("name", FORMATS)
def test_a_reason_cannot_draw(name: str) -> None:
    for reason in HOSTILE:
        report = replace(audit_report(), suppression=Suppression("HFS001", reason, "2030-12-31"))
        text = FORMATS[name](report)
        assert text.isascii() or text.replace("\n", "").isprintable()
        if name not in ("json", "sarif", "console"):
            assert "<script" not in text
            assert "](" not in text or name == "html"  # there it is no link
