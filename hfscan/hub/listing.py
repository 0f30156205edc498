"""The models that somebody has on the Hub."""

from __future__ import annotations

import itertools

from hfscan.hub.client import hub_api, hub_errors


def list_models(
    author: str | None,
    *,
    task: str | None = None,
    limit: int | None = None,
    token: str | None = None,
) -> list[str]:
    """The models of an organisation or a user, as ``owner/name``, in the Hub's order.

    Args:
        author: Whose; None for everybody's.
        task: Such as ``image-classification``; None for any.
        limit: How many at most; None for all.
        token: Of the Hub; the saved one if None.

    Raises:
        HubError: The Hub cannot be reached, or refuses.
    """
    with hub_errors(author or "the list of models"):
        found = hub_api(token).list_models(author=author, pipeline_tag=task, limit=limit)
        return [str(model.id) for model in itertools.islice(found, limit)]
