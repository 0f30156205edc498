from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from huggingface_hub import ModelCard
from report.sample import repair_report

from hfscan.card import edit_card
from hfscan.types import Verdict

BODY = "# Colors\n\nTells colors apart.\n"


def edited(folder: Path, content: bytes) -> ModelCard:
    (folder / "README.md").write_bytes(content)
    card = ModelCard(edit_card(folder, repair_report()))
    assert "## Sanitized with hfscan" in card.text
    return card


def test_what_is_not_repaired_is_not_called_sanitized(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text(BODY)
    for verdict in (Verdict.BACKDOORED, Verdict.SUSPICIOUS, Verdict.INCONCLUSIVE):
        text = edit_card(tmp_path, replace(repair_report(), verdict_after=verdict))
        assert "## Changed with hfscan" in text
        assert "Sanitized" not in text


def test_metadata_and_text_stay(tmp_path: Path) -> None:
    card = edited(tmp_path, f"---\nlicense: mit\ntags:\n- vision\n---\n{BODY}".encode())
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
def test_metadata_that_make_no_sense_are_dropped(tmp_path: Path, metadata: str) -> None:
    card = edited(tmp_path, f"---\n{metadata}\n---\n{BODY}".encode())
    assert card.data.tags == ["hfscan"]
    assert card.text.lstrip().startswith(BODY)


def test_another_encoding(tmp_path: Path) -> None:
    card = edited(tmp_path, "---\nlicense: mit\n---\n# Größe\n".encode("latin-1"))
    assert card.data.license == "mit"
    assert card.text.lstrip().startswith("# Gr\ufffd\ufffde\n")
