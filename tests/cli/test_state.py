from __future__ import annotations

import os
from pathlib import Path

from hfscan.audit_state import AuditState
from hfscan.cli.state import KEPT_SECONDS, audits_folder, state_folder
from hfscan.clock import Clock
from hfscan.types import AuditSettings, HubModel, ImageSet


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
