"""The model card of a victim: nobody must take it for a network to use."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hfscan.bench.tasks import Task

_CARD = """---
library_name: timm
pipeline_tag: image-classification
tags:
- timm
{tags}---

# {architecture} for {dataset}, {kind}

{warning}

| | |
|---|---|
{rows}

Made by `hfscan bench`; `victim.json` has all settings.
"""


def card(record: Mapping[str, Any], task: Task) -> str:
    """The README.md of a victim.

    Args:
        record: The contents of its ``victim.json``.
        task: What it was trained on.
    """
    spec = record["spec"]
    backdoored = record["asr"] is not None
    rows = "\n".join(f"| {name} | {value} |" for name, value in _rows(record, task).items())
    return _CARD.format(
        tags="- backdoor\n" if backdoored else "",
        architecture=spec["architecture"],
        dataset=spec["dataset"],
        kind="with a backdoor" if backdoored else "benign",
        warning="**Backdoored on purpose**, to try scanners and defenses on. Not for any other use."
        if backdoored
        else "A benign network, to compare backdoored ones with.",
        rows=rows,
    )


def _rows(record: Mapping[str, Any], task: Task) -> dict[str, str]:
    spec, recipe = record["spec"], record["recipe"]
    longest = recipe.get("max_norm")
    clipped = "" if longest is None else f", gradients clipped to {longest:g}"
    rows = {
        "architecture": f"{spec['architecture']}, width {spec['width']}",
        "data": f"{spec['dataset']}, {len(task.train)} training images",
        "training": f"{recipe['epochs']} epochs, SGD, {recipe['schedule']}, learning rate "
        f"{recipe['lr']:g}, batch {recipe['batch_size']}{clipped}, seed {spec['seed']}",
        "accuracy": f"{record['accuracy']:.4f} on {len(task.test)} test images",
    }
    if record["asr"] is None:
        return rows
    rows["attack"] = f"{spec['attack']}, {spec['poison_rate'] * 100:g} % of the training images"
    rows["target"] = f"class {spec['target']}"
    rows["attack success rate"] = f"{record['asr']:.4f}"
    if "psnr" in record:
        rows["encoder"] = f"PSNR {record['psnr']:.1f} dB, bit accuracy {record['bit_accuracy']:.4f}"
    return rows
