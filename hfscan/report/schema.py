"""The JSON Schema of a report, made from the dataclasses that a report is made of.

``python -m hfscan.report.schema > hfscan/report/report.schema.json`` writes the file that is shipped; a test
compares the two. The only module of ``hfscan.report`` that needs the types themselves.
"""

from __future__ import annotations

import inspect
import json
import re
import sys
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any, Literal, get_args, get_origin, get_type_hints

from hfscan.types import (
    SCHEMA,
    AuditReport,
    AuditSettings,
    CalibrationFacts,
    Coverage,
    DataFacts,
    Evidence,
    LayerAudit,
    Metrics,
    ModelFacts,
    Picture,
    Proof,
    Rate,
    Reactivation,
    Relearning,
    RepairReport,
    RepairSettings,
    Suppression,
    TestResult,
    TriggerOutcome,
    Verdict,
)
from hfscan.types.pictures import MAX_PICTURES

Json = dict[str, Any]

_PLAIN = (
    *(AuditSettings, Coverage, DataFacts, Metrics, ModelFacts),
    *(Picture, RepairSettings, Suppression, TestResult),
    *(CalibrationFacts, Evidence, Rate),
    *(Proof, Reactivation, Relearning, TriggerOutcome),
)
"""Records that are written field by field."""

_SCALARS: dict[Any, Json] = {
    str: {"type": "string"},
    int: {"type": "integer"},
    float: {"type": "number"},
    bool: {"type": "boolean"},
}
_COUNT: Json = {"type": "integer", "minimum": 0}
_STRINGS: Json = {"type": "array", "items": {"type": "string"}}
_COUNTS: Json = {"type": "array", "items": _COUNT}
_SHARED_SETTINGS = ["clean_rate", "max_accuracy_drop", "seed"]

_RANGES: dict[tuple[type, str], Json] = {
    (ModelFacts, "num_classes"): {"minimum": 1},
    (TestResult, "target"): {"minimum": 0},
    (TestResult, "p_value"): {"minimum": 0, "maximum": 1},
    (TriggerOutcome, "before"): {"minimum": 0, "maximum": 1},
    (TriggerOutcome, "after"): {"minimum": 0, "maximum": 1},
    (Relearning, "target"): {"minimum": 0},
    (Evidence, "success"): {"minimum": 0, "maximum": 1},
    (CalibrationFacts, "suspicious_rate"): {"minimum": 0, "maximum": 1},
    (CalibrationFacts, "backdoored_rate"): {"minimum": 0, "maximum": 1},
    (Picture, "png"): {"maxLength": 80_000, "pattern": "^iVBORw0KGgo[A-Za-z0-9+/]*={0,2}$"},
    (Picture, "channel"): {"minimum": 0},
    (Picture, "label"): {"minimum": 0},
    (Picture, "predicted"): {"minimum": 0},
    (Picture, "gain"): {"exclusiveMinimum": 0, "maximum": 1e6},
    (Picture, "share"): {"minimum": 0, "maximum": 1},
    (Suppression, "expires"): {"pattern": r"^[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])$"},
}
"""What the types alone do not say."""


def report_schema() -> Json:
    """The schema of what ``hfscan audit --json`` and ``hfscan repair --json`` print, draft 2020-12."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"urn:hfscan:report:{SCHEMA}",
        "title": "hfscan report",
        "description": "Of an audit, or of a repair if there is an audit in it.",
        "if": {"type": "object", "required": ["audit"]},
        "then": {"$ref": "#/$defs/RepairReport"},
        "else": {"$ref": "#/$defs/AuditReport"},
        "$defs": {
            "AuditReport": _audit(),
            "RepairReport": _repair(),
            "LayerAudit": _layer(),
            **{kind.__name__: _record(kind) for kind in _PLAIN},
        },
    }


def _audit() -> Json:
    nullable_target = {
        "type": ["object", "null"],
        "required": ["index", "name"],
        "properties": {"index": _COUNT, "name": {"type": "string"}},
    }
    return _object(
        AuditReport,
        {
            "schema": {"const": SCHEMA},
            "verdict": _verdict(),
            "target": nullable_target,
            "reason": {"type": "string"},
            "model": _ref(ModelFacts),
            "data": _ref(DataFacts),
            "settings": _ref(AuditSettings),
            "clean_accuracy": {"type": "number"},
            "clean_predictions": _COUNTS,
            "tests": _list_of(TestResult),
            "layers": _list_of(LayerAudit),
            "coverage": _ref(Coverage),
            "agreement": {"type": "number"},
            "notes": _STRINGS,
            "seconds": _map_of({"type": "number"}),
            "versions": _map_of({"type": "string"}),
            "p_value": {"type": ["number", "null"], "minimum": 0, "maximum": 1},
            "calibration": {"anyOf": [{"type": "null"}, _ref(CalibrationFacts)]},
            "pictures": _list_of(Picture) | {"maxItems": MAX_PICTURES},
            "suppression": {"anyOf": [{"type": "null"}, _ref(Suppression)]},
        },
    )


def _repair() -> Json:
    return _object(
        RepairReport,
        {
            "schema": {"const": SCHEMA},
            "data": _ref(DataFacts),
            "settings": _ref(RepairSettings),
            "defense": {"type": "string"},
            "parameters": {"type": ["object", "null"]},
            "method": {"type": "string"},
            "erased": _map_of(_COUNTS),
            "before": _ref(Metrics),
            "erased_only": _ref(Metrics),
            "after": _ref(Metrics),
            "tests_before": _list_of(TestResult),
            "tests_after": _list_of(TestResult),
            "verdict_after": _verdict(),
            "unclear": {"type": "string"},
            "unlearned": {"type": ["number", "null"]},
            "triggers": _STRINGS,
            "weights_sha256": {"type": "string"},
            "proof": {"anyOf": [{"type": "null"}, _ref(Proof)]},
            "seconds": _map_of({"type": "number"}),
            "audit": {"$ref": "#/$defs/AuditReport"},
        },
    )


def _layer() -> Json:
    """A layer that was tested, or one that was not: then there are no figures."""
    figures: Json = {
        "accuracy": {"type": "array", "items": {"type": "array", "items": {"type": "number"}}},
        "predictions": {"type": "array", "items": {"type": "array", "items": _sparse()}},
        "flagged": _COUNTS,
        "tested": _COUNTS,
    }
    head: Json = {"layer": {"type": "string"}, "channels": _COUNT, "skipped": {"type": "string"}}
    made = _object(LayerAudit, head | figures)
    return made | {
        "required": list(head),
        "if": {"properties": {"skipped": {"const": ""}}},
        "then": {"required": list(figures)},
    }


def _sparse() -> Json:
    counts: Json = {"type": "object", "additionalProperties": False}
    return counts | {"patternProperties": {"^[0-9]+$": _COUNT}}


def _record(kind: type) -> Json:
    hints = get_type_hints(kind)
    assert is_dataclass(kind)
    properties = {
        one.name: _type(hints[one.name]) | _RANGES.get((kind, one.name), {}) for one in fields(kind)
    }
    made = _object(kind, properties) | {"additionalProperties": False}
    if kind is RepairSettings:  # a method with hyper-parameters of its own has only these
        made["required"] = _SHARED_SETTINGS
    return made


def _type(kind: Any) -> Json:
    arguments = get_args(kind)
    if kind in _SCALARS:
        return dict(_SCALARS[kind])
    if kind in _PLAIN:
        return _ref(kind)
    if type(None) in arguments and arguments[0] in _PLAIN:
        return {"anyOf": [{"type": "null"}, _ref(arguments[0])]}
    if get_origin(kind) is Mapping:
        return _map_of(_type(arguments[1]))
    if type(None) in arguments:
        made = _type(arguments[0])
        return made | {"type": [made["type"], "null"]}
    if get_origin(kind) is Literal:
        return {"enum": list(arguments)}
    if get_origin(kind) is tuple and arguments[-1] is Ellipsis:
        return {"type": "array", "items": _type(arguments[0])}
    if get_origin(kind) is tuple:
        size = len(arguments)
        return {"type": "array", "items": _type(arguments[0]), "minItems": size, "maxItems": size}
    raise TypeError(f"{kind} has no schema yet")


def _object(kind: type, properties: Json) -> Json:
    summary, meanings = _documented(kind)
    described = {
        name: schema | ({"description": meanings[name]} if name in meanings else {})
        for name, schema in properties.items()
    }
    return {
        "type": "object",
        "description": summary,
        "required": list(properties),
        "properties": described,
    }


def _documented(kind: type) -> tuple[str, dict[str, str]]:
    """The first line of a docstring, and what it says of each field."""
    summary, _, rest = (inspect.getdoc(kind) or "").partition("\n")
    arguments = rest.partition("Args:\n")[2].partition("\n\n")[0]
    found = re.findall(r"^ {4}(\w+): (.*(?:\n {6,}.*)*)", arguments, re.MULTILINE)
    return summary, {name: " ".join(text.replace("``", "").split()) for name, text in found}


def _verdict() -> Json:
    return {"enum": [verdict.value for verdict in Verdict]}


def _ref(kind: type) -> Json:
    return {"$ref": f"#/$defs/{kind.__name__}"}


def _list_of(kind: type) -> Json:
    return {"type": "array", "items": _ref(kind)}


def _map_of(value: Json) -> Json:
    return {"type": "object", "additionalProperties": value}


if __name__ == "__main__":
    sys.stdout.write(json.dumps(report_schema(), indent=2) + "\n")
