"""What a user types to name a model or a dataset."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from hfscan.errors import UsageError

Kind = Literal["model", "dataset"]

_NAME = r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9_])?"
_HUB_ID = re.compile(rf"{_NAME}/{_NAME}|{_NAME}")
_REVISION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/+-]*")
_FOLDER = re.compile(r"\.{1,2}$|\.{1,2}[/\\]|~|[/\\]|[A-Za-z]:[/\\]")
_OTHERS: dict[Kind, tuple[str, ...]] = {
    "model": ("hf://datasets/",),
    "dataset": ("hf://models/", "hf-hub:", "hf_hub:"),
}
_SCHEMES = ("hf-hub:", "hf_hub:", "hf://models/", "hf://datasets/", "hf://")


@dataclass(frozen=True)
class Reference:
    """A repository on the Hub, or a folder.

    Args:
        id: ``owner/name`` on the Hub; empty for a folder.
        revision: Branch, tag, commit sha or pull request ref; None is the default branch.
        folder: The folder; None for the Hub.
    """

    id: str = ""
    revision: str | None = None
    folder: Path | None = None


def folder_name(folder: Path) -> str:
    """A folder as a reference that can be typed again."""
    text = folder.as_posix()
    return text if folder.is_absolute() or text.split("/")[0] == ".." else f"./{text}"


def is_folder(text: str) -> bool:
    """Whether a reference is written as a folder, and not as a repository."""
    return text.startswith("local-dir:") or _FOLDER.match(text) is not None


def is_there(path: str | Path) -> bool:
    """Whether there is such a file or folder; unlike `Path.exists`, also of a name that is too long."""
    return os.path.exists(path)  # noqa: PTH110


def parse_reference(text: str, kind: Kind, revision: str | None = None) -> Reference:
    """Read a reference.

    ``owner/name`` is always the Hub, so that a folder can never stand in for a repository: a folder is
    written as one (``./x``, ``../x``, ``~/x``, absolute, ``local-dir:x``).

    Args:
        text: ``owner/name``, ``owner/name@revision``, ``hf://...``, ``hf-hub:...`` or a folder.
        kind: Datasets may be plain names (``cifar10``).
        revision: As given by ``--revision``.

    Raises:
        UsageError: It is neither, or there are two revisions.
    """
    if "\0" in text:
        raise UsageError(
            f"{text!r:.120} is not a {kind}", "write owner/name, or ./name for a folder"
        )
    if is_folder(text):
        if revision:
            raise UsageError(
                f"{text} is a folder, it has no revision {revision}", "leave --revision out"
            )
        try:
            return Reference(folder=Path(text.removeprefix("local-dir:")).expanduser())
        except RuntimeError as error:  # of ~someone
            raise UsageError(
                f"{text} is in the home of a user who is not known here", "write the whole path"
            ) from error
    scheme = next((scheme for scheme in _SCHEMES if text.startswith(scheme)), "")
    name, _, pinned = text.removeprefix(scheme).partition("@")
    if pinned and revision and pinned != revision:
        raise UsageError(
            f"two revisions: {pinned} in {text} and --revision {revision}", "leave one of them out"
        )
    if scheme in _OTHERS[kind]:
        raise UsageError(
            f"{text} is not a {kind}", f"write owner/name of a {kind}, or ./name for a folder"
        )
    wanted = pinned or revision
    plain_allowed = kind == "dataset"
    if not _HUB_ID.fullmatch(name) or ("/" not in name and not plain_allowed):
        hint = "write owner/name for the Hub, or ./name for a folder"
        if is_there(text):
            hint = f"for the folder write ./{text}"
        raise UsageError(f"{text!r:.120} is not a {kind} on the Hub", hint)
    if wanted is not None and (not _REVISION.fullmatch(wanted) or ".." in wanted):
        raise UsageError(f"{wanted!r} is not a revision", "use a branch, a tag or a commit sha")
    return Reference(id=name, revision=wanted)
