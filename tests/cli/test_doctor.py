from __future__ import annotations

import pytest
from huggingface_hub import constants
from loopback_hub import LoopbackHub

from hfscan import doctor
from hfscan.hub import reach

from .conftest import Run


@pytest.fixture(autouse=True)
def _no_saved_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reach, "get_token", lambda: None)


def test_the_hub_is_asked_for_a_sign_of_life(
    run: Run, hub: LoopbackHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(constants, "ENDPOINT", hub.endpoint)
    monkeypatch.setattr(reach, "get_token", lambda: hub.token)
    done = run("doctor")
    assert (done.code, done.err) == (0, "")
    assert f"{hub.endpoint} answers" in done.out
    assert "there is one" in done.out
    assert hub.token not in done.out
    assert [method for method, _ in hub.requests] == ["HEAD"]


def test_without_a_hub(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    done = run("doctor", "--json")
    assert done.code == 0
    assert done.json["works"] is True
    states = {check["name"]: check["state"] for check in done.json["checks"]}
    assert states["Hub"] == states["token"] == "note"


def test_offline(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def offline() -> None:
        raise reach.OfflineModeIsEnabled("offline")

    monkeypatch.setattr(reach, "get_session", offline)
    done = run("doctor")
    assert done.code == 0
    assert "HF_HUB_OFFLINE" in done.out


def test_what_would_make_an_audit_fail(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(doctor, "MIN_MEMORY", 2**80)
    done = run("doctor", "--json")
    assert done.code == 2
    assert done.json["works"] is False
