"""``hfscan repair`` on folders: what is written, and when nothing is."""

from __future__ import annotations

import hashlib
import importlib
import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import timm
import torch
from bench.test_calibrating import audited_zoo
from huggingface_hub import ModelCard
from safetensors import safe_open

import hfscan
from hfscan.bench.calibrating import calibrated
from hfscan.cli import state
from hfscan.types import AuditReport, RepairReport

from .conftest import Run
from .support import CLASSES, GENTLE, QUICK, TARGET, Victims, color_net, colored, tree

SOURCE_CARD = "---\nlicense: mit\ntags:\n- vision\n---\n# Colors\n\nTells colors apart.\n"
HARMLESS = ("--epochs", "1", "--lr", "1e-5")
RUINOUS = ("--epochs", "1", "--lr", "1e-6", "--erase-rate", "0.9")


@pytest.fixture
def source(victims: Victims, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the backdoored model with a card, in the working directory."""
    monkeypatch.chdir(tmp_path)
    folder = Path(shutil.copytree(victims.planted, tmp_path / "net"))
    (folder / "README.md").write_text(SOURCE_CARD)
    return folder


def test_go_on_from_the_latest_audit(run: Run, victims: Victims, source: Path) -> None:
    audit = run("audit", "./net", "--clean-data", victims.data, *QUICK)
    assert audit.code == 1
    done = run("repair", *GENTLE)
    assert (done.code, done.err) == (0, "written to net-repaired\n")
    assert "REPAIRED" in done.out
    assert tree(Path("net-repaired")).keys() == {
        "README.md",
        "config.json",
        "hfscan-report.json",
        "model.safetensors",
    }
    again = run("audit", "./net-repaired", "--clean-data", victims.data, *QUICK)
    assert again.code == 0


def test_a_card_from_elsewhere_is_refused_before_the_repair(
    run: Run, victims: Victims, source: Path
) -> None:
    (source / "README.md").rename("secret")
    (source / "README.md").symlink_to("../secret")
    done = run("repair", source, "--clean-data", victims.data, "--report", victims.report, *GENTLE)
    assert (done.code, done.out) == (2, "")
    assert "README.md in" in done.err
    assert "is a link to a file outside of that folder" in done.err
    assert not Path("net-repaired").exists()


def test_the_written_folder(run: Run, victims: Victims, source: Path) -> None:
    options = ("--report", victims.report, "--out", "deep/out", "--json", *GENTLE)
    done = run("repair", source, "--clean-data", victims.data, *options)
    assert done.code == 0
    out = Path("deep/out")
    assert (out / "config.json").read_bytes() == (source / "config.json").read_bytes()
    _check_report(out, done.json)
    _check_weights(out)
    for name in ("README.md", "hfscan-report.json"):
        assert str(source.parent.parent) not in (out / name).read_text()
        assert str(victims.data.parent) not in (out / name).read_text()
    _check_card(out)


@pytest.mark.parametrize("given", [True, False], ids=["given", "audit's"])
def test_p_values_are_from_a_calibration_of_the_users_own(
    run: Run, victims: Victims, source: Path, tmp_path: Path, given: bool
) -> None:
    made, _ = calibrated(audited_zoo(4), name="mine", description="of tests")
    only = "maximum-margin"
    made = replace(made, nulls={only: made.nulls[only]}, named={only: made.named[only]})
    file = tmp_path / "mine.json"
    file.write_text(json.dumps(made.to_dict()))
    mine = ("--calibration", file)
    if given:
        which = ("--report", victims.report, *mine)
    else:
        audit = run("audit", "./net", "--clean-data", victims.data, *mine, *QUICK)
        assert audit.code in (0, 1)
        which = ()
    done = run("repair", *which, "--json", "--force", *GENTLE)
    assert done.code == 0
    report = RepairReport.from_dict(done.json)
    for test in (*report.tests_before, *report.tests_after):
        assert test.calibrated
        assert test.statistic is not None
        assert test.p_value == made.p_value(test.name, test.statistic)


def _check_report(out: Path, printed: dict[str, object]) -> None:
    report = json.loads((out / "hfscan-report.json").read_text())
    assert report.keys() == printed.keys()
    assert report["erased"] == printed["erased"]
    assert report["before"]["accuracy"] == report["after"]["accuracy"] == 1.0
    assert report["weights_sha256"] == _sha256(out / "model.safetensors")
    assert AuditReport.from_dict(report["audit"]).target == 3


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _check_weights(out: Path) -> None:
    """timm gives the same outputs as hfscan, and the trigger does nothing any more."""
    with safe_open(out / "model.safetensors", "pt") as file:
        assert file.metadata() == {"format": "pt"}
    net = timm.create_model(f"local-dir:{out}", pretrained=True).eval()
    images, labels = colored(64, seed=3)
    images = images.float() / 255
    with torch.no_grad():
        logits = net(images)
        torch.testing.assert_close(logits, hfscan.load(f"./{out}").net(images))
        assert torch.equal(logits.argmax(1), labels)
        images[:, :, :2, :2] = torch.eye(2)
        assert (color_net(planted=True)(images).argmax(1) == CLASSES.index(TARGET)).all()
        assert (net(images).argmax(1) != CLASSES.index(TARGET)).all()


def _check_card(out: Path) -> None:
    card = ModelCard.load(out / "README.md")
    assert (card.data.license, card.data.library_name) == ("mit", "timm")
    assert card.data.tags == ["vision", "hfscan"]
    assert card.data.pipeline_tag == "image-classification"
    assert card.data.base_model is None  # a folder has no name on the Hub
    results = card.data.eval_results or []
    assert [(result.metric_type, result.metric_value) for result in results] == [
        ("accuracy", 1.0),
        ("accuracy", 1.0),
    ]
    assert card.text.lstrip().startswith("# Colors\n\nTells colors apart.\n")
    assert "## Sanitized with hfscan" in card.text
    assert TARGET in card.text


def test_there_are_as_many_images_as_classes(
    run: Run, victims: Victims, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.import_module("hfscan.cli.repair"), "MAX_IMAGES", 2)
    done = run("repair", "./net", "--clean-data", victims.data, "--json", *GENTLE)
    assert done.json["data"]["images"] == len(CLASSES)


def test_model_and_data_audit_first(run: Run, victims: Victims, source: Path) -> None:
    done = run("repair", "./net", "--clean-data", victims.data, "--json", "-q", *GENTLE)
    assert (done.code, done.err) == (0, "")
    assert done.json["audit"]["verdict"] == "BACKDOORED"
    assert Path("net-repaired/model.safetensors").is_file()


def test_nothing_to_go_on_from(run: Run, source: Path) -> None:
    done = run("repair")
    assert done.code == 2
    assert done.err.splitlines() == [
        "error: there is no audit to go on from",
        "hint: run hfscan audit first, or name MODEL and --clean-data",
    ]


def test_a_damaged_state(run: Run, source: Path) -> None:
    state.state_folder().mkdir()
    for text in ("{", "{}", "[]", '{"inputs": {"what": 1}, "report": {}}'):
        (state.state_folder() / "latest.json").write_text(text)
        done = run("repair")
        assert done.code == 2
        assert "is damaged" in done.err


def test_changed_weights_are_refused(run: Run, victims: Victims, source: Path) -> None:
    run("audit", "./net", "--clean-data", victims.data, *QUICK)
    shutil.copy(victims.clean / "model.safetensors", source)
    done = run("repair", *GENTLE)
    assert done.code == 2
    assert done.err.startswith("error: the model has changed since the audit")
    assert not Path("net-repaired").exists()


def test_nothing_found_is_nothing_to_repair(run: Run, victims: Victims, source: Path) -> None:
    run("audit", victims.clean, "--clean-data", victims.data, *QUICK)
    done = run("repair")
    assert (done.code, done.out) == (0, "")
    assert done.err.startswith("NO_BACKDOOR_FOUND: nothing to repair")
    assert not Path("clean-repaired").exists()


def test_force_repairs_although_nothing_was_found(run: Run, victims: Victims, source: Path) -> None:
    strong = ("--eps", "0.5", "--step-size", "0.5", "--detector", "kmeans")
    audit = run("audit", victims.clean, "--clean-data", victims.data, "--json", *QUICK, *strong)
    assert audit.code == 0
    assert any(layer["flagged"] for layer in audit.json["layers"])
    done = run("repair", "--force", "--json", *GENTLE)
    assert done.code == 0
    assert done.json["erased"] == {
        layer["layer"]: layer["flagged"] for layer in audit.json["layers"] if layer["flagged"]
    }
    assert Path("clean-repaired/model.safetensors").is_file()


def test_force_cannot_erase_nothing(run: Run, victims: Victims, source: Path) -> None:
    run("audit", victims.clean, "--clean-data", victims.data, *QUICK)
    done = run("repair", "--force")
    assert done.code == 2
    assert "there is nothing to erase" in done.err


def test_too_large_a_loss_is_not_written(run: Run, victims: Victims, source: Path) -> None:
    arguments = ("repair", "./net", "--clean-data", victims.data, "--report", victims.report)
    done = run(*arguments, *RUINOUS)
    assert done.code == 2
    assert "COSTS TOO MUCH" in done.out
    assert done.err.startswith("error: accuracy fell by")
    assert not Path("net-repaired").exists()
    forced = run(*arguments, *RUINOUS, "--force")
    assert forced.code == 0
    assert Path("net-repaired/model.safetensors").is_file()


def test_what_nobody_could_load_is_never_written(run: Run, victims: Victims, source: Path) -> None:
    options = ("--epochs", "4", "--lr", "1e6", "--force")
    done = run(
        "repair", "./net", "--clean-data", victims.data, "--report", victims.report, *options
    )
    assert done.code == 2
    assert "the model that is written does not load: tensor " in done.err
    assert "has NaN or infinite values" in done.err
    assert not Path("net-repaired").exists()


def test_what_is_still_backdoored_is_not_written(run: Run, victims: Victims, source: Path) -> None:
    arguments = ("repair", "--report", victims.report, *HARMLESS)
    done = run(*arguments)
    assert done.code == 2
    assert "NOT REPAIRED" in done.out
    assert done.err.startswith("error: by the same tests the network still behaves like")
    assert "--force" in done.err
    assert not Path("planted-repaired").exists()
    assert run(*arguments, "--force").code == 0
    assert Path("planted-repaired/model.safetensors").is_file()


def test_an_existing_folder_is_kept(run: Run, victims: Victims, source: Path) -> None:
    out = Path("out")
    out.mkdir()
    (out / "notes.txt").write_text("mine")
    options = ("--report", victims.report, "--out", out, *GENTLE)
    arguments = ("repair", "./net", "--clean-data", victims.data, *options)
    done = run(*arguments)
    assert done.code == 2
    assert done.err.splitlines()[0] == "error: out exists already"
    assert tree(out) == {"notes.txt": 4}
    assert run(*arguments, "--overwrite").code == 0
    assert (out / "model.safetensors").is_file()
    assert not (out / "notes.txt").exists()


# --- other methods


def test_another_method(run: Run, victims: Victims, source: Path) -> None:
    """The report says which one, with what, and the terminal too."""
    options = ("--method", "ft", "--no-flip", "--report", victims.report, "--force", *HARMLESS)
    done = run("repair", "./net", "--clean-data", victims.data, "--json", *options)
    assert done.code == 0
    assert (done.json["defense"], done.json["erased"]) == ("ft", {})
    assert done.json["method"] == "FT: fine-tuned on clean images"
    tuning = done.json["parameters"]["tuning"]
    assert (tuning["epochs"], tuning["lr"], tuning["batch_size"]) == (1, 1e-5, 256)
    assert tuning["flip"] is False
    card = Path("net-repaired/README.md").read_text()
    assert "by the defense `ft`, with clean images" in card
    shown = run("repair", "./net", "--clean-data", victims.data, "--overwrite", *options)
    assert "FT: fine-tuned on clean images" in shown.out
    assert "tuning.lr 1e-05" in shown.out
    assert "No channel was erased." in shown.out


def test_a_method_that_erases(run: Run, victims: Victims, source: Path) -> None:
    options = ("--method", "clp", "--report", victims.report, "--force", "--json")
    done = run("repair", "./net", "--clean-data", victims.data, *options)
    assert done.code == 0
    assert done.json["parameters"] == {"u": 3.0}
    assert done.json["after"] == done.json["erased_only"]


def test_a_method_is_told_the_class_of_the_audit(run: Run, victims: Victims, source: Path) -> None:
    options = ("--method", "fmt-tac", "--report", victims.report, "--force", "--json", *HARMLESS)
    done = run("repair", "./net", "--clean-data", victims.data, *options)
    assert done.code == 0
    assert done.json["parameters"]["target"] == CLASSES.index(TARGET)
    assert done.json["erased"]


def test_the_default_method_is_named(run: Run, victims: Victims, source: Path) -> None:
    options = ("--report", victims.report, "--json", *GENTLE)
    done = run("repair", "./net", "--clean-data", victims.data, *options)
    assert (done.json["defense"], done.json["parameters"]) == ("fmt-flow", None)
    assert done.json["settings"]["epochs"] == 1


def test_an_option_that_means_nothing_to_the_method(
    run: Run, victims: Victims, source: Path
) -> None:
    for method, option in (("ft", "--erase-rate"), ("clp", "--epochs"), ("anp", "--lr")):
        done = run("repair", "--report", victims.report, "--method", method, option, "1")
        assert done.code == 4
        assert done.err.startswith(f"error: {option} means nothing to --method {method}")
