"""Audits with the real clients, against a Hub on this machine."""

from __future__ import annotations

from pathlib import Path

import pytest
from loopback_hub import LoopbackHub

from .support import CLASSES, QUICK, Done, Site, Victims, hfscan_batch, repository, timeless


@pytest.fixture
def site(hub: LoopbackHub, tmp_path: Path) -> Site:
    return Site.furnished(hub, tmp_path / "work")


def test_audit_by_id_and_again_offline(site: Site, victims: Victims) -> None:
    sha = site.hub.add_model("org/net", repository(victims.planted))
    audit = ("audit", "org/net", "--json", "-q", *QUICK, "--clean-data")
    online = site.run(*audit, "cifar10")
    assert (online.code, online.err) == (1, "")
    model, data = online.json["model"], online.json["data"]
    assert (model["ref"], model["revision"]) == ("org/net", sha)
    assert model["weights_file"] == "model.safetensors"
    assert (data["name"], data["revision"]) == ("uoft-cs/cifar10", site.data_sha)
    assert (data["split"], data["classes"]) == ("test", list(CLASSES))
    downloads = [path for _, path in site.hub.requests if "/resolve/" in path]
    unwanted = ("pytorch_model.bin", "train-0.parquet")
    assert not [path for path in downloads if path.endswith(unwanted)]
    assert any(agent.startswith("hfscan/") for agent in site.hub.user_agents)
    newer = site.hub.commit("uoft-cs/cifar10", {"more.txt": b""}, repo_type="dataset")
    site.hub.requests.clear()
    runs = [(*audit, "cifar10"), (*audit, f"uoft-cs/cifar10@{newer}")]
    again, missing = hfscan_batch(runs, env=site.environment(HF_HUB_OFFLINE="1"), cwd=site.folder)
    assert site.hub.requests == []
    _check_again(again, online)
    assert missing.code == 2
    assert f"datasets/uoft-cs/cifar10 cannot be had at commit {newer}" in missing.err


def _check_again(again: Done, first: Done) -> None:
    assert (again.code, again.err) == (1, "")
    assert timeless(again.json) == timeless(first.json)


def test_audit_at_a_revision(site: Site, victims: Victims) -> None:
    old = site.hub.add_model("org/net", repository(victims.planted))
    site.hub.tag("org/net", "v1.0", old)
    new = site.hub.commit("org/net", repository(victims.clean))
    site.hub.alias_dataset("colors", "uoft-cs/cifar10")
    options = ("--clean-data", "colors", "--json", *QUICK)
    runs = [
        ("audit", "org/net@v1.0", *options),
        ("audit", "org/net", *options),
        ("audit", "hf://org/net", "--revision", old, *options),
    ]
    done = hfscan_batch(runs, env=site.environment(), cwd=site.folder)
    assert [run.code for run in done] == [1, 0, 1]
    assert [run.json["model"]["revision"] for run in done] == [old, new, old]
    assert {run.json["data"]["name"] for run in done} == {"uoft-cs/cifar10"}
    assert {run.json["data"]["revision"] for run in done} == {site.data_sha}


def test_private_and_gated_models_need_a_token(site: Site, victims: Victims) -> None:
    """`test_push` has a private model and a token from the environment."""
    site.hub.add_model("me/secret", repository(victims.planted), private=True)
    site.hub.add_model("org/gated", repository(victims.planted), gated=True)
    options = ("--clean-data", "cifar10", "--json", *QUICK)
    token = ("--token", site.hub.token)
    runs = [
        ("audit", "me/secret", *options),
        ("audit", "org/gated", *options),
        ("audit", "me/secret", *token, *options),
        ("audit", "org/gated", *token, *options),
    ]
    done = hfscan_batch(runs, env=site.environment(), cwd=site.folder)
    assert [run.code for run in done] == [2, 2, 1, 1]
    assert done[0].err.startswith("error: me/secret was not found on the Hub\n")
    assert done[1].err.startswith("error: org/gated is gated and you have no access to it\n")
    assert [run.out for run in done[:2]] == ["", ""]
    for run in done:
        assert site.hub.token not in run.out + run.err
