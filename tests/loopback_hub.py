"""A small Hugging Face Hub on 127.0.0.1 that the real clients talk to through ``HF_ENDPOINT``.

Two origins, as on the real Hub: the API, and a CDN for LFS files that refuses tokens. The clients
read their environment at import, so run them in a subprocess::

    with LoopbackHub() as hub:
        sha = hub.add_model("org/net", {"config.json": b"{}", "model.safetensors": path})
        subprocess.run([...], env=hub.environment(tmp_path, token=hub.token))
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import threading
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import parse_qs, unquote, urlsplit

import yaml

LFS_SUFFIXES = (".safetensors", ".bin", ".pt", ".pth", ".pkl", ".parquet", ".npz", ".zip")
LFS_SIZE = 1_000_000
DATE = "2026-01-01T00:00:00.000Z"
Json = Any
Content = bytes | Path


class User(NamedTuple):
    """Whose token it is; ``role`` is ``write`` or ``read``; a Trusted Publisher is no person."""

    name: str
    role: str = "write"
    person: bool = True


@dataclass(frozen=True)
class Blob:
    """One version of one file."""

    data: bytes
    lfs: bool

    @cached_property
    def sha256(self) -> str:
        return hashlib.sha256(self.data).hexdigest()

    @cached_property
    def pointer(self) -> bytes:
        text = f"version https://git-lfs.github.com/spec/v1\noid sha256:{self.sha256}\n"
        return f"{text}size {len(self.data)}\n".encode()

    @cached_property
    def git_oid(self) -> str:
        content = self.pointer if self.lfs else self.data
        return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()

    @property
    def etag(self) -> str:
        return self.sha256 if self.lfs else self.git_oid

    def size_json(self) -> Json:
        oids = {"oid": self.sha256, "sha256": self.sha256, "pointerSize": len(self.pointer)}
        size = {"size": len(self.data)}
        return size | ({"lfs": oids | size} if self.lfs else {})


@dataclass(frozen=True)
class Commit:
    """A commit; ``operations`` are pairs like ``("add", path)`` and ``("delete", path)``."""

    sha: str
    parent: str | None
    message: str
    description: str
    author: str
    operations: list[tuple[str, str]]
    blobs: dict[str, Blob] = field(repr=False)


@dataclass
class PullRequest:
    """A pull request; ``base`` is the sha that it starts from."""

    num: int
    title: str
    description: str
    author: str
    base: str
    status: str = "open"
    commits: list[Commit] = field(default_factory=list)

    @property
    def ref(self) -> str:
        return f"refs/pr/{self.num}"


@dataclass
class Repo:
    """Commits by sha and refs by full name; ``members`` may read, write and pass the gate."""

    kind: str
    id: str
    private: bool = False
    gated: str | bool = False
    members: set[str] = field(default_factory=lambda: {"me"})
    security: Json = field(default_factory=lambda: {"scansDone": True, "filesWithIssues": []})
    objects: dict[str, Commit] = field(default_factory=dict, repr=False)
    refs: dict[str, str] = field(default_factory=dict)
    pull_requests: list[PullRequest] = field(default_factory=list)

    @property
    def path(self) -> str:
        return self.id if self.kind == "model" else f"{self.kind}s/{self.id}"

    @property
    def commits(self) -> list[Commit]:
        """The history of main, oldest first."""
        found = [self.resolve("main")]
        while found[-1].parent:
            found.append(self.objects[found[-1].parent])
        return found[::-1]

    def files(self, revision: str = "main") -> dict[str, bytes]:
        """Return the content of every file at a revision."""
        return {path: blob.data for path, blob in self.resolve(revision).blobs.items()}

    def find_ref(self, revision: str) -> str:
        """Return the full name of a branch, a tag or a ref."""
        names = (f"refs/heads/{revision}", f"refs/tags/{revision}", revision)
        ref = next((name for name in names if name in self.refs), None)
        if ref is None:
            raise RefusedError(404, f"Invalid rev id: {revision}", code="RevisionNotFound")
        return ref

    def resolve(self, revision: str) -> Commit:
        """Return the commit of a branch, a tag, a ref or a full sha."""
        return self.objects.get(revision) or self.objects[self.refs[self.find_ref(revision)]]

    def commit(
        self, ref: str, parent: Commit | None, changes: Changes, *, message: str, **text: str
    ) -> Commit:
        """Store a commit on top of ``parent`` and point ``ref`` at it."""
        old = parent.blobs if parent else {}
        kept = {path: blob for path, blob in old.items() if path not in changes.delete}
        operations = [("delete", path) for path in changes.delete]
        operations += [("add", path) for path in changes.add]
        identity = f"{self.path} {len(self.objects)} {message} {operations}".encode()
        sha = hashlib.sha1(identity).hexdigest()
        blobs = dict(sorted({**kept, **changes.add}.items()))
        text = {"description": "", "author": "me"} | text
        base = parent.sha if parent else None
        self.objects[sha] = Commit(sha, base, message, operations=operations, blobs=blobs, **text)
        self.refs[ref] = sha
        return self.objects[sha]


class Changes(NamedTuple):
    """What a commit does to the files of its parent."""

    add: dict[str, Blob]
    delete: list[str]


@dataclass
class Reply:
    """An answer to a request."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)


class RefusedError(Exception):
    """A refusal in the Hub's form: the clients choose an exception by ``X-Error-Code``."""

    def __init__(self, status: int, message: str, *, code: str = "", commit: str = "") -> None:
        super().__init__(message)
        text = json.dumps(message)[1:-1]  # ASCII on one line, as a header must be
        headers = {"X-Error-Message": text, "X-Error-Code": code, "X-Repo-Commit": commit}
        headers = {name: value for name, value in headers.items() if value}
        self.reply = Reply(status, json.dumps({"error": message}).encode(), headers)


def as_json(data: Json, status: int = 200) -> Reply:
    return Reply(status, json.dumps(data).encode(), {"Content-Type": "application/json"})


@dataclass(frozen=True)
class Request:
    """A request to the API, with the unquoted groups of its path."""

    hub: LoopbackHub
    target: str
    body: bytes
    user: User | None
    args: dict[str, str]

    @property
    def key(self) -> tuple[str, str]:
        return "dataset" if "dataset" in self.args["kind"] else "model", self.args["repo"]

    @property
    def query(self) -> dict[str, str]:
        return {name: found[0] for name, found in parse_qs(urlsplit(self.target).query).items()}

    @property
    def json(self) -> Json:
        return json.loads(self.body or b"{}")

    def asks(self, name: str) -> bool:
        return self.query.get(name, "").lower() in ("1", "true")

    def signed_in(self, *, write: bool = False) -> User:
        if self.user is None:
            raise RefusedError(401, "Invalid username or password.")
        if write and self.user.role != "write":
            raise RefusedError(403, "You must use a write token for this operation")
        return self.user

    def is_member(self, repo: Repo) -> bool:
        return self.user is not None and self.user.name in repo.members

    def repo(self) -> Repo:
        """Return the repository of the path, if this user may know that it exists."""
        repo = self.hub.repos.get(self.key)
        if repo is None or (repo.private and not self.is_member(repo)):
            status = (404, "Repository not found") if self.user else (401, "Invalid credentials.")
            raise RefusedError(*status, code="RepoNotFound")
        return repo


Endpoint = Callable[[Request], Reply]
ROUTES: list[tuple[str, re.Pattern[str], Endpoint]] = []
ACTIONS = "revision|tree|paths-info|preupload|commit|commits|discussions|refs|resolve"
REPO = rf"(?P<repo>[^/]+?(?:/(?!(?:{ACTIONS})(?:/|$))[^/]+?)?)"
API = rf"/api/(?P<kind>models|datasets)/{REPO}"
REV = "(?P<rev>[^/]+)"


def route(method: str, pattern: str) -> Callable[[Endpoint], Endpoint]:
    def register(endpoint: Endpoint) -> Endpoint:
        ROUTES.append((method, re.compile(pattern), endpoint))
        return endpoint

    return register


@route("GET", "/api/whoami-v2")
def whoami(request: Request) -> Reply:
    name, role, person = request.signed_in()
    if not person:
        raise RefusedError(401, "Invalid username or password.")
    auth = {"type": "access_token", "accessToken": {"displayName": "test", "role": role}}
    orgs = [{"type": "org", "name": org} for org in request.hub.orgs]
    return as_json({"type": "user", "name": name, "fullname": name, "orgs": orgs, "auth": auth})


@route("POST", "/oauth/token")
def exchange_token(request: Request) -> Reply:
    """Trusted Publishers: for their id token, a token that writes."""
    ask = request.json
    if ask["grant_type"] != "urn:ietf:params:oauth:grant-type:token-exchange":
        raise RefusedError(400, "unsupported grant type")
    if ask["subject_token"] != request.hub.id_token:
        raise RefusedError(401, "no trusted publisher for this id token")
    return as_json({"access_token": request.hub.exchanged_token, "expires_in": 3600})


@route("POST", "/api/validate-yaml")
def validate_yaml(request: Request) -> Reply:
    try:
        card = card_data(request.json["content"])
    except (yaml.YAMLError, ValueError) as error:
        return as_json({"errors": [{"message": str(error)}], "warnings": []}, 400)
    missing = [] if card else [{"message": "empty or missing yaml metadata in repo card"}]
    return as_json({"errors": [], "warnings": missing})


@route("POST", "/api/repos/create")
def create_repo(request: Request) -> Reply:
    user, ask = request.signed_in(write=True), request.json
    owner, kind = ask.get("organization") or user.name, ask.get("type") or "model"
    repo = Repo(kind, f"{owner}/{ask['name']}", ask.get("visibility") == "private")
    repo.members = {user.name}
    url = f"{request.hub.endpoint}/{repo.path}"
    if owner not in (user.name, *request.hub.orgs):
        raise RefusedError(403, f"You don't have the rights to create a {kind} under {owner}")
    if (kind, repo.id) in request.hub.repos:
        return as_json({"error": f"You already created this {kind} repo", "url": url}, 409)
    attributes = b"*.safetensors filter=lfs diff=lfs merge=lfs -text\n"
    request.hub.add(repo, {".gitattributes": attributes})
    return as_json({"url": url})


@route("GET", "/api/models")
def list_models(request: Request) -> Reply:
    query, found = request.query, []
    for (kind, name), repo in request.hub.repos.items():
        card = readable_card(repo.resolve("main"))
        task = card.get("pipeline_tag")
        visible = kind == "model" and (not repo.private or request.is_member(repo))
        by_author = query.get("author") in (None, name.split("/")[0])
        if visible and by_author and query.get("pipeline_tag") in (None, task):
            found.append({"id": name, "modelId": name, "private": repo.private, "tags": []})
    return as_json(found[: int(query.get("limit", len(found)))])


@route("GET", f"{API}(?:/revision/{REV})?")
def repo_info(request: Request) -> Reply:
    repo = request.repo()
    commit = repo.resolve(request.args["rev"] or "main")
    card = readable_card(commit)
    library = card.get("library_name")
    siblings: list[Json] = [{"rfilename": path} for path in commit.blobs]
    if request.asks("blobs"):
        for sibling, blob in zip(siblings, commit.blobs.values(), strict=True):
            sibling.update({"blobId": blob.git_oid} | blob.size_json())
    security = {"securityRepoStatus": repo.security} if request.asks("securityStatus") else {}
    info = {
        "id": repo.id, "author": repo.id.split("/")[0], "sha": commit.sha, "private": repo.private,
        "gated": repo.gated, "disabled": False, "downloads": 0, "likes": 0, "createdAt": DATE,
        "lastModified": DATE, "cardData": card, "library_name": library,
        "pipeline_tag": card.get("pipeline_tag"),
        "tags": [*card.get("tags", []), *([library] if library else [])],
        "siblings": siblings,
    }  # fmt: skip
    return as_json(info | security)


@route("GET", f"{API}/tree/{REV}(?:/(?P<path>.*))?")
def tree(request: Request) -> Reply:
    commit, folder = request.repo().resolve(request.args["rev"]), request.args["path"]
    prefix = f"{folder}/" if folder else ""
    found = [item for item in entries(commit) if item["path"].startswith(prefix)]
    if folder and not found:
        raise RefusedError(404, f"{folder} does not exist on this revision", code="EntryNotFound")
    deep = request.asks("recursive")
    return as_json([item for item in found if deep or "/" not in item["path"][len(prefix) :]])


@route("POST", f"{API}/paths-info/{REV}")
def paths_info(request: Request) -> Reply:
    commit = request.repo().resolve(request.args["rev"])
    form = request.json if request.body[:1] == b"{" else parse_qs(request.body.decode())
    return as_json([item for item in entries(commit) if item["path"] in form["paths"]])


@route("GET", f"{API}/refs")
def refs(request: Request) -> Reply:
    repo = request.repo()
    found: dict[str, list[Json]] = {"heads": [], "tags": [], "pr": []}
    for ref, sha in repo.refs.items():
        _, group, name = ref.split("/", 2)
        found[group].append({"name": name, "ref": ref, "targetCommit": sha})
    pulls = {"pullRequests": found["pr"]} if request.asks("include_prs") else {}
    return as_json({"branches": found["heads"], "tags": found["tags"], "converts": []} | pulls)


@route("GET", f"/(?P<kind>datasets/)?{REPO}/resolve/{REV}/(?P<path>.+)")
def resolve(request: Request) -> Reply:
    repo = request.repo()
    if repo.gated and not request.is_member(repo):
        message = f"Access to {repo.kind} {repo.id} is restricted"
        raise RefusedError(403 if request.user else 401, message, code="GatedRepo")
    commit = repo.resolve(request.args["rev"])
    blob = commit.blobs.get(request.args["path"])
    if blob is None:
        raise RefusedError(404, "Entry not found", code="EntryNotFound", commit=commit.sha)
    headers = {"X-Repo-Commit": commit.sha, "ETag": f'"{blob.etag}"'}
    if not blob.lfs:
        return Reply(200, blob.data, headers)
    linked = {"X-Linked-Etag": f'"{blob.etag}"', "X-Linked-Size": str(len(blob.data))}
    location = f"{request.hub.cdn}/{blob.sha256}"
    return Reply(302, headers={**headers, **linked, "Location": location})


@route("POST", f"{API}/preupload/{REV}")
def preupload(request: Request) -> Reply:
    repo, _ = request.repo(), request.signed_in(write=True)
    blobs = repo.resolve(request.args["rev"]).blobs
    files = []
    for file in request.json["files"]:
        mode = "lfs" if is_lfs(file["path"], file["size"]) else "regular"
        known = {"oid": blobs[file["path"]].etag} if file["path"] in blobs else {}
        files.append({"path": file["path"], "uploadMode": mode, "shouldIgnore": False} | known)
    return as_json({"files": files})


@route("POST", rf"/(?P<kind>datasets/)?{REPO}\.git/info/lfs/objects/(?P<action>batch|verify)")
def lfs(request: Request) -> Reply:
    repo, _, hub = request.repo(), request.signed_in(write=True), request.hub
    if request.args["action"] == "verify":
        return Reply(200 if request.json["oid"] in hub.lfs else 404)
    verify = {"href": f"{hub.endpoint}/{repo.path}.git/info/lfs/objects/verify"}
    objects = [{"oid": item["oid"], "size": item["size"]} for item in request.json["objects"]]
    for item in objects:
        if item["oid"] not in hub.lfs:
            item["actions"] = {"upload": {"href": f"{hub.cdn}/{item['oid']}"}, "verify": verify}
    return as_json({"transfer": "basic", "objects": objects})


@route("POST", f"{API}/commit/{REV}")
def commit(request: Request) -> Reply:
    repo, user = request.repo(), request.signed_in(write=True)
    lines = [json.loads(line) for line in request.body.splitlines() if line.strip()]
    header = lines.pop(0)["value"]
    title, text = header["summary"], header["description"]
    ref, expected, opens = repo.find_ref(request.args["rev"]), header.get("parentCommit"), False
    head = repo.resolve(ref)
    pull = next((item for item in repo.pull_requests if item.ref == ref), None)
    if request.asks("create_pr"):
        # Branches off the parent commit even if the branch has moved on, as documented.
        head, opens = repo.resolve(expected) if expected else head, True
    elif not request.is_member(repo) and not (pull and pull.author == user.name):
        raise RefusedError(
            403, f"Forbidden: pass `create_pr=1` to open a pull request on {repo.id}"
        )
    elif not head.sha.startswith(expected or ""):
        raise RefusedError(
            412, "The branch was updated since you opened this page. Please refresh."
        )
    changes = read_changes(lines, head, request.hub.lfs)
    if opens:
        pull = PullRequest(len(repo.pull_requests) + 1, title, text, user.name, head.sha)
        repo.pull_requests.append(pull)
        ref = pull.ref
    new = repo.commit(ref, head, changes, message=title, description=text, author=user.name)
    if pull:
        pull.commits.append(new)
    url = f"{request.hub.endpoint}/{repo.path}"
    pull_url = f"{url}/discussions/{pull.num}" if pull and opens else None
    urls = {"commitUrl": f"{url}/commit/{new.sha}", "pullRequestUrl": pull_url}
    return as_json({"success": True, "commitOid": new.sha} | urls)


@route("GET", f"{API}/discussions")
def discussions(request: Request) -> Reply:
    repo, query = request.repo(), request.query
    found = [
        discussion_json(repo, item)
        for item in repo.pull_requests
        if query.get("type") != "discussion"
        and query.get("status", "all") in (item.status, "all")
        and query.get("author", item.author) == item.author
    ]
    return as_json({"count": len(found), "start": 0, "discussions": found})


@route("GET", rf"{API}/discussions/(?P<num>\d+)")
def discussion(request: Request) -> Reply:
    repo, num = request.repo(), int(request.args["num"])
    if not 1 <= num <= len(repo.pull_requests):
        raise RefusedError(404, "Discussion not found")
    return as_json(discussion_json(repo, repo.pull_requests[num - 1]))


def discussion_json(repo: Repo, pull: PullRequest) -> Json:
    comment = {"edited": False, "hidden": False, "latest": {"raw": pull.description}}
    author = {"author": {"name": pull.author}, "createdAt": DATE}
    events = [author | {"id": "0", "type": "comment", "data": comment}]
    for new in pull.commits:
        data = {"subject": new.message, "oid": new.sha}
        events.append(author | {"id": new.sha, "type": "commit", "data": data})
    return author | {
        "num": pull.num, "title": pull.title, "status": pull.status, "isPullRequest": True,
        "repo": {"name": repo.id, "type": repo.kind}, "filesWithConflicts": [],
        "changes": {"base": "refs/heads/main"}, "events": events,
    }  # fmt: skip


def read_changes(lines: list[Json], parent: Commit, uploaded: Mapping[str, bytes]) -> Changes:
    """Read the operations of a commit request."""
    changes = Changes({}, [])
    for line in lines:
        path, value = line["value"]["path"], line["value"]
        match line["key"]:
            case "file":
                changes.add[path] = Blob(base64.b64decode(value["content"]), lfs=False)
            case "lfsFile" if value["oid"] in uploaded:
                changes.add[path] = Blob(uploaded[value["oid"]], lfs=True)
            case "deletedFile" if path in parent.blobs:
                changes.delete.append(path)
            case "deletedFolder":
                folder = path.rstrip("/") + "/"
                changes.delete.extend(k for k in parent.blobs if k.startswith(folder))
            case "deletedFile":
                raise RefusedError(404, "A file with this name doesn't exist", code="EntryNotFound")
            case _:
                raise RefusedError(400, f"Cannot apply {line['key']} to {path}")
    return changes


def entries(commit: Commit) -> list[Json]:
    """List the files and folders of a commit as the tree and paths-info endpoints do."""
    last = {"id": commit.sha, "title": commit.message, "date": DATE}
    folders = {str(parent) for path in commit.blobs for parent in Path(path).parents} - {"."}
    oids = {path: hashlib.sha1(path.encode()).hexdigest() for path in folders}
    found: list[Json] = [{"type": "directory", "oid": oids[k], "size": 0, "path": k} for k in oids]
    for path, blob in commit.blobs.items():
        found.append({"type": "file", "oid": blob.git_oid, "path": path} | blob.size_json())
    return sorted((item | {"lastCommit": last} for item in found), key=lambda item: item["path"])


def card_data(text: str) -> dict[str, Json]:
    """Return the YAML header of a card, ``{}`` without one."""
    found = re.match(r"---\r?\n(.*?)\r?\n?---\s*(\r?\n|$)", text, re.DOTALL)
    card = yaml.safe_load(found[1]) if found else {}
    if not isinstance(card or {}, dict):
        raise ValueError("metadata must be a mapping")
    return card or {}


def readable_card(commit: Commit) -> dict[str, Json]:
    try:
        readme = commit.blobs["README.md"].data.decode()
        return dict(json.loads(json.dumps(card_data(readme), default=str)))
    except (KeyError, ValueError, yaml.YAMLError):
        return {}


def is_lfs(path: str, size: int) -> bool:
    return path.endswith(LFS_SUFFIXES) or size > LFS_SIZE


class LoopbackHub:
    """The server and its state; ``requests`` logs ``(method, path with query)`` of both origins."""

    def __init__(self) -> None:
        self.token, self.read_token, self.other_token = "hf_me", "hf_me_read", "hf_other"
        self.tokens = {
            self.token: User("me"),
            self.read_token: User("me", "read"),
            self.other_token: User("other"),
        }
        self.id_token, self.exchanged_token = "an id token of GitHub", "hf_jwt_me"
        self.tokens[self.exchanged_token] = User("me", "write", person=False)
        self.orgs = ["my-org"]
        self.repos: dict[tuple[str, str], Repo] = {}
        self.aliases: dict[tuple[str, str], str] = {}
        self.lfs: dict[str, bytes] = {}
        self.requests: list[tuple[str, str]] = []
        self.user_agents: set[str] = set()
        self._faults: list[tuple[str, int, bool]] = []
        self._lock = threading.Lock()
        self._servers: list[_Server] = []

    def start(self) -> LoopbackHub:
        self._servers = [_Server(self), _Server(self)]
        for server in self._servers:
            threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def stop(self) -> None:
        for server in self._servers:
            server.shutdown()
            server.server_close()

    def __enter__(self) -> LoopbackHub:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def endpoint(self) -> str:
        return self._servers[0].url

    @property
    def cdn(self) -> str:
        return self._servers[1].url

    def add_model(
        self,
        name: str,
        files: Mapping[str, Content],
        *,
        private: bool = False,
        gated: bool = False,
        members: Collection[str] = ("me",),
        repo_type: str = "model",
    ) -> str:
        """Create a repository and return the sha of its only commit."""
        repo = Repo(repo_type, name, private, "auto" if gated else False, set(members))
        return self.add(repo, files)

    def add_dataset(
        self,
        name: str,
        files: Mapping[str, Content],
        *,
        private: bool = False,
        gated: bool = False,
    ) -> str:
        """Create a dataset and return the sha of its only commit."""
        return self.add_model(name, files, private=private, gated=gated, repo_type="dataset")

    def add(self, repo: Repo, files: Mapping[str, Content]) -> str:
        """Serve ``repo`` with an initial commit of ``files``."""
        self.repos[repo.kind, repo.id] = repo
        return self.commit(repo.id, files, repo_type=repo.kind, message="initial commit")

    def commit(
        self,
        name: str,
        add: Mapping[str, Content] | None = None,
        delete: Collection[str] = (),
        *,
        repo_type: str = "model",
        message: str = "update",
    ) -> str:
        """Move main of a repository and return its new sha."""
        repo = self.repos[repo_type, name]
        parent = repo.resolve("main") if repo.refs else None
        changes = Changes({k: self._blob(k, v) for k, v in (add or {}).items()}, list(delete))
        return repo.commit("refs/heads/main", parent, changes, message=message).sha

    def tag(self, name: str, tag: str, sha: str, *, repo_type: str = "model") -> None:
        self.repos[repo_type, name].refs[f"refs/tags/{tag}"] = sha

    def alias(self, old: str, new: str, *, repo_type: str = "model") -> None:
        """Redirect a renamed repository, as the Hub does for ``cifar10`` and ``gpt2``."""
        self.aliases[repo_type, old] = new

    def alias_dataset(self, old: str, new: str) -> None:
        self.alias(old, new, repo_type="dataset")

    def fail_next(
        self, path: str, *, status: int = 500, times: int = 1, done: bool = False
    ) -> None:
        """Answer the next requests whose path contains ``path`` with an error; 0: not at all.

        ``done``: after the Hub has done what was asked.
        """
        self._faults += [(path, status, done)] * times

    def environment(self, home: Path, *, token: str | None = None) -> dict[str, str]:
        """Return ``os.environ`` for a client of this Hub, without any inherited HF setting."""
        inherited = ("HF_", "HUGGING", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")
        kept = {k: v for k, v in os.environ.items() if not k.upper().startswith(inherited)}
        switches = {"HF_HUB_DISABLE_XET", "HF_HUB_DISABLE_TELEMETRY", "HF_HUB_DISABLE_UPDATE_CHECK"}
        ours = {
            "HF_ENDPOINT": self.endpoint,
            "HF_HOME": str(home),
            "HF_UPDATE_DOWNLOAD_COUNTS": "0",
        }
        return kept | dict.fromkeys(switches, "1") | ours | ({"HF_TOKEN": token} if token else {})

    def answer(self, server: _Server, call: Call) -> Reply:
        """Log a request and answer it, one at a time."""
        with self._lock:
            self.requests.append((call.method, call.target))
            self.user_agents.add(call.headers.get("user-agent", ""))
            fault = next((fault for fault in self._faults if fault[0] in call.target), None)
            if fault is None:
                return self._answer(server, call)
            self._faults.remove(fault)
            _, status, done = fault
            if done:
                self._answer(server, call)
            raise RefusedError(status, "Injected failure")

    def _answer(self, server: _Server, call: Call) -> Reply:
        return self._answer_api(call) if server.url == self.endpoint else self._answer_cdn(call)

    def _answer_api(self, call: Call) -> Reply:
        token = call.headers.get("authorization", "").removeprefix("Bearer ")
        if token and token not in self.tokens:
            raise RefusedError(401, "Invalid credentials in Authorization header")
        for method, pattern, endpoint in ROUTES:
            found = pattern.fullmatch(urlsplit(call.target).path)
            if found and method == call.method.replace("HEAD", "GET"):
                args = {name: unquote(part or "") for name, part in found.groupdict().items()}
                user = self.tokens.get(token)
                request = Request(self, call.target, call.body, user, args)
                name = self.aliases.get(request.key) if "repo" in args else None
                if name:
                    location = call.target.replace(args["repo"], name, 1)
                    return Reply(307, headers={"Location": location})
                return endpoint(request)
        raise RefusedError(404, f"No such endpoint: {call.method} {call.target}")

    def _answer_cdn(self, call: Call) -> Reply:
        oid = call.target.strip("/")
        if "authorization" in call.headers:  # a leaked token is an error on S3, too
            raise RefusedError(400, "Only one auth mechanism allowed")
        if call.method == "PUT" and oid == hashlib.sha256(call.body).hexdigest():
            self.lfs[oid] = call.body
            return Reply()
        return Reply(200, self.lfs[oid]) if oid in self.lfs else Reply(403)

    def _blob(self, path: str, content: Content) -> Blob:
        data = content if isinstance(content, bytes) else content.read_bytes()
        blob = Blob(data, lfs=is_lfs(path, len(data)))
        if blob.lfs:
            self.lfs[blob.sha256] = data
        return blob


class Call(NamedTuple):
    """An HTTP request; header names are in lower case."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, hub: LoopbackHub) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.hub = hub
        self.url = f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    def handle_request(self) -> None:
        headers = {name.lower(): value for name, value in self.headers.items()}
        body = self.rfile.read(int(headers.get("content-length", 0)))
        try:
            call = Call(self.command, self.path, headers, body)
            reply = self.server.hub.answer(self.server, call)
        except RefusedError as refused:
            reply = refused.reply
        except Exception as error:
            reply = RefusedError(500, f"{type(error).__name__}: {error}").reply
        found = re.fullmatch(r"bytes=(\d+)-(\d*)", headers.get("range", ""))
        if found and reply.status == 200:
            reply = self.part(reply, int(found[1]), found[2])
        if not reply.status:
            self.close_connection = True
            return
        self.send_response(reply.status)
        for name, value in {**reply.headers, "Content-Length": str(len(reply.body))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(reply.body)

    do_GET = do_HEAD = do_POST = do_PUT = handle_request  # noqa: N815

    def part(self, reply: Reply, start: int, last: str) -> Reply:
        """Answer a range request, as clients send to resume a download."""
        size = len(reply.body)
        if start >= size:
            return Reply(416, headers={"Content-Range": f"bytes */{size}"})
        body = reply.body[start : int(last) + 1 if last else size]
        span = {"Content-Range": f"bytes {start}-{start + len(body) - 1}/{size}"}
        return Reply(206, body, reply.headers | span)

    def log_message(self, format: str, *args: object) -> None:
        """Keep the tests' stderr clean."""
