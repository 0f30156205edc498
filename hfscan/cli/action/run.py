"""``hfscan action run``: audit, repair if wanted, and say it in every way that a workflow can hear."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import typer

from hfscan.cli.action import finding as say
from hfscan.cli.action.finding import Finding
from hfscan.cli.action.inputs import Inputs
from hfscan.cli.action.program import Finished, child_environment, hfscan
from hfscan.cli.action.workflow import add_summary, annotate, set_outputs

FAILED, USAGE = 2, 4

FILES = {
    "json": "report.json",
    "markdown": "report.md",
    "sarif": "report.sarif",
    "html": "report.html",
}
"""Format -> file name."""

REPAIR_FILES = {"json": "repair.json", "markdown": "repair.md"}


def run() -> None:
    """Audit a model and exit as ``hfscan audit`` does; without a report, with 2 or 4, never with 0."""
    set_outputs({"verdict": "", "target": "", "pr-url": "", "exit-code": str(FAILED)})
    inputs = Inputs.of(os.environ)
    folder = Path(tempfile.mkdtemp(prefix="hfscan-", dir=os.environ.get("RUNNER_TEMP")))
    problem = inputs.problem()
    if problem:
        code, summary = _failed(inputs, problem, USAGE)
    else:
        code, summary = _audit(inputs, folder)
    path = folder / "summary.md"
    path.write_text(summary, encoding="utf-8")
    if problem or inputs.wants("summary"):
        add_summary(summary)
    set_outputs({"summary-file": str(path), "exit-code": str(code)})
    raise typer.Exit(code)


def _failed(inputs: Inputs, error: str, code: int) -> tuple[int, str]:
    annotate("error", "hfscan: the audit failed", error)
    return code, say.failed_summary(inputs.model, error)


def _audit(inputs: Inputs, folder: Path) -> tuple[int, str]:
    """Exit code and summary."""
    wanted = [name for name in FILES if name in ("json", "markdown") or inputs.wants(name)]
    files = {name: folder / FILES[name] for name in wanted}
    done = hfscan(audit_arguments(inputs, files), child_environment(inputs.token))
    found = Finding.read(files["json"])
    missing = [path.name for path in files.values() if not path.is_file()]
    if done.code not in (0, 1, 3) or found is None or missing:
        no_report = (
            f"there is no {', '.join(missing) or 'report'}, though hfscan exited with {done.code}"
        )
        error = no_report if done.code in (0, 1, 3) else done.error
        return _failed(inputs, error, USAGE if done.code == USAGE else FAILED)
    reports = {f"report-{name}": str(path) for name, path in files.items() if name != "markdown"}
    set_outputs({"verdict": found.verdict, "target": found.safe_target} | reports)
    found.annotate(inputs.model, done.code)
    summary = files["markdown"].read_text(encoding="utf-8")
    if inputs.repair == "none" or not found.to_repair:
        return done.code, summary
    repaired, section = _repair(inputs, folder)
    return done.code or repaired, f"{summary}\n{section}"


def _repair(inputs: Inputs, folder: Path) -> tuple[int, str]:
    """Exit code and a section of the summary."""
    done = hfscan(repair_arguments(inputs, folder), child_environment(inputs.token))
    repair = say.Repair.read(folder / REPAIR_FILES["json"], folder / REPAIR_FILES["markdown"])
    url = say.pull_request(done.lines)
    error = _repair_error(inputs, done, url)
    if error or repair is None:
        error = error or "there is no report, though hfscan exited with 0"
        annotate("error", "hfscan: the repair failed", error)
        return FAILED, say.failed_repair(error)
    set_outputs({"pr-url": url})
    repair.annotate(url)
    return 0, repair.summary(done.lines)


def _repair_error(inputs: Inputs, done: Finished, url: str) -> str:
    if done.code != 0:
        return done.error
    unchanged = "nothing differs, nothing was pushed" in done.lines
    return "no pull request was opened" if inputs.repair == "pr" and not (url or unchanged) else ""


def audit_arguments(inputs: Inputs, files: dict[str, Path]) -> list[str]:
    """Of ``hfscan audit``; no value can be taken for an option.

    Args:
        inputs: Of the action.
        files: Format -> where to write the report.
    """
    options = {
        "--clean-data": inputs.clean_data,
        "--revision": inputs.revision,
        "--split": inputs.split,
        "--fail-on": inputs.fail_on,
        "--budget": inputs.budget,
        "--cache-dir": inputs.cache_folder,
    }
    given = [f"{option}={value}" for option, value in options.items() if value]
    outputs = [f"--output={name}={path}" for name, path in files.items()]
    return ["audit", *given, *outputs, "--", inputs.model]


def repair_arguments(inputs: Inputs, folder: Path) -> list[str]:
    """Of ``hfscan repair``, which goes on from the report: it names model, data and their commits.

    Args:
        inputs: Of the action.
        folder: With ``report.json``.
    """
    cache = [f"--cache-dir={inputs.cache_folder}"] if inputs.cache_folder else []
    push = ["--dry-run"] if inputs.repair == "dry-run" else ["--create-pr", "--yes"]
    report, out = f"--report={folder / FILES['json']}", f"--out={folder / 'repaired'}"
    outputs = [f"--output={name}={folder / file}" for name, file in REPAIR_FILES.items()]
    return ["repair", report, out, *outputs, *cache, "--push", *push]
