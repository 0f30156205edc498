"""The files of a policy: accepted findings, and the report of an earlier audit."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from hfscan.cli.config import refuse_own_file
from hfscan.cli.config_file import nearest
from hfscan.cli.output import warn
from hfscan.cli.state import read_report
from hfscan.cli.toml import lines_of, read_toml
from hfscan.errors import UsageError
from hfscan.policy import Acceptance, acceptance, judge
from hfscan.types import AuditReport

IGNORED = ".hfscan-ignore.toml"
TABLE = "ignore"


@dataclass(frozen=True)
class Policy:
    """What decides which findings count.

    Args:
        accepted: Of the ignore file.
        baseline: Of an earlier audit, or None.
    """

    accepted: tuple[Acceptance, ...] = ()
    baseline: AuditReport | None = None

    def judge(self, report: AuditReport) -> tuple[AuditReport, bool]:
        """The report with what is said of its finding, and whether that counts; warns of misfits."""
        judgment = judge(
            report,
            accepted=self.accepted,
            baseline=self.baseline,
            today=datetime.now(timezone.utc).date(),
        )
        for warning in judgment.warnings:
            warn(warning)
        return judgment.report, judgment.counts


def read_policy(model: str, ignore_file: Path | None, baseline: Path | None) -> Policy:
    """Read the files before the long work.

    Args:
        model: What is audited, as typed.
        ignore_file: As named by the user; None for the nearest at or above the working directory.
        baseline: A JSON report, or None.

    Raises:
        UsageError: The ignore file is malformed, or was found in the model's folder.
        AuditError: The baseline is no report.
    """
    path = ignore_file or nearest(IGNORED)
    if path is not None and ignore_file is None:
        refuse_own_file(path, model, "--ignore-file")
    return Policy(
        accepted=() if path is None else read_accepted(path),
        baseline=None if baseline is None else read_report(baseline)[0],
    )


def read_accepted(path: Path) -> tuple[Acceptance, ...]:
    """The entries ``[[ignore]]`` of a file.

    Raises:
        UsageError: It is malformed; with the line.
    """
    data = read_toml(path)
    for key in data:
        if key != TABLE:
            raise UsageError(f"{path}: there is no {key!r:.40}", f"entries begin with [[{TABLE}]]")
    entries = data.get(TABLE, [])
    if not isinstance(entries, list):
        raise UsageError(f"{path}: {TABLE} must be a list of tables", f"write [[{TABLE}]]")
    lines = lines_of(path, TABLE)
    places = [f"line {line}" for line in lines]
    if len(lines) != len(
        entries
    ):  # written as a list, or a text looks like the beginning of an entry
        places = [f"entry {number}" for number in range(1, len(entries) + 1)]
    return tuple(
        acceptance(entry, f"{path}, {place}") for entry, place in zip(entries, places, strict=True)
    )
