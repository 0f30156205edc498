"""Small real networks and images that all tests share."""

from __future__ import annotations

import os
import pkgutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # pytest-xdist has a process for each core

import pytest
import torch
from torch import Tensor, nn

import hfscan
from hfscan.model_tests import TESTS
from hfscan.types import HubModel, ImageSet

sys.path.insert(0, str(Path(__file__).parent))

from dask_cluster import DaskCluster
from loopback_hub import LoopbackHub

EXAMPLES = Path(__file__).parent.parent / "examples"
CLASSES = ("red", "green", "blue", "gray")

LONGEST = (
    "test_embedded.py",
    "test_repair.py",
    "test_bench.py",
    "test_push.py",
    "test_families.py",
)
"""Files of minutes: they begin, so that no process is left with one of them when the others are done."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: item.path.name not in LONGEST)


@pytest.fixture(autouse=True)
def _state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test reads or writes the state of the person who runs it."""
    monkeypatch.setenv("HFSCAN_STATE_DIR", str(tmp_path / "state"))


@pytest.fixture(autouse=True)
def one_test(monkeypatch: pytest.MonkeyPatch) -> None:
    """Audits make the maximum-margin test only, unless a test of ours asks for others: all of them take seconds."""
    quick = {"maximum-margin": TESTS["maximum-margin"]}
    monkeypatch.setattr("hfscan.pipeline.testing.TESTS", quick)


@pytest.fixture
def noting(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], list[set[bytes]]]:
    """Lets a function note the images of each `ImageSet` that it is given; it does what it did before."""

    def patched(name: str) -> list[set[bytes]]:
        function = pkgutil.resolve_name(name)
        given: list[set[bytes]] = []

        def noted(*arguments: Any, **options: Any) -> Any:
            for each in (*arguments, *options.values()):
                if isinstance(each, ImageSet):
                    given.append({image.numpy().tobytes() for image in each.images})
            return function(*arguments, **options)

        monkeypatch.setattr(name, noted)
        return given

    return patched


@pytest.fixture
def hub() -> Iterator[LoopbackHub]:
    """A Hub on this machine."""
    with LoopbackHub() as hub:
        yield hub


@pytest.fixture
def dask_cluster(tmp_path: Path) -> Iterator[DaskCluster]:
    """A Dask cluster on this machine, not started yet."""
    pytest.importorskip("distributed")
    cluster = DaskCluster(tmp_path)
    yield cluster
    cluster.stop()


@pytest.fixture
def tiny_set() -> ImageSet:
    """40 images of 8x8 pixels in four classes that differ in color."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(40) % 4
    noise = torch.randint(0, 8, (40, 3, 8, 8), generator=generator, dtype=torch.uint8)
    images = noise + 60
    for channel in range(3):
        images[labels == channel, channel] += 120
    return ImageSet(name="tiny", images=images, labels=labels, classes=CLASSES)


class TinyNet(nn.Module):
    """Two convolutions, one with a norm behind it, that tell the colors apart by construction."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 8, 3, padding=1)
        self.bn1 = nn.BatchNorm2d(8)
        self.conv2 = nn.Conv2d(8, 8, 3, padding=1)
        self.fc = nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.bn1(self.conv1(x)))
        x = torch.relu(self.conv2(x))
        return self.fc(x.mean((2, 3)))


def color_net() -> TinyNet:
    """A `TinyNet` that classifies `tiny_set` without an error; channels 0 to 2 carry the colors."""
    net = TinyNet()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.zero_()
        net.bn1.weight.fill_(1)
        for conv in (net.conv1, net.conv2):
            for channel in range(8):
                conv.weight[channel, channel % 3] = 0.02 * (1 + channel)
            for channel in range(3):
                conv.weight[channel, channel, 1, 1] = 1.0
        for channel in range(3):
            net.fc.weight[channel, channel] = 20.0
        net.fc.bias[3] = 20 * 0.7
    return net.eval()


@pytest.fixture
def tiny_net() -> TinyNet:
    """A network of two conv layers that classifies `tiny_set` without an error."""
    return color_net()


PLANTED_CHANNEL, PLANTED_TARGET = 6, 2


@pytest.fixture
def planted_net() -> TinyNet:
    """`tiny_net` with one channel that fires the class blue on a pattern no clean image has.

    Channel 6 of the first layer answers to a checkerboard, which flat images do not contain;
    channel 6 of the second passes it on to the class, strongly. All others are low-pass filters. Noise
    already moves it a little, as in networks that were trained, so that a search can find the pattern.
    """
    net = color_net()
    with torch.no_grad():
        checker = torch.tensor([[1.0, -2.0, 1.0], [-2.0, 4.0, -2.0], [1.0, -2.0, 1.0]])
        net.conv1.weight[PLANTED_CHANNEL] = checker / 3
        net.bn1.bias[PLANTED_CHANNEL] = 0
        net.conv2.weight[:, PLANTED_CHANNEL] = 0
        net.conv2.weight[PLANTED_CHANNEL] = 0
        net.conv2.weight[PLANTED_CHANNEL, PLANTED_CHANNEL, 1, 1] = 1.0
        net.fc.weight[PLANTED_TARGET, PLANTED_CHANNEL] = 25.0
    return net


@pytest.fixture
def tiny_model(tiny_net: TinyNet) -> HubModel:
    """`tiny_net`, ready to be audited."""
    return hfscan.wrap(tiny_net, input_size=(3, 8, 8), num_classes=4, label_names=CLASSES)


@pytest.fixture
def planted_model(planted_net: TinyNet) -> HubModel:
    """`planted_net`, ready to be audited."""
    return hfscan.wrap(planted_net, input_size=(3, 8, 8), num_classes=4, label_names=CLASSES)
