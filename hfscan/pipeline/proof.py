"""Shows whether a repair removed what was there: inverted triggers before and after, and re-activation.

The tests of the repaired network ask whether it looks clean. These ask whether the old backdoor is gone: triggers
are inverted for the suspected class on the network as it was and tried on both networks; then the strongest of
them is taught again, after Min et al., "Uncovering, Explaining, and Mitigating the Superficial Safety of Backdoor
Defense", NeurIPS 2024. Deviations: they have the attacker's trigger, here it is the inverted one; and as there is no
clean network to compare with, the same trigger is taught toward other classes of the same network.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import nn

from hfscan.channels import probing
from hfscan.inversion import Family, Search, Trigger
from hfscan.inversion.search import MIN_IMAGES, laid_out
from hfscan.train import cross_entropy, training
from hfscan.types import (
    ImageSet,
    Progress,
    Proof,
    Reactivation,
    Relearning,
    TriggerOutcome,
    silent,
)
from hfscan.unlearn import all_families

ALL_FAMILIES = all_families()
"""Of triggers, each with its own bounds."""

SEARCHED, MEASURED = 160, 300
"""Images that triggers are inverted with, and that they are tried on, at most."""

CONTROLS = 3
"""Classes that the suspected one is compared with, at most."""

STEPS = (0, 5, 10, 20)
"""Steps of fine-tuning after which the trigger is measured; the first is none."""

BATCH, LR, MOMENTUM = 64, 0.005, 0.9
"""Of fine-tuning; half of each batch carries the trigger."""


def prove(
    before: nn.Module,
    after: nn.Module,
    tuning: ImageSet,
    held_out: ImageSet,
    target: int,
    *,
    families: Sequence[Family] = ALL_FAMILIES,
    seed: int,
    progress: Progress = silent,
) -> Proof | None:
    """Compare a repaired network with the one before.

    Args:
        before: The network as it was; float32 ``(B, 3, H, W)`` in [0, 1] -> logits ``(B, K)``.
        after: The repaired network. Both are left as they are.
        tuning: Clean images to invert and to teach triggers with.
        held_out: Others, to measure with.
        target: The suspected class.
        families: Of triggers.
        seed: Of everything random.
        progress: Wraps the loop over triggers and classes.

    Returns:
        None if there are too few images of other classes.
    """
    searched = _others(tuning, target, SEARCHED, seed)
    measured = _others(held_out, target, MEASURED, seed)
    if len(searched) < MIN_IMAGES or not len(measured):
        return None
    device = next(before.parameters()).device
    pixels = searched.images.to(device).float().div_(255)
    triggers = [
        Search().invert(before, pixels, target, family=family, seed=seed)
        for family in progress(families, "inverted triggers", len(families))
    ]
    outcomes = tuple(
        TriggerOutcome(
            family=trigger.family.name,
            size=round(trigger.size, 5),
            unit=trigger.family.unit,
            before=_success(before, trigger, measured, target),
            after=_success(after, trigger, measured, target),
        )
        for trigger in triggers
    )
    strongest = max(range(len(triggers)), key=lambda index: outcomes[index].before)
    again = _reactivation(
        after, triggers[strongest], tuning, held_out, target, seed=seed, progress=progress
    )
    return Proof(len(measured), outcomes, again)


def _reactivation(
    net: nn.Module,
    trigger: Trigger,
    tuning: ImageSet,
    held_out: ImageSet,
    target: int,
    *,
    seed: int,
    progress: Progress,
) -> Reactivation | None:
    there = [int(label) for label in held_out.labels.unique() if label != target]
    order = torch.randperm(len(there), generator=torch.Generator().manual_seed(seed)).tolist()
    controls = [there[index] for index in order[:CONTROLS]]
    if not controls or len(tuning) < MIN_IMAGES:
        return None
    learned = [
        _relearn(net, trigger, tuning, held_out, each, seed)
        for each in progress([target, *controls], "re-activation", 1 + len(controls))
    ]
    return Reactivation(trigger.family.name, STEPS, learned[0], tuple(learned[1:]))


def _relearn(
    net: nn.Module, trigger: Trigger, tuning: ImageSet, held_out: ImageSet, target: int, seed: int
) -> Relearning:
    """Teach a copy of the network that the trigger means the class, and measure how often it does after some steps."""
    net = copy.deepcopy(net)
    device = next(net.parameters()).device
    measured = _others(held_out, target, MEASURED, seed)
    optimizer = torch.optim.SGD(net.parameters(), lr=LR, momentum=MOMENTUM)
    generator = torch.Generator().manual_seed(seed)
    carrying = min(BATCH, len(tuning)) // 2
    success = [_success(net, trigger, measured, target)]
    with training(net, device, seed):
        for step in range(1, max(STEPS) + 1):
            chosen = torch.randperm(len(tuning), generator=generator)[:BATCH]
            pixels = tuning.images[chosen].to(device).float().div_(255)
            labels = tuning.labels[chosen].to(device)
            pixels[:carrying] = trigger.apply(pixels[:carrying])
            labels[:carrying] = target
            optimizer.zero_grad(set_to_none=True)
            cross_entropy(net, laid_out(pixels), labels).backward()
            optimizer.step()
            if step in STEPS:
                success.append(_success(net, trigger, measured, target))
    return Relearning(target, tuple(success))


@torch.no_grad()
def _success(net: nn.Module, trigger: Trigger, images: ImageSet, target: int) -> float:
    """Share of the images that the trigger leads to the class."""
    device = next(net.parameters()).device
    reached = 0
    with probing(net):
        for pixels, _ in images.batches(BATCH):
            marked = laid_out(trigger.apply(pixels.to(device)))
            reached += int((net(marked).argmax(1) == target).sum())
    return round(reached / max(1, len(images)), 4)


def _others(images: ImageSet, target: int, count: int, seed: int) -> ImageSet:
    """At most so many images of other classes."""
    return images.without(target).sample(count, seed=seed)
