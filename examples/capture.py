"""Turn a JSON report into the picture that a terminal shows.

hfscan audit ./examples/badnets-cifar10 --clean-data ./examples/cifar10-clean -o json=report.json
python examples/capture.py report.json examples/audit.svg
"""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

from rich.console import Console

from hfscan import AuditReport
from hfscan.report.console import renderable


def main(report: str, picture: str) -> None:
    console = Console(record=True, width=80, file=io.StringIO(), force_terminal=True)
    console.print(renderable(AuditReport.from_dict(json.loads(Path(report).read_text()))))
    console.save_svg(picture, title="hfscan audit")


if __name__ == "__main__":
    main(*sys.argv[1:3])
