from __future__ import annotations

import os
from pathlib import Path

import pytest

from hfscan.audit_state import AuditState
from hfscan.cli.state import (
    KEPT_SECONDS,
    Inputs,
    audits_folder,
    state_folder,
    with_clean_data,
)
from hfscan.clock import Clock
from hfscan.types import AuditSettings, HubModel, ImageSet


def test_other_clean_data_has_other_columns() -> None:
    before = Inputs("user/net", "abc", "signs@123", "train", "img", "fine", {"cat": 1}, True)
    for same in (None, "signs", "signs@123"):
        assert with_clean_data(before, same) == before
    after = with_clean_data(before, "others")
    assert after == Inputs("user/net", "abc", "others", None, allow_pickle=True)


def test_a_plain_name_is_that_of_the_same_data() -> None:
    before = Inputs("user/net", "abc", "uoft-cs/cifar100@123", "train", label_column="fine_label")
    assert with_clean_data(before, "cifar100") == before


@pytest.mark.parametrize(
    ("known", "written", "same"),
    [
        ("user/signs@123", "hf://datasets/user/signs", True),
        ("user/signs@123", "hf://datasets/user/signs@123", True),
        ("user/signs@123", "user/signs@456", False),
        ("uoft-cs/cifar10@123", "hf://cifar10@123", True),
        ("./images", "./images", True),
        ("./images", "local-dir:images/", True),
        ("./images", "{here}/images", True),
        ("{here}/images", "./images", True),
        ("./images", "../images", False),
        ("./a@b", "./a", False),
        ("images of a program", "user/signs", False),
    ],
)
def test_the_same_clean_data_can_be_written_in_many_ways(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, known: str, written: str, same: bool
) -> None:
    monkeypatch.chdir(tmp_path)
    before = Inputs("user/net", None, known.format(here=tmp_path), "train", "img", "fine")
    after = with_clean_data(before, written.format(here=tmp_path))
    assert (after == before) is same


def aged(folder: Path, seconds: float) -> Path:
    folder.mkdir(parents=True)
    then = folder.stat().st_mtime - seconds
    os.utime(folder, (then, then))
    return folder


def test_only_old_audits_are_thrown_away(planted_model: HubModel, tiny_set: ImageSet) -> None:
    def folder(seed: int) -> Path:
        what = planted_model, tiny_set.facts, AuditSettings(seed=seed), Clock(None)
        state = AuditState.of(state_folder() / "audits", *what, resume=True)
        assert state.folder is not None
        return state.folder

    old = aged(folder(0), KEPT_SECONDS + 60)
    new = aged(folder(1), KEPT_SECONDS - 60)
    mine = aged(state_folder() / "audits" / "models", KEPT_SECONDS + 60)
    assert audits_folder() == old.parent
    assert [old.exists(), new.exists(), mine.exists()] == [False, True, True]
