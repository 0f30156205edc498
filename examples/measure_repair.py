"""Measure a repair of the example model with the backdoor's true trigger, which no audit knows.

hfscan audit ./examples/badnets-cifar10 --clean-data ./examples/cifar10-clean -o json=report.json
python examples/measure_repair.py report.json
python examples/measure_repair.py report.json --unlearn-norm 0
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import hfscan
from hfscan import AuditReport, HubModel, RepairSettings, metrics
from hfscan.bench.attacks import BadNets
from hfscan.bench.poison import attacked
from hfscan.types import ImageSet

TARGET = 0


def main() -> None:
    default = RepairSettings()
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("report", type=Path)
    parser.add_argument("--clean-data", default="./examples/cifar10-clean")
    parser.add_argument("--erase-rate", type=float, default=default.erase_rate)
    parser.add_argument("--lr", type=float, default=default.lr)
    parser.add_argument("--batch-size", type=int, default=default.batch_size)
    parser.add_argument("--unlearn-norm", type=float, default=default.unlearn_norm)
    parser.add_argument("--seed", type=int, default=default.seed)
    options = vars(parser.parse_args())
    report = AuditReport.from_dict(json.loads(options.pop("report").read_text()))
    model = hfscan.load(report.model.ref)
    clean = hfscan.load_images(options.pop("clean_data"))
    settings = RepairSettings(**options)
    repaired, result = hfscan.repair(model, report, clean, settings=settings)
    _, held_out = clean.split_at(settings.clean_rate, seed=settings.seed)
    print(f"{settings}\n{result.method}, {len(held_out)} held-out images")
    show("before", model, held_out)
    show("after", repaired, held_out)
    print(f"verdict on the repaired network: {result.verdict_after.value}")


def show(when: str, model: HubModel, images: ImageSet) -> None:
    triggered = attacked(images, BadNets(), target=TARGET)
    accuracy, ra = metrics.accuracy(model.net, images), metrics.ra(model.net, triggered)
    asr = metrics.asr(model.net, triggered, TARGET)
    print(f"{when}: ACC {accuracy:.3f}  ASR {asr:.3f}  RA {ra:.3f}")


if __name__ == "__main__":
    main()
