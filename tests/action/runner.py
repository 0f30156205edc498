"""A small GitHub Actions: runs a composite action's own steps, and the jobs of a workflow, with bash.

Steps that use other actions are recorded, and answered by functions that the test gives.
"""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any

import yaml

from .expressions import condition, expand

ROOT = Path(__file__).parent.parent.parent
ACTION = ROOT / "action.yml"

Handler = Callable[[dict[str, str]], dict[str, str]]


@dataclass
class Step:
    """What happened to one step; ``code`` is None if another action would have run."""

    name: str
    uses: str = ""
    arguments: dict[str, str] = field(default_factory=dict)
    outputs: dict[str, str] = field(default_factory=dict)
    code: int | None = None
    log: str = ""
    summary: str = ""
    inner: Done | None = None

    ignored: bool = False

    @property
    def failed(self) -> bool:
        """Whether it makes the job fail."""
        wrong = bool(self.code) or (self.inner is not None and self.inner.failed)
        return wrong and not self.ignored


@dataclass
class Done:
    """What happened to an action or a job: the steps that were run, and the outputs."""

    steps: list[Step]
    outputs: dict[str, str]
    failed: bool

    def step(self, name: str) -> Step:
        (found,) = (step for step in self.steps if step.name == name)
        return found

    @property
    def names(self) -> list[str]:
        return [step.name for step in self.steps]

    @property
    def log(self) -> str:
        return "".join(step.inner.log if step.inner else step.log for step in self.steps)

    @property
    def summary(self) -> str:
        return "".join(step.inner.summary if step.inner else step.summary for step in self.steps)


@dataclass
class Runner:
    """A machine of GitHub's.

    Args:
        folder: Where it keeps its files; ``workspace`` in it is the checkout.
        environment: Of every step.
        handlers: Name of another action -> what answers in its place.
        github: The context.
        mine: Names of this action in workflows.
    """

    folder: Path
    environment: Mapping[str, str]
    handlers: Mapping[str, Handler] = field(default_factory=dict)
    github: Mapping[str, Any] = field(default_factory=dict)
    mine: tuple[str, ...] = ("./", "OWNER/hfscan")

    def __post_init__(self) -> None:
        self.workspace = self.folder / "workspace"
        self.temporary = self.folder / "temporary"
        for folder in (self.workspace, self.temporary):
            folder.mkdir(parents=True, exist_ok=True)

    def action(self, inputs: Mapping[str, str], env: Mapping[str, str] | None = None) -> Done:
        """Run ``action.yml``."""
        definition = yaml.safe_load(ACTION.read_text())
        unknown = set(inputs) - set(definition["inputs"])
        assert not unknown, f"no such inputs: {unknown}"
        defaults = {name: one.get("default", "") for name, one in definition["inputs"].items()}
        contexts = {"inputs": defaults | dict(inputs)}
        done, contexts = self._steps(definition["runs"]["steps"], contexts, env or {})
        outputs = {
            name: expand(one["value"], contexts) for name, one in definition["outputs"].items()
        }
        return Done(done, outputs, any(step.failed for step in done))

    def workflow(self, path: Path, secrets: Mapping[str, str] | None = None) -> dict[str, Done]:
        """Run the jobs of a workflow one after the other; a job that is skipped is not there."""
        definition = yaml.safe_load(path.read_text())
        done: dict[str, Done] = {}
        needs: dict[str, Any] = {}
        for name, job in definition["jobs"].items():
            wanted = [job["needs"]] if isinstance(job.get("needs"), str) else job.get("needs", [])
            ready = all(needs.get(one, {}).get("result") == "success" for one in wanted)
            here = {"github": self.github, "functions": {"success": ready}}
            if not condition(job.get("if", "success()"), here):
                continue
            env = definition.get("env", {}) | job.get("env", {})
            for matrix in _matrix(job.get("strategy", {}).get("matrix", {})):
                contexts = {"secrets": secrets or {}, "matrix": matrix, "needs": needs}
                steps, contexts = self._steps(job["steps"], contexts, env)
                failed = any(step.failed for step in steps)
                outputs = {k: expand(v, contexts) for k, v in job.get("outputs", {}).items()}
                done["/".join([name, *map(str, matrix.values())])] = Done(steps, outputs, failed)
                needs[name] = {"result": "failure" if failed else "success", "outputs": outputs}
        return done

    def _steps(
        self, steps: list[dict[str, Any]], contexts: dict[str, Any], env: Mapping[str, str]
    ) -> tuple[list[Step], dict[str, Any]]:
        success, done, known = True, [], {}
        for number, step in enumerate(steps):
            here = contexts | {
                "steps": known,
                "env": dict(env),
                "github": {"action_path": str(ROOT)} | dict(self.github),
                "runner": {"os": "Linux", "temp": str(self.temporary)},
                "functions": {"success": success, "always": True, "cancelled": False}
                | {"failure": not success},
            }
            if not condition(step.get("if", "success()"), here):
                continue
            finished = self._step(step, here, env, f"step {number + 1}")
            finished.ignored = step.get("continue-on-error", False)
            done.append(finished)
            success = success and not finished.failed
            outcome = "failure" if finished.failed else "success"
            if "id" in step:
                known[step["id"]] = {"outputs": finished.outputs, "outcome": outcome}
        return done, contexts | {"steps": known}

    def _step(
        self, step: dict[str, Any], contexts: dict[str, Any], env: Mapping[str, str], default: str
    ) -> Step:
        name, uses = step.get("name", default), step.get("uses", "").partition("@")[0]
        env = dict(env) | {k: expand(v, contexts) for k, v in step.get("env", {}).items()}
        if not uses:
            return self._bash(step, name, contexts, env)
        arguments = {k: expand(v, contexts) for k, v in step.get("with", {}).items()}
        if uses in self.mine:
            inner = self.action(arguments, env)
            return Step(name, step["uses"], arguments, inner.outputs, inner=inner)
        outputs = self.handlers.get(uses, lambda _: {})(arguments)
        return Step(name, step["uses"], arguments, outputs)

    def _bash(
        self, step: dict[str, Any], name: str, contexts: dict[str, Any], env: Mapping[str, str]
    ) -> Step:
        scratch = Path(tempfile.mkdtemp(dir=self.folder))
        files = {one: scratch / one for one in ("GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY")}
        for file in files.values():
            file.touch()
        script = scratch / "step.sh"
        script.write_text(expand(step["run"], contexts))
        run = subprocess.run(
            ["bash", "--noprofile", "--norc", "-e", "-o", "pipefail", str(script)],
            env={
                **self.environment,
                **{"RUNNER_TEMP": str(self.temporary), "RUNNER_OS": "Linux"},
                **{one: str(file) for one, file in files.items()},
                **env,
            },
            cwd=self.workspace,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            encoding="utf-8",
            timeout=120,
            check=False,
        )
        outputs = read_outputs(files["GITHUB_OUTPUT"].read_text(encoding="utf-8"))
        summary = files["GITHUB_STEP_SUMMARY"].read_text(encoding="utf-8")
        return Step(name, "", {}, outputs, run.returncode, run.stdout, summary)


def _matrix(matrix: Mapping[str, list[Any]]) -> Iterator[dict[str, Any]]:
    for values in product(*matrix.values()):
        yield dict(zip(matrix, values, strict=True))


def read_outputs(text: str) -> dict[str, str]:
    """Read a ``GITHUB_OUTPUT`` file as the runner does; a later value replaces an earlier one."""
    outputs: dict[str, str] = {}
    lines = iter(text.splitlines())
    for line in lines:
        name, equals, value = line.partition("=")
        if "<<" in name or not equals:
            name, _, delimiter = line.partition("<<")
            assert delimiter, f"no output: {line!r}"
            value = "\n".join(iter(lambda: next(lines), delimiter))
        outputs[name] = value
    return outputs


@dataclass(frozen=True)
class Command:
    """A workflow command that the runner obeys."""

    name: str
    properties: dict[str, str]
    message: str


def commands(log: str) -> list[Command]:
    """The workflow commands of a log, old syntax (``##[error]``) too, but for those that are stopped."""
    found, stopped = [], ""
    for line in re.split(r"\r\n|\r|\n", log):
        new = re.match(r"\s*::([\w-]+)(?: ([^:]*(?::(?!:)[^:]*)*))?::(.*)", line)
        old = re.search(r"##\[([\w-]+)([^\]]*)\](.*)", line)
        if stopped:
            if line.strip() == f"::{stopped}::":
                stopped = ""
        elif new and new[1] == "stop-commands":
            stopped = new[3]
        elif match := new or old:
            pairs = (pair.partition("=") for pair in (match[2] or "").split(",") if pair)
            properties = {key.strip(): unescape(value) for key, _, value in pairs}
            found.append(Command(match[1], properties, unescape(match[3])))
    assert not stopped, "the log ends with commands stopped"
    return found


def unescape(text: str) -> str:
    """What the runner makes of an escaped text."""
    for escape, char in (("%3A", ":"), ("%2C", ","), ("%0D", "\r"), ("%0A", "\n"), ("%25", "%")):
        text = text.replace(escape, char)
    return text


def base_environment() -> dict[str, str]:
    """What steps need of this machine, nothing of GitHub's or the Hub's, and colors, which many workflows force."""
    kept = ("PATH", "HOME", "LANG", "PYTHONPATH", "TMPDIR", "VIRTUAL_ENV", "COVERAGE_PROCESS_START")
    found = {name: os.environ[name] for name in kept if name in os.environ}
    return found | {"FORCE_COLOR": "1"}
