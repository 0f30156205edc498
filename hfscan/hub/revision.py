"""From a reference to what it names at this moment: an id and a commit."""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path

from huggingface_hub import HfApi, constants

from hfscan.errors import HubError
from hfscan.hub.client import hub_api, hub_errors
from hfscan.hub.reference import Kind, Reference

PLAIN_NAMES = {
    "cifar10": "uoft-cs/cifar10",
    "cifar100": "uoft-cs/cifar100",
    "gtsrb": "tanganke/gtsrb",
}
"""Where the usual data sets are; the Hub is asked for other names without an owner."""


COMMIT = re.compile("[0-9a-f]{40}")
"""A revision that cannot change."""


def pin(
    reference: Reference, kind: Kind, *, token: str | None = None, cache_dir: Path | None = None
) -> tuple[str, str]:
    """Canonical id and commit sha; from the cache if the client is told to stay offline (``HF_HUB_OFFLINE``).

    The Hub's client takes what it knows when the Hub does not answer. What is called the model of today must not be
    that of an earlier day, so that is an error here.

    Args:
        reference: To a repository, not to a folder.
        kind: Of the repository.
        token: Of the Hub; the saved one if None.
        cache_dir: Of the Hub's client; its default if None.

    Raises:
        HubError: There is no such repository or revision, or the Hub cannot be asked.
    """
    api = hub_api(token)
    name = PLAIN_NAMES.get(reference.id, reference.id) if kind == "dataset" else reference.id
    shown = f"datasets/{name}" if kind == "dataset" else name
    with hub_errors(shown, reference.revision):
        if "/" not in name:
            name = str(api.dataset_info(name).id)
        resolve = partial(
            api.resolve_revision,
            name,
            repo_type=kind,
            cache_dir=cache_dir,
            revision=reference.revision,
        )
        if constants.HF_HUB_OFFLINE or COMMIT.fullmatch(reference.revision or ""):
            return name, str(resolve().resolved)
        sha = str(api.repo_info(name, repo_type=kind, revision=reference.revision).sha)
        resolve()  # notes the commit in the cache, for a run that is offline
    return name, sha


def is_public(name: str, kind: Kind) -> bool:
    """Whether everybody may download a repository; False too if the Hub cannot be asked.

    Args:
        name: ``owner/name``.
        kind: Of the repository.
    """
    api = HfApi(token=False, library_name="hfscan")
    try:
        with hub_errors(name):
            info = api.repo_info(name, repo_type=kind)
    except HubError:
        return False
    return not info.private and not info.gated
