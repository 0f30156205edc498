"""Pushes that the Hub refuses; those that work are in ``tests/cli/test_push.py``."""

from __future__ import annotations

from dataclasses import replace

import pytest
from huggingface_hub import HfApi
from loopback_hub import LoopbackHub

from hfscan.errors import HubError
from hfscan.hub.push import PushPlan, execute

PLAN = PushPlan("my-org/net", True, True, False, None, {"config.json": b"{}"}, ())


@pytest.fixture(autouse=True)
def _client(hub: LoopbackHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hfscan.hub.push.hub_api", lambda token: HfApi(hub.endpoint, token=token))


def test_a_repository_that_the_token_cannot_see(hub: LoopbackHub) -> None:
    sha = hub.add_model("my-org/net", {"config.json": b"[]"}, private=True, members=())
    with pytest.raises(HubError, match="my-org/net cannot be created: it exists") as caught:
        execute(PLAN, token=hub.token)
    assert "a token that can" in caught.value.hint
    assert hub.repos["model", "my-org/net"].resolve("main").sha == sha


def test_another_refusal_to_create(hub: LoopbackHub) -> None:
    with pytest.raises(HubError, match=r"the Hub answered 403 for other/net$"):
        execute(replace(PLAN, to="other/net"), token=hub.token)


@pytest.mark.parametrize("create", [True, False])
def test_a_new_repository_that_remains_empty(hub: LoopbackHub, create: bool) -> None:
    if not create:
        hub.add_model("my-org/net", {"config.json": b"[]"})
    hub.fail_next("/commit/main", status=400)
    with pytest.raises(HubError, match="the Hub answered 400 for my-org/net") as caught:
        execute(replace(PLAN, create=create), token=hub.token)
    assert ("my-org/net was created, and remains empty" in str(caught.value)) == create
    assert ("--no-create-pr" in caught.value.hint) == create
    assert ("model", "my-org/net") in hub.repos
