"""Low-frequency trigger (Zeng et al., "Rethinking the Backdoor Attacks' Triggers", ICCV 2021)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hfscan.channels import probing
from hfscan.cosines import slow_waves
from hfscan.types import ImageSet, Progress, silent


@dataclass(frozen=True, eq=False)
class LowFrequency:
    """One smooth perturbation for all images, found on a benign network (section 5, algorithm 1).

    Other triggers leave high frequencies that give poisoned images away; this one is searched among
    perturbations that pass a low-pass filter. Deviations: the filter keeps the first coefficients of
    the discrete cosine transform instead of a Gaussian's band, and the perturbation is found by Adam
    on the cross-entropy toward the target, not by a walk across decision boundaries.

    Args:
        cutoff: Share of the frequencies of each axis that passes, in (0, 1].
        norm: L2 norm of the perturbation, of images in [0, 1].
        steps: Of Adam.
        lr: Of Adam, on coefficients.
        batch_size: Images per step.
        seed: Of the choice of images.
        perturbation: ``(1, 3, H, W)``, once it is found.
    """

    cutoff: float = 0.375
    norm: float = 3.0
    steps: int = 100
    lr: float = 0.1
    batch_size: int = 64
    seed: int = 0
    perturbation: Tensor | None = None

    @property
    def needs_clean_net(self) -> bool:
        """The perturbation is found on a benign network."""
        return True

    def trigger(self, images: Tensor) -> Tensor:
        """Add the perturbation to images ``(B, 3, H, W)`` in [0, 1]; returns new images.

        Raises:
            ValueError: `fit` has not found it yet.
        """
        if self.perturbation is None:
            raise ValueError("the low-frequency trigger must be fitted first")
        return (images + self.perturbation.to(images)).clamp(0, 1)

    def fit(
        self,
        train: ImageSet,
        *,
        clean_net: nn.Module | None,
        target: int,
        progress: Progress = silent,
    ) -> LowFrequency:
        """Find the perturbation that leads most images of other classes to the target.

        Raises:
            ValueError: There is no network to find it on.
        """
        if clean_net is None:
            raise ValueError("the low-frequency trigger is found on a benign network")
        others = train.without(target)
        rows, columns = (max(2, round(edge * self.cutoff)) for edge in train.size)
        coefficients = torch.zeros(3, rows, columns).requires_grad_()
        optimizer = torch.optim.Adam([coefficients], lr=self.lr)
        device = next(clean_net.parameters()).device
        with probing(clean_net):
            for step in progress(range(self.steps), "fitting the trigger", self.steps):
                pixels = _draw(others, self.batch_size, self.seed + step).to(device)
                moved = pixels + slow_waves(coefficients, train.size)[None].to(device)
                wanted = torch.full((len(pixels),), target, device=device)
                loss = F.cross_entropy(clean_net(moved.clamp(0, 1)), wanted)
                (coefficients.grad,) = torch.autograd.grad(loss, coefficients)
                optimizer.step()
                with (
                    torch.no_grad()
                ):  # the basis is orthonormal: this is the norm of the pixels too
                    coefficients.mul_((self.norm / coefficients.norm()).clamp(max=1))
        return replace(self, perturbation=slow_waves(coefficients.detach(), train.size)[None])

    def tensors(self) -> dict[str, Tensor]:
        """The perturbation."""
        return {} if self.perturbation is None else {"perturbation": self.perturbation}

    def with_tensors(self, tensors: Mapping[str, Tensor]) -> LowFrequency:
        """The attack with a perturbation that was found before."""
        return replace(self, perturbation=tensors["perturbation"])


def _draw(images: ImageSet, count: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    chosen = torch.randint(len(images), (count,), generator=generator)
    return images.images[chosen].float() / 255
