"""Stands in for ``hfscan audit``: what happens is in the model's name."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path

VERDICTS = {
    "backdoored": ("BACKDOORED", 1, "a class stands out"),
    "suspicious": ("SUSPICIOUS", 1, "a class stands out, a little"),
    "tolerated": ("SUSPICIOUS", 0, "a class stands out, a little"),
    "clean": ("NO_BACKDOOR_FOUND", 0, "no class stands out"),
    "odd": ("INCONCLUSIVE", 3, "clean accuracy is near to chance"),
    "mlp": ("INCONCLUSIVE", 3, "it has no conv layer"),
}


def report(verdict: str, reason: str) -> dict[str, object]:
    found = verdict in ("BACKDOORED", "SUSPICIOUS")
    return {
        "verdict": verdict,
        "target": {"index": 3, "name": "<b>green</b>"} if found else None,
        "reason": reason,
        "tests": [{"p_value": 0.25}, {"p_value": 1e-6 if found else 0.5}, {"p_value": None}],
        "clean_accuracy": 0.875,
        "model": {"revision": "0" * 40, "weights_sha256": "1" * 64},
    }


def fail(kind: str) -> None:
    print("warning: something", file=sys.stderr)
    error = {"error": f"a {kind} of this model", "hint": "choose another", "kind": kind}
    print(json.dumps(error), file=sys.stderr)
    sys.exit(4 if kind == "UsageError" else 2)


def main(model: str, *options: str) -> None:
    name = model.rpartition("/")[2].partition("-")[0]
    outputs = [option.removeprefix("--output=") for option in options if "--output=" in option]
    seconds = float(model.partition("-for-")[2] or 0)
    time.sleep(600 if name == "hang" else seconds)
    if name == "crash":
        os.kill(os.getpid(), signal.SIGSEGV)
    if name == "memory":
        os.kill(os.getpid(), signal.SIGKILL)
    if name.endswith("Error"):
        fail(name)
    if name == "garbage":
        print("{")
        sys.exit(0)
    verdict, code, reason = VERDICTS[name]
    print(json.dumps(report(verdict, reason) | {"options": list(options), "env": seen()}))
    for output in outputs:
        Path(output.partition("=")[2]).write_text(f"report of {model}")
    sys.exit(code)


def seen() -> dict[str, str | None]:
    names = ("HFSCAN_STATE_DIR", "HF_TOKEN", "OMP_NUM_THREADS")
    return {name: os.environ.get(name) for name in names}


if __name__ == "__main__":
    main(*sys.argv[2:])
