from __future__ import annotations

import os
from pathlib import Path

import pytest

from hfscan.errors import ModelError
from hfscan.hub.own_file import MAX_BYTES, read_own_file


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    path = tmp_path / "secret"
    path.write_bytes(b"a secret")
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "hub" / "models--me--net" / "snapshots" / "sha"
    path.mkdir(parents=True)
    return path


def test_files_and_links_of_the_folder(folder: Path) -> None:
    (folder / "a").write_bytes(b"text")
    (folder / "b").symlink_to("a")
    assert [read_own_file(folder, name) for name in "ab"] == [b"text"] * 2


def test_a_link_to_the_folder(tmp_path: Path, folder: Path) -> None:
    (folder / "a").write_bytes(b"text")
    (tmp_path / "link").symlink_to(folder)
    assert read_own_file(tmp_path / "link", "a") == b"text"


@pytest.mark.parametrize("above", ["../..", "../../.."])
def test_blobs_of_the_cache(folder: Path, above: str) -> None:
    (folder / above / "blobs").mkdir()
    (folder / above / "blobs" / "0123").write_bytes(b"text")
    (folder / "a").symlink_to(f"{above}/blobs/0123")
    assert read_own_file(folder, "a") == b"text"


@pytest.mark.parametrize("blobs", ["/models--me--net/blobs", "/blobs"])
def test_blobs_that_are_elsewhere(tmp_path: Path, folder: Path, secret: Path, blobs: str) -> None:
    (tmp_path / f"hub{blobs}").symlink_to(tmp_path)
    (folder / "a").symlink_to(tmp_path / f"hub{blobs}" / secret.name)
    with pytest.raises(ModelError, match="outside of that folder"):
        read_own_file(folder, "a")


def test_blobs_of_what_is_no_cache(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b" / "net"
    folder.mkdir(parents=True)
    (tmp_path / "a" / "blobs").mkdir()
    (tmp_path / "a" / "blobs" / "0123").write_bytes(b"text")
    (folder / "a").symlink_to("../../blobs/0123")
    with pytest.raises(ModelError, match="outside of that folder"):
        read_own_file(folder, "a")


def test_a_link_out_of_the_folder(folder: Path, secret: Path) -> None:
    (folder / "a").symlink_to(secret)
    (folder / "b").symlink_to("a")
    for name in "ab":
        with pytest.raises(ModelError, match="outside of that folder"):
            read_own_file(folder, name)


def test_what_is_no_file(folder: Path) -> None:
    (folder / "folder").mkdir()
    (folder / "device").symlink_to("/dev/zero")
    os.mkfifo(folder / "pipe")
    for name in ("folder", "device", "pipe"):
        with pytest.raises(ModelError, match="is not a regular file"):
            read_own_file(folder, name)


def test_what_is_not_there(folder: Path) -> None:
    (folder / "dangling").symlink_to("nowhere")
    for name in ("dangling", "nothing"):
        with pytest.raises(FileNotFoundError):
            read_own_file(folder, name)


def test_the_largest_file(folder: Path) -> None:
    (folder / "a").write_bytes(bytes(MAX_BYTES))
    assert len(read_own_file(folder, "a")) == MAX_BYTES
    (folder / "a").write_bytes(bytes(MAX_BYTES + 1))
    with pytest.raises(ModelError, match="larger than 4 MB"):
        read_own_file(folder, "a")
