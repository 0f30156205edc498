"""The search for a trigger, the same for all families: Adam on a class's cross-entropy, inside a hard bound.

After Wang et al., "Neural Cleanse: Identifying and Mitigating Backdoor Attacks in Neural Networks", IEEE S&P
2019, section IV-A. Deviation: the size of a trigger is bounded, not penalized, so that the share of images
that it leads to a class can be compared between classes and needs no weight to be adjusted.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hfscan.channels import probing
from hfscan.half import autocast

MIN_IMAGES = 4
"""With fewer there is none to search with after some are held back."""


class Family(Protocol):
    """A kind of trigger: transforms of images with parameters inside a bound."""

    @property
    def name(self) -> str:
        """Key in the registry."""

    @property
    def unit(self) -> str:
        """What a trigger's size counts."""

    @property
    def lr(self) -> float:
        """First step of Adam, in units of the parameters."""

    def start(self, size: tuple[int, int], generator: torch.Generator) -> Tensor:
        """Parameters to begin with for images of ``(H, W)`` pixels, on the CPU."""

    def apply(self, images: Tensor, parameters: Tensor) -> Tensor:
        """Images ``(B, 3, H, W)`` in [0, 1] with the trigger, as a new tensor in [0, 1].

        The parameters are one trigger's, ``(1, ...)``, or one for each image, ``(B, ...)``.
        """

    def bounded(self, parameters: Tensor) -> Tensor:
        """The parameters of P triggers ``(P, ...)``, each moved inside the bound if it is outside."""

    def size(self, parameters: Tensor) -> float:
        """How large the trigger is, at least 0; `unit` says of what."""


@dataclass(frozen=True, eq=False)
class Trigger:
    """What leads images to a class.

    Args:
        family: Its kind.
        target: The class.
        parameters: Of the family's transform.
        success: Share of images, held back from the search, that it leads to the class, in [0, 1].
    """

    family: Family
    target: int
    parameters: Tensor
    success: float

    def apply(self, images: Tensor) -> Tensor:
        """Images ``(B, 3, H, W)`` in [0, 1] with the trigger, as a new tensor."""
        return self.family.apply(images, self.parameters.to(images))

    @property
    def size(self) -> float:
        """How large it is, in units of the family."""
        return self.family.size(self.parameters)


@dataclass(frozen=True)
class Search:
    """How to look for a trigger.

    Args:
        steps: Of Adam; its step size is annealed to 0.
        batch_size: Images per step.
        held_back: Share of the images that only measures, in (0, 1).
        half: Compute the network in bfloat16 where that is fast; the trigger stays in float32.
        pace: Factor of the family's first step.
    """

    steps: int = 60
    batch_size: int = 64
    held_back: float = 0.25
    half: bool = False
    pace: float = 1.0

    def invert(
        self,
        net: nn.Module,
        images: Tensor,
        target: int,
        *,
        family: Family,
        seed: int,
        start: Tensor | None = None,
    ) -> Trigger:
        """Find the trigger of a family that leads the most images to a class.

        Args:
            net: float32 ``(B, 3, H, W)`` in [0, 1] -> logits ``(B, K)``; it is left as it was.
            images: Clean images of other classes ``(B, 3, H, W)`` in [0, 1], where the network is.
            target: The class.
            family: What kind of trigger.
            seed: Of the start, of what is held back and of the images of each step.
            start: Parameters to go on from; None begins anew.

        Raises:
            ValueError: There are fewer images than `MIN_IMAGES`.
        """
        if len(images) < MIN_IMAGES:
            raise ValueError(f"{len(images)} images are too few to find a trigger with")
        generator = torch.Generator().manual_seed(seed)
        order = torch.randperm(len(images), generator=generator).to(images.device)
        count = max(1, round(self.held_back * len(images)))
        held_back, seen = images[order[:count]], images[order[count:]]
        if start is None:
            start = family.start((images.shape[2], images.shape[3]), generator)
        with probing(net):
            parameters = self._descend(net, seen, target, family, start.to(images), generator)
            with torch.no_grad():
                reached = self._logits(net, family.apply(held_back, parameters)).argmax(1) == target
        return Trigger(family, target, parameters, float(reached.float().mean()))

    def _descend(
        self,
        net: nn.Module,
        images: Tensor,
        target: int,
        family: Family,
        start: Tensor,
        generator: torch.Generator,
    ) -> Tensor:
        parameters = start.clone().requires_grad_()
        lr = self.pace * family.lr
        optimizer = torch.optim.Adam([parameters], lr=lr, betas=(0.5, 0.9))
        wanted = torch.full((min(self.batch_size, len(images)),), target, device=images.device)
        for step in range(self.steps):
            chosen = torch.randperm(len(images), generator=generator)[: len(wanted)]
            pixels = family.apply(images[chosen.to(images.device)], parameters)
            loss = F.cross_entropy(self._logits(net, pixels), wanted)
            (parameters.grad,) = torch.autograd.grad(loss, parameters)
            optimizer.param_groups[0]["lr"] = lr * (1 - step / self.steps)
            optimizer.step()
            with torch.no_grad():
                parameters.copy_(family.bounded(parameters))
        return parameters.detach()

    def _logits(self, net: nn.Module, pixels: Tensor) -> Tensor:
        with autocast(pixels.device, wanted=self.half):
            logits: Tensor = net(laid_out(pixels))
        return logits.float()


def laid_out(pixels: Tensor) -> Tensor:
    """In the memory format that convolutions like."""
    return pixels.contiguous(memory_format=torch.channels_last)
