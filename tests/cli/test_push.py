"""Repair and push with the real clients, against a Hub on this machine."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from huggingface_hub import ModelCard
from loopback_hub import LoopbackHub

from .support import GENTLE, QUICK, TARGET, Done, Site, Victims, hfscan_batch, repository

WRITTEN = ("README.md", "config.json", "hfscan-report.json", "model.safetensors")
PUSH = ("repair", "--push", "--overwrite", *GENTLE)


@dataclass(frozen=True)
class Pushed:
    """What happened when the repaired ``org/net`` was pushed in several ways, one after the other."""

    site: Site
    audited: str
    dry_run: Done
    read_only: Done
    unasked: Done
    moved: Done
    no_such: Done
    new: Done
    again: Done
    branch: Done
    pull_request: Done

    @property
    def files(self) -> dict[str, bytes]:
        """What the last repair wrote."""
        return {name: (self.site.folder / "net-repaired" / name).read_bytes() for name in WRITTEN}


@pytest.fixture(scope="module")
def pushed(victims: Victims, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pushed]:
    """``org/net`` is private, and has a pickle and a second safetensors file."""
    with LoopbackHub() as hub:
        site = Site.furnished(hub, tmp_path_factory.mktemp("push"))
        files = repository(victims.planted)
        more = {"old/model.safetensors": b"old weights", "notes.txt": b"keep me"}
        sha = hub.add_model("org/net", files | more, private=True)
        hub.add_model("me/copy", files)
        arguments = ("--clean-data", "cifar10", *QUICK, "-o", "json=audit.json")
        audit = site.run("audit", "org/net", *arguments, token=hub.token)
        assert audit.code == 1
        assert hub.token not in audit.out + audit.err
        runs = [
            (*PUSH, "--dry-run"),
            (*PUSH, "--yes", "--token", hub.read_token),
            PUSH,
            (*PUSH, "--yes", "--report", _moved(site, files)),
            (*PUSH, "--yes", "--to", "me/nowhere", "--create-pr"),
            (*PUSH, "--yes", "--to", "me/new"),
            (*PUSH, "--yes", "--to", "me/new"),
            (*PUSH, "--yes", "--to", "me/copy", "--no-create-pr", "--commit-message", "Erase it"),
            (*PUSH, "--yes"),
        ]
        done = hfscan_batch(runs, env=site.environment(hub.token), cwd=site.folder)
        yield Pushed(site, sha, *done)


def _moved(site: Site, files: dict[str, bytes]) -> Path:
    """The report of an audit of ``org/moved``, which has a newer commit since."""
    report = json.loads((site.folder / "audit.json").read_text())
    report["model"] |= {"ref": "org/moved", "revision": site.hub.add_model("org/moved", files)}
    site.hub.commit("org/moved", {"notes.txt": b"newer"})
    path = site.folder / "moved.json"
    path.write_text(json.dumps(report))
    return path


def test_open_a_pull_request(pushed: Pushed, victims: Victims) -> None:
    repo = pushed.site.model("org/net")
    (pull,) = repo.pull_requests
    (commit,) = pull.commits
    assert pushed.pull_request.code == 0
    url = f"{pushed.site.hub.endpoint}/org/net/discussions/1"
    assert pushed.pull_request.err.splitlines()[-1] == f"pushed: {url}"
    assert (pull.base, commit.parent) == (pushed.audited, pushed.audited)
    assert sorted(commit.operations) == [
        ("add", "README.md"),
        ("add", "hfscan-report.json"),
        ("add", "model.safetensors"),
        ("delete", "old/model.safetensors"),
        ("delete", "pytorch_model.bin"),
    ]
    content = repo.files(pull.ref)
    assert content["config.json"] == (victims.planted / "config.json").read_bytes()
    assert content.pop("notes.txt") == b"keep me"
    assert content == pushed.files
    assert content["model.safetensors"] != repo.files()["model.safetensors"]
    assert [old.sha for old in repo.commits] == [pushed.audited], "main has changed"


def test_the_card_of_the_pull_request(pushed: Pushed) -> None:
    repo = pushed.site.model("org/net")
    card = ModelCard(repo.files("refs/pr/1")["README.md"].decode())
    data = card.data.to_dict()
    assert data["license"] == "mit"
    assert (data["base_model"], data["base_model_relation"]) == ("org/net", "finetune")
    assert (data["library_name"], data["pipeline_tag"]) == ("timm", "image-classification")
    assert data["tags"] == ["vision", "hfscan"]
    (model,) = data["model-index"]
    for result in model["results"]:
        assert result["dataset"]["name"] == "uoft-cs/cifar10"
        assert result["dataset"]["revision"] == pushed.site.data_sha
        assert result["dataset"]["split"] == "test"
    assert "Tells colors apart." in card.text
    assert f"org/net at commit `{pushed.audited}`" in card.text
    assert TARGET in card.text


def test_a_dry_run_lists_what_it_would_do(pushed: Pushed) -> None:
    assert pushed.dry_run.code == 0
    lines = [line.split(" (")[0] for line in pushed.dry_run.err.splitlines()]
    assert lines == [
        "written to net-repaired",
        f"push to org/net: a pull request, on {pushed.audited}",
        "  write  model.safetensors",
        "  write  config.json",
        "  write  README.md",
        "  write  hfscan-report.json",
        "  delete old/model.safetensors",
        "  delete pytorch_model.bin",
    ]


def test_refusals(pushed: Pushed) -> None:
    assert [pushed.read_only.code, pushed.unasked.code, pushed.moved.code] == [2, 4, 2]
    assert "error: the Hub answered 403 for org/net\n" in pushed.read_only.err
    assert "pass --yes" in pushed.unasked.err
    assert "error: org/moved is at commit " in pushed.moved.err
    assert "hint: audit it again" in pushed.moved.err
    assert pushed.site.model("org/moved").pull_requests == []
    assert "error: me/nowhere does not exist" in pushed.no_such.err


def test_the_destination_is_looked_at_before_the_repair(pushed: Pushed) -> None:
    assert [pushed.moved.out, pushed.no_such.out] == ["", ""]
    assert "written to" not in pushed.moved.err + pushed.no_such.err


def test_only_what_was_asked_for_is_committed(pushed: Pushed) -> None:
    commits = [path for method, path in pushed.site.hub.requests if "/commit/" in path]
    assert commits == [
        "/api/models/me/new/commit/main",
        "/api/models/me/copy/commit/main",
        "/api/models/org/net/commit/main?create_pr=1",
    ]


def test_push_to_a_new_repository(pushed: Pushed) -> None:
    repo = pushed.site.model("me/new")
    assert pushed.new.code == 0
    assert "push to me/new: a new private repository" in pushed.new.err
    assert repo.private
    first, second = repo.commits
    assert pushed.new.err.splitlines()[-1].endswith(f"/me/new/commit/{second.sha}")
    assert second.parent == first.sha
    assert {name: repo.files()[name] for name in WRITTEN} == pushed.files


def test_nothing_to_change(pushed: Pushed) -> None:
    assert pushed.again.code == 0
    assert pushed.again.err.splitlines()[-1] == "nothing differs, nothing was pushed"
    assert pushed.site.model("me/new").pull_requests == []


def test_a_commit_to_the_branch_if_wanted(pushed: Pushed) -> None:
    repo = pushed.site.model("me/copy")
    assert pushed.branch.code == 0
    assert repo.resolve("main").message == "Erase it"
    assert repo.files() == pushed.files
    assert repo.pull_requests == []


def test_whoever_only_looks_needs_no_token(pushed: Pushed, victims: Victims) -> None:
    site = pushed.site
    look = (*PUSH, "--dry-run", "--report", victims.report, "--to", "me/copy", "--out", "./looked")
    (done,) = hfscan_batch([look], env=site.environment(), cwd=site.folder)
    assert done.code == 0
    assert "push to me/copy: a pull request" in done.err


def test_no_token_is_shown(pushed: Pushed) -> None:
    for done in (pushed.dry_run, pushed.read_only, pushed.new, pushed.pull_request):
        assert "hf_me" not in done.out + done.err
