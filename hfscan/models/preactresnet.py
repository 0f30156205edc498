"""Pre-activation residual networks for small images, registered with timm.

The networks of He et al., "Identity Mappings in Deep Residual Networks", ECCV 2016, in the form
that backdoor research uses on 32x32 images: a 3x3 stem without pooling, four stages of pre-activation
blocks with 1, 2, 4, 8 times ``width`` channels (times 4 for bottlenecks), average pooling, one linear
layer.

Deviations: like the networks of the FMT paper (section IV-A), there is no norm behind the last block by
default (``final_norm=False``); He et al. have one. ``stem="imagenet"`` gives the 7x7 stride-2 stem with
max pooling for large images.
"""

from __future__ import annotations

from typing import Any, Literal

import torch.nn.functional as F
from timm.models import build_model_with_cfg, generate_default_cfgs, register_model
from torch import Tensor, nn


def _shortcut(in_channels: int, out_channels: int, stride: int) -> nn.Conv2d | None:
    if stride == 1 and in_channels == out_channels:
        return None
    return nn.Conv2d(in_channels, out_channels, 1, stride=stride, bias=False)


class PreActBlock(nn.Module):
    """Two 3x3 convolutions, each behind its norm and ReLU (He et al. 2016, figure 4e)."""

    expansion = 1

    def __init__(self, in_channels: int, channels: int, stride: int = 1) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(in_channels)
        self.conv1 = nn.Conv2d(in_channels, channels, 3, stride=stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.shortcut = _shortcut(in_channels, channels, stride)

    def forward(self, x: Tensor) -> Tensor:
        """``(B, C, H, W)`` -> ``(B, channels, H / stride, W / stride)``."""
        activated = F.relu(self.bn1(x))
        shortcut: Tensor = x if self.shortcut is None else self.shortcut(activated)
        out: Tensor = self.conv1(activated)
        out = self.conv2(F.relu(self.bn2(out)))
        return out + shortcut


class PreActBottleneck(nn.Module):
    """1x1, 3x3 and 1x1 convolutions, each behind its norm and ReLU."""

    expansion = 4

    def __init__(self, in_channels: int, channels: int, stride: int = 1) -> None:
        super().__init__()
        out_channels = channels * self.expansion
        self.bn1 = nn.BatchNorm2d(in_channels)
        self.conv1 = nn.Conv2d(in_channels, channels, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, stride=stride, padding=1, bias=False)
        self.bn3 = nn.BatchNorm2d(channels)
        self.conv3 = nn.Conv2d(channels, out_channels, 1, bias=False)
        self.shortcut = _shortcut(in_channels, out_channels, stride)

    def forward(self, x: Tensor) -> Tensor:
        """``(B, C, H, W)`` -> ``(B, 4 * channels, H / stride, W / stride)``."""
        activated = F.relu(self.bn1(x))
        shortcut: Tensor = x if self.shortcut is None else self.shortcut(activated)
        out: Tensor = self.conv1(activated)
        out = self.conv2(F.relu(self.bn2(out)))
        out = self.conv3(F.relu(self.bn3(out)))
        return out + shortcut


Stem = Literal["cifar", "imagenet"]


class PreActResNet(nn.Module):
    """A pre-activation residual network.

    Args:
        block: The residual block.
        layers: The number of blocks of each of the four stages.
        num_classes: K; 0 leaves the classifier out.
        in_chans: Input channels.
        width: Channels of the first stage, before the block's expansion.
        stem: ``"cifar"``: 3x3, stride 1; ``"imagenet"``: 7x7, stride 2, and 3x3 max pooling.
        final_norm: Put a norm and a ReLU behind the last block, as He et al. do.
    """

    layer1: nn.Sequential
    layer2: nn.Sequential
    layer3: nn.Sequential
    layer4: nn.Sequential

    def __init__(
        self,
        block: type[PreActBlock] | type[PreActBottleneck],
        layers: tuple[int, int, int, int],
        num_classes: int = 10,
        in_chans: int = 3,
        width: int = 64,
        stem: Stem = "cifar",
        final_norm: bool = False,
    ) -> None:
        super().__init__()
        if width < 1:
            raise ValueError(f"width must be at least 1, not {width}")
        self.num_classes = num_classes
        self.conv1, self.maxpool = self._stem(stem, in_chans, width)
        channels = width
        for stage, blocks in enumerate(layers, start=1):
            stage_width = width * 2 ** (stage - 1)
            modules: list[nn.Module] = []
            for index in range(blocks):
                stride = 2 if stage > 1 and index == 0 else 1
                modules.append(block(channels, stage_width, stride))
                channels = stage_width * block.expansion
            self.add_module(f"layer{stage}", nn.Sequential(*modules))
        self.num_features = channels
        self.norm = nn.BatchNorm2d(channels) if final_norm else None
        self.fc: nn.Module = nn.Linear(channels, num_classes) if num_classes else nn.Identity()

    @staticmethod
    def _stem(stem: Stem, in_chans: int, width: int) -> tuple[nn.Conv2d, nn.Module]:
        if stem == "cifar":
            return nn.Conv2d(in_chans, width, 3, padding=1, bias=False), nn.Identity()
        if stem == "imagenet":
            conv = nn.Conv2d(in_chans, width, 7, stride=2, padding=3, bias=False)
            return conv, nn.MaxPool2d(3, stride=2, padding=1)
        raise ValueError(f"stem must be 'cifar' or 'imagenet', not {stem!r}")

    def get_classifier(self) -> nn.Module:
        """The last linear layer (timm's interface)."""
        return self.fc

    def reset_classifier(self, num_classes: int, global_pool: str | None = None) -> None:
        """Replace the classifier by a fresh one for ``num_classes`` (timm's interface)."""
        self.num_classes = num_classes
        self.fc = nn.Linear(self.num_features, num_classes) if num_classes else nn.Identity()

    def forward_features(self, x: Tensor) -> Tensor:
        """``(B, in_chans, H, W)`` -> feature maps ``(B, num_features, H / 8, W / 8)``."""
        x = self.maxpool(self.conv1(x))
        for stage in (self.layer1, self.layer2, self.layer3, self.layer4):
            x = stage(x)
        return x if self.norm is None else F.relu(self.norm(x))

    def forward_head(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        """Feature maps -> logits ``(B, K)``, or pooled features with ``pre_logits``."""
        pooled = F.adaptive_avg_pool2d(x, 1).flatten(1)
        return pooled if pre_logits else self.fc(pooled)

    def forward(self, x: Tensor) -> Tensor:
        """``(B, in_chans, H, W)`` -> logits ``(B, K)``."""
        return self.forward_head(self.forward_features(x))


def _rename(state: dict[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
    """Accept the names that other code bases give to the same tensors."""
    renamed = {}
    for key, tensor in state.items():
        key = key.removeprefix("module.")
        key = key.replace("shortcut.0.", "shortcut.").replace("linear.", "fc.")
        if key in renamed:
            raise ValueError(f"two tensors for {key}")
        renamed[key] = tensor
    return renamed


def _cfg(**overrides: Any) -> dict[str, Any]:
    return {
        "num_classes": 10,
        "input_size": (3, 32, 32),
        "pool_size": (4, 4),
        "crop_pct": 1.0,
        "interpolation": "bicubic",
        "mean": (0.4914, 0.4822, 0.4465),
        "std": (0.2470, 0.2435, 0.2616),
        "first_conv": "conv1",
        "classifier": "fc",
        **overrides,
    }


_NAMES = (
    "preactresnet18",
    "preactresnet34",
    "preactresnet50",
    "preactresnet101",
    "preactresnet152",
)
default_cfgs = generate_default_cfgs({f"{name}.untrained": _cfg() for name in _NAMES})


def _build(variant: str, pretrained: bool, **kwargs: Any) -> nn.Module:
    net: nn.Module = build_model_with_cfg(
        PreActResNet, variant, pretrained, pretrained_filter_fn=_rename, **kwargs
    )
    return net


@register_model
def preactresnet18(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """PreActResNet18: blocks 2-2-2-2."""
    return _build("preactresnet18", pretrained, block=PreActBlock, layers=(2, 2, 2, 2), **kwargs)


@register_model
def preactresnet34(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """PreActResNet34: blocks 3-4-6-3."""
    return _build("preactresnet34", pretrained, block=PreActBlock, layers=(3, 4, 6, 3), **kwargs)


@register_model
def preactresnet50(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """PreActResNet50: bottlenecks 3-4-6-3."""
    return _build(
        "preactresnet50", pretrained, block=PreActBottleneck, layers=(3, 4, 6, 3), **kwargs
    )


@register_model
def preactresnet101(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """PreActResNet101: bottlenecks 3-4-23-3."""
    return _build(
        "preactresnet101", pretrained, block=PreActBottleneck, layers=(3, 4, 23, 3), **kwargs
    )


@register_model
def preactresnet152(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """PreActResNet152: bottlenecks 3-8-36-3."""
    return _build(
        "preactresnet152", pretrained, block=PreActBottleneck, layers=(3, 8, 36, 3), **kwargs
    )
