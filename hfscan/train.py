"""One training loop, for fine-tuning a repaired network and for training victims."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hfscan.checkpoint import Checkpoint
from hfscan.half import autocast
from hfscan.onednn import safe_weight_gradients
from hfscan.types import ImageSet, Progress, silent

Objective = Callable[[nn.Module, Tensor, Tensor], Tensor]
"""Network, images ``(B, 3, H, W)`` and labels ``(B,)`` of a batch -> the loss, a scalar."""


class Carrier(Protocol):
    """Lets a part of the images carry something in training, with their true labels."""

    def renew(self, net: nn.Module) -> object:
        """Called before each epoch, with the network as it is then."""

    def carry(self, pixels: Tensor, generator: torch.Generator) -> Tensor:
        """Images ``(B, 3, H, W)`` in [0, 1] -> the same, some changed, as a new tensor."""


def cross_entropy(net: nn.Module, pixels: Tensor, labels: Tensor) -> Tensor:
    """The usual `Objective`; computed in float32 whatever the network computes in."""
    return F.cross_entropy(net(pixels).float(), labels)


@dataclass(frozen=True)
class FitConfig:
    """How to train.

    Args:
        epochs: Passes over the images.
        lr: Learning rate: the first one of ``"cosine"``, the peak of ``"one-cycle"``.
        batch_size: Images per step.
        momentum: Of SGD (Nesterov's with ``"one-cycle"``).
        weight_decay: Of SGD.
        schedule: ``"cosine"`` annealing to 0, or ``"one-cycle"``.
        padding: Random crops after padding by so many pixels; 0 is off.
        flip: Mirror half of the images.
        autocast: Compute in bfloat16 where the CPU or GPU has it fast.
        max_norm: A longer gradient, of all parameters together, is clipped to this L2 norm; None leaves it.
        seed: Of order and augmentation.
    """

    epochs: int = 10
    lr: float = 0.01
    batch_size: int = 256
    momentum: float = 0.9
    weight_decay: float = 5e-4
    schedule: Literal["cosine", "one-cycle"] = "cosine"
    padding: int = 4
    flip: bool = True
    autocast: bool = False
    max_norm: float | None = None
    seed: int = 0


def augment(images: Tensor, config: FitConfig, generator: torch.Generator) -> Tensor:
    """Crop and mirror each image at random.

    Args:
        images: ``(B, 3, H, W)``.
        config: Its ``padding`` and ``flip``.
        generator: On the CPU.

    Returns:
        ``(B, 3, H, W)``; the input is left alone.
    """
    batch, _, height, width = images.shape
    device = images.device
    if config.flip:
        mirrored = torch.rand(batch, generator=generator).lt(0.5).to(device)
        images = torch.where(mirrored[:, None, None, None], images.flip(3), images)
    if config.padding:
        span = 2 * config.padding + 1
        top, left = torch.randint(span, (2, batch), generator=generator).to(device)
        padded = F.pad(images, [config.padding] * 4, mode="reflect")
        rows = top[:, None] + torch.arange(height, device=device)
        columns = left[:, None] + torch.arange(width, device=device)
        index = torch.arange(batch, device=device)[:, None, None]
        images = padded[index, :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)
    return images


def fit(
    net: nn.Module,
    images: ImageSet,
    config: FitConfig,
    *,
    objective: Objective = cross_entropy,
    unlearning: Carrier | None = None,
    checkpoint: Checkpoint | None = None,
    progress: Progress = silent,
) -> list[float]:
    """Train ``net`` in place, by cross-entropy if nothing else is said, and leave it in eval mode.

    A last batch of a single image is left out: batch norms cannot train on one. Dropout is seeded too; the
    global random state is left as it was. Parameters that were frozen are trained as the others.

    Args:
        net: float32 ``(B, 3, H, W)`` in [0, 1] -> logits ``(B, K)``.
        images: What to train on.
        config: How.
        objective: What goes down.
        unlearning: Lets images carry perturbations, which are found anew for each epoch.
        checkpoint: Where to go on from, and what to write after each epoch; what ``unlearning`` found
            is not in it.
        progress: Wraps the loop over steps.

    Returns:
        The mean loss of each epoch.
    """
    device = next(net.parameters()).device
    generator = torch.Generator().manual_seed(config.seed)
    steps = -(-(len(images) - 1) // config.batch_size)
    optimizer, scheduler = _optimizer(net, config, steps)
    losses: list[float] = []
    with training(net, device, config.seed):
        if checkpoint is not None:
            losses = checkpoint.restore(net, optimizer, scheduler, generator)
        todo = range(len(losses) * steps, config.epochs * steps)
        for step in progress(todo, "training", len(todo)):
            if step % steps == 0:
                batches = images.batches(config.batch_size, generator=generator)
                if unlearning is not None:
                    unlearning.renew(net)
                losses.append(0.0)
            pixels, labels = next(batches)
            pixels = augment(pixels.to(device), config, generator)
            if unlearning is not None:
                pixels = unlearning.carry(pixels, generator)
            pixels = pixels.contiguous(memory_format=torch.channels_last)
            with autocast(device, wanted=config.autocast):
                loss = objective(net, pixels, labels.to(device))
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            if config.max_norm is not None:
                nn.utils.clip_grad_norm_(net.parameters(), config.max_norm)
            optimizer.step()
            scheduler.step()
            losses[-1] += loss.item() / steps
            if checkpoint is not None and (step + 1) % steps == 0:
                checkpoint.save(net, optimizer, scheduler, generator, losses)
    return losses


@contextmanager
def training(net: nn.Module, device: torch.device, seed: int) -> Iterator[None]:
    """Train mode, seeded dropout and safe gradients meanwhile; then eval mode, and the random state of before.

    Parameters that were frozen are trained, too: a backdoor may be in any of them.
    """
    frozen = [p for p in net.parameters() if p.is_floating_point() and not p.requires_grad]
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        net.train()
        for parameter in frozen:
            parameter.requires_grad_(True)
        try:
            with safe_weight_gradients(net):
                yield
        finally:
            net.eval()
            for parameter in frozen:
                parameter.requires_grad_(False)


def _optimizer(
    net: nn.Module, config: FitConfig, steps: int
) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler]:
    one_cycle = config.schedule == "one-cycle"
    optimizer = torch.optim.SGD(
        net.parameters(),
        lr=config.lr,
        momentum=config.momentum,
        weight_decay=config.weight_decay,
        nesterov=one_cycle,
    )
    total = config.epochs * steps
    if one_cycle:
        warm_up = 0.25 if total != 4 else 0.3  # torch divides by zero where it is exactly one step
        return optimizer, torch.optim.lr_scheduler.OneCycleLR(
            optimizer, config.lr, total_steps=total, pct_start=warm_up, cycle_momentum=False
        )
    return optimizer, torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, total)
