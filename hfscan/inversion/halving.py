"""The search for triggers toward all classes at once, as a tournament: few get the full search.

Successive halving (Jamieson and Talwalkar, "Non-stochastic Best Arm Identification and Hyperparameter Optimization",
AISTATS 2016) over the classes: all of them are searched for a few steps with a few images; those whose trigger
promises most go on. What is sought is what `hfscan.inversion.search` seeks, with two differences: the
triggers of all classes are searched in the same passes, and the logits are brought to one spread, so that a
factor of the last layer changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hfscan.inversion.search import Family, Trigger, laid_out
from hfscan.types import Progress, silent

SPREAD = 4.0
"""Mean standard deviation of an image's logits that all networks are brought to."""


GROUP_BYTES = 64 * 2**20
"""Of the parameters of triggers that are searched at once."""

SHOWN = 8
"""Triggers with the largest successes that are kept, whether they go on or not."""


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


ROUNDS = (Round(None, 12, 12, 32), Round(3, 12, 20, 48), Round(2, 60, 24, 64))


@dataclass(frozen=True, eq=False)
class Entry:
    """How far a class came.

    Args:
        trigger: The best that was found; without parameters where it was not among the most promising.
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
        classes = images.seen_as.shape[1]
        tournament = _Tournament(net, images, family, SPREAD / spread, self.batch_size)
        start = family.start((images.seen.shape[2], images.seen.shape[3]), generator)
        start = start.to(images.seen)
        group = max(1, GROUP_BYTES // (4 * start.numel()))
        entries: dict[int, Entry] = {}
        for index, part, step in self._steps(progress, family.name, classes, group):
            round_ = self.rounds[index]
            if step == 0:
                if part == 0:
                    taking_part = _best(entries, round_.classes, classes)
                targets = taking_part.split(group)[part]
                begin = [
                    entries[c].trigger.parameters if index else start for c in targets.tolist()
                ]
                mine = torch.cat(begin).requires_grad_()
                optimizer = torch.optim.Adam([mine], lr=family.lr, betas=(0.5, 0.9))
            optimizer.param_groups[0]["lr"] = family.lr * (1 - step / round_.steps)
            mine.grad = tournament.gradient(mine, targets, round_.images, generator)
            optimizer.step()
            with torch.no_grad():
                mine.copy_(family.bounded(mine))
            if step == round_.steps - 1:
                entries |= tournament.measured(mine.detach(), targets, round_, index + 1)
                _forget(entries, self._needed(index, classes))
        return [entries[target] for target in range(classes)]

    def _steps(
        self, progress: Progress, name: str, classes: int, group: int
    ) -> Iterator[tuple[int, int, int]]:
        """Each step: which round it is of, of which group of classes, and its number."""
        steps = [
            (index, part, step)
            for index, round_ in enumerate(self.rounds)
            for part in range(-(-min(classes, round_.classes or classes) // group))
            for step in range(round_.steps)
        ]
        yield from progress(steps, f"{name} triggers", len(steps))

    def _needed(self, index: int, classes: int) -> int:
        """How many classes' triggers are needed after a round."""
        if index + 1 == len(self.rounds):
            return 1
        return self.rounds[index + 1].classes or classes


def _best(entries: Mapping[int, Entry], count: int | None, classes: int) -> Tensor:
    """The classes whose triggers promise most, of those that can go on, int64 ``(P,)``; all of them at first."""
    if not entries or count is None:
        return torch.arange(classes)
    return torch.tensor(sorted(_by_loss(entries)[:count]))


def _by_loss(entries: Mapping[int, Entry]) -> list[int]:
    """The classes whose triggers were not dropped, the most promising first."""
    alive = [target for target in entries if entries[target].trigger.parameters.numel()]
    return sorted(alive, key=lambda target: entries[target].loss)


def _forget(entries: dict[int, Entry], needed: int) -> None:
    """Drop the parameters of triggers that neither go on nor may be shown: of many classes they fill the memory."""
    by_success = sorted(entries, key=lambda target: -entries[target].trigger.success)
    for target in set(entries) - {*_by_loss(entries)[:needed], *by_success[: needed + SHOWN]}:
        entry = entries[target]
        nothing = replace(entry.trigger, parameters=entry.trigger.parameters[:0])
        entries[target] = replace(entry, trigger=nothing)


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
            parts = zip(
                chosen.indices[some].to(parameters.device).split(self.batch_size, 1),
                fine[some].split(self.batch_size, 1),
                strict=True,
            )
            gradient = torch.zeros_like(mine)
            for indices, counts in parts:
                losses = self._losses(self.images.seen[indices.flatten()], mine, targets[some])[0]
                gradient += torch.autograd.grad((losses * counts).sum(), mine)[0]
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
        self, parameters: Tensor, targets: Tensor, round_: Round, rounds: int
    ) -> dict[int, Entry]:
        """Class -> its entry after so many rounds."""
        found = {}
        pixels = self.images.held_back[: round_.measured]
        own = self.images.held_back_as[: round_.measured]
        for mine, target in zip(parameters.split(1), targets.tolist(), strict=True):
            others = pixels[~own[:, target]]
            parts = [
                self._losses(p, mine, torch.tensor([target])) for p in others.split(self.batch_size)
            ]
            loss = torch.cat([part[0][0] for part in parts]).mean()
            success = torch.cat([part[1][0] for part in parts]).float().mean()
            trigger = Trigger(self.family, target, mine.clone(), float(success))
            found[target] = Entry(trigger, float(loss), rounds)
        return found
