"""Networks that hfscan adds to timm (importing this package registers them), and their common shape."""

from __future__ import annotations

from hfscan.models.classifier import Classifier
from hfscan.models.preactresnet import PreActResNet
from hfscan.models.small import SmallNet

__all__ = ["Classifier", "PreActResNet", "SmallNet"]
