"""The workflows of this repository and the examples run, on a machine that is none of GitHub's."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from loopback_hub import LoopbackHub

from .programs import fake_hfscan, fake_python
from .runner import ROOT, Runner, base_environment
from .test_steps import CLEAN, audit

EXAMPLES = ROOT / "examples" / "workflows"
MODEL = "your-org/your-model"
SARIF = "github/codeql-action/upload-sarif"


@pytest.fixture
def hub() -> Iterator[LoopbackHub]:
    with LoopbackHub() as hub:
        hub.add_model(MODEL, {"config.json": b"old"})
        hub.add_dataset("uoft-cs/cifar10", {"README.md": b""})
        yield hub


def machine(
    folder: Path, hub: LoopbackHub, says: dict[str, Any], event: str = "push", id_token: str = ""
) -> Runner:
    """With ``./model`` in the checkout, a Python and a hfscan that does what it is told."""
    python = fake_python(folder, fake_hfscan(folder, says))
    path = f"{folder}:{base_environment()['PATH']}"
    environment = base_environment() | hub.environment(folder / "home") | {"PATH": path}
    environment |= {"GITHUB_SHA": "c0ffee", "HF_OIDC_ID_TOKEN": id_token}
    setup = {"actions/setup-python": lambda _: {"python-path": str(python)}}
    runner = Runner(folder, environment, setup, {"event_name": event, "token": "ghs"})
    (runner.workspace / "model").mkdir()
    (runner.workspace / "model" / "config.json").write_text("new")
    return runner


def reports(verdict: str, code: int, target: str = "") -> dict[str, Any]:
    return audit(code, verdict, target, files={"sarif": "{}", "html": "<p>"})


def test_a_model_is_uploaded_after_its_audit(tmp_path: Path, hub: LoopbackHub) -> None:
    """With the token of a Trusted Publisher, which is stored nowhere."""
    says = {"audit": reports("NO_BACKDOOR_FOUND", 0)}
    runner = machine(tmp_path, hub, says, id_token=hub.id_token)
    done = runner.workflow(EXAMPLES / "sync-model.yml")
    assert [(name, job.failed) for name, job in done.items()] == [
        ("audit", False),
        ("upload", False),
    ]
    assert hub.repos["model", MODEL].files() == {"config.json": b"new"}
    assert hub.repos["model", MODEL].resolve("main").message == "Sync c0ffee"
    assert ("POST", "/oauth/token") in hub.requests
    assert hub.exchanged_token not in done["upload"].log


def test_a_backdoored_one_is_not(tmp_path: Path, hub: LoopbackHub) -> None:
    runner = machine(tmp_path, hub, {"audit": reports("BACKDOORED", 1)}, id_token=hub.id_token)
    done = runner.workflow(EXAMPLES / "sync-model.yml")
    assert [(name, job.failed) for name, job in done.items()] == [("audit", True)]
    assert hub.repos["model", MODEL].files() == {"config.json": b"old"}
    shown, kept = (
        done["audit"].step("Show in code scanning"),
        done["audit"].step("Keep the HTML report"),
    )
    assert Path(shown.arguments["sarif_file"]).read_text() == "{}"
    assert Path(kept.arguments["path"]).read_text() == "<p>"
    assert "hfscan audit: BACKDOORED" in done["audit"].summary


def test_a_pull_request_uploads_nothing(tmp_path: Path, hub: LoopbackHub) -> None:
    runner = machine(tmp_path, hub, {"audit": reports("NO_BACKDOOR_FOUND", 0)}, "pull_request")
    done = runner.workflow(EXAMPLES / "sync-model.yml")
    assert [(name, job.failed) for name, job in done.items()] == [("audit", False)]


def test_nightly(tmp_path: Path, hub: LoopbackHub) -> None:
    written = {"nightly-reports/summary.md": "## Sweep\n", "nightly.jsonl": "{}\n"}
    runner = machine(tmp_path, hub, {"sweep": {"code": 1, "writes": written}})
    (job,) = runner.workflow(EXAMPLES / "nightly.yml").values()
    assert job.failed
    assert job.summary == "## Sweep\n"
    assert job.step("Keep the reports").arguments["path"].split() == [
        "nightly.jsonl",
        "nightly-reports/",
    ]
    calls = [json.loads(line)[0] for line in (tmp_path / "calls").read_text().splitlines()]
    assert calls[0][:4] == ["sweep", "./models.txt", "--clean-data", "cifar10"]


@pytest.mark.parametrize("wrong", [False, True])
def test_the_action_on_the_example_networks(tmp_path: Path, hub: LoopbackHub, wrong: bool) -> None:
    found = reports("SUSPICIOUS" if wrong else "BACKDOORED", 0, "airplane")
    says = {"audit": CLEAN, "./examples/badnets-cifar10": found}
    runner = machine(tmp_path, hub, says)
    (job,) = runner.workflow(ROOT / ".github" / "workflows" / "action.yml").values()
    assert job.failed == wrong
    assert job.step("Compare").code == int(wrong)


def test_the_names_of_the_options_are_right() -> None:
    """What the nightly example passes to ``hfscan sweep``."""
    from hfscan.cli.sweep import sweep

    text = (EXAMPLES / "nightly.yml").read_text()
    options = [word for word in text.split() if word.startswith("--") and word != "--quiet"]
    known = sweep.__annotations__
    named = {option.removeprefix("--").replace("-", "_") for option in options} - {"index_url"}
    assert named == {"clean_data", "budget", "out"}
    assert named <= set(known)
