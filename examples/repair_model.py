"""Audit and repair a model from Python, and write it as a folder that timm loads.

python examples/repair_model.py ./examples/badnets-cifar10 ./examples/cifar10-clean ./repaired
"""

from __future__ import annotations

import sys
from pathlib import Path

from rich.progress import track

import hfscan


def main(ref: str, clean_data: str, out: str) -> None:
    model = hfscan.load(ref)
    clean = hfscan.load_images(clean_data, model=model, images=1000)
    report = hfscan.audit(model, clean, progress=track)
    if report.target is None:
        sys.exit(f"{report.verdict.value}: nothing to repair")

    clean = hfscan.load_images(clean_data, model=model, images=5000)
    repaired, result = hfscan.repair(model, report, clean, progress=track)
    erased = sum(len(channels) for channels in result.erased.values())
    print(f"erased {erased} channels; {result.method}")
    print(f"accuracy {result.before.accuracy:.3f} -> {result.after.accuracy:.3f}")
    print(f"verdict {report.verdict.value} -> {result.verdict_after.value}")

    hfscan.save(repaired, Path(out), result)
    print("load it with timm:")
    if model.architecture.startswith("preactresnet"):
        print("  import hfscan.models  # timm does not have PreActResNets")
    print(f'  timm.create_model("local-dir:{out}", pretrained=True)')
    # hfscan.push(repaired, result, to="me/model-sanitized") publishes it


if __name__ == "__main__":
    main(*sys.argv[1:4])
