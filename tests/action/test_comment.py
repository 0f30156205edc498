"""The comment of a pull request, with a small REST API of GitHub on this machine."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from hfscan.cli.action.comment import LIMIT, comment, marker
from hfscan.cli.action.inputs import Inputs

from .runner import commands

REPOSITORY, NUMBER, TOKEN = "org/code", 7, "ghs_secret"
INPUTS = Inputs("org/net", "cifar10")
Comment = dict[str, Any]


def written(number: int, body: str, kind: str = "User") -> Comment:
    return {"id": number, "body": body, "user": {"type": kind}}


@dataclass
class Api:
    """Comments of one pull request, and what was asked."""

    comments: list[Comment] = field(default_factory=list)
    status: int = 200
    asked: list[str] = field(default_factory=list)
    url: str = ""

    def answer(self, method: str, url: str, token: str | None, body: Comment) -> tuple[int, Any]:
        path, query = urlsplit(url).path, parse_qs(urlsplit(url).query)
        self.asked.append(method)
        if self.status != 200 or token != f"Bearer {TOKEN}":
            return self.status, {"message": "Resource not accessible by integration"}
        root = f"/repos/{REPOSITORY}/issues"
        if (method, path) == ("GET", f"{root}/{NUMBER}/comments"):
            size, page = int(query["per_page"][0]), int(query["page"][0])
            return 200, self.comments[size * (page - 1) : size * page]
        if (method, path) == ("POST", f"{root}/{NUMBER}/comments"):
            self.comments.append(written(len(self.comments) + 1, body["body"], "Bot"))
            return 201, self.comments[-1]
        assert method == "PATCH"
        (found,) = (one for one in self.comments if path == f"{root}/comments/{one['id']}")
        found["body"] = body["body"]
        return 200, found


@pytest.fixture
def api(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Api]:
    api = Api()

    class Handler(BaseHTTPRequestHandler):
        def handle_one(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            token = self.headers.get("Authorization")
            status, data = api.answer(self.command, self.path, token, json.loads(body or "{}"))
            content = json.dumps(data).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_PATCH = handle_one  # noqa: N815

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    (tmp_path / "event.json").write_text(json.dumps({"pull_request": {"number": NUMBER}}))
    (tmp_path / "summary.md").write_text("## hfscan audit\n", encoding="utf-8")
    environment = {
        "GITHUB_API_URL": f"http://127.0.0.1:{server.server_port}",
        "GITHUB_REPOSITORY": REPOSITORY,
        "GITHUB_TOKEN": TOKEN,
        "GITHUB_EVENT_PATH": str(tmp_path / "event.json"),
        "INPUT_MODEL": INPUTS.model,
        "INPUT_CLEAN_DATA": INPUTS.clean_data,
        "INPUT_SUMMARY_FILE": str(tmp_path / "summary.md"),
    }
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    yield api
    server.shutdown()
    server.server_close()


def test_a_first_comment(api: Api) -> None:
    comment()
    assert api.asked == ["GET", "POST"]
    assert [one["body"] for one in api.comments] == [f"{marker(INPUTS)}\n## hfscan audit\n"]


def test_the_next_run_replaces_it(api: Api, tmp_path: Path) -> None:
    comment()
    (tmp_path / "summary.md").write_text("newer")
    comment()
    assert api.asked == ["GET", "POST", "GET", "PATCH"]
    assert [one["body"] for one in api.comments] == [f"{marker(INPUTS)}\nnewer"]


def test_it_is_found_among_many(api: Api) -> None:
    api.comments = [written(number, "thanks") for number in range(1, 150)]
    api.comments += [written(200, f"{marker(INPUTS)}\nold", "Bot")]
    comment()
    assert api.asked == ["GET", "GET", "PATCH"]
    assert api.comments[-1]["body"].endswith("## hfscan audit\n")


def test_a_persons_comment_is_not_ours(api: Api) -> None:
    """Whoever writes the mark would otherwise have words put in their mouth."""
    fake = f"{marker(INPUTS)}\nI am hfscan"
    api.comments = [written(1, fake), written(2, f"quoted: {marker(INPUTS)}", "Bot")]
    comment()
    assert api.asked == ["GET", "POST"]
    assert api.comments[0]["body"] == fake


def test_each_model_has_its_own(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    comment()
    monkeypatch.setenv("INPUT_MODEL", "org/other-->")
    comment()
    assert len(api.comments) == 2
    assert all("--" not in one["body"][5:40] for one in api.comments)


def test_a_long_report_is_cut(api: Api, tmp_path: Path) -> None:
    (tmp_path / "summary.md").write_text("\n\n".join(["█" * 100] * 1000), encoding="utf-8")
    comment()
    (only,) = api.comments
    assert LIMIT / 2 < len(only["body"].encode()) <= LIMIT
    assert "the rest was left out" in only["body"]


def test_without_the_right_it_is_a_warning(api: Api, capsys: pytest.CaptureFixture[str]) -> None:
    api.status = 403
    comment()
    log = capsys.readouterr().out
    (warning,) = commands(log)
    assert (warning.name, warning.properties["title"]) == ("warning", "hfscan: no comment")
    assert "403" in warning.message
    assert "pull-requests: write" in warning.message
    assert TOKEN not in log


@pytest.mark.parametrize("event", ["{}", "no json", '{"pull_request": null}'])
def test_without_a_pull_request(
    api: Api, tmp_path: Path, capsys: pytest.CaptureFixture[str], event: str
) -> None:
    (tmp_path / "event.json").write_text(event)
    comment()
    assert api.asked == []
    (notice,) = commands(capsys.readouterr().out)
    assert notice.name == "notice"


def test_without_a_summary(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("INPUT_SUMMARY_FILE")
    comment()
    assert api.asked == []
