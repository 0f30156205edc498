"""Unlearn an inverted trigger while fine-tuning.

The paper's repair (FMT, section III-F) erases channels and fine-tunes on clean images; where there are only
a few of these, a backdoor survives that. Deviation, used when an audit suspects a target class: a part of
each batch carries a small universal perturbation that leads to that class, with its true labels. The
inversion and unlearning follow Wang et al., "Neural Cleanse", IEEE S&P 2019, sections III and VI, with an
L2 bound instead of a mask; the perturbation is found anew for each epoch, as in adversarial training.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hfscan.channels import probing
from hfscan.types import ImageSet


@dataclass
class Unlearning:
    """Universal perturbations toward a class, and how images carry them in training.

    Args:
        images: Clean images to find perturbations with.
        target: The class to unlearn.
        norm: L2 bound of a perturbation of images in [0, 1].
        share: Of each batch that carries a perturbation.
        steps: Of the search for one.
        batch_size: Images per step of the search.
        seed: Of the choice of images.
    """

    images: ImageSet
    target: int
    norm: float = 1.5
    share: float = 0.25
    steps: int = 40
    batch_size: int = 64
    seed: int = 0
    perturbations: list[Tensor] = field(default_factory=list)

    def renew(self, net: nn.Module) -> float:
        """Find a perturbation of the network as it is now.

        Returns:
            Share of the images that it leads to the target class, in [0, 1].
        """
        seed = self.seed + len(self.perturbations)
        others = self.images.subset((self.images.labels != self.target).nonzero().flatten())
        pixels = others.sample(self.batch_size, seed=seed).images.float().div_(255)
        pixels = pixels.to(next(net.parameters()).device)
        found, rate = invert(net, pixels, self.target, self.norm, self.steps)
        self.perturbations.append(found)
        return rate

    def carry(self, pixels: Tensor, generator: torch.Generator) -> Tensor:
        """Let a part of a batch ``(B, 3, H, W)`` carry one of the perturbations, by chance."""
        count = int(len(pixels) * self.share)
        chosen = torch.randint(len(self.perturbations), (count,), generator=generator)
        carried = torch.cat(self.perturbations)[chosen.to(pixels.device)]
        return torch.cat([(pixels[:count] + carried).clamp(0, 1), pixels[count:]])


def invert(
    net: nn.Module, pixels: Tensor, target: int, norm: float, steps: int, lr: float = 0.1
) -> tuple[Tensor, float]:
    """Find one perturbation that leads many images to a class.

    Args:
        net: The network; it is left as it was.
        pixels: Clean images ``(B, 3, H, W)`` in [0, 1].
        target: The class.
        norm: L2 bound.
        steps: Of Adam.
        lr: Of Adam.

    Returns:
        The perturbation ``(1, 3, H, W)``, and the share of the images that it leads to the class.
    """
    delta = torch.zeros_like(pixels[:1]).requires_grad_()
    wanted = torch.full((len(pixels),), target, device=pixels.device)
    optimizer = torch.optim.Adam([delta], lr=lr)
    with probing(net):
        for _ in range(steps):
            loss = F.cross_entropy(net((pixels + delta).clamp(0, 1)), wanted)
            (delta.grad,) = torch.autograd.grad(loss, delta)
            optimizer.step()
            with torch.no_grad():
                delta.mul_((norm / delta.norm()).clamp(max=1))
        with torch.no_grad():
            reached = net((pixels + delta).clamp(0, 1)).argmax(1) == target
    return delta.detach(), float(reached.float().mean())
