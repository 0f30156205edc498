from __future__ import annotations

from pathlib import Path

import pytest

from hfscan.errors import UsageError
from hfscan.hub.reference import Reference, parse_reference

SHA = "0123456789abcdef0123456789abcdef01234567"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("owner/name", Reference("owner/name")),
        ("Owner-1/na.me_2-x", Reference("Owner-1/na.me_2-x")),
        ("owner/name@v1.0", Reference("owner/name", "v1.0")),
        (f"owner/name@{SHA}", Reference("owner/name", SHA)),
        ("owner/name@refs/pr/3", Reference("owner/name", "refs/pr/3")),
        ("hf://owner/name", Reference("owner/name")),
        ("hf://models/owner/name@main", Reference("owner/name", "main")),
        ("hf-hub:owner/name", Reference("owner/name")),
        ("hf_hub:owner/name@main", Reference("owner/name", "main")),
    ],
)
def test_hub(text: str, expected: Reference) -> None:
    assert parse_reference(text, "model") == expected


@pytest.mark.parametrize(
    ("text", "folder"),
    [
        ("./x", "x"),
        ("../x/y", "../x/y"),
        (".", "."),
        ("..", ".."),
        ("/data/x", "/data/x"),
        ("local-dir:x/y", "x/y"),
        ("./x@main", "x@main"),
    ],
)
def test_folders(text: str, folder: str) -> None:
    assert parse_reference(text, "model") == Reference(folder=Path(folder))


def test_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert parse_reference("~/x", "model").folder == tmp_path / "x"


def test_a_folder_never_stands_in_for_a_repository(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "owner" / "name").mkdir(parents=True)
    (tmp_path / "plain").mkdir()
    monkeypatch.chdir(tmp_path)
    assert parse_reference("owner/name", "model") == Reference("owner/name")
    with pytest.raises(UsageError) as caught:
        parse_reference("plain", "model")
    assert "./plain" in caught.value.hint


def test_plain_names_are_datasets() -> None:
    assert parse_reference("cifar10", "dataset") == Reference("cifar10")
    assert parse_reference("cifar10@main", "dataset") == Reference("cifar10", "main")
    assert parse_reference("hf://datasets/a/b", "dataset") == Reference("a/b")
    with pytest.raises(UsageError, match="is not a model on the Hub"):
        parse_reference("resnet18", "model")


def test_the_revision_may_be_an_option() -> None:
    assert parse_reference("a/b", "model", "v1") == Reference("a/b", "v1")
    assert parse_reference("a/b@v1", "model", "v1") == Reference("a/b", "v1")
    with pytest.raises(UsageError, match=r"two revisions: v1 .* v2"):
        parse_reference("a/b@v1", "model", "v2")
    with pytest.raises(UsageError, match="is a folder, it has no revision"):
        parse_reference("./a", "model", "v1")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a/b/c",
        "a b/c",
        "a/",
        "-a/b",
        "a/b-",
        "https://huggingface.co/a/b",
        "a/../b",
        "ä/b",
        "a" * 300,
        "a/b\0",
        "./a\0b",
    ],
)
def test_neither(text: str) -> None:
    with pytest.raises(UsageError, match="is not a model"):
        parse_reference(text, "model")


@pytest.mark.parametrize("revision", ["a b", "../x", "a/../b", "-x", "x?y", "x\n"])
def test_wrong_revisions(revision: str) -> None:
    for arguments in ((f"a/b@{revision}", "model"), ("a/b", "model", revision)):
        with pytest.raises(UsageError, match="is not a revision"):
            parse_reference(*arguments)
