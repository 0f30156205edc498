from __future__ import annotations

import importlib

import pytest

from hfscan.cli.selftest import _code, _sentence
from hfscan.types import Verdict

from .conftest import Run
from .support import Victims

CLEARED = Verdict.NO_BACKDOOR_FOUND
QUICK = ("--targets", "1", "--epochs", "1", "--tests", "maximum-margin")


def test_as_json(run: Run, victims: Victims) -> None:
    done = run("selftest", victims.clean, "--clean-data", victims.data, *QUICK, "--json")
    assert done.code in (0, 1, 3)
    assert [copy["attack"] for copy in done.json["copies"]] == ["badnets", "blended", "none"]
    planted = sum(copy["planted"] for copy in done.json["copies"])
    assert done.json["planted"] == planted
    assert (done.code == 3) == (planted == 0)
    assert done.json["suspected_without_trigger"] in (True, False)


def test_on_a_terminal(run: Run, victims: Victims) -> None:
    arguments = ("--attacks", "badnets", "--quiet", *QUICK)
    done = run("selftest", victims.clean, "--clean-data", victims.data, *arguments)
    assert done.err == ""
    assert "Planted backdoors" in done.out
    assert "badnets" in done.out
    assert "none" in done.out


def test_there_are_as_many_images_to_audit_as_classes(
    run: Run, victims: Victims, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.import_module("hfscan.cli.selftest"), "IMAGES", 2)
    arguments = ("--attacks", "badnets", "--lr", "1e-9", *QUICK, "--json")
    done = run("selftest", victims.clean, "--clean-data", victims.data, *arguments)
    assert done.json["copies"][-1]["verdict"] == "NO_BACKDOOR_FOUND"


@pytest.mark.parametrize(
    ("caught", "planted", "copies", "without", "code", "said"),
    [
        (2, 2, 2, CLEARED, 0, "caught 2. The copy without a trigger is not suspected."),
        (1, 2, 4, CLEARED, 1, "caught 1. In 2 of 4 copies the trigger hardly works"),
        (2, 2, 2, Verdict.BACKDOORED, 1, "suspected, too: what was caught means nothing here"),
        (2, 2, 2, Verdict.SUSPICIOUS, 1, "suspected, too: what was caught means nothing here"),
        (2, 2, 2, Verdict.INCONCLUSIVE, 1, "without a trigger the audit can say nothing"),
        (0, 0, 2, CLEARED, 3, "No trigger could be planted with these images: nothing is known"),
    ],
)
def test_what_is_said(
    caught: int, planted: int, copies: int, without: Verdict, code: int, said: str
) -> None:
    assert said in _sentence(caught, planted, copies, without)
    assert _code(caught, planted, without) == code


def test_unknown_attack(run: Run, victims: Victims) -> None:
    done = run("selftest", victims.clean, "--clean-data", victims.data, "--attacks", "wanet")
    assert done.code == 4
    assert "choose from badnets, blended" in done.err
