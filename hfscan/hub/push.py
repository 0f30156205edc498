"""Publish a repaired model: one commit, as a pull request where the repository exists."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus

from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi, get_token
from huggingface_hub.errors import HfHubHTTPError, RepositoryNotFoundError

from hfscan.errors import HubError
from hfscan.hub.client import hub_api, hub_errors
from hfscan.hub.save import contents
from hfscan.types import HubModel, ModelFacts, RepairReport
from hfscan.weights import SAFETENSORS, WEIGHTS_SUFFIXES

_EXCHANGED = "hf_jwt_"
"""How tokens of Trusted Publishers begin."""

MESSAGE = "Repair a backdoor with hfscan"


@dataclass(frozen=True)
class PushPlan:
    """What a push would do.

    Args:
        to: ``owner/name``.
        create: The repository does not exist and will be made.
        private: It will be made private.
        create_pr: The commit opens a pull request instead of changing the branch.
        parent: Commit sha that the commit builds on; None for a new repository.
        add: Files to write: name -> bytes.
        delete: Files to delete.
    """

    to: str
    create: bool
    private: bool
    create_pr: bool
    parent: str | None
    add: Mapping[str, bytes]
    delete: tuple[str, ...]


@dataclass(frozen=True)
class PushResult:
    """What a push did.

    Args:
        url: Of the pull request or commit; empty if nothing differed.
        commit: Its sha; empty if nothing differed.
        pull_request: Number of the pull request, or None.
    """

    url: str
    commit: str
    pull_request: int | None = None


def plan_push(
    model: HubModel,
    report: RepairReport,
    *,
    to: str | None = None,
    create_pr: bool | None = None,
    private: bool = True,
    token: str | None = None,
) -> PushPlan:
    """Look at the Hub and decide what to do; changes nothing.

    Args:
        model: The repaired model.
        report: Of the repair.
        to: ``owner/name``; None is the repository that the model came from.
        create_pr: Open a pull request; None: on an existing repository.
        private: Make a new repository private.
        token: Of the Hub; the saved one if None.

    Raises:
        HubError: The model came from a folder and ``to`` is missing, the Hub refuses, or the audited
            repository has another head than the audited commit.
    """
    to, existing = find_destination(report.audit.model, to=to, create_pr=create_pr, token=token)
    add = contents(model, report)
    if existing is None:
        return PushPlan(to, True, private, False, None, add, ())
    head, files = existing
    delete = tuple(sorted(name for name in files if _old_weights(name) and name not in add))
    return PushPlan(to, False, private, create_pr is not False, head, add, delete)


def find_destination(
    source: ModelFacts,
    *,
    to: str | None = None,
    create_pr: bool | None = None,
    token: str | None = None,
) -> tuple[str, tuple[str, list[str]] | None]:
    """Where a push would go: better asked before a repair, too, than after it only.

    Returns:
        ``owner/name``, and head and file names; None instead if there is no such repository.

    Raises:
        HubError: As of `plan_push`, whose arguments these are.
    """
    to = to or (source.ref if source.revision else None)
    if to is None:
        raise HubError(f"{source.ref} is no Hub repository to push to", "name one: --to owner/name")
    with hub_errors(to):
        existing = _files(hub_api(token), to)
    if existing is None and create_pr:
        raise HubError(
            f"{to} does not exist, a pull request cannot be opened there",
            "leave --create-pr out",
        )
    if existing is not None and to == source.ref and existing[0] != source.revision:
        raise HubError(
            f"{to} is at commit {existing[0]}, not at the audited {source.revision}",
            "audit it again without a revision, or push to another repository: --to owner/name",
        )
    return to, existing


def check_token(token: str | None = None) -> None:
    """Raise a HubError if the Hub does not know who is asking: better before a repair than after it."""
    with hub_errors("the token"):
        # that of a Trusted Publisher, which is exchanged here, is nobody's
        if not (token or get_token() or "").startswith(_EXCHANGED):
            hub_api(token).whoami()


def _files(api: HfApi, repository: str) -> tuple[str, list[str]] | None:
    """Head and file names; None if there is no such repository."""
    try:
        info = api.model_info(repository)
    except RepositoryNotFoundError:
        return None
    return str(info.sha), [sibling.rfilename for sibling in info.siblings or []]


def _old_weights(name: str) -> bool:
    return name.endswith(WEIGHTS_SUFFIXES) and name != SAFETENSORS


def push(
    model: HubModel,
    report: RepairReport,
    *,
    to: str | None = None,
    create_pr: bool | None = None,
    private: bool = True,
    token: str | None = None,
    message: str = MESSAGE,
    description: str = "",
) -> PushResult:
    """Publish a repaired model: `plan_push` and `execute` in one.

    Raises:
        HubError: See there.
    """
    plan = plan_push(model, report, to=to, create_pr=create_pr, private=private, token=token)
    return execute(plan, message=message, description=description, token=token)


def execute(
    plan: PushPlan,
    *,
    message: str = MESSAGE,
    description: str = "",
    token: str | None = None,
) -> PushResult:
    """Carry a plan out, in one commit.

    Args:
        plan: From `plan_push`.
        message: Title of the commit and of the pull request.
        description: Text of the commit and of the pull request.
        token: Of the Hub, with write access; the saved one if None.

    Raises:
        HubError: The Hub refuses, or the repository has changed since the audit.
    """
    check_token(token)
    api = hub_api(token)
    operations: list[CommitOperationAdd | CommitOperationDelete] = [
        *(CommitOperationAdd(name, content) for name, content in plan.add.items()),
        *(CommitOperationDelete(name) for name in plan.delete),
    ]
    if plan.create:
        _create(api, plan)
    with _say_what_remains(plan):
        info = api.create_commit(
            plan.to,
            operations,
            commit_message=message,
            commit_description=description,
            create_pr=plan.create_pr,
            parent_commit=plan.parent,
        )
    if info.oid == plan.parent:
        return PushResult("", "")
    number = int(info.pr_num) if info.pr_num is not None else None
    return PushResult(info.pr_url or info.commit_url, info.oid, number)


def _create(api: HfApi, plan: PushPlan) -> None:
    with hub_errors(plan.to):
        try:
            api.create_repo(plan.to, private=plan.private, exist_ok=False)
        except HfHubHTTPError as error:
            if error.response.status_code != HTTPStatus.CONFLICT:
                raise
            raise HubError(
                f"{plan.to} cannot be created: it exists, and this token cannot see it",
                "use a token that can, or push to another repository: --to owner/name",
            ) from error


@contextmanager
def _say_what_remains(plan: PushPlan) -> Iterator[None]:
    """Add to an error that the new repository is there, and empty; to delete it may be more than a token can."""
    try:
        with hub_errors(plan.to):
            yield
    except HubError as error:
        if not plan.create:
            raise
        raise HubError(
            f"{error}; the new repository {plan.to} was created, and remains empty",
            f"{error.hint}; to fill it, push again with --no-create-pr",
        ) from error
