from __future__ import annotations

from pathlib import Path

import pytest
from packaging.requirements import Requirement

from hfscan import doctor
from hfscan.doctor import examine, folder, folder_size, packages, size
from hfscan.hub.reach import HubState

HUB = HubState("http://hub", "", offline=False, token=True, cache=Path("nowhere"))


def test_a_machine_on_which_audits_work(tmp_path: Path) -> None:
    checks = {check.name: check for check in examine(HUB, {"state": tmp_path / "new" / "state"})}
    assert {check.state for check in checks.values()} == {"fine"}
    assert checks["fastest precision"].value.startswith(("fp32", "bf16"))
    assert checks["Hub"].value == "http://hub answers"
    assert "0 bytes" in checks["state"].value
    assert not (tmp_path / "new").exists()


def test_a_hub_out_of_reach_is_no_failure(tmp_path: Path) -> None:
    away = HubState("http://hub", "no route", offline=False, token=False, cache=tmp_path)
    states = {check.name: check.state for check in examine(away, {})}
    assert (states["Hub"], states["token"]) == ("note", "note")
    assert "bad" not in states.values()


def test_a_package_that_is_missing_or_too_old(monkeypatch: pytest.MonkeyPatch) -> None:
    needed = ["no-such-package-here>=1", "rich>=9999", "typer>=0.1", "matplotlib; extra == 'plot'"]
    monkeypatch.setattr(doctor, "requires", lambda _: needed)
    _, missing, old, fine = packages()
    assert (missing.state, missing.value) == ("bad", "not installed")
    assert missing.hint == f"pip install '{Requirement(needed[0])}'"
    assert old.state == "bad"
    assert old.value.endswith(">=9999 is needed")
    assert (fine.name, fine.state) == ("typer", "fine")


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert folder("cache", tmp_path / "file").state == "bad"
    assert folder("cache", tmp_path / "file" / "below").state == "bad"


def test_a_disk_that_is_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "MIN_DISK", 2**80)
    assert folder("cache", tmp_path).state == "bad"


def test_memory_that_is_short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "MIN_MEMORY", 2**80)
    assert [check.name for check in examine(HUB, {}) if check.state == "bad"] == ["memory"]


def test_the_size_of_a_folder(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "one").write_bytes(b"12345")
    (tmp_path / "a" / "b" / "two").write_bytes(b"123")
    (tmp_path / "link").symlink_to(tmp_path / "a" / "one")
    assert folder_size(tmp_path) == 8
    assert folder_size(tmp_path / "missing") == 0


@pytest.mark.parametrize(
    ("count", "said"), [(0, "0 bytes"), (999, "999 bytes"), (2_100_000_000, "2.1 GB"), (5e15, "5000.0 TB")]
)  # fmt: skip
def test_sizes(count: float, said: str) -> None:
    assert size(count) == said
