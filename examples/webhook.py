"""Audit a model whenever something is pushed to its repository on the Hub.

Make a webhook at https://huggingface.co/settings/webhooks that watches your repositories, with a secret, and
point it at this server, behind something that speaks TLS:

    export WEBHOOK_SECRET=...        # the one of the webhook; the server does not start without
    python examples/webhook.py --owner my-org --clean-data cifar10 --reports reports --port 8000

Only pushes to the default branch of models of `--owner` are audited, one at a time, at the very commit that was
pushed, each in a process of its own. Reports are written as JSON and Markdown.
"""

from __future__ import annotations

import argparse
import hmac
import json
import os
import queue
import re
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from hfscan.sweep.names import report_name
from hfscan.sweep.process import Job, perform

MAX_BODY = 1_000_000
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*/[A-Za-z0-9][A-Za-z0-9._-]*")
SHA = re.compile(r"[0-9a-f]{40}")


def pushed_model(payload: Any, owner: str) -> str | None:
    """``owner/name@sha`` of a push to the default branch of a model; None for anything else."""
    try:
        event, repo = payload["event"], payload["repo"]
        content = event["action"] == "update" and str(event["scope"]).startswith("repo.content")
        shas = [ref["newSha"] for ref in payload["updatedRefs"] if ref["ref"] == "refs/heads/main"]
        name = str(repo["name"])
        ours = repo["type"] == "model" and name.partition("/")[0] == owner
        if content and ours and shas and NAME.fullmatch(name) and SHA.fullmatch(str(shas[-1])):
            return f"{name}@{shas[-1]}"
    except (KeyError, TypeError, IndexError):
        pass
    return None


class Hook(ThreadingHTTPServer):
    """Takes the Hub's calls, and hands what was pushed to ``found``."""

    def __init__(
        self, address: tuple[str, int], secret: str, owner: str, found: Callable[[str], None]
    ) -> None:
        super().__init__(address, Handler)
        self.secret, self.owner, self.found = secret.encode(), owner, found


class Handler(BaseHTTPRequestHandler):
    server: Hook
    timeout = 10

    def do_POST(self) -> None:
        self.send_response(self.answer())
        self.send_header("Content-Length", "0")
        self.end_headers()

    def answer(self) -> int:
        given = self.headers.get("X-Webhook-Secret", "").encode("latin-1", "replace")
        if not hmac.compare_digest(given, self.server.secret):  # takes as long for any wrong one
            return 401
        length = self.headers.get("Content-Length", "")
        if not length.isdecimal() or int(length) > MAX_BODY:
            return 413
        try:
            payload = json.loads(self.rfile.read(int(length)))
        except (ValueError, RecursionError):
            return 400
        model = pushed_model(payload, self.server.owner)
        if model is None:
            return 204
        self.server.found(model)
        return 202

    def log_message(self, format: str, *args: object) -> None:
        """Callers do not write into the log."""


def audit(model: str, clean_data: str, reports: Path, budget: str) -> None:
    """Audit a model, write its reports, and say in one line what came of it."""
    arguments = (f"--clean-data={clean_data}", f"--budget={budget}")
    outcome = perform(Job(model, arguments, ("markdown",), timeout=6 * 3600))
    for name, text in outcome.reports.items():
        (reports / report_name(model, name)).write_text(text, encoding="utf-8")
    record = outcome.record
    print(f"{model}: {record.verdict or record.status} ({record.reason!a})", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--owner", required=True)
    parser.add_argument("--clean-data", required=True)
    parser.add_argument("--reports", type=Path, default=Path("reports"))
    parser.add_argument("--budget", default="15m")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000)
    options = parser.parse_args()
    secret = os.environ.get("WEBHOOK_SECRET")
    if not secret:
        parser.error("set WEBHOOK_SECRET to the secret of the webhook")
    options.reports.mkdir(parents=True, exist_ok=True)
    models: queue.Queue[str] = queue.Queue()

    def work() -> None:
        while True:
            try:
                audit(models.get(), options.clean_data, options.reports, options.budget)
            except OSError as error:  # a full disk, for one; the next push may find room
                print(f"failed: {error}", flush=True)

    threading.Thread(target=work, daemon=True).start()
    Hook((options.host, options.port), secret, options.owner, models.put).serve_forever()


if __name__ == "__main__":
    main()
