from __future__ import annotations

from typing import Any

import pytest

from hfscan.errors import HubError

from .conftest import Run

AUDIT = ("audit", "org/net", "--clean-data", "cifar10", "--token")


@pytest.mark.parametrize(
    ("given", "used"), [("hf_x", "hf_x"), ("hf_x\r\n", "hf_x"), ("", None), ("\n", None)]
)
def test_the_token_that_is_used(
    run: Run, monkeypatch: pytest.MonkeyPatch, given: str, used: str | None
) -> None:
    def load(ref: str, *, token: str | None, **_: Any) -> None:
        raise HubError(f"the token is {token}")

    monkeypatch.setattr("hfscan.hub.load.load", load)
    assert run(*AUDIT, given).err == f"error: the token is {used}\n"


@pytest.mark.parametrize("given", ["hf_sécret", "hf_\x1b[31msecret", "hf_secret\r\nX-Header: 1"])
def test_what_is_no_token(run: Run, given: str) -> None:
    done = run(*AUDIT, given)
    assert (done.code, done.out) == (4, "")
    error, _ = done.err.splitlines()
    assert error == (
        "error: Invalid value for '--token': it has characters that no token has; copy it again"
    )
