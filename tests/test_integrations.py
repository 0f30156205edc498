"""Where hfscan is built in: pre-commit, containers, shells, the hf client, jobs and webhooks."""

from __future__ import annotations

import http.client
import json
import os
import re
import runpy
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from conftest import EXAMPLES
from packaging.requirements import Requirement
from sweep.support import FAKE

from hfscan import cli
from hfscan.sweep import process

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = EXAMPLES.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def test_the_hook_of_pre_commit_is_a_command_of_ours() -> None:
    (hook,) = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text())
    program, command = hook["entry"].split()
    assert program in PROJECT["scripts"]
    assert command in {each.name or each.callback.__name__ for each in cli.app.registered_commands}
    assert hook["pass_filenames"] is False
    changed = ["model.safetensors", "nets/a/config.json", "README.md", "model.safetensors.txt"]
    assert [bool(re.search(hook["files"], name)) for name in changed] == [True, True, False, False]
    assert f"id: {hook['id']}" in (ROOT / "examples" / "automation.md").read_text()


def test_the_container_runs_as_nobody_in_particular() -> None:
    lines = (ROOT / "Dockerfile").read_text().replace("\\\n", " ").splitlines()
    instructions = [line.split(maxsplit=1) for line in lines if line and line[0] not in "# "]
    images = [rest.split()[0] for name, rest in instructions if name == "FROM"]
    assert all(re.search(r":\d", image) for image in images)
    users = [rest for name, rest in instructions if name == "USER"]
    assert users == ["10001:10001"]
    assert dict(map(tuple, instructions))["ENTRYPOINT"] == '["hfscan"]'  # type: ignore[arg-type]
    copied = {
        word
        for n, rest in instructions
        if n == "COPY" and "--from" not in rest
        for word in rest.split()[:-1]
    }
    assert copied == {"pyproject.toml", "README.md", "LICENSE", "hfscan"}
    allowed = (ROOT / ".dockerignore").read_text().splitlines()
    assert copied == {line[1:] for line in allowed if line.startswith("!")}


def complete(
    words: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> list[str]:
    """What bash would offer for the last word."""
    monkeypatch.setattr(sys, "argv", ["hfscan"])
    monkeypatch.setenv("_HFSCAN_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", words)
    monkeypatch.setenv("COMP_CWORD", str(len(words.split(" ")) - 1))
    assert cli._run() == 0
    return capsys.readouterr().out.split()


def test_shells_complete(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert complete("hfscan expl", monkeypatch, capsys) == ["explain"]
    assert complete("hfscan list de", monkeypatch, capsys) == ["detectors", "defenses"]
    assert "--backend" in complete("hfscan sweep --ba", monkeypatch, capsys)


def test_completion_is_installed_and_errors_stay_pretty(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr("shellingham.detect_shell", lambda: ("bash", "/bin/bash"))
    monkeypatch.setattr(sys, "argv", ["hfscan", "--install-completion"])
    assert cli._run() == 0
    assert "complete_bash" in (tmp_path / ".bash_completions" / "hfscan.sh").read_text()
    monkeypatch.setattr(sys, "argv", ["hfscan", "nonsense"])
    capsys.readouterr()
    assert cli._run() == 4
    assert capsys.readouterr().err.startswith("error: No such command 'nonsense'.")


@pytest.mark.skipif(not shutil.which("hf-scan"), reason="hf-scan is not on the path")
def test_hf_scan_is_an_extension_of_the_hub_client(tmp_path: Path) -> None:
    """As `hf extensions install` leaves it: a manifest that names the console script."""
    assert PROJECT["scripts"]["hf-scan"] == PROJECT["scripts"]["hfscan"]
    folder = tmp_path / ".local" / "share" / "hf" / "extensions" / "hf-scan"
    folder.mkdir(parents=True)
    names = {"owner": "me", "repo": "hf-scan", "repo_id": "me/hf-scan", "short_name": "scan"}
    more = {"executable_path": shutil.which("hf-scan"), "type": "python"}
    manifest = {**names, **more, "installed_at": "2026-01-01T00:00:00+00:00"}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    hf = Path(sys.executable).with_name("hf")
    environment = {**os.environ, "HOME": str(tmp_path), "HF_HUB_DISABLE_UPDATE_CHECK": "1"}
    done = subprocess.run(
        [hf, "scan", "explain", "nothing"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 4, done.stderr
    assert "error: there is no rule 'nothing'" in done.stderr


def test_the_script_for_jobs(monkeypatch: pytest.MonkeyPatch) -> None:
    text = (EXAMPLES / "scan_job.py").read_text()
    (block,) = re.findall(r"(?m)^# /// script$\n((?:^#(?:| .*)$\n)+)^# ///$", text)  # PEP 723
    header = tomllib.loads("".join(line[2:] or "\n" for line in block.splitlines(True)))
    needed = [Requirement(dependency).name for dependency in header["dependencies"]]
    assert needed == ["hfscan", *header["tool"]["uv"]["sources"]]  # an index is for what is named
    assert header["requires-python"] == PROJECT["requires-python"]
    client = pytest.importorskip("huggingface_hub.cli._uv_script_header")
    assert set(header["tool"]["hf-jobs"]) <= set(client.VALID_KEYS)
    indices = {index["name"] for index in header["tool"]["uv"]["index"]}
    assert {source["index"] for source in header["tool"]["uv"]["sources"].values()} <= indices
    seen: list[list[str]] = []
    monkeypatch.setattr(cli, "main", lambda: seen.append(sys.argv))
    monkeypatch.setattr(sys, "argv", ["scan_job.py", "user/model", "--clean-data", "cifar10"])
    runpy.run_path(str(EXAMPLES / "scan_job.py"), run_name="__main__")
    assert seen == [["scan_job.py", "audit", "user/model", "--clean-data", "cifar10"]]


SHA = "0123456789" * 4


@pytest.fixture(scope="module")
def example() -> SimpleNamespace:
    return SimpleNamespace(**runpy.run_path(str(EXAMPLES / "webhook.py"), run_name="webhook"))


@pytest.fixture
def hook(example: SimpleNamespace) -> Iterator[SimpleNamespace]:
    """The example's server; ``call`` is the Hub."""
    found: list[str] = []
    server = example.Hook(("127.0.0.1", 0), "s3cret", "org", found.append)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()

    def call(payload: Any, secret: str | None = "s3cret", **headers: str) -> int:
        body = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
        given = {} if secret is None else {"X-Webhook-Secret": secret}
        connection = http.client.HTTPConnection(*server.server_address, timeout=20)
        connection.request("POST", "/", body, {**given, **headers})
        return connection.getresponse().status

    yield SimpleNamespace(call=call, found=found)
    server.shutdown()
    server.server_close()


def push(name: str = "org/net", **changes: Any) -> dict[str, Any]:
    payload = {
        "event": {"action": "update", "scope": "repo.content"},
        "repo": {"type": "model", "name": name, "headSha": SHA},
        "updatedRefs": [{"ref": "refs/heads/main", "oldSha": None, "newSha": SHA}],
    }
    return payload | changes


def test_a_push_starts_an_audit_of_that_commit(hook: SimpleNamespace) -> None:
    assert hook.call(push()) == 202
    assert hook.found == [f"org/net@{SHA}"]


@pytest.mark.parametrize("secret", [None, "", "s3cre", "s3cret2", "S3CRET", "\xff"])
def test_without_the_secret_nothing_happens(hook: SimpleNamespace, secret: str | None) -> None:
    assert hook.call(push(), secret) == 401
    assert hook.found == []


@pytest.mark.parametrize(
    ("payload", "status"),
    [
        (push("other/net"), 204),
        (push("org/a; rm -rf ~"), 204),
        (push("org/../../x"), 204),
        (push(event={"action": "update", "scope": "discussion"}), 204),
        (push(repo={"type": "dataset", "name": "org/net"}), 204),
        (push(updatedRefs=[{"ref": "refs/pr/1", "newSha": SHA}]), 204),
        (push(updatedRefs=[{"ref": "refs/heads/main", "newSha": "--help"}]), 204),
        ([], 204),
        (None, 204),
        (b"{", 400),
        (b"x" * 1_000_001, 413),
    ],
)
def test_other_calls_start_nothing(hook: SimpleNamespace, payload: Any, status: int) -> None:
    if status == 413:
        assert hook.call(b"", **{"Content-Length": "1000001"}) == 413
    else:
        assert hook.call(payload) == status
    assert hook.found == []


def test_the_webhooks_audit(
    example: SimpleNamespace,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(process, "PROGRAM", FAKE)
    example.audit("org/backdoored", "cifar10", tmp_path, "5m")
    assert capsys.readouterr().out == "org/backdoored: BACKDOORED ('a class stands out')\n"
    assert {path.suffix for path in tmp_path.iterdir()} == {".json", ".md"}


def test_the_webhook_needs_a_secret(
    example: SimpleNamespace, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("WEBHOOK_SECRET", raising=False)
    monkeypatch.setattr(sys, "argv", ["webhook.py", "--owner", "org", "--clean-data", "cifar10"])
    with pytest.raises(SystemExit):
        example.main()
    assert "set WEBHOOK_SECRET" in capsys.readouterr().err
