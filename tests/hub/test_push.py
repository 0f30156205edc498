"""Pushes that the Hub refuses; those that work are in ``tests/cli/test_push.py``."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from huggingface_hub import HfApi
from loopback_hub import LoopbackHub
from report.sample import repair_report

from hfscan.errors import HubError
from hfscan.hub.push import PushPlan, PushResult, execute, find_destination
from hfscan.types import ModelFacts

PLAN = PushPlan("my-org/net", True, True, False, None, {"config.json": b"{}"}, ())


@pytest.fixture(autouse=True)
def _client(hub: LoopbackHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", True)
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


# --- the repository has changed since the audit


def audited(ref: str, revision: str | None) -> ModelFacts:
    return replace(repair_report().audit.model, ref=ref, revision=revision)


@pytest.mark.parametrize(
    ("ref", "to"), [("me/old", None), ("me/old", "me/new"), ("me/new", "me/old")]
)
def test_a_renamed_repository(hub: LoopbackHub, ref: str, to: str | None) -> None:
    sha = hub.add_model("me/new", {"config.json": b"[]"})
    hub.alias("me/old", "me/new")
    source = audited(ref, sha)
    assert find_destination(source, to=to) == (to or ref, (sha, ["config.json"]))
    head = hub.commit("me/new", {"config.json": b"{}"})
    with pytest.raises(HubError, match=f"is at commit {head}, not at the audited {sha}"):
        find_destination(source, to=to)


@pytest.mark.parametrize(
    ("ref", "revision"), [("me/other", "0" * 40), ("me/gone", "0" * 40), ("./new", None)]
)
def test_another_repository(hub: LoopbackHub, ref: str, revision: str | None) -> None:
    sha = hub.add_model("me/new", {"config.json": b"[]"})
    hub.add_model("me/other", {"config.json": b"[]"})
    found = find_destination(audited(ref, revision), to="me/new")
    assert found == ("me/new", (sha, ["config.json"]))


# --- the Hub makes the commit, and its answer is lost

WEIGHTS = {"model.safetensors": b"new weights", "config.json": b"{}"}


def exists(hub: LoopbackHub, **changes: Any) -> PushPlan:
    """A plan for a repository with a pickle, which is deleted."""
    sha = hub.add_model("me/net", {"config.json": b"[]", "model.bin": b"old weights"})
    plan = PushPlan("me/net", False, True, True, sha, WEIGHTS, ("model.bin",))
    return replace(plan, **changes)


@pytest.mark.parametrize("status", [0, 500, 502])
def test_a_pull_request_whose_answer_is_lost(hub: LoopbackHub, status: int) -> None:
    plan = exists(hub)
    for content in (b"another", WEIGHTS["config.json"]):  # of the same title, with other files
        execute(replace(plan, add={"config.json": content}), token=hub.token)
    hub.fail_next("/commit/main", status=status, done=True)
    result = execute(plan, token=hub.token)
    pull = hub.repos["model", "me/net"].pull_requests[-1]
    assert (result.pull_request, result.commit) == (3, pull.commits[-1].sha)
    assert result.url == f"{hub.endpoint}/me/net/discussions/3"


@pytest.mark.parametrize("create", [True, False])
def test_a_commit_whose_answer_is_lost(hub: LoopbackHub, create: bool) -> None:
    plan = replace(PLAN, add=WEIGHTS) if create else exists(hub, create_pr=False)
    hub.fail_next("/commit/main", status=502, done=True)
    result = execute(plan, token=hub.token)
    head = hub.repos["model", plan.to].commits[-1]
    assert result == PushResult(f"{hub.endpoint}/{plan.to}/commit/{head.sha}", head.sha)


@pytest.mark.parametrize("create_pr", [True, False])
def test_a_commit_that_was_not_made(hub: LoopbackHub, create_pr: bool) -> None:
    plan = exists(hub, create_pr=create_pr)
    hub.fail_next("/commit/main", status=502)
    with pytest.raises(HubError, match=r"the Hub answered 502 for me/net$"):
        execute(plan, token=hub.token)


def test_a_file_that_was_not_deleted(hub: LoopbackHub) -> None:
    """Someone else wrote the same files."""
    plan = exists(hub, create_pr=False)
    hub.commit("me/net", WEIGHTS)
    hub.fail_next("/commit/main", status=502)
    with pytest.raises(HubError, match=r"the Hub answered 502 for me/net$"):
        execute(plan, token=hub.token)


@pytest.mark.parametrize(
    ("create_pr", "asked", "page"),
    [(True, "/discussions", "discussions"), (False, "/models/me/net?blobs", "commits/main")],
)
def test_a_commit_that_may_have_been_made(
    hub: LoopbackHub, create_pr: bool, asked: str, page: str
) -> None:
    plan = exists(hub, create_pr=create_pr)
    hub.fail_next("/commit/main", status=0, done=True)
    hub.fail_next(asked, status=503)
    with pytest.raises(HubError, match="it is not known whether the commit was made") as caught:
        execute(plan, token=hub.token)
    assert f"{hub.endpoint}/me/net/{page}" in caught.value.hint
