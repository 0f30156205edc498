"""Small networks of other families for 32x32 images, registered with timm: what a calibration is made with.

``smallvgg`` after Simonyan and Zisserman, "Very Deep Convolutional Networks for Large-Scale Image Recognition",
ICLR 2015: plain convolutions with bias and no norm. ``smallresnet`` after He et al., "Deep Residual Learning
for Image Recognition", CVPR 2016, section 4.2. ``smallmobilenet`` after Sandler et al., "MobileNetV2: Inverted
Residuals and Linear Bottlenecks", CVPR 2018, with its stem of stride 2. Deviation: three stages of ``width``, twice
and four times ``width`` channels, so that a network trains in minutes without a GPU.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch.nn.functional as F
from timm.models import build_model_with_cfg, generate_default_cfgs, register_model
from torch import Tensor, nn

STAGES = (1, 2, 4)
"""Channels of each stage, in units of ``width``."""

EXPANSION = 4
"""Of a mobile block: channels inside over channels outside."""


class PlainBlock(nn.Sequential):
    """A 3x3 convolution with bias, and a ReLU; max pooling in front where the stride is 2."""

    def __init__(self, in_channels: int, channels: int, stride: int) -> None:
        pool = [nn.MaxPool2d(2)] if stride == 2 else []
        super().__init__(*pool, nn.Conv2d(in_channels, channels, 3, padding=1), nn.ReLU())


class BasicBlock(nn.Module):
    """Two 3x3 convolutions, each with its norm, and a shortcut (He et al., figure 5 left)."""

    def __init__(self, in_channels: int, channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, channels, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        same = stride == 1 and in_channels == channels
        self.shortcut: nn.Module = (
            nn.Identity()
            if same
            else nn.Sequential(
                nn.Conv2d(in_channels, channels, 1, stride=stride, bias=False),
                nn.BatchNorm2d(channels),
            )
        )

    def forward(self, x: Tensor) -> Tensor:
        """``(B, C, H, W)`` -> ``(B, channels, H / stride, W / stride)``."""
        out: Tensor = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu(out + self.shortcut(x))


class InvertedResidual(nn.Module):
    """1x1 expansion, 3x3 depthwise convolution, linear 1x1 projection (Sandler et al., figure 3b)."""

    def __init__(self, in_channels: int, channels: int, stride: int) -> None:
        super().__init__()
        inside = EXPANSION * in_channels
        self.expand = nn.Conv2d(in_channels, inside, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(inside)
        self.depthwise = nn.Conv2d(
            inside, inside, 3, stride=stride, padding=1, groups=inside, bias=False
        )
        self.bn2 = nn.BatchNorm2d(inside)
        self.project = nn.Conv2d(inside, channels, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(channels)
        self.residual = stride == 1 and in_channels == channels

    def forward(self, x: Tensor) -> Tensor:
        """``(B, C, H, W)`` -> ``(B, channels, H / stride, W / stride)``."""
        inside = F.relu6(self.bn1(self.expand(x)))
        inside = F.relu6(self.bn2(self.depthwise(inside)))
        out: Tensor = self.bn3(self.project(inside))
        return x + out if self.residual else out


class SmallNet(nn.Module):
    """A 3x3 stem, three stages of two blocks, average pooling, one linear layer.

    Args:
        block: Input channels, channels and stride -> a block.
        norm: Put a norm behind the stem.
        stem_stride: Of the stem.
        num_classes: K; 0 leaves the classifier out.
        in_chans: Input channels.
        width: Channels of the first stage.
    """

    def __init__(
        self,
        block: Callable[[int, int, int], nn.Module],
        norm: bool,
        num_classes: int = 10,
        in_chans: int = 3,
        width: int = 16,
        stem_stride: int = 1,
    ) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.conv1 = nn.Conv2d(in_chans, width, 3, stride=stem_stride, padding=1, bias=not norm)
        self.bn1: nn.Module = nn.BatchNorm2d(width) if norm else nn.Identity()
        blocks: list[nn.Module] = []
        channels = width
        for factor in STAGES:
            blocks.append(block(channels, factor * width, 1 if factor == 1 else 2))
            channels = factor * width
            blocks.append(block(channels, channels, 1))
        self.blocks = nn.Sequential(*blocks)
        self.num_features = channels
        self.fc: nn.Module = nn.Linear(channels, num_classes) if num_classes else nn.Identity()
        for module in self.modules():
            if isinstance(module, nn.Conv2d):  # without norms, torch's own would fade with depth
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")

    def get_classifier(self) -> nn.Module:
        """The last linear layer (timm's interface)."""
        return self.fc

    def reset_classifier(self, num_classes: int, global_pool: str | None = None) -> None:
        """Replace the classifier by a fresh one for ``num_classes`` (timm's interface)."""
        self.num_classes = num_classes
        self.fc = nn.Linear(self.num_features, num_classes) if num_classes else nn.Identity()

    def forward_features(self, x: Tensor) -> Tensor:
        """``(B, in_chans, H, W)`` -> feature maps ``(B, num_features, H / 4, W / 4)``, or half of that after a stem of stride 2."""
        features: Tensor = self.blocks(F.relu(self.bn1(self.conv1(x))))
        return features

    def forward_head(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        """Feature maps -> logits ``(B, K)``, or pooled features with ``pre_logits``."""
        pooled = F.adaptive_avg_pool2d(x, 1).flatten(1)
        logits: Tensor = pooled if pre_logits else self.fc(pooled)
        return logits

    def forward(self, x: Tensor) -> Tensor:
        """``(B, in_chans, H, W)`` -> logits ``(B, K)``."""
        return self.forward_head(self.forward_features(x))


_CFG = {
    "num_classes": 10,
    "input_size": (3, 32, 32),
    "pool_size": (8, 8),
    "crop_pct": 1.0,
    "interpolation": "bicubic",
    "mean": (0.4914, 0.4822, 0.4465),
    "std": (0.2470, 0.2435, 0.2616),
    "first_conv": "conv1",
    "classifier": "fc",
}
default_cfgs = generate_default_cfgs(
    {f"{name}.untrained": dict(_CFG) for name in ("smallvgg", "smallresnet", "smallmobilenet")}
)


def _build(variant: str, pretrained: bool, **kwargs: Any) -> nn.Module:
    net: nn.Module = build_model_with_cfg(SmallNet, variant, pretrained, **kwargs)
    return net


@register_model
def smallvgg(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """Seven plain convolutions without norms."""
    return _build("smallvgg", pretrained, block=PlainBlock, norm=False, **kwargs)


@register_model
def smallresnet(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """A residual network with 14 layers."""
    return _build("smallresnet", pretrained, block=BasicBlock, norm=True, **kwargs)


@register_model
def smallmobilenet(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """Six inverted residuals."""
    return _build(
        "smallmobilenet", pretrained, block=InvertedResidual, norm=True, stem_stride=2, **kwargs
    )
