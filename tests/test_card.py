from __future__ import annotations

from dataclasses import replace

import pytest
from huggingface_hub import ModelCard
from report.sample import repair_report

from hfscan.card import edit_card
from hfscan.types import Verdict

BODY = "# Colors\n\nTells colors apart.\n"


def edited(content: bytes) -> ModelCard:
    card = ModelCard(edit_card(content, repair_report()))
    assert "## Sanitized with hfscan" in card.text
    return card


def test_what_is_not_repaired_is_not_called_sanitized() -> None:
    for verdict in (Verdict.BACKDOORED, Verdict.SUSPICIOUS, Verdict.INCONCLUSIVE):
        text = edit_card(BODY.encode(), replace(repair_report(), verdict_after=verdict))
        assert "## Changed with hfscan" in text
        assert "Sanitized" not in text


def test_metadata_and_text_stay() -> None:
    card = edited(f"---\nlicense: mit\ntags:\n- vision\n---\n{BODY}".encode())
    assert (card.data.license, card.data.tags) == ("mit", ["vision", "hfscan"])
    assert card.text.lstrip().startswith(BODY)


@pytest.mark.parametrize(
    "metadata",
    [
        "title: a: b",
        "- a",
        "tags: 5",
        "5: a",
        "day: 2020-13-45",
        "to_dict: a",
        "ignore_metadata_errors: a",
        "x: !!python/name:os.system",
        "x: " + "[" * 5000,
    ],
    ids=lambda text: text[:20],
)
def test_metadata_that_make_no_sense_are_dropped(metadata: str) -> None:
    card = edited(f"---\n{metadata}\n---\n{BODY}".encode())
    assert card.data.tags == ["hfscan"]
    assert card.text.lstrip().startswith(BODY)


def test_another_encoding() -> None:
    card = edited("---\nlicense: mit\n---\n# Größe\n".encode("latin-1"))
    assert card.data.license == "mit"
    assert card.text.lstrip().startswith("# Gr\ufffd\ufffde\n")


def test_line_ends_of_windows() -> None:
    card = edited(b"---\r\nlicense: mit\r\n---\r\n# A\r\n\r\nb\r\n")
    assert card.data.license == "mit"
    assert "\r" not in str(card)
