"""The search for triggers toward all classes at once, as a tournament: few get the full search.

Successive halving (Jamieson and Talwalkar, "Non-stochastic Best Arm Identification and Hyperparameter Optimization",
AISTATS 2016) over the classes: all of them are searched for a few steps with a few images; those whose trigger
promises most go on. What is sought is what `hfscan.inversion.search` seeks, with two differences: the
triggers of all classes are searched in the same passes, and the logits are brought to one spread, so that a
factor of the last layer changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hfscan.inversion.search import Family, Trigger, laid_out
from hfscan.types import Progress, silent

SPREAD = 4.0
"""Mean standard deviation of an image's logits that all networks are brought to."""


@dataclass(frozen=True)
class Round:
    """A round of the tournament.

    Args:
        classes: Most classes that take part; None for all.
        steps: Of Adam; its step size is annealed to 0 in each round.
        images: Per class and step.
        measured: Most images, held back from the search, that the triggers are measured with.
    """

    classes: int | None
    steps: int
    images: int
    measured: int


ROUNDS = (Round(None, 12, 12, 32), Round(3, 12, 20, 48), Round(2, 20, 24, 64))


@dataclass(frozen=True, eq=False)
class Entry:
    """How far a class came.

    Args:
        trigger: The best that was found.
        loss: Mean cross-entropy of the class for the images that measured it; lower is better.
        rounds: In how many rounds it took part.
    """

    trigger: Trigger
    loss: float
    rounds: int


@dataclass(frozen=True, eq=False)
class Images:
    """What triggers are sought with.

    Args:
        seen: Images to search with, ``(N, 3, H, W)`` in [0, 1], where the network is.
        held_back: Images to measure with, ``(M, 3, H, W)``.
        seen_as: Classes of ``seen`` ``(N, K)``, bool: the labels, and what the network predicts.
        held_back_as: The same of ``held_back``, ``(M, K)``.
    """

    seen: Tensor
    held_back: Tensor
    seen_as: Tensor
    held_back_as: Tensor


@dataclass(frozen=True)
class Halving:
    """Searches a family's triggers toward all classes.

    Args:
        rounds: Of the tournament.
        batch_size: Images per pass.
    """

    rounds: Sequence[Round] = ROUNDS
    batch_size: int = 64

    def search(
        self,
        net: nn.Module,
        images: Images,
        family: Family,
        *,
        spread: float,
        seed: int,
        progress: Progress = silent,
    ) -> list[Entry]:
        """Search toward each of the K classes.

        Args:
            net: In eval mode, without gradients of parameters (`hfscan.channels.probing`).
            images: Clean images.
            family: What kind of trigger.
            spread: Mean standard deviation of an image's logits.
            seed: Of the starts and of the images of each step.
            progress: Wraps the loop over the steps of all rounds.

        Returns:
            K entries, in order of the classes.
        """
        generator = torch.Generator().manual_seed(seed)
        size = (images.seen.shape[2], images.seen.shape[3])
        classes = images.seen_as.shape[1]
        tournament = _Tournament(net, images, family, SPREAD / spread, self.batch_size)
        start = family.start(size, generator).to(images.seen)
        parameters = start.repeat(classes, 1, 1, 1)
        entries: list[Entry] = []
        for round_, first, last, share in self._steps(progress, family.name):
            if first:
                taking_part = _best(entries, round_.classes, classes)
                mine = parameters[taking_part].requires_grad_()
                optimizer = torch.optim.Adam([mine], lr=family.lr, betas=(0.5, 0.9))
            optimizer.param_groups[0]["lr"] = family.lr * share
            mine.grad = tournament.gradient(mine, taking_part, round_.images, generator)
            optimizer.step()
            with torch.no_grad():
                mine.copy_(family.bounded(mine))
            if last:
                parameters[taking_part] = mine.detach()
                entries = tournament.measured(mine.detach(), taking_part, round_, entries)
        return entries

    def _steps(self, progress: Progress, name: str) -> Iterator[tuple[Round, bool, bool, float]]:
        """Each step: its round, whether it is the round's first and last, and the share of the step size."""
        steps = [
            (round_, step == 0, step == round_.steps - 1, 1 - step / round_.steps)
            for round_ in self.rounds
            for step in range(round_.steps)
        ]
        yield from progress(steps, f"{name} triggers", len(steps))


def _best(entries: Sequence[Entry], count: int | None, classes: int) -> Tensor:
    """The classes whose triggers promise most, int64 ``(P,)``; all of them at first."""
    if not entries or count is None:
        return torch.arange(classes)
    order = sorted(range(classes), key=lambda target: entries[target].loss)
    return torch.tensor(sorted(order[:count]))


@dataclass(frozen=True, eq=False)
class _Tournament:
    """What does not change between the rounds."""

    net: nn.Module
    images: Images
    family: Family
    factor: float
    batch_size: int

    def gradient(
        self, parameters: Tensor, targets: Tensor, images: int, generator: torch.Generator
    ) -> Tensor:
        """Of the cross-entropy of each class with regard to its trigger, ``(P, ...)``."""
        weights = torch.rand((len(targets), len(self.images.seen)), generator=generator)
        weights[self.images.seen_as.T[targets].cpu()] = -1.0  # the class's own images come last
        chosen = weights.topk(min(images, weights.shape[1]), dim=1)
        fine = (chosen.values >= 0).to(parameters.device)
        gradients = []
        per_pass = max(1, self.batch_size // chosen.indices.shape[1])
        for some in torch.arange(len(targets)).split(per_pass):
            mine = parameters[some].detach().requires_grad_()
            indices = chosen.indices[some].flatten().to(parameters.device)
            losses = self._losses(self.images.seen[indices], mine, targets[some])[0]
            (gradient,) = torch.autograd.grad((losses * fine[some]).sum(), mine)
            gradients.append(gradient / fine[some].sum(1).clamp_min(1).view(-1, 1, 1, 1))
        return torch.cat(gradients)

    def _losses(self, pixels: Tensor, parameters: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Cross-entropy of the classes and what is reached, ``(P, B)``, for images ``(P * B, 3, H, W)``."""
        each = len(pixels) // len(targets)
        triggers = parameters.repeat_interleave(each, 0)
        wanted = targets.to(pixels.device).repeat_interleave(each)
        logits = self.net(laid_out(self.family.apply(pixels, triggers))).float() * self.factor
        losses = F.cross_entropy(logits, wanted, reduction="none")
        return losses.view(-1, each), (logits.argmax(1) == wanted).view(-1, each)

    @torch.no_grad()
    def measured(
        self, parameters: Tensor, targets: Tensor, round_: Round, entries: Sequence[Entry]
    ) -> list[Entry]:
        """The entries after a round; those of classes that did not take part are as before."""
        after = dict(enumerate(entries))
        pixels = self.images.held_back[: round_.measured]
        own = self.images.held_back_as[: round_.measured]
        for mine, target in zip(parameters.split(1), targets.tolist(), strict=True):
            others = pixels[~own[:, target]]
            parts = [
                self._losses(p, mine, torch.tensor([target])) for p in others.split(self.batch_size)
            ]
            loss = torch.cat([part[0][0] for part in parts]).mean()
            success = torch.cat([part[1][0] for part in parts]).float().mean()
            before = after[target].rounds if target in after else 0
            trigger = Trigger(self.family, target, mine.clone(), float(success))
            after[target] = Entry(trigger, float(loss), before + 1)
        return [after[target] for target in sorted(after)]
