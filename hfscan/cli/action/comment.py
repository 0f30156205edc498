"""``hfscan action comment``: the report as one comment of a pull request, renewed with every run."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hfscan.cli.action.inputs import Inputs
from hfscan.cli.action.workflow import annotate, fitted

LIMIT = 65_536
"""Characters of a comment; bytes are never fewer."""

_PAGE = 100
_TIMEOUT = 30.0


@dataclass(frozen=True)
class GitHub:
    """The part of GitHub's REST API that comments need.

    Args:
        url: Of the API.
        repository: ``owner/name``.
        token: With ``pull-requests: write``.
    """

    url: str
    repository: str
    token: str

    def comments(self, number: int) -> Iterator[dict[str, Any]]:
        """All comments of a pull request, oldest first."""
        page = 1
        while True:
            found = self._ask("GET", f"issues/{number}/comments?per_page={_PAGE}&page={page}")
            yield from found
            if len(found) < _PAGE:
                return
            page += 1

    def add(self, number: int, body: str) -> None:
        """Write a new comment."""
        self._ask("POST", f"issues/{number}/comments", {"body": body})

    def edit(self, comment: int, body: str) -> None:
        """Replace a comment."""
        self._ask("PATCH", f"issues/comments/{comment}", {"body": body})

    def _ask(self, method: str, path: str, data: dict[str, str] | None = None) -> Any:
        import urllib.request

        request = urllib.request.Request(
            f"{self.url}/repos/{self.repository}/{path}",
            data=None if data is None else json.dumps(data).encode(),
            headers={"Accept": "application/vnd.github+json", "User-Agent": "hfscan"},
            method=method,
        )
        request.add_unredirected_header("Authorization", f"Bearer {self.token}")
        with urllib.request.urlopen(request, timeout=_TIMEOUT) as answer:
            return json.load(answer)


def comment() -> None:
    """Comment on the pull request of this run; a comment that cannot be written is only a warning."""
    summary, number = os.environ.get("INPUT_SUMMARY_FILE", ""), _pull_request()
    if not summary:
        return
    if number is None:
        annotate("notice", "hfscan", "no comment: this run is not for a pull request")
        return
    inputs = Inputs.of(os.environ)
    mark = marker(inputs)
    body = fitted(f"{mark}\n{Path(summary).read_text(encoding='utf-8')}", LIMIT)
    try:
        upsert(_github(), number, mark, body)
    except (OSError, ValueError, KeyError, TypeError) as error:  # urllib's are OSErrors
        annotate("warning", "hfscan: no comment", f"{error}; the job needs pull-requests: write")


def marker(inputs: Inputs) -> str:
    """What the comment of this model with these images starts with; shows nothing."""
    names = json.dumps([inputs.model, inputs.clean_data]).encode()
    return f"<!-- hfscan {hashlib.sha256(names).hexdigest()[:32]} -->"


def upsert(github: GitHub, number: int, mark: str, body: str) -> None:
    """Replace our comment, or write a first one.

    Args:
        github: The API.
        number: Of the pull request.
        mark: What our comment starts with. Anyone can write that: only a bot's is ours.
        body: The comment.
    """
    ours = (
        one
        for one in github.comments(number)
        if one["user"]["type"] == "Bot" and str(one["body"]).startswith(mark)
    )
    found = next(ours, None)
    if found is None:
        github.add(number, body)
    else:
        github.edit(int(found["id"]), body)


def _github() -> GitHub:
    url = os.environ.get("GITHUB_API_URL", "https://api.github.com")
    return GitHub(url, os.environ["GITHUB_REPOSITORY"], os.environ["GITHUB_TOKEN"])


def _pull_request() -> int | None:
    try:
        event = json.loads(Path(os.environ["GITHUB_EVENT_PATH"]).read_text(encoding="utf-8"))
        return int(event["pull_request"]["number"])
    except (KeyError, OSError, ValueError, TypeError):
        return None
