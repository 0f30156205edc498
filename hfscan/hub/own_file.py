"""Text files of a model's folder, which is untrusted: a link in it may lead to any file of the user."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from pathlib import Path

from hfscan.errors import ModelError

MAX_BYTES = 4 << 20
"""Largest file that is read; cards and configurations have a few kilobytes."""


def read_own_file(folder: Path, name: str) -> bytes:
    """The content of a file that lies in a folder itself, or in the blobs of the Hub's cache that it belongs to.

    Args:
        folder: Of a model.
        name: Of a file in it.

    Raises:
        FileNotFoundError: There is none.
        OSError: It cannot be read.
        ModelError: It is no regular file, lies elsewhere, or is too large.
    """
    path = folder / name
    if not stat.S_ISREG(path.stat().st_mode):
        raise ModelError(f"{name} in {folder} is not a regular file", "put a file in its place")
    if not any(path.resolve().is_relative_to(place) for place in _places(folder.resolve())):
        raise ModelError(
            f"{name} in {folder} is a link to a file outside of that folder",
            "if the file may be read and published, put a copy in the place of the link",
        )
    with path.open("rb") as stream:
        content = stream.read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        raise ModelError(
            f"{name} in {folder} is larger than {MAX_BYTES >> 20} MB", "use a smaller file"
        )
    return content


def _places(folder: Path) -> Iterator[Path]:
    """Where the files of a folder may be: ``CACHE/models--x--y/snapshots/SHA`` has links to blobs."""
    yield folder
    if folder.parent.name == "snapshots" and folder.parents[1].name.startswith("models--"):
        yield folder.parents[1] / "blobs"
        yield folder.parents[2] / "blobs"  # which repositories share
