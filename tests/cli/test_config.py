"""Settings from flags, the environment, a file and the defaults."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import typer

from hfscan.cli import app
from hfscan.cli.config_file import SECRET, TYPED, find, free, settings
from hfscan.cli.state import Inputs, remember
from hfscan.cli.toml import MAX_BYTES, MAX_LINE
from hfscan.types import AuditReport

from .conftest import Run
from .support import QUICK, Victims

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

SHOW = "--show-config"


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def write(place: Path, text: str, name: str = "hfscan.toml") -> Path:
    path = place / name
    path.write_text(text)
    return path


def test_flags_win_over_environment_over_file_over_defaults(
    run: Run, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(place, "[audit]\nimages = 5\nsteps = 5\ntau = 0.2\n")
    monkeypatch.setenv("HFSCAN_AUDIT_IMAGES", "6")
    monkeypatch.setenv("HFSCAN_AUDIT_STEPS", "6")
    done = run("audit", SHOW, "--images", "7")
    assert done.code == 0
    lines = [line.split("  # ") for line in done.out.splitlines()]
    shown = {line[0].strip(): line[-1].strip() for line in lines}
    assert shown["images = 7"] == "the command line"
    assert shown["steps = 6"] == "HFSCAN_AUDIT_STEPS"
    assert shown["tau = 0.2"] == "hfscan.toml"
    assert shown["eps = 0.06"] == "default"


def test_an_audit_really_uses_them(
    run: Run, victims: Victims, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = f"clean-data = '{victims.data}'"
    write(place, f"[audit]\n{images}\nformat = 'json'\nfail-on = 'never'\nimages = 9\nsteps = 9")
    monkeypatch.setenv("HFSCAN_AUDIT_STEPS", "1")
    done = run("audit", victims.planted, "--images", "8")
    assert done.code == 0
    assert done.json["verdict"] == "BACKDOORED"
    assert (done.json["settings"]["images"], done.json["settings"]["steps"]) == (8, 1)
    assert done.err == "settings from hfscan.toml: clean-data, fail-on, format\n"


def test_every_setting_is_shown_as_a_file_that_can_be_used(run: Run, place: Path) -> None:
    shown = run("audit", "org/net", SHOW, "-o", "json=x.json", "--revision", 'a"b\\').out
    (table,) = tomllib.loads(shown).values()
    assert (table["output"], table["revision"]) == (["json=x.json"], 'a"b\\')
    for key in settings(commands().commands["audit"]):
        assert any(line.removeprefix("# ").startswith(key) for line in shown.splitlines()), key
    assert '# MODEL = "org/net"' in shown
    write(place, shown)
    assert run("audit", "org/net", SHOW).code == 0


def test_a_token_is_never_shown(run: Run, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HFSCAN_AUDIT_TOKEN", "hf_secret")
    done = run("audit", SHOW)
    assert "HFSCAN_AUDIT_TOKEN; not shown" in done.out
    assert "hf_secret" not in done.out + done.err


def test_the_environment_of_a_nested_command(
    run: Run, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(place, "[bench.table]\nformat = 'csv'")
    monkeypatch.setenv("HFSCAN_BENCH_TABLE_TABLE", "2")
    shown = run("bench", "table", SHOW).out
    assert tomllib.loads(shown)["bench"]["table"]["table"] == "2"
    assert tomllib.loads(shown)["bench"]["table"]["format"] == "csv"


def test_a_variable_that_is_no_setting_is_warned_about(
    run: Run, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HFSCAN_AUDIT_IMAGSE", "6")
    assert run("audit", SHOW).err.startswith("warning: the variable HFSCAN_AUDIT_IMAGSE is no")


def test_a_repair_takes_them_too(run: Run, victims: Victims, place: Path) -> None:
    write(place, "[repair]\nepochs = 1\nlr = 1e-5\nerase-rate = 0.03\nout = 'net'")
    done = run("repair", "--report", victims.report, "--json", "-q")
    assert (done.code, done.err) == (0, "")
    assert (done.json["settings"]["epochs"], done.json["settings"]["erase_rate"]) == (1, 0.03)
    assert (place / "net" / "model.safetensors").is_file()


def test_a_file_is_about_whatever_method_it_means_something_to(
    run: Run, victims: Victims, place: Path
) -> None:
    write(place, "[repair]\nepochs = 1\nlr = 1e-5\nerase-rate = 0.5\nforce = false")
    assert "force cannot be set" in run("repair", "--report", victims.report).err
    write(place, "[repair]\nepochs = 1\nlr = 1e-5\nerase-rate = 0.5\n")
    options = ("--report", victims.report, "--method", "ft", "--out", "net", "--json")
    done = run("repair", *options)
    assert done.json["parameters"]["tuning"]["epochs"] == 1
    assert done.json["parameters"]["tuning"]["lr"] == 1e-5


# --- which file


def test_the_nearest_file_of_the_repository(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inner = place / "a" / "b"
    inner.mkdir(parents=True)
    monkeypatch.chdir(inner)
    write(place, "")
    assert find() is None  # no repository: nobody else's folder
    (place / ".git").mkdir()
    assert find() == Path("../../hfscan.toml")
    write(place / "a", "[tool.ruff]", "pyproject.toml")
    assert find() == Path("../../hfscan.toml")
    write(place / "a", "[tool.hfscan]", "pyproject.toml")
    assert find() == Path("../pyproject.toml")
    write(place / "a", "")
    assert find() == Path("../hfscan.toml")
    (place / "a" / ".git").write_text("gitdir: elsewhere")
    (place / "a" / "hfscan.toml").unlink()
    (place / "a" / "pyproject.toml").unlink()
    assert find() is None


def test_pyproject_and_a_named_file(
    run: Run, place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(place, "[tool.hfscan.audit]\nimages = 5", "pyproject.toml")
    assert "images = 5" in run("audit", SHOW).out
    other = write(tmp_path, "[audit]\nimages = 6", "other.toml")
    assert "images = 6" in run("audit", SHOW, "--config", other).out
    monkeypatch.setenv("HFSCAN_CONFIG", str(other))
    assert "images = 6" in run("audit", SHOW).out


def test_a_broken_pyproject_of_others_is_not_read(run: Run, place: Path) -> None:
    write(place, "[broken", "pyproject.toml")
    assert run("audit", SHOW).code == 0
    long = f"{'#' * 4001}\n"
    write(place, f"[project]\ndependencies = ['hfscan']\n{long}", "pyproject.toml")
    assert run("audit", SHOW).code == 0
    for header in ("[tool.hfscan]", "[ 'tool' . hfscan.audit ]"):
        write(place, f"{header}\n{long}", "pyproject.toml")
        assert "line 2 is longer" in run("audit", SHOW).err


def test_help_needs_no_file(run: Run, place: Path) -> None:
    write(place, "[broken")
    assert run("audit", "--help").code == 0
    assert run("audit", SHOW).code == 4


def test_completion_reads_no_file(place: Path) -> None:
    write(place, "[broken")
    words = {"COMP_WORDS": "hfscan audit --ima", "COMP_CWORD": "2", "HFSCAN_AUDIT_X": "1"}
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "import sys; sys.argv[0] = 'hfscan'; import hfscan.cli; hfscan.cli.main()",
        ],
        env=os.environ | words | {"_HFSCAN_COMPLETE": "complete_bash"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stdout.split(), done.stderr) == (["--image-column", "--images"], "")


def test_a_model_does_not_decide_how_it_is_audited(
    run: Run, victims: Victims, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (place / "model").symlink_to(victims.planted)
    file = write(place / "model", "[audit]\nfail-on = 'never'")
    try:
        monkeypatch.chdir(place / "model")
        options = ("--clean-data", victims.data, *QUICK)
        done = run("audit", "./", *options)
        assert done.code == 4
        assert "hfscan.toml is in the folder of the model" in done.err
        assert "hint: if it is yours, name it: --config hfscan.toml" in done.err
        assert run("audit", "./", *options, "--config", "hfscan.toml").code == 0
    finally:
        file.unlink()


def test_a_link_in_the_models_folder_is_in_it(run: Run, place: Path, tmp_path: Path) -> None:
    """As in a snapshot of the Hub's cache."""
    blob = write(tmp_path, "[audit]\nfail-on = 'never'", "blob")
    (place / "hfscan.toml").symlink_to(blob)
    done = run("audit", "./", "--clean-data", "cifar10")
    assert (done.code, "is in the folder of the model" in done.err) == (4, True)


@pytest.mark.parametrize("command", ["verify --channels 0", "repair --report", "repair"])
def test_nor_does_the_model_of_a_report(
    run: Run, victims: Victims, place: Path, command: str
) -> None:
    report = AuditReport.from_dict(json.loads(victims.report.read_text()))
    report = replace(report, model=replace(report.model, ref="./"))
    file = write(place, json.dumps(report.to_dict()), "report.json")
    remember(report, Inputs(str(place), None, str(victims.data), "test"))
    write(place, f"[{command.split()[0]}]\nseed = 1")
    done = run(*command.split(), *([] if command == "repair" else [file]))
    assert (done.code, done.out) == (4, "")
    assert "hfscan.toml is in the folder of the model" in done.err
    assert "hint: if it is yours, name it: --config hfscan.toml" in done.err


def test_a_copy_named_by_the_file_does_not_stand_in_for_the_model_of_a_report(
    run: Run, victims: Victims, place: Path
) -> None:
    report = json.loads(victims.report.read_text())
    report["model"]["ref"] = "./"
    file = write(place, json.dumps(report), "report.json")
    write(place, f"[verify]\nmodel = '{victims.planted}'")
    done = run("verify", file)
    assert (done.code, "is in the folder of the model" in done.err) == (4, True)


# --- what is wrong with a file

HOSTILE = {
    "unknown key": ("[audit]\nimagse = 3", "there is no 'imagse'", "did you mean images?"),
    "underscore": ("[audit]\nfail_on = 'never'", "'fail_on'", "did you mean fail-on?"),
    "flag of nothing": ("[repair]\nno-flip = true", "'no-flip'", "did you mean flip?"),
    "nothing alike": ("[bench.plot]\nzzz = 1", "'zzz'", "known: format, out"),
    "unknown table": ("[audti]", "'audti' is no command", "did you mean audit?"),
    "key without a table": ("images = 3", "'images' is no command", "known:"),
    "no settings": ("[init]", "init takes no settings", "leave [init] out"),
    "no table": ("audit = 3", "'audit' must be a table", "write [audit]"),
    "text for a number": ("[audit]\nimages = '3'", "a whole number, not '3'", "audit --help"),
    "yes for a number": ("[audit]\nimages = true", "must be a whole number, not True", ""),
    "fraction": ("[audit]\nimages = 3.0", "images must be a whole number, not 3.0", ""),
    "number for a text": ("[audit]\nbudget = 90", "budget must be a text in quotes", ""),
    "number for yes": ("[audit]\nquiet = 1", "quiet must be true or false, not 1", ""),
    "text for a list": ("[audit]\noutput = 'json=x'", "output must be a list of texts", ""),
    "date": ("[audit]\nseed = 2026-01-01", "seed must be a whole number", ""),
    "deep value": (f"[audit]\nseed = {'[' * 200}{']' * 200}", "a whole number, not list", ""),
    "out of range": ("[audit]\nimages = 0", "'--images'", "audit --help"),
    "no choice": ("[audit]\ndetector = 'eye'", "'--detector'", ""),
    "json": ("[audit]\njson = true", "there is no 'json'", ""),
    "token": ("[audit]\ntoken = 'hf_x'", "a token does not belong in a file", "hf auth login"),
    "malformed": ("[audit]\nimages = \n", "is not TOML: Invalid value (at line 2", "toml.io"),
    "NUL": ("[audit]\nsplit = 'a\0'", "is not TOML: ", "toml.io"),
    "nested": ("x = " + "[" * (MAX_LINE - 9), "it is nested too deeply", ""),
    "huge number": ("x = " + "9" * (MAX_LINE - 9), "'x' is no command", ""),
    "huge": ("#\n" * MAX_BYTES, "is larger than 200,000 bytes", ""),
    "long line": ("\n#" + "." * MAX_LINE, "line 2 is longer than 4,000 bytes", ""),
    "escape": ("\x1b[31m = 1", "is not TOML", ""),
    "hostile key": ('[audit]\n"\\u001b[31m" = 1', "there is no '\\x1b[31m'", ""),
    "elsewhere": ("[audit]\noutput = ['json=../x']", "'../x' is not below the", "type --output"),
    "results": ("[calibrate]\nresults = '../x'", "results '../x' is not below", "type --results"),
    "pages": ("[calibrate]\npages = '/x=y'", "pages '/x=y' is not below", "type --pages"),
    "hidden": (
        "[audit]\noutput = ['json=.git/config']",
        "'.git/config' is hidden",
        "type --output",
    ),
    "hidden folder": ("[repair]\nout = 'a/.github'", "'a/.github' is hidden", "type --out"),
    "hidden by dots": ("[repair]\nout = 'a/../.git'", "'a/../.git' is hidden", "type --out"),
    "root": ("[repair]\nout = '/'", "out '/' is not below the working directory", "type --out"),
}


@pytest.mark.parametrize(("target", "error"), [(".git", "is hidden"), ("..", "is not below")])
def test_a_link_is_followed_before_a_file_may_write_there(
    run: Run, place: Path, target: str, error: str
) -> None:
    (place / ".git").mkdir(exist_ok=True)
    (place / "link").symlink_to(target)
    write(place, "[report]\noutput = ['json=link/config']")
    done = run("report", "report.json")
    assert (done.code, done.out) == (4, "")
    assert f"'link/config' {error}" in done.err


@pytest.mark.parametrize("case", HOSTILE)
def test_a_wrong_file_is_wrong_usage(run: Run, place: Path, case: str) -> None:
    text, error, hint = HOSTILE[case]
    write(place, text)
    done = run("audit", "org/net", "--clean-data", "cifar10")
    assert done.code == 4, done.err
    assert (done.out, done.err.isascii()) == ("", True)
    first, second = done.err.splitlines()
    assert "hfscan.toml" in first
    assert error in first
    assert hint in second


@pytest.mark.parametrize("key", TYPED)
def test_a_file_hands_out_no_rights(run: Run, place: Path, key: str) -> None:
    bench = commands().commands["bench"].commands
    found = commands().commands | {f"bench.{name}": each for name, each in bench.items()}
    tables = [
        name
        for name, command in found.items()
        if name not in ("bench", "init") and key in settings(command)
    ]
    assert tables
    for name in tables:
        write(place, f"[{name}]\n{key} = 'x'")
        done = run("audit", "org/net", "--clean-data", "cifar10")
        assert done.code == 4
        assert f"[{name}]: {key} cannot be set in a file" in done.err
        variable = f"HFSCAN_{name.upper().replace('.', '_')}_"
        assert f"hint: type --{key}, or set {variable}" in done.err


def test_not_a_file(run: Run, place: Path) -> None:
    os.mkfifo(place / "pipe")
    for name in ("pipe", ".", "nowhere", "/dev/zero"):
        done = run("audit", SHOW, "--config", name)
        assert (done.code, "is not a file" in done.err) == (4, True)


def test_not_utf_8(run: Run, place: Path) -> None:
    (place / "hfscan.toml").write_bytes(b"[audit]\nsplit = '\xff'")
    assert "is not TOML: line 2 is not UTF-8" in run("audit", SHOW).err


# --- hfscan init


def test_init_writes_every_setting_commented_out(run: Run, place: Path) -> None:
    done = run("init")
    assert (done.code, done.err) == (0, "written: hfscan.toml\n")
    text = (place / "hfscan.toml").read_text()
    assert not any(tomllib.loads(text)["audit"].values())
    lines = text.splitlines()
    for key in free(settings(commands().commands["audit"])):
        assert any(line.startswith(f"# {key} =") for line in lines), key
    assert not any(line.startswith(f"# {key} =") for line in lines for key in (*TYPED, SECRET))


def test_its_defaults_are_the_defaults(run: Run, place: Path) -> None:
    before = [run(*name, SHOW).out for name in (("audit",), ("repair",), ("bench", "run"))]
    run("init")
    lines = (place / "hfscan.toml").read_text().splitlines()[5:]
    active = [line[2:] if " = " in line and line[0] == "#" else line for line in lines]
    write(place, "\n".join(line for line in active if " = " in line or line.startswith("[")))
    after = [run(*name, SHOW).out for name in (("audit",), ("repair",), ("bench", "run"))]
    assert tomllib.loads("\n".join(after)) == tomllib.loads("\n".join(before))
    assert "hfscan.toml" in after[0]


def test_init_overwrites_nothing_unasked(run: Run, place: Path) -> None:
    write(place, "[audit]\n")
    done = run("init")
    assert (done.code, "hint: --force" in done.err) == (4, True)
    assert (place / "hfscan.toml").read_text() == "[audit]\n"
    assert run("init", "--force").code == 0
    assert "# images = 32" in (place / "hfscan.toml").read_text()


def commands() -> typer.core.TyperGroup:
    group = typer.main.get_command(app)
    assert isinstance(group, typer.core.TyperGroup)
    return group
