"""Audits with the real clients, against a Hub on this machine."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from loopback_hub import LoopbackHub

from .support import CLASSES, QUICK, Done, Site, Victims, hfscan_batch, repository, timeless

AUDIT = ("audit", "--json", "-q", *QUICK)


@dataclass(frozen=True)
class Audits:
    """Audits of models on the Hub, one after the other in one process, and what was asked of it."""

    site: Site
    old: str
    new: str
    by_id: Done
    at_tag: Done
    at_sha: Done
    newest: Done
    refused: tuple[Done, Done]
    with_token: tuple[Done, Done]
    other: Done
    requests: tuple[str, ...]


@pytest.fixture(scope="module")
def audits(victims: Victims, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Audits]:
    """``org/net`` was backdoored at v1.0 and is not any more; ``org/first`` is backdoored."""
    with LoopbackHub() as hub:
        site = Site.furnished(hub, tmp_path_factory.mktemp("hub"))
        planted = repository(victims.planted)
        hub.add_model("org/first", planted | {"onnx/model.onnx": b"another network"})
        old = hub.add_model("org/net", planted)
        hub.tag("org/net", "v1.0", old)
        new = hub.commit("org/net", repository(victims.clean))
        hub.alias_dataset("colors", "uoft-cs/cifar10")
        hub.add_model("me/secret", planted, private=True)
        hub.add_model("org/gated", planted, gated=True)
        of_others = {"config.json": b'{"architectures": ["ViTForImageClassification"]}'}
        hub.add_model("org/vit", planted | of_others)
        images, token = ("--clean-data", "colors"), ("--token", hub.token)
        runs = [
            (*AUDIT, "org/first", "--clean-data", "cifar10"),
            (*AUDIT, "org/net@v1.0", *images),
            (*AUDIT, "hf://org/net", "--revision", old, *images),
            (*AUDIT, "org/net", *images),
            *((*AUDIT, model, *images) for model in ("me/secret", "org/gated")),
            *((*AUDIT, model, *images, *token) for model in ("me/secret", "org/gated")),
            (*AUDIT, "org/vit", *images),
        ]
        done = hfscan_batch(runs, env=site.environment(), cwd=site.folder)
        requests = tuple(path for _, path in hub.requests)
        yield Audits(
            site, old, new, *done[:4], (done[4], done[5]), (done[6], done[7]), done[8], requests
        )


def test_audit_by_id(audits: Audits) -> None:
    done, site = audits.by_id, audits.site
    assert (done.code, done.err) == (1, "")
    model, data = done.json["model"], done.json["data"]
    sha = site.model("org/first").resolve("main").sha
    assert (model["ref"], model["revision"]) == ("org/first", sha)
    assert model["weights_file"] == "model.safetensors"
    assert (data["name"], data["revision"]) == ("uoft-cs/cifar10", site.data_sha)
    assert (data["split"], data["classes"]) == ("test", list(CLASSES))


def test_only_what_is_needed_is_downloaded(audits: Audits) -> None:
    downloads = [path for path in audits.requests if "/resolve/" in path]
    assert any(path.endswith("test-0.parquet") for path in downloads)
    unwanted = ("pytorch_model.bin", "train-0.parquet")
    assert not [path for path in downloads if path.endswith(unwanted)]
    assert any(agent.startswith("hfscan/") for agent in audits.site.hub.user_agents)


def test_other_weights_are_named(audits: Audits) -> None:
    notes = audits.by_id.json["model"]["notes"]
    assert "not audited: onnx/model.onnx, pytorch_model.bin" in notes


def test_what_cannot_be_audited_is_not_downloaded(audits: Audits) -> None:
    assert audits.other.code == 2
    assert "config.json names no timm architecture" in audits.other.err
    downloads = [path for path in audits.requests if path.startswith("/org/vit/resolve/")]
    assert downloads
    assert all(path.endswith("/config.json") for path in downloads)


def test_the_same_again_offline(audits: Audits) -> None:
    site = audits.site
    newer = site.hub.commit("uoft-cs/cifar10", {"more.txt": b""}, repo_type="dataset")
    site.hub.requests.clear()
    audit = (*AUDIT, "org/first", "--clean-data")
    runs = [(*audit, "cifar10"), (*audit, f"uoft-cs/cifar10@{newer}")]
    again, missing = hfscan_batch(runs, env=site.environment(HF_HUB_OFFLINE="1"), cwd=site.folder)
    assert site.hub.requests == []
    assert (again.code, again.err) == (1, "")
    before, after = timeless(audits.by_id.json), timeless(again.json)
    before["model"].pop("notes")
    assert "the Hub could not be asked" in " ".join(after["model"].pop("notes"))
    assert after == before
    assert missing.code == 2
    assert f"datasets/uoft-cs/cifar10 cannot be had at commit {newer}" in missing.err


def test_what_is_in_the_cache_does_not_stand_in_for_a_hub_that_fails(audits: Audits) -> None:
    site = audits.site
    site.hub.fail_next("/api/models/org/first", status=503)
    audit = (*AUDIT, "org/first", "--clean-data", "cifar10")
    (done,) = hfscan_batch([audit], env=site.environment(), cwd=site.folder)
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith("error: the Hub answered 503 for org/first\n")


def test_audit_at_a_revision(audits: Audits) -> None:
    done = (audits.at_tag, audits.at_sha, audits.newest)
    assert [run.code for run in done] == [1, 1, 0]
    revisions = [run.json["model"]["revision"] for run in done]
    assert revisions == [audits.old, audits.old, audits.new]
    assert {run.json["data"]["name"] for run in done} == {"uoft-cs/cifar10"}
    assert {run.json["data"]["revision"] for run in done} == {audits.site.data_sha}


def test_private_and_gated_models_need_a_token(audits: Audits) -> None:
    """`test_push` has a private model and a token from the environment."""
    secret, gated = audits.refused
    assert [run.code for run in (secret, gated, *audits.with_token)] == [2, 2, 1, 1]
    assert secret.err.startswith("error: me/secret was not found on the Hub\n")
    assert gated.err.startswith("error: org/gated is gated and you have no access to it\n")
    assert secret.out + gated.out == ""
    for run in (secret, gated, *audits.with_token):
        assert audits.site.hub.token not in run.out + run.err
