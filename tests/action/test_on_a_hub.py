"""The action from its first step to its last, with real audits of models on a Hub on this machine."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from cli.support import (
    GENTLE,
    QUICK,
    TARGET,
    Site,
    color_data,
    color_net,
    repository,
    write_data,
    write_model,
)
from loopback_hub import LoopbackHub

from .programs import fake_python, warm_hfscan
from .runner import Done, Handler, Runner, base_environment, commands

IMAGES = {"clean-data": "cifar10"}


@dataclass(frozen=True)
class Cache:
    """What actions/cache keeps: key -> a copy of the folder."""

    folder: Path

    def restore(self, arguments: dict[str, str]) -> dict[str, str]:
        kept = self.folder / arguments["key"]
        if not kept.is_dir():
            return {"cache-hit": "false"}
        shutil.copytree(kept, arguments["path"], symlinks=True)
        return {"cache-hit": "true"}

    def save(self, arguments: dict[str, str]) -> dict[str, str]:
        shutil.copytree(arguments["path"], self.folder / arguments["key"], symlinks=True)
        return {}

    @property
    def handlers(self) -> dict[str, Handler]:
        return {"actions/cache/restore": self.restore, "actions/cache/save": self.save}


@dataclass(frozen=True)
class GitHub:
    """Machines with a warm hfscan, and a Hub."""

    site: Site
    models: Path
    program: Path
    cache: Cache

    def runner(self, name: str) -> Runner:
        folder = self.site.folder / name
        folder.mkdir()
        python = fake_python(folder, self.program)
        setup = {"actions/setup-python": lambda _: {"python-path": str(python)}}
        environment = base_environment() | self.site.environment()
        return Runner(folder, environment, setup | self.cache.handlers)


@pytest.fixture(scope="module")
def github(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GitHub]:
    folder = tmp_path_factory.mktemp("action")
    with LoopbackHub() as hub:
        models = folder / "models"
        planted = write_model(models / "planted", color_net(planted=True))
        clean = write_model(models / "clean", color_net(planted=False))
        hub.add_model("org/net", repository(planted))
        hub.add_model("org/clean", repository(clean))
        hub.add_model("org/secret", repository(clean), private=True)
        hub.add_model("org/broken", repository(clean) | {"model.safetensors": b"broken"})
        write_data(models / "data", color_data())
        (folder / "site").mkdir()
        site = Site.furnished(hub, folder / "site")
        more = {"audit": QUICK, "repair": GENTLE}
        with warm_hfscan(folder, site.environment(), more) as program:
            yield GitHub(site, models, program, Cache(folder / "kept"))


@pytest.fixture(scope="module")
def repaired(github: GitHub) -> Done:
    """A backdoored model, and ``repair: pr`` by a Trusted Publisher, without a token."""
    publisher = {"HF_OIDC_RESOURCE": "org/net", "HF_OIDC_ID_TOKEN": github.site.hub.id_token}
    inputs = {"model": "org/net", "repair": "pr"} | IMAGES
    return github.runner("repaired").action(inputs, publisher)


@pytest.fixture(scope="module")
def clean(github: GitHub) -> Done:
    return github.runner("clean").action({"model": "org/clean"} | IMAGES)


def test_a_backdoored_model_fails(github: GitHub, repaired: Done) -> None:
    assert repaired.failed
    assert repaired.step("Audit").code == 1
    outputs = dict(repaired.outputs)
    report = json.loads(Path(outputs.pop("report-json")).read_text())
    assert report["model"]["revision"] == github.site.model("org/net").resolve("main").sha
    assert outputs == {
        "verdict": "BACKDOORED",
        "target": TARGET,
        "exit-code": "1",
        "report-sarif": "",
        "report-html": "",
        "pr-url": f"{github.site.hub.endpoint}/org/net/discussions/1",
    }
    first, *_ = commands(repaired.log)
    assert (first.name, first.properties) == ("error", {"title": "hfscan: BACKDOORED"})
    assert first.message == f"org/net: {report['reason']}"


def test_its_summary(repaired: Done) -> None:
    summary = repaired.summary
    assert summary.startswith("## hfscan audit: BACKDOORED\n")
    assert f"| **{TARGET}** | 180.07 | ████████████████████ |" in summary
    assert f"[Pull request]({repaired.outputs['pr-url']})" in summary
    assert "\n## hfscan repair\n" in summary
    assert "### Accuracy on held-out clean images" in summary


def test_its_pull_request(github: GitHub, repaired: Done) -> None:
    repo = github.site.model("org/net")
    (pull,) = repo.pull_requests
    assert repo.files(pull.ref)["model.safetensors"] != repo.files()["model.safetensors"]
    assert [commit.sha for commit in repo.commits] == [pull.base], "main has changed"
    notices = [one for one in commands(repaired.log) if one.properties["title"] != "hfscan"]
    assert repaired.outputs["pr-url"] in notices[-1].message
    assert github.site.hub.exchanged_token not in repaired.log + repaired.summary


def test_the_repair_says_what_it_came_to(repaired: Done) -> None:
    *_, last = commands(repaired.log)
    assert (last.name, last.properties["title"]) == ("notice", "hfscan: repaired")
    assert "the repaired network is NO_BACKDOOR_FOUND" in last.message


def test_a_clean_model_passes(clean: Done) -> None:
    assert not clean.failed
    assert clean.outputs["verdict"] == "NO_BACKDOOR_FOUND"
    assert (clean.outputs["target"], clean.outputs["exit-code"]) == ("", "0")
    (notice,) = commands(clean.log)
    assert (notice.name, notice.properties["title"]) == ("notice", "hfscan: NO_BACKDOOR_FOUND")
    assert clean.summary.startswith("## hfscan audit: NO BACKDOOR FOUND\n")


def test_a_broken_model_fails_closed(github: GitHub) -> None:
    done = github.runner("broken").action({"model": "org/broken"} | IMAGES)
    assert done.failed
    assert done.outputs["exit-code"] == "2"
    assert {name for name, value in done.outputs.items() if value} == {"exit-code"}
    (error,) = commands(done.log)
    assert (error.name, error.properties) == ("error", {"title": "hfscan: the audit failed"})
    assert "error: " in error.message
    assert "hint: " in error.message
    assert done.summary.startswith("## hfscan audit: failed\n")
    assert "Keep model and data" not in done.names


def test_a_model_that_is_not_there(github: GitHub) -> None:
    """Without its commit there is no cache, and the audit says why."""
    done = github.runner("nothing").action({"model": "org/nothing"} | IMAGES)
    assert done.outputs["exit-code"] == "2"
    assert done.step("Resolve commits").outputs == {"key": ""}
    (error,) = commands(done.log)
    assert "org/nothing was not found on the Hub" in error.message
    assert not [step.uses for step in done.steps if "cache" in step.uses]


def test_an_unknown_publisher_is_an_error_of_one_line(github: GitHub) -> None:
    publisher = {"HF_OIDC_RESOURCE": "org/net", "HF_OIDC_ID_TOKEN": "of someone else"}
    done = github.runner("publisher").action({"model": "org/net"} | IMAGES, publisher)
    assert done.outputs["exit-code"] == "2"
    (error,) = commands(done.log)
    assert "error: " in error.message
    assert "bug in hfscan" not in error.message


def test_what_is_cached_is_what_is_audited(github: GitHub, clean: Done) -> None:
    """The same audit again, after the cache: model and data do not come from the Hub."""
    hub = github.site.hub
    shas = (github.site.model("org/clean").resolve("main").sha, github.site.data_sha)
    restore, keep = clean.step("Restore model and data"), clean.step("Keep model and data")
    assert restore.arguments == keep.arguments
    assert restore.arguments["key"] == f"Linux-hfscan-1-{shas[0]}-{shas[1]}-usual"
    hub.requests.clear()
    again = github.runner("again").action({"model": "org/clean"} | IMAGES)
    assert again.outputs["verdict"] == "NO_BACKDOOR_FOUND"
    assert again.step("Restore model and data").outputs == {"cache-hit": "true"}
    assert "Keep model and data" not in again.names
    downloads = [path for method, path in hub.requests if method == "GET" and "/resolve/" in path]
    assert [path for path in downloads if path.endswith((".safetensors", ".parquet"))] == []


def test_what_needs_a_token_is_not_cached(github: GitHub) -> None:
    """Whoever opens a pull request can read the caches of a repository."""
    inputs = {"model": "org/secret", "token": github.site.hub.token} | IMAGES
    done = github.runner("secret").action(inputs)
    assert done.outputs["verdict"] == "NO_BACKDOOR_FOUND"
    assert not [step.uses for step in done.steps if "cache" in step.uses]
    kept = [path for path in github.cache.folder.rglob("*") if path.is_file()]
    assert kept
    assert not any(github.site.hub.token.encode() in path.read_bytes() for path in kept)


def test_folders_of_the_checkout(github: GitHub) -> None:
    runner = github.runner("folders")
    shutil.copytree(github.models, runner.workspace / "models")
    done = runner.action({"model": "./models/planted", "clean-data": "./models/data"})
    assert done.outputs["verdict"] == "BACKDOORED"
    (error,) = commands(done.log)
    assert error.properties["file"] == "models/planted/model.safetensors"
    assert not [step.uses for step in done.steps if "cache" in step.uses]
