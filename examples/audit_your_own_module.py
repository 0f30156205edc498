"""Audit any torch module: here one that returns a tuple of probabilities and features.

python examples/audit_your_own_module.py ./examples/cifar10-clean
"""

from __future__ import annotations

import sys

import torch
from torch import Tensor, nn

import hfscan
from hfscan.train import FitConfig, fit


class MyNet(nn.Module):
    """Not in timm, no norm layers, and softmax at its end."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(3, 16, 3, stride=2, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(16, 32, 3, stride=2, padding=1),
            nn.ReLU(inplace=True),
        )
        self.head = nn.Linear(32, 10)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        features = self.body(images).mean((2, 3))
        return self.head(features).softmax(1), features


def main(clean_data: str) -> None:
    torch.manual_seed(0)
    clean = hfscan.load_images(clean_data)
    model = hfscan.wrap(
        MyNet(), input_size=(3, 32, 32), num_classes=10, label_names=clean.classes, name="my-net"
    )
    train, test = clean.split_at(0.8, seed=0)
    fit(model.net, train, FitConfig(epochs=30, lr=0.1, batch_size=32, weight_decay=0, padding=0))

    report = hfscan.audit(model, test, settings=hfscan.AuditSettings(images=32))
    print(f"clean accuracy {report.clean_accuracy:.2f}")
    print(f"{report.verdict.value}: {report.reason}")
    print({layer.layer: layer.channels for layer in report.layers})


if __name__ == "__main__":
    main(sys.argv[1])
