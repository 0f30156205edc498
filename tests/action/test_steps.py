"""The steps of action.yml around a hfscan that does what it is told: all that can go wrong."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from hfscan import cli

from .programs import fake_hfscan, fake_python, script
from .runner import Done, Runner, Step, base_environment, commands, read_outputs

INPUTS = {"model": "org/net", "clean-data": "cifar10", "cache": "false"}
HOSTILE = '`id` $(id) "x"; ::error::\n::add-mask::é##[error]'


def report(
    verdict: str = "NO_BACKDOOR_FOUND", target: str = "", suppression: dict[str, str] | None = None
) -> str:
    """The part of a JSON report that the action reads."""
    found = {
        "verdict": verdict,
        "target": {"index": 0, "name": target} if target else None,
        "reason": "as the test says",
        "model": {"weights_file": "model.safetensors"},
        "suppression": suppression,
    }
    return json.dumps(found)


def audit(code: int, verdict: str, target: str = "", **more: Any) -> dict[str, Any]:
    """An audit that ends well."""
    files = {"json": report(verdict, target), "markdown": f"## hfscan audit: {verdict}\n"}
    return {"code": code, "files": files | more.pop("files", {})} | more


CLEAN = audit(0, "NO_BACKDOOR_FOUND")
BACKDOORED = audit(1, "BACKDOORED", "airplane")
REPAIRED = {"json": json.dumps({"verdict_after": "SUSPICIOUS"}), "markdown": "90.0%, 88.0%\n"}
REPAIR = {
    "code": 0,
    "err": "written to x\npush to org/net: a pull request, on abc\n  write  a (1 bytes)\n",
    "files": REPAIRED,
}


@dataclass(frozen=True)
class Tried:
    """What happened, and how hfscan was called: arguments, HF_TOKEN, secrets that it could see."""

    done: Done
    folder: Path

    @property
    def calls(self) -> list[tuple[list[str], str | None, list[str]]]:
        path = self.folder / "calls"
        lines = path.read_text().splitlines() if path.exists() else []
        calls = [tuple(json.loads(line)) for line in lines]
        return [call for call in calls if call[0][0] != "action"]

    @property
    def commands(self) -> list[str]:
        return [call[0][0] for call in self.calls]


Try = Callable[..., Tried]


@pytest.fixture
def attempt(tmp_path: Path) -> Try:
    def attempt(
        inputs: dict[str, str] | None = None, *, token: str = "", **says: dict[str, Any]
    ) -> Tried:
        program = fake_hfscan(tmp_path, {"audit": CLEAN} | says)
        python = fake_python(tmp_path, program)
        setup = {"actions/setup-python": lambda _: {"python-path": str(python)}}
        environment = base_environment() | ({"HF_TOKEN": token} if token else {})
        runner = Runner(tmp_path, environment, setup, {"token": "ghs_secret"})
        return Tried(runner.action(INPUTS | (inputs or {})), tmp_path)

    return attempt


@pytest.fixture
def direct(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Try:
    """The step of the audit alone, without a shell and in this process, which is quicker."""
    files = {name: tmp_path / name for name in ("GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY")}

    def direct(inputs: dict[str, str] | None = None, **says: dict[str, Any]) -> Tried:
        program = fake_hfscan(tmp_path, {"audit": CLEAN} | says)
        monkeypatch.setattr(sys, "argv", [str(program), "action", "run"])
        monkeypatch.setenv("RUNNER_TEMP", str(tmp_path))
        for name, value in (INPUTS | (inputs or {})).items():
            monkeypatch.setenv(f"INPUT_{name.upper().replace('-', '_')}", value)
        for name, path in files.items():
            path.touch()
            monkeypatch.setenv(name, str(path))
        code = cli._run()
        outputs = read_outputs(files["GITHUB_OUTPUT"].read_text(encoding="utf-8"))
        summary = files["GITHUB_STEP_SUMMARY"].read_text(encoding="utf-8")
        assert Path(outputs.pop("summary-file")).read_text(encoding="utf-8")
        step = Step("Audit", "", {}, outputs, code, capfd.readouterr().out, summary)
        return Tried(Done([step], outputs, code != 0), tmp_path)

    return direct


def test_a_shell_never_reads_an_input(attempt: Try, tmp_path: Path) -> None:
    canary = tmp_path / "workspace" / "canary"
    attack = f"a/b; touch {canary}; $(touch {canary}) `touch {canary}` '\" && touch {canary} #"
    names = ("model", "clean-data", "revision", "split", "fail-on", "budget")
    tried = attempt({name: f"{name} {attack}" for name in names})
    ((arguments, _, _),) = tried.calls
    assert not canary.exists()
    assert arguments[-2:] == ["--", f"model {attack}"]
    for name in names[1:]:
        assert f"--{name}={name} {attack}" in arguments


@pytest.mark.parametrize("names", [("version",), ("model", "clean-data", "split", "token")])
def test_nor_one_with_line_breaks(attempt: Try, tmp_path: Path, names: tuple[str, ...]) -> None:
    canary = tmp_path / "workspace" / "canary"
    done = attempt(dict.fromkeys(names, f"x\ntouch {canary}\n::add-mask::x")).done
    assert not canary.exists()
    assert "add-mask" not in {command.name for command in commands(done.log)}


def test_no_value_is_taken_for_an_option(direct: Try) -> None:
    tried = direct({"model": "--allow-pickle", "clean-data": "--help", "split": "-o"})
    ((arguments, _, _),) = tried.calls
    assert arguments[0] == "audit"
    assert arguments[1:3] == ["--clean-data=--help", "--split=-o"]
    assert arguments[-2:] == ["--", "--allow-pickle"]


def test_only_what_was_asked_for_is_passed_on(attempt: Try) -> None:
    tried = attempt()
    ((arguments, _, _),) = tried.calls
    options = [argument.partition("=")[0] for argument in arguments]
    given = ["--clean-data", "--fail-on", "--output", "--output"]
    assert options == ["audit", *given, "--", "org/net"]
    assert "--fail-on=suspicious" in arguments
    assert tried.done.names == ["Set up Python", "Install hfscan", "Audit"]


@pytest.mark.parametrize(
    ("says", "code", "why"),
    [
        ({"code": 0}, "2", "there is no report.json, report.md, though hfscan exited with 0"),
        ({"code": 1}, "2", "there is no report.json, report.md, though hfscan exited with 1"),
        (audit(0, "FINE"), "2", "there is no report, though"),
        ({**CLEAN, "files": {"json": report()}}, "2", "there is no report.md"),
        ({**CLEAN, "files": {"json": "[]", "markdown": ""}}, "2", "there is no report, though"),
        ({**CLEAN, "code": -9}, "2", "signal 9 (memory may have run out)"),
        ({**CLEAN, "code": -11}, "2", "signal 11"),
        ({**CLEAN, "code": 130}, "2", "hfscan exited with 130"),
        ({"code": 2, "err": "bar\nerror: no\nhint: try\n"}, "2", "error: no; hint: try"),
        ({"code": 4, "err": "error: No such option\n"}, "4", "error: No such option"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_without_a_report_it_fails(direct: Try, says: dict[str, Any], code: str, why: str) -> None:
    done = direct(audit=says).done
    assert done.failed
    assert done.outputs == dict.fromkeys(done.outputs, "") | {"exit-code": code}
    (error,) = commands(done.log)
    assert (error.name, error.properties) == ("error", {"title": "hfscan: the audit failed"})
    assert why in error.message
    assert done.summary.startswith("## hfscan audit: failed\n\nNothing is known about `org/net`: ")


def test_a_wanted_report_that_is_missing_is_a_failure(direct: Try) -> None:
    done = direct({"sarif": "true"}).done
    assert (done.failed, done.outputs["exit-code"]) == (True, "2")
    assert "there is no report.sarif" in done.log


def test_all_reports(direct: Try) -> None:
    files = {"files": {"sarif": "{}", "html": "<p>"}}
    tried = direct({"sarif": "true", "html": "TRUE"}, audit=audit(0, "SUSPICIOUS", **files))
    for name, content in files["files"].items():
        assert Path(tried.done.outputs[f"report-{name}"]).read_text() == content


@pytest.mark.parametrize(
    ("verdict", "code", "level"),
    [
        ("BACKDOORED", 1, "error"),
        ("BACKDOORED", 0, "warning"),
        ("SUSPICIOUS", 1, "warning"),
        ("INCONCLUSIVE", 3, "warning"),
        ("NO_BACKDOOR_FOUND", 0, "notice"),
    ],
)
def test_the_verdict_is_shown_whatever_fails(
    direct: Try, verdict: str, code: int, level: str
) -> None:
    done = direct(audit=audit(code, verdict)).done
    assert done.failed == (code != 0)
    assert (done.outputs["verdict"], done.outputs["exit-code"]) == (verdict, str(code))
    (command,) = commands(done.log)
    assert (command.name, command.properties["title"]) == (level, f"hfscan: {verdict}")
    assert command.message == "org/net: as the test says"


def test_a_hostile_model_commands_nothing(attempt: Try) -> None:
    says = audit(1, "BACKDOORED", HOSTILE, out=f"{HOSTILE}\n", err=f"{HOSTILE}\n::stop-commands::x")
    done = attempt(audit=says).done
    assert [command.name for command in commands(done.log)] == ["error"]
    assert done.outputs["target"] == "_id_ _(id) _x__ __error___n__add-mask__é__[error_".replace(
        "[", "_"
    )
    assert done.outputs["exit-code"] == "1"


def test_tokens_reach_only_those_who_need_them(attempt: Try) -> None:
    tried = attempt({"token": "hf_secret", "repair": "dry-run"}, audit=BACKDOORED, repair=REPAIR)
    assert [(token, seen) for _, token, seen in tried.calls] == [("hf_secret", [])] * 2
    assert "hf_secret" not in tried.done.log + tried.done.summary
    assert all("hf_secret" not in argument for call in tried.calls for argument in call[0])


def test_without_one_the_jobs_own_is_left(attempt: Try) -> None:
    ((_, token, _),) = attempt(token="hf_of_the_job").calls
    assert token == "hf_of_the_job"


@pytest.mark.parametrize(
    ("inputs", "why"),
    [
        ({"model": " "}, "model and clean-data are required"),
        ({"clean-data": ""}, "model and clean-data are required"),
        ({"repair": "yes"}, "repair is 'yes', not one of none, dry-run, pr"),
        ({"sarif": "report.sarif"}, "sarif is 'report.sarif', not true or false"),
        ({"summary": "no"}, "summary is 'no', not true or false"),
        ({"model": "./net", "repair": "pr"}, "./net is a folder"),
    ],
    ids=str,
)
def test_wrong_inputs_are_refused_at_once(direct: Try, inputs: dict[str, str], why: str) -> None:
    tried = direct(inputs)
    assert tried.commands == []
    assert (tried.done.failed, tried.done.outputs["exit-code"]) == (True, "4")
    assert why in commands(tried.done.log)[0].message


def test_a_dry_run_lists_what_a_push_would_do(direct: Try) -> None:
    tried = direct({"repair": "dry-run"}, audit=BACKDOORED, repair=REPAIR)
    assert tried.commands == ["audit", "repair"]
    assert tried.calls[1][0][-2:] == ["--push", "--dry-run"]
    assert tried.done.outputs["pr-url"] == ""
    assert "the repaired network is still SUSPICIOUS." in tried.done.summary
    assert tried.done.summary.endswith("\n\n90.0%, 88.0%\n")
    lines = "push to org/net: a pull request, on abc\n  write  a (1 bytes)"
    assert f"```\n{lines}\n```" in tried.done.summary


ACCEPTED = audit(0, "BACKDOORED", files={"json": report("BACKDOORED", "", {"reason": "known"})})


@pytest.mark.parametrize("says", [CLEAN, audit(3, "INCONCLUSIVE"), ACCEPTED])
def test_nothing_is_repaired_where_nothing_was_found_or_it_was_accepted(
    direct: Try, says: dict[str, Any]
) -> None:
    assert direct({"repair": "pr"}, audit=says).commands == ["audit"]


@pytest.mark.parametrize(("code", "expected"), [(0, "2"), (1, "1")])
@pytest.mark.parametrize(
    ("repair", "why"),
    [
        ({"code": 2, "err": "error: accuracy fell\n"}, "error: accuracy fell"),
        (REPAIR, "no pull request was opened"),
        ({**REPAIR, "err": "pushed: https://x/y)[z](w/discussions/1\n"}, "no pull request"),
        ({"code": 0, "err": "pushed: https://x/y/discussions/1\n"}, "there is no report"),
    ],
)
def test_a_repair_that_fails(
    direct: Try, code: int, expected: str, repair: dict[str, Any], why: str
) -> None:
    says = audit(code, "BACKDOORED")
    done = direct({"repair": "pr"}, audit=says, repair=repair).done
    assert (done.failed, done.outputs["exit-code"]) == (True, expected)
    assert (done.outputs["verdict"], done.outputs["pr-url"]) == ("BACKDOORED", "")
    last = commands(done.log)[-1]
    assert (last.name, last.properties["title"]) == ("error", "hfscan: the repair failed")
    assert why in last.message
    assert "## hfscan repair: failed\n" in done.summary


def test_a_repair_that_changes_nothing(direct: Try) -> None:
    nothing = {**REPAIR, "err": "nothing differs, nothing was pushed\n"}
    done = direct({"repair": "pr"}, audit=audit(0, "SUSPICIOUS"), repair=nothing).done
    assert (done.failed, done.outputs["pr-url"]) == (False, "")
    assert "nothing differs, nothing was pushed" in done.summary


def test_no_summary_if_none_is_wanted(direct: Try) -> None:
    assert direct({"summary": "false"}).done.summary == ""


def test_a_comment_is_written_though_the_audit_fails(attempt: Try) -> None:
    done = attempt({"comment": "true"}, audit=BACKDOORED).done
    assert done.failed
    assert done.step("Comment").code == 0
    assert "this run is not for a pull request" in done.step("Comment").log


def test_what_is_installed(attempt: Try) -> None:
    tried = attempt()
    cpu, package = (tried.folder / "pip.log").read_text().splitlines()
    assert cpu.split()[-4:] == [
        "--index-url",
        "https://download.pytorch.org/whl/cpu",
        "torch",
        "torchvision",
    ]
    assert (Path(package.split()[-1]) / "pyproject.toml").is_file()


@pytest.mark.parametrize("version", ["0.1.0", "1.2.3rc1"])
def test_a_version_of_the_package_index(attempt: Try, version: str) -> None:
    tried = attempt({"version": version})
    assert (tried.folder / "pip.log").read_text().splitlines()[-1].split()[
        -1
    ] == f"hfscan=={version}"


@pytest.mark.parametrize("version", ["latest", "1.0 --pre", "1.0\n2.0", "1.0;x"])
def test_what_is_no_version_is_not_installed(attempt: Try, version: str) -> None:
    tried = attempt({"version": version})
    assert (tried.done.failed, tried.done.outputs["exit-code"]) == (True, "2")
    assert tried.done.names == ["Set up Python", "Install hfscan"]
    assert not (tried.folder / "pip.log").exists()


def test_an_installation_that_fails_is_a_failure(tmp_path: Path) -> None:
    python = script(tmp_path / "python", "#!/usr/bin/env bash\nexit 1\n")
    setup = {"actions/setup-python": lambda _: {"python-path": str(python)}}
    done = Runner(tmp_path, base_environment(), setup).action(INPUTS)
    assert done.failed
    assert done.outputs == dict.fromkeys(done.outputs, "") | {"exit-code": "2"}


def test_modules_of_the_checkout_are_not_imported(attempt: Try, tmp_path: Path) -> None:
    workspace = tmp_path / "workspace"
    workspace.mkdir()
    for name in ("hfscan", "typer", "json", "rich", "venv", "sitecustomize"):
        (workspace / f"{name}.py").write_text("raise SystemExit('imported from the checkout')")
    tried = attempt()
    assert not tried.done.failed
    assert "imported from the checkout" not in tried.done.log
