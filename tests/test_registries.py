from __future__ import annotations

import pytest

from hfscan.bench.defenses import DEFENSES
from hfscan.model_tests import SUMMARIES, TESTS
from hfscan.registries import KINDS, entries, summary


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "architectures"])
def test_every_entry_is_described_in_a_line(kind: str) -> None:
    found = entries(kind)
    assert found
    assert all(said and "\n" not in said and not said.endswith(".") for said in found.values())
    assert len(set(found.values())) == len(found)


def test_the_entries_are_those_of_the_registry() -> None:
    assert list(entries("defenses")) == list(DEFENSES)


def test_architectures_are_timms_and_ours() -> None:
    found = entries("architectures")
    assert found["preactresnet18"] == "PreActResNet18: blocks 2-2-2-2"
    assert {"resnet18", "convnext_tiny"} < set(found)


def test_each_test_has_a_summary() -> None:
    assert list(SUMMARIES) == list(TESTS)


def test_a_summary_is_the_first_sentence() -> None:
    def spoken() -> None:
        """Say ``x``. Then
        say more.

        And more.
        """

    assert summary(spoken) == "Say x"
    assert summary(lambda: None) == ""
    assert summary("Says e.g. 1. And 2") == "Says e.g. 1. And 2"
