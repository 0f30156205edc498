"""Publish a repaired model: one commit, as a pull request where the repository exists."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus

from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi, ModelInfo, get_token
from huggingface_hub.errors import HfHubHTTPError, HTTPError, RepositoryNotFoundError
from huggingface_hub.hf_api import RepoSibling

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
    api = hub_api(token)
    existing = _info(api, to)
    if existing is None and create_pr:
        raise HubError(
            f"{to} does not exist, a pull request cannot be opened there",
            "leave --create-pr out",
        )
    if existing is None:
        return to, None
    head = str(existing.sha)
    if head != source.revision and _is_of(api, existing, source):
        raise HubError(
            f"{to} is at commit {head}, not at the audited {source.revision}",
            "audit it again without a revision, or push to another repository: --to owner/name",
        )
    return to, (head, [sibling.rfilename for sibling in existing.siblings or []])


def check_token(token: str | None = None) -> None:
    """Raise a HubError if the Hub does not know who is asking: better before a repair than after it."""
    with hub_errors("the token"):
        # that of a Trusted Publisher, which is exchanged here, is nobody's
        if not (token or get_token() or "").startswith(_EXCHANGED):
            hub_api(token).whoami()


def _info(api: HfApi, repository: str) -> ModelInfo | None:
    """What the Hub knows of a repository; None if there is none."""
    with hub_errors(repository):
        try:
            return api.model_info(repository)
        except RepositoryNotFoundError:
            return None


def _is_of(api: HfApi, existing: ModelInfo, source: ModelFacts) -> bool:
    """Whether a repository is the source's, whatever it was called when that was audited."""
    if source.revision is None:  # of a folder
        return False
    audited = _info(api, source.ref)
    return audited is not None and audited.id == existing.id


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
        HubError: The Hub refuses, or the repository has changed since the audit. The message says what was
            made, or that this is not known.
    """
    check_token(token)
    api = hub_api(token)
    operations: list[CommitOperationAdd | CommitOperationDelete] = [
        *(CommitOperationAdd(name, content) for name, content in plan.add.items()),
        *(CommitOperationDelete(name) for name in plan.delete),
    ]
    if plan.create:
        _create(api, plan)
    try:
        with hub_errors(plan.to):
            info = api.create_commit(
                plan.to,
                operations,
                commit_message=message,
                commit_description=description,
                create_pr=plan.create_pr,
                parent_commit=plan.parent,
            )
    except HubError as error:
        return _made_all_the_same(api, plan, message, error)
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


def _made_all_the_same(api: HfApi, plan: PushPlan, message: str, error: HubError) -> PushResult:
    """The commit, if it was made and only the Hub's answer to it was lost.

    Raises:
        HubError: It was not made, or that cannot be found out.
    """
    try:
        with hub_errors(plan.to):
            made = _find(api, plan, message) if _is_lost(error) else None
    except HubError:
        page = "discussions" if plan.create_pr else "commits/main"
        raise HubError(
            f"{error}; it is not known whether the commit was made",
            f"look at {api.endpoint}/{plan.to}/{page} before you push again",
        ) from error
    if made is not None:
        return made
    if not plan.create:
        raise error
    # to delete the new repository may be more than a token can
    raise HubError(
        f"{error}; the new repository {plan.to} was created, and remains empty",
        f"{error.hint}; to fill it, push again with --no-create-pr",
    ) from error


def _is_lost(error: HubError) -> bool:
    """Whether the Hub may have done what it was asked: no answer came, or none of its own."""
    cause = error.__cause__
    if isinstance(cause, HfHubHTTPError):
        return cause.response.status_code >= HTTPStatus.INTERNAL_SERVER_ERROR
    return isinstance(cause, HTTPError | ConnectionError)


def _find(api: HfApi, plan: PushPlan, message: str) -> PushResult | None:
    """What a plan makes, where it would be."""
    if not plan.create_pr:
        info = api.model_info(plan.to, files_metadata=True)
        url = f"{api.endpoint}/{plan.to}/commit/{info.sha}"
        return PushResult(url, str(info.sha)) if _is_carried_out(plan, info) else None
    for pull in api.get_repo_discussions(
        plan.to, discussion_type="pull_request", discussion_status="open"
    ):
        if pull.title == message:
            info = api.model_info(plan.to, revision=pull.git_reference, files_metadata=True)
            if _is_carried_out(plan, info):
                return PushResult(pull.url, str(info.sha), pull.num)
    return None


def _is_carried_out(plan: PushPlan, info: ModelInfo) -> bool:
    files = {file.rfilename: file for file in info.siblings or []}
    return files.keys().isdisjoint(plan.delete) and all(
        name in files and _has(files[name], content) for name, content in plan.add.items()
    )


def _has(file: RepoSibling, content: bytes) -> bool:
    if file.lfs is not None:
        return file.lfs.sha256 == hashlib.sha256(content).hexdigest()
    return file.blob_id == hashlib.sha1(b"blob %d\0%b" % (len(content), content)).hexdigest()
