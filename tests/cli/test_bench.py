"""``hfscan bench``: every cell on tiny data, resumed, shown and drawn."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest
import torch
from bench.conftest import trial as trial_of
from datasets import ClassLabel, Dataset, DatasetDict, Features
from datasets import Image as ImageFeature

from hfscan.bench.attacks import ATTACKS
from hfscan.bench.defenses import DEFENSES
from hfscan.bench.results import append_trial
from hfscan.bench.smoke import SYNTHETIC
from hfscan.bench.tasks import TASKS
from hfscan.cli import EXIT_FAILED, EXIT_USAGE
from hfscan.cli.bench import EXIT_FAILED_TRIALS

from .bad_case import HOSTILE
from .conftest import Run
from .support import png, write_data


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("bench") / "results.jsonl"


def lines(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_smoke_goes_through_every_cell(run: Run, results: Path) -> None:
    done = run("bench", "run", "--smoke", "--out", results)
    trials = lines(results)
    failed = [trial for trial in trials if trial["error"]]
    for trial in failed:  # a few images of noise may give an audit nothing to point at
        assert trial["defense"] == "fmt-flow"
        assert "points at no channel" in str(trial["error"])
    assert done.code == (EXIT_FAILED_TRIALS if failed else 0)
    cells = {(trial["dataset"], trial["attack"], trial["defense"]) for trial in trials}
    assert cells == {(SYNTHETIC + t, a, d) for t in TASKS for a in ATTACKS for d in DEFENSES}
    assert len(trials) == len(cells)
    assert f"{len(cells) - len(failed)} trials worked, {len(failed)} failed" in done.err


def test_it_goes_on_where_it_stopped(run: Run, results: Path) -> None:
    worked = [trial for trial in lines(results) if not trial["error"]]
    whole = [json.dumps(trial) + "\n" for trial in worked if "gtsrb" in str(trial["dataset"])]
    results.write_text("".join(whole[:-1]))
    last = json.loads(whole[-1])
    what = ("--dataset", "gtsrb", "--attack", last["attack"], "--defense", last["defense"])
    done = run("bench", "run", "--smoke", *what, "--out", results)
    assert "1 trials worked, 0 failed" in done.err
    assert run("bench", "run", "--smoke", *what, "--out", results).err.startswith("1 of 1 cells")
    again = json.loads(results.read_text().splitlines()[-1])
    timeless = {"seconds": 0, "cpu_seconds": 0}
    assert again | timeless == last | timeless  # the seeds decide


@pytest.mark.parametrize("number", ["1", "2", "3", "4", "cost"])
def test_tables(run: Run, results: Path, number: str) -> None:
    for name, part in {"rich": "fmt", "markdown": "| --- |", "csv": "table,row,source"}.items():
        done = run("bench", "table", results, "--table", number, "--format", name)
        assert done.code == 0, done.err
        assert part in done.out or number in "34"
    rows = list(csv.reader(io.StringIO(done.out)))
    assert len({len(row) for row in rows}) == 1
    assert "paper" not in done.out.replace("paper's", "")  # synthetic images have no published row


def test_the_table_of_seeds(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    append_trial(path, trial_of())
    done = run("bench", "table", path, "--table", "seeds")
    assert (done.code, done.out) == (EXIT_FAILED, "")
    assert "no trial belongs in table seeds" in done.err
    append_trial(path, trial_of(seed=1))
    done = run("bench", "table", path, "--table", "seeds", "-f", "csv")
    assert done.code == 0
    assert [row[2] for row in csv.reader(io.StringIO(done.out))][1:] == [
        "seed 0",
        "seed 1",
        "range",
    ]


def test_figures(run: Run, results: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    done = run("bench", "plot", results, "--out", tmp_path, "-f", "png")
    assert done.code == 0
    written = sorted(path.name for path in tmp_path.iterdir())
    assert written == ["accuracy-asr.png", "cost.png"]
    assert [Path(line).name for line in sorted(done.out.split())] == written


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--attack", "badnet"], "--attack 'badnet' is not known"),
        (["--dataset", "mnist"], "--dataset 'mnist' is not known"),
        (["--defense", "fmt,x"], "--defense 'x' is not known"),
        (["--poison-rate", "much"], "--poison-rate 'much' is not numbers"),
        (["--clean-rate", "0"], "--clean-rate in (0, 1]"),
        (["--seed", "0.5"], "--seed '0.5' is not numbers"),
    ],
)
def test_wrong_options(run: Run, tmp_path: Path, options: list[str], message: str) -> None:
    done = run("bench", "run", "--out", tmp_path / "x.jsonl", *options)
    assert done.code == EXIT_USAGE
    assert message in done.err
    assert not list(tmp_path.iterdir())


def test_results_that_are_none(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "results.jsonl"
    file.write_text("nonsense\n\n")
    done = run("bench", "table", file)
    assert done.code == EXIT_FAILED
    assert "line 1 of" in done.err
    assert run("bench", "table", tmp_path / "nothing").code == EXIT_USAGE


def test_results_of_others_are_no_markup(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "results.jsonl"
    append_trial(file, trial_of("[/a]", "[/d]", dataset=f"[/x]{HOSTILE}"))
    done = run("bench", "table", file)
    assert done.code == 0, done.err
    assert all(name in done.out for name in ("[/a]", "[/d]", "[/x]"))
    assert "\x1b" not in done.out


def test_data_of_ones_own(run: Run, tmp_path: Path) -> None:
    """``--data`` has one folder per data set; cifar100 has two columns of labels."""
    names = [f"class {index}" for index in range(4)]
    features = Features(
        {
            "img": ImageFeature(),
            "fine_label": ClassLabel(names=names),
            "coarse_label": ClassLabel(num_classes=2),
        }
    )
    labels = [index % 4 for index in range(80)]
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(256, (80, 3, 32, 32), generator=generator, dtype=torch.uint8)
    split = Dataset.from_dict(
        {
            "img": [{"bytes": png(image), "path": None} for image in pixels],
            "fine_label": labels,
            "coarse_label": [label // 2 for label in labels],
        },
        features=features,
    )
    write_data(tmp_path / "data" / "cifar100", DatasetDict({"train": split, "test": split}))
    options = ("--width", 2, "--epochs", 1, "--defense", "ft,clp", "--clean-rate", 0.5)
    where = ("--data", tmp_path / "data", "--cache", tmp_path / "cache", "--out", tmp_path / "r")
    what = ("--dataset", "cifar100", "--attack", "badnets")
    done = run("bench", "run", *what, *map(str, options), *where)
    assert done.code == 0, done.err
    assert {trial["dataset"] for trial in lines(tmp_path / "r")} == {"cifar100"}
    warnings = [line for line in done.err.splitlines() if line.startswith("warning: the victim")]
    assert len(warnings) == 1, "two defenses, one victim, which learned nothing in one epoch"
    (victim,) = (tmp_path / "cache" / "victims").iterdir()
    assert json.loads((victim / "config.json").read_text())["label_names"] == names
