from __future__ import annotations

import pytest

from hfscan.cli.selftest import _sentence

from .conftest import Run
from .support import Victims

QUICK = ("--targets", "1", "--epochs", "1", "--tests", "maximum-margin")


def test_as_json(run: Run, victims: Victims) -> None:
    done = run("selftest", victims.clean, "--clean-data", victims.data, *QUICK, "--json")
    assert done.code in (0, 1, 3)
    assert [copy["attack"] for copy in done.json["copies"]] == ["none", "badnets", "blended"]
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


@pytest.mark.parametrize(
    ("caught", "planted", "copies", "accused", "said"),
    [
        (2, 2, 2, False, "caught 2. The copy without a trigger is not suspected."),
        (1, 2, 4, False, "caught 1. In 2 of 4 copies the trigger hardly works"),
        (2, 2, 2, True, "suspected, too: what was caught means nothing here"),
        (0, 0, 2, False, "No trigger could be planted with these images: nothing is known"),
    ],
)
def test_what_is_said(caught: int, planted: int, copies: int, accused: bool, said: str) -> None:
    assert said in _sentence(caught, planted, copies, accused)


def test_unknown_attack(run: Run, victims: Victims) -> None:
    done = run("selftest", victims.clean, "--clean-data", victims.data, "--attacks", "wanet")
    assert done.code == 4
    assert "choose from badnets, blended" in done.err
