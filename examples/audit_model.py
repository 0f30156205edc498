"""Audit a model of the Hub, or a folder, from Python.

python examples/audit_model.py ./examples/badnets-cifar10 ./examples/cifar10-clean
"""

from __future__ import annotations

import sys

from rich.progress import track

import hfscan


def main(ref: str, clean_data: str) -> None:
    model = hfscan.load(ref)
    clean = hfscan.load_images(clean_data, model=model, images=1000)
    report = hfscan.audit(model, clean, progress=track)

    print(f"{report.verdict.value}: {report.reason}")
    if report.target is not None:
        print(f"suspected target class: {report.model.label(report.target)}")
    for test in report.tests:
        print(f"{test.name}: statistic {test.statistic}, p-value {test.p_value}")
    for layer, channels in report.flagged.items():
        print(f"{layer}: channels {channels} have abnormally low accuracy")


if __name__ == "__main__":
    main(*sys.argv[1:3])
