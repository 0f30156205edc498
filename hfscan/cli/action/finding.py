"""What the action says of a report."""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from hfscan.cli.action.workflow import Level, annotate
from hfscan.report.text import code_block, code_span, markdown, printable

TO_REPAIR = ("SUSPICIOUS", "BACKDOORED")
VERDICTS = ("NO_BACKDOOR_FOUND", "INCONCLUSIVE", *TO_REPAIR)

_PULL_REQUEST = re.compile(r"pushed: (https?://[\w.:/-]+/discussions/\d+)")
_PUSH = ("push to ", "  write  ", "  delete ", "nothing differs")


@dataclass(frozen=True)
class Finding:
    """The part of a JSON report that becomes outputs.

    Args:
        verdict: One of `VERDICTS`.
        target: Name of the suspected class, or nothing.
        reason: One sentence.
        weights_file: Name of the file in the model.
        accepted: Whether somebody accepted it (``.hfscan-ignore.toml``).
    """

    verdict: str
    target: str
    reason: str
    weights_file: str
    accepted: bool = False

    @classmethod
    def read(cls, path: Path) -> Finding | None:
        """Read a JSON report; None if it is none."""
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
            target = data["target"]["name"] if data["target"] else ""
            texts = (data["verdict"], target, data["reason"], data["model"]["weights_file"])
            accepted = bool(data["suppression"])
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            return None
        known = texts[0] in VERDICTS and all(isinstance(text, str) for text in texts)
        return cls(*texts, accepted) if known else None

    @property
    def to_repair(self) -> bool:
        """Whether there is something that nobody wants to keep."""
        return self.verdict in TO_REPAIR and not self.accepted

    @property
    def safe_target(self) -> str:
        """The class, for a workflow that pastes it into a shell though it should not."""
        return re.sub(r"[^\w .,()+/-]", "_", printable(self.target))

    def annotate(self, model: str, code: int) -> None:
        """Show it beside the run, and at the weights if they are in the checkout.

        Args:
            model: As typed.
            code: Exit code of the audit.
        """
        failing: dict[str, Level] = {"BACKDOORED": "error", "NO_BACKDOOR_FOUND": "notice"}
        level = failing.get(self.verdict, "warning")
        if level == "error" and code == 0:  # it is not to fail, or was accepted
            level = "warning"
        message = f"{printable(model, 200)}: {self.reason}"
        file = _in_checkout(model, self.weights_file)
        annotate(level, f"hfscan: {self.verdict}", message, file=file)


def _in_checkout(model: str, weights_file: str) -> str:
    path = PurePosixPath(os.path.normpath(model.removeprefix("local-dir:")), weights_file)
    inside = model.startswith("./") and not path.is_absolute() and ".." not in path.parts
    return str(path) if inside else ""


def failed_summary(model: str, error: str) -> str:
    """Markdown for an audit that did not happen."""
    why = markdown(error, 1000)
    return f"## hfscan audit: failed\n\nNothing is known about {code_span(model, 200)}: {why}\n"


def pull_request(lines: tuple[str, ...]) -> str:
    """Its address, of what ``hfscan repair --push`` wrote to stderr; or nothing."""
    found = (_PULL_REQUEST.fullmatch(line) for line in lines)
    return next((match[1] for match in found if match), "")


def failed_repair(error: str) -> str:
    """Markdown for a repair that did not happen."""
    return f"## hfscan repair: failed\n\n{markdown(error, 1000)}\n"


@dataclass(frozen=True)
class Repair:
    """The part of a repair's reports that is told.

    Args:
        verdict: Of the repaired network, one of `VERDICTS`.
        report: The whole report, in Markdown.
    """

    verdict: str
    report: str

    @classmethod
    def read(cls, json_report: Path, markdown_report: Path) -> Repair | None:
        """Read what ``hfscan repair`` wrote; None if it wrote something else."""
        try:
            verdict = json.loads(json_report.read_text(encoding="utf-8"))["verdict_after"]
            report = markdown_report.read_text(encoding="utf-8")
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            return None
        return cls(verdict, report) if verdict in VERDICTS else None

    @property
    def result(self) -> str:
        """One sentence."""
        still = "still " if self.verdict in TO_REPAIR else ""
        return f"By the same tests the repaired network is {still}{self.verdict}."

    def annotate(self, url: str) -> None:
        """Show it beside the run: a repair that did not help is a warning.

        Args:
            url: Of the pull request, or nothing.
        """
        level: Level = "warning" if self.verdict in TO_REPAIR else "notice"
        annotate(level, "hfscan: repaired", f"{self.result} {url}".strip())

    def summary(self, lines: tuple[str, ...]) -> str:
        """Markdown.

        Args:
            lines: What the repair wrote to stderr.
        """
        url = pull_request(lines)
        push = "\n".join(printable(line, 300) for line in lines if line.startswith(_PUSH))
        done = f"[Pull request]({url})" if url else code_block(push or "nothing was pushed")
        return f"## hfscan repair\n\n{self.result}\n\n{done}\n\n{self.report}"
