from __future__ import annotations

import errno
import importlib
import itertools
import json
import os
import signal
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from report.sample import repair_report
from safetensors.torch import load_file, save_file

import hfscan
from hfscan.errors import ModelError, RepairError
from hfscan.hub.save import config_of
from hfscan.types import HubModel

SAVE = importlib.import_module("hfscan.hub.save")  # hfscan.hub.save is the function


@pytest.fixture
def model() -> HubModel:
    """A network that timm can build again."""
    torch.manual_seed(0)
    net = timm.create_model("resnet18", num_classes=4, channels=(4, 4, 8, 8)).eval()
    wrapped = hfscan.wrap(net, input_size=(3, 32, 32), num_classes=4, label_names="abcd")
    return replace(wrapped, architecture="resnet18", mean=(0.5, 0.4, 0.3), std=(0.2, 0.2, 0.3))


@pytest.fixture
def source(tmp_path: Path, model: HubModel) -> HubModel:
    """A model that was loaded from a folder with a card."""
    folder = hfscan.save(model, tmp_path / "source")
    config = config_of(model, {"channels": [4, 4, 8, 8]})
    (folder / "config.json").write_text(json.dumps(config, indent=7))
    (folder / "README.md").write_text("# A network\n")
    return hfscan.load(str(folder))


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def entries(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_what_is_saved_is_loaded(tmp_path: Path, source: HubModel) -> None:
    folder = hfscan.save(source, tmp_path / "deep" / "copy")
    again = hfscan.load(str(folder))
    images = torch.rand(2, 3, 32, 32)
    assert torch.equal(again.net(images), source.net(images))
    facts = replace(source.facts, ref=again.ref, weights_sha256=again.weights_sha256)
    assert again.facts == facts


def test_timm_loads_it(tmp_path: Path, source: HubModel) -> None:
    folder = hfscan.save(source, tmp_path / "copy")
    net = timm.create_model(f"local-dir:{folder}", pretrained=True).eval()
    images = torch.rand(2, 3, 32, 32)
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (source.mean, source.std))
    torch.testing.assert_close(net((images - mean) / std), source.net(images))


def test_config_and_card_are_those_of_the_source(tmp_path: Path, source: HubModel) -> None:
    copy = files(hfscan.save(source, tmp_path / "copy"))
    assert source.folder is not None
    for name in ("config.json", "README.md"):
        assert copy[name] == (source.folder / name).read_bytes()
    assert sorted(copy) == ["README.md", "config.json", "model.safetensors"]


def test_rows_that_timm_cuts_off_the_classifier_are_cut_once(
    tmp_path: Path, source: HubModel
) -> None:
    """``label_offset`` is of weights with a class for the background in front."""
    tensors = load_file(source.folder / "model.safetensors")
    for name in ("fc.weight", "fc.bias"):
        tensors[name] = torch.cat([tensors[name][:1] + 1, tensors[name]])
    save_file(tensors, source.folder / "model.safetensors")
    config = json.loads((source.folder / "config.json").read_text())
    config["pretrained_cfg"] |= {"label_offset": 1, "classifier": "fc"}
    (source.folder / "config.json").write_text(json.dumps(config))
    cut = hfscan.load(str(source.folder))
    images = torch.rand(2, 3, 32, 32)
    torch.testing.assert_close(cut.net(images), source.net(images))
    again = hfscan.load(str(hfscan.save(cut, tmp_path / "copy")))
    torch.testing.assert_close(again.net(images), source.net(images))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"architecture": "resnet34"}, "the model that is written does not load"),
        ({"pretrained_cfg": {"mean": [0, 0, 0]}}, "loads as another network"),
    ],
)
def test_nothing_is_written_that_does_not_load_as_it_was_measured(
    tmp_path: Path, source: HubModel, change: dict[str, Any], message: str
) -> None:
    config = json.loads((source.folder / "config.json").read_text())
    for key, value in change.items():
        config[key] = config[key] | value if isinstance(value, dict) else value
    (source.folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(RepairError, match=message):
        hfscan.save(source, tmp_path / "copy")
    assert entries(tmp_path) == ["source"]


def test_a_module_gets_a_config(tmp_path: Path, model: HubModel) -> None:
    config = json.loads(files(hfscan.save(model, tmp_path / "net"))["config.json"])
    assert config["architecture"] == "resnet18"
    assert config["label_names"] == ["a", "b", "c", "d"]
    assert config["pretrained_cfg"]["input_size"] == [3, 32, 32]
    assert config["pretrained_cfg"]["mean"] == [0.5, 0.4, 0.3]


def test_an_existing_folder_is_refused(tmp_path: Path, model: HubModel) -> None:
    folder = tmp_path / "net"
    folder.mkdir()
    hfscan.save(model, folder)  # an empty one is fine
    before = files(folder)
    with pytest.raises(RepairError, match="exists already") as caught:
        hfscan.save(model, folder)
    assert "--overwrite" in caught.value.hint
    assert files(folder) == before


def test_overwrite_replaces_the_whole_folder(tmp_path: Path, model: HubModel) -> None:
    folder = tmp_path / "net"
    folder.mkdir()
    (folder / "pytorch_model.bin").write_bytes(b"old weights")
    hfscan.save(model, folder, overwrite=True)
    assert entries(folder) == ["config.json", "model.safetensors"]
    assert entries(tmp_path) == ["net"]


def test_a_file_is_refused(tmp_path: Path, model: HubModel) -> None:
    (tmp_path / "net").write_text("text")
    for folder in (tmp_path / "net", tmp_path / "net" / "deeper"):
        with pytest.raises(RepairError):
            hfscan.save(model, folder, overwrite=True)
    assert (tmp_path / "net").read_text() == "text"


def test_the_working_directory_is_refused(
    tmp_path: Path, model: HubModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for folder in (Path(), tmp_path, Path("..", tmp_path.name)):
        with pytest.raises(RepairError, match="is the working directory") as caught:
            hfscan.save(model, folder)
        assert "--out" in caught.value.hint
    assert entries(tmp_path) == []


def test_too_long_a_name_is_refused(tmp_path: Path, model: HubModel) -> None:
    with pytest.raises(RepairError, match="cannot be written"):
        hfscan.save(model, tmp_path / ("a" * 300))


def test_a_mount_point_is_refused(
    tmp_path: Path, model: HubModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.path.ismount", lambda path: path == tmp_path)
    with pytest.raises(RepairError, match="is a mount point"):
        hfscan.save(model, tmp_path)


@pytest.mark.parametrize("name", ["README.md", "config.json"])
def test_no_file_from_outside_the_source_is_copied(
    tmp_path: Path, source: HubModel, name: str
) -> None:
    assert source.folder is not None
    (source.folder / name).unlink()
    (source.folder / name).symlink_to("../secret")
    (tmp_path / "secret").write_text("a secret")
    for report in (None, repair_report()):
        with pytest.raises(ModelError, match=f"{name} in .* is a link to a file outside"):
            hfscan.save(source, tmp_path / "copy", report)
    assert not (tmp_path / "copy").exists()


def test_a_source_without_a_card(tmp_path: Path, source: HubModel) -> None:
    assert source.folder is not None
    (source.folder / "README.md").unlink()
    folder = hfscan.save(source, tmp_path / "copy")
    assert entries(folder) == ["config.json", "model.safetensors"]


# --- all of it or nothing


class Failing:
    """Lets a method of `Path` work so many times, then fail."""

    def __init__(self, name: str, calls: int, error: BaseException) -> None:
        self.original, self.left, self.error = getattr(Path, name), calls, error

    def __call__(self, path: Path, *arguments: Any) -> Any:
        self.left -= 1
        if self.left == -1:
            raise self.error
        return self.original(path, *arguments)


@pytest.mark.parametrize(
    ("exists", "method", "calls"),
    [
        (False, "write_bytes", 1),
        (False, "rename", 0),
        (True, "write_bytes", 1),
        (True, "rename", 0),
        (True, "rename", 1),
    ],
)
@pytest.mark.parametrize(
    "error", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()], ids=repr
)
def test_a_failure_leaves_the_old_folder(
    tmp_path: Path,
    model: HubModel,
    monkeypatch: pytest.MonkeyPatch,
    exists: bool,
    method: str,
    calls: int,
    error: BaseException,
) -> None:
    folder = tmp_path / "net"
    if exists:
        folder.mkdir()
        (folder / "config.json").write_text("old")
    failing = Failing(method, calls, error)
    with monkeypatch.context() as patch:
        patch.setattr(SAVE, "_swap", lambda *_: False)  # as on other systems
        patch.setattr(Path, method, lambda *arguments: failing(*arguments))
        with pytest.raises((RepairError, KeyboardInterrupt)) as caught:
            hfscan.save(model, folder, overwrite=True)
    if isinstance(error, OSError):
        assert "No space left" in str(caught.value)
        assert "free some space" in caught.value.hint
    assert failing.left < 0
    assert entries(tmp_path) == (["net"] if exists else [])
    if exists:
        assert files(folder) == {"config.json": b"old"}


def dies_at(step: int, function: Callable[..., Any], steps: Iterator[int]) -> Callable[..., Any]:
    """Kill this process before or after a call, if that is the step."""

    def call(*arguments: Any) -> Any:
        if next(steps) == step:
            os.kill(os.getpid(), signal.SIGKILL)
        done = function(*arguments)
        if next(steps) == step:
            os.kill(os.getpid(), signal.SIGKILL)
        return done

    return call


def killed_at(step: int, model: HubModel, folder: Path, patch: pytest.MonkeyPatch) -> bool:
    """Save in another process that is killed at a step; whether it came to that."""
    child = os.fork()
    if not child:
        steps = itertools.count()
        for owner, name in (
            (Path, "write_bytes"),
            (Path, "rename"),
            (SAVE, "_swap"),
        ):
            patch.setattr(owner, name, dies_at(step, getattr(owner, name), steps))
        hfscan.save(model, folder, overwrite=True)
        os._exit(0)
    return os.WIFSIGNALED(os.waitpid(child, 0)[1])


@pytest.mark.skipif(sys.platform != "linux", reason="other systems take two steps")
@pytest.mark.parametrize("exists", [False, True])
def test_a_killed_process_leaves_the_old_folder_or_the_new_one(
    tmp_path: Path, model: HubModel, monkeypatch: pytest.MonkeyPatch, exists: bool
) -> None:
    new = files(hfscan.save(model, tmp_path / "new"))
    old = {"config.json": b"old"} if exists else {}
    found = []
    for step in itertools.count():
        folder = tmp_path / str(step) / "net"
        folder.parent.mkdir()
        if exists:
            folder.mkdir()
            (folder / "config.json").write_text("old")
        killed = killed_at(step, model, folder, monkeypatch)
        found.append(files(folder) if folder.exists() else {})
        if not killed:
            break
    assert found[-1] == new
    assert len(found) == 7  # before and after two files and the exchange, and then not at all
    assert found == [old] * 5 + [new] * 2
