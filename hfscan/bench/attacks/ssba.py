"""SSBA (Li et al., "Invisible Backdoor Attack with Sample-Specific Triggers", ICCV 2021)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hfscan.types import ImageSet, Progress, silent

BATCH = 500
"""Images that are looked at in one pass."""


@dataclass(frozen=True, eq=False)
class SSBA:
    """A steganographic encoder hides one fixed bit string in each image; the residual is the trigger.

    The encoder and a decoder that reads the bits back are trained together on clean images (section
    4.3, after StegaStamp, Tancik et al., CVPR 2020). Deviations: networks for small images, fewer
    bits, and no perceptual or critic loss; noise of one gray level stands for storage in 8 bits.

    Args:
        bits: Length of the string.
        width: Channels of the encoder and decoder.
        steps: Of training them.
        batch_size: Images per step.
        lr: Peak learning rate of Adam.
        distortion: Final weight of the mean squared residual beside the bits' cross-entropy.
        seed: Of the string, the networks, and the choice of images.
        stego: The trained networks, once `fit` has run.
    """

    bits: int = 32
    width: int = 16
    steps: int = 400
    batch_size: int = 32
    lr: float = 4e-3
    distortion: float = 8.0
    seed: int = 0
    stego: Stego | None = None

    @property
    def needs_clean_net(self) -> bool:
        """The encoder is trained without a classifier."""
        return False

    @property
    def message(self) -> Tensor:
        """The fixed string, float32 ``(1, bits)`` of 0 and 1."""
        return _messages(1, self.bits, torch.Generator().manual_seed(self.seed))

    def trigger(self, images: Tensor) -> Tensor:
        """Hide the string in images ``(B, 3, H, W)`` in [0, 1]; returns new images.

        Raises:
            ValueError: `fit` has not trained the encoder yet.
        """
        if self.stego is None:
            raise ValueError("the encoder of SSBA must be fitted first")
        with torch.inference_mode():
            encoder = self.stego.encoder.to(images.device)
            hidden: Tensor = encoder(images, self.message.to(images).expand(len(images), -1))
        return hidden.clone()

    def fit(
        self,
        train: ImageSet,
        *,
        clean_net: nn.Module | None = None,
        target: int = 0,
        progress: Progress = silent,
    ) -> SSBA:
        """Train the encoder and the decoder on clean images; network and target do not matter."""
        with torch.random.fork_rng([]):
            torch.manual_seed(self.seed)
            stego = Stego(self.bits, self.width)
        generator = torch.Generator().manual_seed(self.seed)
        optimizer = torch.optim.Adam(stego.parameters(), lr=self.lr)
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, self.lr, total_steps=self.steps + 1, pct_start=0.1
        )
        for step in progress(range(self.steps), "training the encoder", self.steps):
            chosen = torch.randint(len(train), (self.batch_size,), generator=generator)
            pixels = train.images[chosen].float() / 255
            # the bits first: an encoder that may not change anything learns nothing
            weight = self.distortion * min(1.0, max(0.0, 2.5 * step / self.steps - 0.75))
            loss = self._loss(stego, pixels, weight, generator)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            schedule.step()
        return replace(self, stego=stego.eval().requires_grad_(False))

    def _loss(
        self, stego: Stego, pixels: Tensor, weight: float, generator: torch.Generator
    ) -> Tensor:
        message = _messages(len(pixels), self.bits, generator)
        hidden = stego.encoder(pixels, message)
        noise = (torch.rand(pixels.shape, generator=generator) - 0.5) / 255
        read = F.binary_cross_entropy_with_logits(stego.decoder(hidden + noise), message)
        loss: Tensor = read + weight * (hidden - pixels).square().mean()
        return loss

    def quality(self, images: ImageSet) -> tuple[float, float]:
        """How well the string is hidden, and how well it is read back.

        Args:
            images: Clean images, preferably not those of `fit`.

        Returns:
            Peak signal-to-noise ratio in dB of the images as stored in 8 bits, and the share of the
            bits that the decoder reads right.
        """
        assert self.stego is not None, "fitted"
        error, right = 0.0, 0
        for pixels, _ in images.batches(BATCH):
            stored = self.trigger(pixels).mul(255).round() / 255
            with torch.inference_mode():
                read = self.stego.decoder(stored) > 0
            error += float((stored - pixels).double().square().sum())
            right += int((read == (self.message > 0.5)).sum())
        mean = error / images.images.numel()
        return -10 * math.log10(mean), right / (len(images) * self.bits)

    def tensors(self) -> dict[str, Tensor]:
        """The weights of encoder and decoder."""
        return {} if self.stego is None else dict(self.stego.state_dict())

    def with_tensors(self, tensors: Mapping[str, Tensor]) -> SSBA:
        """The attack with an encoder and decoder that were trained before."""
        stego = Stego(self.bits, self.width)
        stego.load_state_dict(dict(tensors))
        return replace(self, stego=stego.eval().requires_grad_(False))


class Encoder(nn.Module):
    """Image ``(B, 3, H, W)`` in [0, 1] and bits ``(B, bits)`` -> image with the bits hidden in it."""

    def __init__(self, bits: int, width: int) -> None:
        super().__init__()
        self.spread = nn.Linear(bits, 3 * 8 * 8)
        self.full = _conv(6, width)
        self.coarse = _conv(width, 2 * width, stride=2)
        self.join = _conv(3 * width, width)
        self.residual = nn.Conv2d(width + 3, 3, 1)

    def forward(self, images: Tensor, message: Tensor) -> Tensor:
        """A small U-net predicts the residual (StegaStamp, section 3.1)."""
        size = images.shape[2:]
        bits = self.spread(2 * message - 1).view(-1, 3, 8, 8)
        bits = F.interpolate(bits, size, mode="nearest")
        full = self.full(torch.cat([images - 0.5, bits], 1))
        deep = F.interpolate(self.coarse(full), size, mode="nearest")
        joined = self.join(torch.cat([full, deep], 1))
        residual: Tensor = self.residual(torch.cat([joined, bits], 1))
        return (images + 0.3 * residual).clamp(0, 1)


class Stego(nn.Module):
    """The encoder, and the decoder that reads logits of the bits ``(B, bits)`` back."""

    def __init__(self, bits: int, width: int) -> None:
        super().__init__()
        self.encoder = Encoder(bits, width)
        self.decoder = nn.Sequential(
            _conv(3, width, norm=True),
            _conv(width, 2 * width, stride=2, norm=True),
            _conv(2 * width, 2 * width, stride=2, norm=True),
            nn.AdaptiveAvgPool2d(8),
            nn.Flatten(),
            nn.Linear(2 * width * 8 * 8, bits),
        )


def _conv(
    channels: int, out_channels: int, *, stride: int = 1, norm: bool = False
) -> nn.Sequential:
    """A 3x3 convolution and a ReLU, with a batch norm between them where it is wanted."""
    return nn.Sequential(
        nn.Conv2d(channels, out_channels, 3, stride=stride, padding=1),
        nn.BatchNorm2d(out_channels) if norm else nn.Identity(),
        nn.ReLU(inplace=True),
    )


def _messages(count: int, bits: int, generator: torch.Generator) -> Tensor:
    return torch.randint(2, (count, bits), generator=generator).float()
