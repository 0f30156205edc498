"""Sweeps; but for one of them, what stands in for an audit does what the model's name says."""

from __future__ import annotations

import io
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from huggingface_hub import constants
from loopback_hub import LoopbackHub
from sweep.support import FAKE

from hfscan.cli import sweep_view
from hfscan.sweep import process
from hfscan.sweep.queue import read_records

from .conftest import Run
from .support import QUICK, Victims, repository

CLEAN = ("--clean-data", "cifar10")


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No real audits, and an empty working directory."""
    monkeypatch.setattr(process, "PROGRAM", FAKE)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def site(hub: LoopbackHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LoopbackHub:
    """A Hub for this process and for those that it starts."""
    for name, value in hub.environment(tmp_path / "home").items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(constants, "ENDPOINT", hub.endpoint)
    return hub


def listed(*models: str) -> str:
    Path("models.txt").write_text("".join(f"org/{model}\n" for model in models))
    return "models.txt"


def conclusions() -> dict[str, str]:
    return {record.model: record.status for record in read_records(Path("sweep.jsonl"))}


def test_models_on_the_hub(
    run: Run, victims: Victims, site: LoopbackHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A real audit. `test_hub` has a model of another library, whose weights nobody needs."""
    monkeypatch.chdir(tmp_path)
    card = b"---\npipeline_tag: image-classification\n---\n"
    files = repository(victims.planted) | {"README.md": card}
    sha = site.add_model("org/net", files)
    site.add_model("org/text", files | {"README.md": b"---\npipeline_tag: fill-mask\n---\n"})
    site.add_model("other/net", files)
    options = f"{' '.join(QUICK)} --mode fast --tests maximum-margin"
    arguments = ("--author", "org", "--clean-data", victims.data, "--threads", "1")
    done = run("sweep", *arguments, "--audit-options", options, "--json")
    assert done.code == 1
    (net,) = done.json["records"]
    assert (net["model"], net["verdict"], net["revision"]) == ("org/net", "BACKDOORED", sha)
    report = json.loads((tmp_path / net["reports"]["json"]).read_text())
    assert report["model"]["ref"] == "org/net"
    assert not (tmp_path / "state").exists()  # hfscan repair does not go on from a sweep


def test_errors_are_written_for_programs(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HFSCAN_ERRORS", "json")
    error = json.loads(run("audit", "./missing", *CLEAN).err)
    assert error["error"] == "there is no folder ./missing"
    assert (error["kind"], bool(error["hint"])) == ("ModelError", True)
    assert json.loads(run("nonsense").err)["kind"] == "UsageError"


@pytest.mark.usefixtures("fake")
def test_a_sweep_and_its_files(run: Run) -> None:
    models = listed("clean", "backdoored", "crash", "PickleRefusedError", "odd")
    done = run("sweep", models, *CLEAN, "--jobs", "2")
    assert done.code == 1
    assert (
        "5 models: 1 backdoored, 1 failed, 1 inconclusive, 1 not supported, 1 no backdoor"
        in done.out
    )
    assert "[5/5]" in done.err
    lines = [json.loads(line) for line in Path("sweep.jsonl").read_text().splitlines()]
    assert len(lines) == len({line["model"] for line in lines}) == 5
    (found,) = [line for line in lines if line["counts"]]
    assert Path(found["reports"]["html"]).read_text() == "report of org/backdoored"
    folder = Path("sweep-reports")
    assert Path(found["reports"]["json"]).name in (folder / "index.html").read_text()
    assert "org/crash" in (folder / "summary.md").read_text()


@pytest.mark.usefixtures("fake")
@pytest.mark.parametrize(
    ("models", "code"),
    [
        (("clean", "tolerated", "UnsupportedModelError"), 0),
        (("clean", "ModelError"), 2),
        (("clean", "HubError"), 2),
        (("odd", "mlp", "UnsupportedModelError"), 3),
        ((), 3),
    ],
)
def test_exit_codes(run: Run, models: tuple[str, ...], code: int) -> None:
    done = run("sweep", listed(*models), *CLEAN, "-q", "-f", "markdown")
    assert done.code == code
    assert done.out.startswith("## hfscan sweep\n")


@pytest.mark.usefixtures("fake")
def test_what_is_done_is_not_done_again(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    run("sweep", listed("clean", "HubError"), *CLEAN)
    before = Path("sweep.jsonl").read_text()
    done = run("sweep", listed("clean", "HubError"), *CLEAN)
    assert (done.code, Path("sweep.jsonl").read_text()) == (2, before)
    assert "[1/" not in done.err
    done = run("sweep", listed("clean", "HubError", "backdoored"), *CLEAN, "--retry-failed")
    assert done.code == 1
    assert "[2/2]" in done.err
    assert len(Path("sweep.jsonl").read_text().splitlines()) == 3
    done = run("sweep", listed("clean"), *CLEAN, "--split", "train")
    assert (done.code, done.out) == (4, "")
    assert "is of a sweep with other options" in done.err


@pytest.mark.usefixtures("fake")
def test_the_list_may_come_from_stdin(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("# two\norg/clean\norg/odd\n"))
    assert run("sweep", "-", *CLEAN, "--limit", "1").code == 0
    assert conclusions() == {"org/clean": "audited"}


@pytest.mark.usefixtures("fake")
def test_threads_are_divided_and_the_token_is_no_argument(run: Run) -> None:
    models = listed("clean")
    done = run("sweep", models, *CLEAN, "-j", "2", "--threads", "7", "--token", "hf_x", "--json")
    assert done.code == 0
    (record,) = done.json["records"]
    report = json.loads(Path(record["reports"]["json"]).read_text())
    assert report["env"]["HF_TOKEN"] == "hf_x"
    assert "--threads=3" in report["options"]
    assert "hf_x" not in done.out + done.err + str(report["options"])


@pytest.mark.usefixtures("fake")
def test_a_token_among_the_audits_options_is_not_repeated(run: Run) -> None:
    done = run("sweep", listed("clean"), *CLEAN, "--audit-options=--token=hf_secret")
    assert (done.code, done.out) == (4, "")
    assert "--audit-options cannot have --token\n" in done.err
    assert "hf_secret" not in done.err


@pytest.mark.usefixtures("fake")
def test_a_named_file_is_that_of_the_audits_too(run: Run) -> None:
    Path("hfscan.toml").write_text("[audit]\nsteps = 3")
    Path("mine.toml").write_text("[audit]\nsteps = 4")
    for named, passed in (
        ((), []),
        (("--config", "mine.toml"), [f"--config={Path.cwd()}/mine.toml"]),
    ):
        done = run(
            "sweep", listed("clean"), *CLEAN, *named, "--out", f"{len(named)}.jsonl", "--json", "-q"
        )
        assert (done.code, done.err) == (0, "")
        (record,) = done.json["records"]
        report = json.loads(Path(record["reports"]["json"]).read_text())
        assert [option for option in report["options"] if "--config" in option] == passed


@pytest.mark.usefixtures("fake")
@pytest.mark.parametrize("listed", ["./", "local-dir:../net", "../"])
def test_no_model_of_the_list_decides_how_it_is_audited(
    run: Run, monkeypatch: pytest.MonkeyPatch, listed: str
) -> None:
    Path("net").mkdir()
    monkeypatch.chdir("net")
    Path("models.txt").write_text(f"org/clean\n{listed}\n")
    Path("hfscan.toml").write_text("[sweep]\nfail-on = 'never'")
    done = run("sweep", "./models.txt", *CLEAN)
    assert (done.code, done.out) == (4, "")
    assert "hfscan.toml is in the folder of the model" in done.err
    assert "hint: if it is yours, name it: --config hfscan.toml" in done.err
    assert run("sweep", "./models.txt", *CLEAN, "--config", "hfscan.toml").code != 4


@pytest.mark.usefixtures("fake")
def test_settings_beside_the_models_are_read(run: Run) -> None:
    Path("hfscan.toml").write_text("[sweep]\nfail-on = 'never'")
    Path("models.txt").write_text("./clean\n")
    done = run("sweep", "models.txt", *CLEAN)
    assert (done.code, "settings from hfscan.toml: fail-on" in done.err) == (0, True)


@pytest.fixture
def _interrupts() -> Iterator[None]:
    """What a shell starts in the background ignores them, and nohup another one."""
    defaults = {signal.SIGINT: signal.default_int_handler, signal.SIGHUP: signal.SIG_DFL}
    before = {number: signal.signal(number, handler) for number, handler in defaults.items()}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("fake", "_interrupts")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_ctrl_c_leaves_a_file_to_go_on_from(run: Run, number: signal.Signals) -> None:
    def interrupt() -> None:
        while len(conclusions()) < 2:
            time.sleep(0.01)
        os.kill(os.getpid(), number)

    thread = threading.Thread(target=interrupt)
    thread.start()
    done = run("sweep", listed("clean-1", "clean-2", "hang", "clean-3"), *CLEAN)
    thread.join()
    assert done.code == 130
    assert "2 of 4 models are in sweep.jsonl; the same command goes on from there" in done.err
    assert conclusions() == {"org/clean-1": "audited", "org/clean-2": "audited"}
    assert "2 not audited yet" in Path("sweep-reports/summary.md").read_text()


@pytest.mark.usefixtures("fake")
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "name either LIST or ORG, or --author"),
        (("models.txt", "--author", "org"), "name either LIST or ORG, or --author"),
        (("./missing.txt",), "cannot be read as a list of models"),
        (("bad.txt",), "line 1 of bad.txt: "),
        (("org",), "org may be the file here or an organisation on the Hub"),
        (("models.txt", "--timeout", "soon"), "'soon'"),
        (("models.txt", "--budget", "soon"), "'soon'"),
        (("models.txt", "--audit-options", "--nonsense 3"), "--nonsense"),
        (("models.txt", "--audit-options", "--steps 0"), "--steps"),
        (("models.txt", "--audit-options", "'"), "--audit-options cannot be read"),
        (("models.txt", "--audit-options", "-o json=x"), "--audit-options cannot have -o"),
        (("models.txt", "--scheduler", "tcp://x"), "--scheduler is for other machines"),
        (("models.txt", "--backend", "dask"), "--backend dask needs a scheduler"),
        (("models.txt", "--backend", "dask", "--token", "x"), "--token is not sent"),
    ],
)
def test_wrong_usage(run: Run, arguments: tuple[str, ...], said: str) -> None:
    listed("clean")
    Path("bad.txt").write_text("two words\n")
    Path("org").write_text("org/clean\n")
    done = run("sweep", *arguments, *CLEAN)
    assert (done.code, done.out) == (4, "")
    assert said in done.err
    assert not Path("sweep.jsonl").exists()


def test_the_view_names_what_runs_and_how_long_the_rest_takes() -> None:
    from hfscan.sweep.record import Record

    view = sweep_view.SweepView(4, 2)
    assert view.headline() == "0 of 4 models"
    view.started("org/a")
    view.finished(Record("org/a", "failed", reason="[red]why[/]"))
    view.started("org/\x1b[31mb")
    assert view.headline().startswith("1 of 4 models, about ")
    console = sweep_view.Console(file=io.StringIO(), width=100)
    console.print(view)
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert "[red]why[/]" in text
    assert r"org/\x1b[31mb" in text
