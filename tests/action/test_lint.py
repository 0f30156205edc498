"""action.yml and all workflows: GitHub's own schemas, and zizmor's audits."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from .runner import ACTION, ROOT

WORKFLOWS = [
    path
    for folder in (".github/workflows", "examples/workflows")
    for path in sorted((ROOT / folder).glob("*.yml"))
]
PIN = re.compile(r"[\w-]+(?:/[\w-]+)+@[0-9a-f]{40} # v\d+\.\d+\.\d+")
OURS = re.compile(r"\./|OWNER/hfscan@COMMIT")


def tool(name: str) -> str:
    """A program beside Python, or on the path."""
    beside = Path(sys.executable).with_name(name)
    found = str(beside) if beside.exists() else shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed: pip install '.[dev]'")
    return found


def check(*command: str | Path) -> None:
    run = subprocess.run([*command], capture_output=True, text=True, check=False, timeout=60)
    assert run.returncode == 0, run.stdout + run.stderr


def test_the_action_is_valid() -> None:
    check(tool("check-jsonschema"), "--builtin-schema", "vendor.github-actions", ACTION)


def test_the_workflows_are_valid() -> None:
    check(tool("check-jsonschema"), "--builtin-schema", "vendor.github-workflows", *WORKFLOWS)


def test_zizmor_finds_nothing() -> None:
    check(tool("zizmor"), "--offline", "--no-config", "--persona=auditor", ACTION, *WORKFLOWS)


@pytest.mark.parametrize("path", [ACTION, *WORKFLOWS], ids=lambda path: path.name)
def test_other_actions_are_pinned(path: Path) -> None:
    used = re.findall(r"uses: +(.*)", path.read_text())
    assert used
    assert [one for one in used if not PIN.fullmatch(one) and not OURS.match(one)] == []


def test_one_pin_for_each_action() -> None:
    texts = [path.read_text() for path in (ACTION, *WORKFLOWS)]
    pins = {pin for text in texts for pin in PIN.findall(text)}
    repositories = sorted("/".join(pin.split("@")[0].split("/")[:2]) for pin in pins)
    versions = {"/".join(pin.split("@")[0].split("/")[:2]): pin.split("@")[1] for pin in pins}
    assert len(set(versions.values())) == len(set(repositories))
    for pin in pins:
        assert versions["/".join(pin.split("@")[0].split("/")[:2])] == pin.split("@")[1]


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_workflows_have_no_rights_but_what_a_job_names(path: Path) -> None:
    workflow = yaml.safe_load(path.read_text())
    assert workflow["permissions"] == {}
    for job in workflow["jobs"].values():
        assert isinstance(job["permissions"], dict)
        assert job["timeout-minutes"] > 0


def test_no_input_is_pasted_into_a_script() -> None:
    for path in (ACTION, *WORKFLOWS):
        definition = yaml.safe_load(path.read_text())
        jobs = [definition["runs"]] if path == ACTION else definition["jobs"].values()
        scripts = [step.get("run", "") for job in jobs for step in job["steps"]]
        assert [script for script in scripts if "${{" in script] == []
