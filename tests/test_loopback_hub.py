"""The loopback Hub as the real clients see it."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from loopback_hub import LoopbackHub
from PIL import Image

WEIGHTS = bytes(range(256)) * 5000
NET = {
    "README.md": b"---\nlibrary_name: timm\nlicense: mit\n---\n# Net\n",
    "config.json": b"{}",
    "model.safetensors": WEIGHTS,
    "pytorch_model.bin": b"an old pickle",
}
CARD = """---
dataset_info:
  features:
  - name: img
    dtype: image
  - name: label
    dtype:
      class_label:
        names:
          '0': cat
          '1': dog
configs:
- config_name: default
  data_files:
  - split: test
    path: data/test-*
---
"""
PRELUDE = """
import json, sys
from pathlib import Path
from huggingface_hub import (
    CommitOperationAdd as Add, CommitOperationDelete as Delete, HfApi, hf_hub_download,
    snapshot_download,
)
api, arguments, out = HfApi(library_name="hfscan", library_version="1"), json.loads(sys.argv[1]), {}

def fails(call, *args, **options):
    try:
        call(*args, **options)
    except Exception as error:
        status = getattr(getattr(error, "response", None), "status_code", None)
        return [type(error).__name__, status]

"""


@pytest.fixture
def hub() -> Iterator[LoopbackHub]:
    with LoopbackHub() as hub:
        yield hub


def run(
    hub: LoopbackHub,
    home: Path,
    script: str,
    *,
    token: str | None = None,
    offline: bool = False,
    **arguments: str,
) -> dict[str, Any]:
    """Run a script with the real clients and return its ``out``."""
    env = hub.environment(home, token=token) | {"OMP_NUM_THREADS": "1"}
    env |= {"HF_HUB_DISABLE_PROGRESS_BARS": "1"} | ({"HF_HUB_OFFLINE": "1"} if offline else {})
    code = f"{PRELUDE}{script}\nprint(json.dumps(out))"
    command = [sys.executable, "-c", code, json.dumps(arguments)]
    done = subprocess.run(command, env=env, cwd=home, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout.splitlines()[-1]))


def fetch(url: str, **headers: str) -> tuple[int, bytes]:
    """Send one request without any client library."""
    request = urllib.request.Request(url, headers=headers)
    try:
        with urllib.request.urlopen(request) as reply:
            return reply.status, reply.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def parquet() -> bytes:
    """Four labeled images of 8 by 8 pixels."""
    png, table = io.BytesIO(), io.BytesIO()
    Image.new("RGB", (8, 8), "red").save(png, format="PNG")
    images = [{"bytes": png.getvalue(), "path": f"{index}.png"} for index in range(4)]
    pq.write_table(pa.table({"img": images, "label": [0, 1, 0, 1]}), table)
    return table.getvalue()


def test_read_a_public_model(hub: LoopbackHub, tmp_path: Path) -> None:
    first = hub.add_model("org/net", NET)
    hub.tag("org/net", "v1", first)
    second = hub.commit("org/net", {"config.json": b"[]", "a dir/b.txt": b"b"})
    script = """
info = api.model_info("org/net", files_metadata=True, securityStatus=True)
out["sha"], out["library"], out["scan"] = info.sha, info.library_name, info.security_repo_status
out["lfs"] = {s.rfilename: s.size for s in info.siblings if s.lfs}
out["tag"] = api.resolve_revision("org/net", revision="v1").resolved
out["tree"] = [item.path for item in api.list_repo_tree("org/net")]
out["deep"] = [item.path for item in api.list_repo_tree("org/net", "a dir")]
out["paths"] = [item.path for item in api.get_paths_info("org/net", ["config.json", "nope"])]
refs = api.list_repo_refs("org/net")
out["refs"] = {ref.name: ref.target_commit for ref in [*refs.branches, *refs.tags]}
patterns = ["*.json", "*.safetensors"]
folder = Path(snapshot_download("org/net", revision=info.sha, allow_patterns=patterns))
out["files"] = {path.name: path.stat().st_size for path in folder.iterdir()}
out["old"] = Path(hf_hub_download("org/net", "config.json", revision="v1")).read_text()
out["wrong"] = fails(api.model_info, "org/net", revision="v2")
out["short"] = fails(api.model_info, "org/net", revision=info.sha[:8])
out["no file"] = fails(hf_hub_download, "org/net", "nope.json")
out["no repo"] = fails(api.model_info, "org/nope")
"""
    out = run(hub, tmp_path, script)
    size = len(WEIGHTS)
    assert out["sha"] == second
    assert (out["library"], out["scan"]["filesWithIssues"]) == ("timm", [])
    assert out["lfs"] == {"model.safetensors": size, "pytorch_model.bin": 13}
    assert out["tag"] == first
    assert out["tree"] == ["README.md", "a dir", *list(NET)[1:]]
    assert (out["deep"], out["paths"]) == (["a dir/b.txt"], ["config.json"])
    assert out["refs"] == {"main": second, "v1": first}
    assert out["files"] == {"config.json": 2, "model.safetensors": size}
    assert out["old"] == "{}"
    assert out["wrong"] == out["short"] == ["RevisionNotFoundError", 404]
    assert out["no file"] == ["RemoteEntryNotFoundError", 404]
    assert out["no repo"] == ["RepositoryNotFoundError", 401]
    assert ("HEAD", f"/org/net/resolve/{second}/model.safetensors") in hub.requests
    assert any(agent.startswith("hfscan/1;") for agent in hub.user_agents)


INVALID = ["HfHubHTTPError", 401]


@pytest.mark.parametrize(
    ("user", "expected"),
    [
        ("token", {"who": "me", "private": None, "gated": None, "info": None}),
        (
            "other_token",
            {
                "who": "other",
                "private": ["RepositoryNotFoundError", 404],
                "gated": ["GatedRepoError", 403],
                "info": None,
            },
        ),
        (
            None,
            {
                "who": ["LocalTokenNotFoundError", None],
                "private": ["RepositoryNotFoundError", 401],
                "gated": ["GatedRepoError", 401],
                "info": None,
            },
        ),
        ("invalid", dict.fromkeys(("who", "private", "gated", "info"), INVALID)),
    ],
)
def test_access(
    hub: LoopbackHub, tmp_path: Path, user: str | None, expected: dict[str, Any]
) -> None:
    hub.add_model("me/secret", NET, private=True)
    hub.add_model("org/gated", NET, gated=True)
    script = """
out["who"] = fails(api.whoami) or api.whoami()["name"]
out["private"] = fails(snapshot_download, "me/secret", allow_patterns="config.json")
out["gated"] = fails(snapshot_download, "org/gated", allow_patterns="config.json")
out["info"] = fails(api.model_info, "org/gated")
"""
    token = getattr(hub, user, "hf_revoked") if user else None
    assert run(hub, tmp_path, script, token=token) == expected


def test_open_a_pull_request(hub: LoopbackHub, tmp_path: Path) -> None:
    first = hub.add_model("org/net", NET)
    second = hub.commit("org/net", {"notes.txt": b"newer"})
    script = """
def changes():
    weights = Path("weights.safetensors")
    weights.write_bytes(b"repaired" * 200_000)
    add = [Add("model.safetensors", weights), Add("README.md", b"---\\nlicense: mit\\n---\\n")]
    return [*add, Delete("pytorch_model.bin")]

def commit(operations, **options):
    options = {"create_pr": True, "parent_commit": arguments["second"], **options}
    return api.create_commit("org/net", operations, commit_message="Repair", **options)

done = commit(changes(), commit_description="Why")
out["number"], out["ref"], out["oid"] = done.pr_num, done.pr_revision, done.oid
pull = api.get_discussion_details("org/net", done.pr_num)
out["pull"] = [pull.title, pull.status, pull.author, pull.target_branch]
out["open"] = [item.num for item in api.get_repo_discussions("org/net", discussion_status="open")]
readme = hf_hub_download("org/net", "README.md", revision=done.pr_revision)
out["readme"] = Path(readme).read_text()
unchanged = commit([Add("config.json", b"{}")])
out["unchanged"] = [unchanged.pr_url, unchanged.oid]
out["stale"] = fails(commit, changes(), create_pr=False, parent_commit=arguments["first"])
out["older"] = commit(changes(), parent_commit=arguments["first"]).pr_num
out["missing"] = fails(commit, [Delete("nope.bin")])
out["unknown parent"] = fails(commit, changes(), parent_commit="0" * 40)
out["card"] = fails(commit, [Add("README.md", b"---\\na: [\\n---\\n")])
"""
    out = run(hub, tmp_path, script, token=hub.token, first=first, second=second)
    repo = hub.repos["model", "org/net"]
    pull, older = repo.pull_requests
    assert (out["number"], out["ref"], out["oid"]) == (1, "refs/pr/1", pull.commits[0].sha)
    assert out["pull"] == ["Repair", "open", "me", "refs/heads/main"]
    assert out["open"] == [1]
    weights = pull.commits[0].blobs["model.safetensors"]
    assert ("PUT", f"/{weights.sha256}") in hub.requests
    assert ("POST", "/org/net.git/info/lfs/objects/verify") in hub.requests
    assert out["readme"] == "---\nlicense: mit\n---\n"
    assert out["unchanged"] == [None, second]
    assert out["stale"] == ["HfHubHTTPError", 412]
    assert (out["older"], older.base) == (2, first)
    assert out["missing"] == ["RemoteEntryNotFoundError", 404]
    assert out["unknown parent"] == ["RevisionNotFoundError", 404]
    assert out["card"] == ["ValueError", None]
    assert (pull.base, pull.description, pull.commits[0].parent) == (second, "Why", second)
    assert pull.commits[0].operations == [
        ("delete", "pytorch_model.bin"),
        ("add", "model.safetensors"),
        ("add", "README.md"),
    ]
    files = repo.files("refs/pr/1")
    assert sorted(files) == ["README.md", "config.json", "model.safetensors", "notes.txt"]
    assert files["model.safetensors"] == b"repaired" * 200_000
    assert [commit.sha for commit in repo.commits] == [first, second]


def test_only_members_write(hub: LoopbackHub, tmp_path: Path) -> None:
    hub.add_model("org/net", NET)
    script = """
def commit(**options):
    api.create_commit("org/net", [Add("a.txt", b"a")], commit_message="a", **options)

out["main"], out["pull request"] = fails(commit), fails(commit, create_pr=True)
out["repo"] = fails(api.create_repo, "org/new")
"""
    forbidden = ["HfHubHTTPError", 403]
    out = run(hub, tmp_path, script, token=hub.other_token)
    assert out == {"main": forbidden, "pull request": None, "repo": forbidden}
    out = run(hub, tmp_path, script, token=hub.read_token)
    assert out == {"main": forbidden, "pull request": forbidden, "repo": forbidden}


def test_create_a_private_repository(hub: LoopbackHub, tmp_path: Path) -> None:
    script = """
out["url"] = api.create_repo("me/new", private=True)
out["again"] = fails(api.create_repo, "me/new", private=True)
api.create_repo("me/new", private=True, exist_ok=True)
operations = [Add("model.safetensors", b"w" * 1000), Add("config.json", b"{}")]
out["oid"] = api.create_commit("me/new", operations, commit_message="First").oid
out["hidden"] = fails(HfApi(token=False).model_info, "me/new")
"""
    out = run(hub, tmp_path, script, token=hub.token)
    repo = hub.repos["model", "me/new"]
    assert repo.private
    assert out["url"] == f"{hub.endpoint}/me/new"
    assert out["again"] == ["HfHubHTTPError", 409]
    assert out["hidden"] == ["RepositoryNotFoundError", 401]
    assert out["oid"] == repo.commits[-1].sha
    assert repo.commits[-1].message == "First"
    assert repo.files()["model.safetensors"] == b"w" * 1000


def test_load_a_dataset(hub: LoopbackHub, tmp_path: Path) -> None:
    files = {"README.md": CARD.encode(), "data/test-0.parquet": parquet()}
    sha = hub.add_dataset("uoft-cs/cifar10", files)
    hub.alias_dataset("cifar10", "uoft-cs/cifar10")
    script = """
import datasets

data = datasets.load_dataset("uoft-cs/cifar10", split="test", revision=arguments["sha"])
out["rows"], out["names"] = data.num_rows, data.features["label"].names
out["size"] = data[0]["img"].size
"""
    canonical = 'out["id"] = api.dataset_info("cifar10").id\n'
    online = run(hub, tmp_path, canonical + script, sha=sha)
    assert online == {
        "id": "uoft-cs/cifar10",
        "rows": 4,
        "names": ["cat", "dog"],
        "size": [8, 8],
    }
    hub.requests.clear()
    offline = run(hub, tmp_path, script, sha=sha, offline=True)
    assert offline == {name: online[name] for name in offline}
    assert hub.requests == []


def test_cdn_serves_ranges_and_refuses_tokens(hub: LoopbackHub) -> None:
    hub.add_model("org/net", NET)
    url = f"{hub.endpoint}/org/net/resolve/main/model.safetensors"
    assert fetch(url, Range="bytes=256-258") == (206, b"\x00\x01\x02")
    assert fetch(url, Range=f"bytes={len(WEIGHTS)}-")[0] == 416
    oid = hub.repos["model", "org/net"].resolve("main").blobs["model.safetensors"].sha256
    assert fetch(f"{hub.cdn}/{oid}") == (200, WEIGHTS)
    assert fetch(f"{hub.cdn}/{oid}", Authorization=f"Bearer {hub.token}")[0] == 400


def test_fail_next(hub: LoopbackHub) -> None:
    hub.add_model("org/net", NET)
    hub.fail_next("/revision/main", status=503)
    url = f"{hub.endpoint}/api/models/org/net"
    assert fetch(url)[0] == 200
    assert [fetch(f"{url}/revision/main")[0] for _ in range(2)] == [503, 200]
