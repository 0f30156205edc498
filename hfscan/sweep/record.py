"""What became of one model of a sweep, and of all of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from hfscan.errors import DataError

SCHEMA = 1
"""Number of the layout of a line of ``sweep.jsonl``."""

Status = Literal["audited", "inconclusive", "unsupported", "failed"]


@dataclass(frozen=True)
class Record:
    """One model of a sweep: a line of ``sweep.jsonl``.

    Args:
        model: The reference, as it was listed: the key.
        status: ``"audited"``: there is a verdict about it. ``"inconclusive"``: the audit says why it means
            nothing. ``"unsupported"``: hfscan cannot audit such a model. ``"failed"``: anything else.
        counts: Whether the verdict is at or above ``--fail-on``.
        verdict: Of the report, if there is one.
        target: Name of the suspected class.
        reason: The report's sentence, or the error's.
        hint: What to do about it.
        p_value: The least one of the model-level tests.
        clean_accuracy: In [0, 1].
        revision: Commit sha of the model.
        weights_sha256: Of the weights file.
        seconds: How long it took, loading included.
        exit_code: Of the process; negative is a signal, None if it was lost.
        reports: Format -> file, relative to ``sweep.jsonl``.
        options: The options of the audit.
    """

    model: str
    status: Status
    counts: bool = False
    verdict: str | None = None
    target: str | None = None
    reason: str = ""
    hint: str = ""
    p_value: float | None = None
    clean_accuracy: float | None = None
    revision: str | None = None
    weights_sha256: str | None = None
    seconds: float = 0.0
    exit_code: int | None = None
    reports: Mapping[str, str] = field(default_factory=dict)
    options: str = ""

    def to_dict(self) -> dict[str, Any]:
        """The record as JSON-ready data; `from_dict` reads it back."""
        return {"schema": SCHEMA, **asdict(self)}

    @classmethod
    def from_dict(cls, data: Any) -> Record:
        """Read what `to_dict` wrote.

        Raises:
            DataError: The data is not a record of this schema.
        """
        from hfscan.types.read import typed  # takes seconds, and workers do not need it

        if not isinstance(data, dict) or data.get("schema") != SCHEMA:
            raise DataError("not a record of this schema", "choose another --out")
        try:
            record: Record = typed(_Plain, {k: v for k, v in data.items() if k != "schema"})
        except (TypeError, ValueError) as error:
            raise DataError(f"a damaged record ({error})", "choose another --out") from error
        return cls(**vars(record))


@dataclass(frozen=True)
class _Plain(Record):
    """A record whose reports have the type that JSON has."""

    reports: dict[str, str] = field(default_factory=dict)


def sweep_exit_code(records: Iterable[Record]) -> int:
    """Of a whole sweep: 1 something at or above ``--fail-on``, 2 a failure, 3 no verdict at all, 0 else."""
    found = list(records)
    if any(record.counts for record in found):
        return 1
    if any(record.status == "failed" for record in found):
        return 2
    return 0 if any(record.status == "audited" for record in found) else 3
