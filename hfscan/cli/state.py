"""The latest audit, kept so that ``hfscan repair`` can go on from it."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import platformdirs

from hfscan.cli.output import replace_file, warn
from hfscan.errors import AuditError, UsageError
from hfscan.types import AuditReport
from hfscan.types.read import typed

if TYPE_CHECKING:
    from hfscan.hub.reference import Reference

KEPT_SECONDS = 30 * 24 * 3600
"""How long an interrupted audit can be resumed."""


@dataclass(frozen=True)
class Inputs:
    """What to load again, as typed but absolute.

    Args:
        model: Reference of the model.
        revision: Commit sha of the model, or None.
        clean_data: Reference of the clean data, with its revision.
        split: Split of the clean data, or None for the usual one.
        image_column: Or None if obvious.
        label_column: Or None if obvious.
        label_map: Class name or label of the data -> label of the model, or None.
        allow_pickle: Whether the weights may be a pickle.
        calibration: Path of the calibration, or None for what comes with hfscan.
    """

    model: str
    revision: str | None
    clean_data: str
    split: str | None
    image_column: str | None = None
    label_column: str | None = None
    label_map: Mapping[str, int] | None = None
    allow_pickle: bool = False
    calibration: str | None = None


def state_folder() -> Path:
    """Where hfscan keeps its state; ``HFSCAN_STATE_DIR`` overrides the platform's place."""
    chosen = os.environ.get("HFSCAN_STATE_DIR")
    return Path(chosen) if chosen else platformdirs.user_state_path("hfscan", appauthor=False)


def audits_folder() -> Path:
    """Where interrupted audits are kept; those of more than a month ago are thrown away."""
    folder = state_folder() / "audits"
    for audit in folder.glob(32 * "[0-9a-f]"):  # as `AuditState` names them; others are not ours
        with contextlib.suppress(OSError):
            if time.time() - audit.stat().st_mtime > KEPT_SECONDS:
                shutil.rmtree(audit)
    return folder


def remember(report: AuditReport, inputs: Inputs) -> None:
    """Keep an audit as the latest one; where that cannot be, warn: the audit itself is done."""
    path = state_folder() / "latest.json"
    data = {"inputs": asdict(inputs), "report": report.to_dict()}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(path, json.dumps(data))
    except OSError as error:
        warn(f"hfscan repair will not know of this audit: {error}")


def recall() -> tuple[AuditReport, Inputs]:
    """The latest audit.

    Raises:
        AuditError: There is none, or its file is damaged.
    """
    path = state_folder() / "latest.json"
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        inputs: Inputs = typed(Inputs, data["inputs"])
        return AuditReport.from_dict(data["report"]), inputs
    except FileNotFoundError as error:
        raise AuditError(
            "there is no audit to go on from",
            "run hfscan audit first, or name MODEL and --clean-data",
        ) from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise AuditError(
            f"the latest audit in {path} is damaged", "run hfscan audit again"
        ) from error


def read_report(path: Path) -> tuple[AuditReport, Inputs]:
    """An audit from a report file (``hfscan audit -o json=FILE``).

    Raises:
        AuditError: It is no such file.
    """
    report = AuditReport.from_dict(read_json(path))
    data = report.data
    clean_data = f"{data.name}@{data.revision}" if data.revision else data.name
    inputs = Inputs(
        model=report.model.ref,
        revision=report.model.revision,
        clean_data=clean_data,
        split=data.split or None,
        image_column=data.image_column,
        label_column=data.label_column,
        label_map=data.label_map,
    )
    return report, inputs


def with_clean_data(inputs: Inputs, clean_data: str | None) -> Inputs:
    """The inputs with other clean data; its columns, labels and split are not those of the data before.

    Args:
        inputs: Of an audit.
        clean_data: Reference as typed; None, or the same data without its revision, changes nothing.
    """
    if clean_data is None or _same_data(clean_data, inputs.clean_data):
        return inputs
    return replace(
        inputs,
        clean_data=clean_data,
        split=None,
        image_column=None,
        label_column=None,
        label_map=None,
    )


def _same_data(clean_data: str, known: str) -> bool:
    """Whether a reference as typed is to the data of an audit, at its revision or at none."""
    from hfscan.hub.reference import parse_reference

    wanted = parse_reference(clean_data, "dataset")
    try:
        used = parse_reference(known, "dataset")
    except UsageError:  # a program may call its own images anything
        return False
    return wanted.revision in (None, used.revision) and _place(wanted) == _place(used)


def _place(reference: Reference) -> str | Path:
    """Where data is, however it is written."""
    from hfscan.hub.revision import PLAIN_NAMES

    if reference.folder is not None:
        return reference.folder.resolve()
    return PLAIN_NAMES.get(reference.id, reference.id)


def read_json(path: Path) -> dict[str, Any]:
    """The JSON object of a report, of whatever schema.

    Raises:
        AuditError: There is none in the file.
    """
    hint = "make one: hfscan audit ... -o json=FILE"
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise AuditError(f"{path} is not a JSON report ({str(error)[:100]})", hint) from error
    if not isinstance(data, dict) or "schema" not in data:
        raise AuditError(f"{path} is not an hfscan report", hint)
    return data


def absolute(reference: str) -> str:
    """A folder's reference that is valid in any working directory; a Hub id as it is."""
    from hfscan.hub.reference import parse_reference

    folder = parse_reference(reference, "dataset").folder
    return reference if folder is None else str(folder.resolve())
