"""``hfscan action plan``: which commits are audited, and the key of the cache that has them."""

from __future__ import annotations

import os
from pathlib import Path

from hfscan.cli.action.inputs import Inputs
from hfscan.cli.action.workflow import set_outputs

LAYOUT = 1
"""Of the cache; a change makes old caches useless."""


def plan() -> None:
    """Resolve model and data to commits.

    The audit is told to use these very commits, so that what is cached under them is what is audited.
    Where something cannot be resolved there is no cache; the audit then says why. Nor is there one of
    what needs a token: whoever opens a pull request can read a repository's caches.
    """
    from hfscan.errors import HubError, UsageError

    inputs = Inputs.of(os.environ)
    try:
        set_outputs(_pinned(inputs))
    except (HubError, UsageError):
        set_outputs({"key": ""})


def _pinned(inputs: Inputs) -> dict[str, str]:
    from hfscan.hub.reference import parse_reference
    from hfscan.hub.revision import is_public, pin

    outputs: dict[str, str] = {}
    commits: list[str] = []
    token, public = inputs.token or None, True
    model = parse_reference(inputs.model, "model", inputs.revision or None)
    data = parse_reference(inputs.clean_data, "dataset")
    if model.folder is None:
        name, commit = pin(model, "model", token=token)
        outputs |= {"model": name, "revision": commit}
        commits.append(commit)
        public = is_public(name, "model")
    if data.folder is None:
        name, commit = pin(data, "dataset", token=token)
        outputs |= {"clean-data": f"{name}@{commit}"}
        commits.append(commit)
        public = public and is_public(name, "dataset")
    return outputs | (_cache(commits, inputs.split) if commits and public else {"key": ""})


def _cache(commits: list[str], split: str) -> dict[str, str]:
    """Key and folder; of a folder in the checkout there is nothing to keep."""
    key = "-".join(commits)
    plain_split = "".join(c if c.isascii() and c.isalnum() else "_" for c in split)[:40]
    folder = Path(os.environ.get("RUNNER_TEMP", ".")) / "hfscan-cache" / key
    return {"key": f"hfscan-{LAYOUT}-{key}-{plain_split or 'usual'}", "folder": str(folder)}
