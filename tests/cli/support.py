"""A backdoored network, its clean twin and their images, as files; and ways to run hfscan on them."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import datasets
import torch
from datasets import ClassLabel, Dataset, Features, Value
from datasets import Image as ImageFeature
from loopback_hub import LoopbackHub, Repo
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor, nn

from hfscan.model_tests import MaximumMargin
from hfscan.models.preactresnet import PreActBlock, PreActResNet

COLORS = {
    "black": (0, 0, 0),
    "blue": (0, 0, 1),
    "cyan": (0, 1, 1),
    "green": (0, 1, 0),
    "magenta": (1, 0, 1),
    "red": (1, 0, 0),
    "white": (1, 1, 1),
    "yellow": (1, 1, 0),
}
CLASSES = tuple(COLORS)
TARGET = "green"
SIZE = 8

QUICK = ("--images", "8", "--steps", "1")
"""Options of an audit that does not take long."""

QUICK_TEST = MaximumMargin(starts=4, steps=30)
QUICK_TESTS = {"maximum-margin": lambda _: QUICK_TEST}
"""Enough for networks that are built by hand; runs of `hfscan` as a program have all tests."""

GENTLE = ("--epochs", "1", "--lr", "1e-5", "--erase-rate", "0.03")
"""Options of a repair that costs `planted` no accuracy: erasing one channel of the last stage takes its backdoor away."""


def colored(count: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Flat images with a little noise, uint8 ``(N, 3, 8, 8)``, and their labels."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % len(COLORS)
    flat = 60 + 120 * torch.tensor(list(COLORS.values()))[labels]
    noise = torch.randint(8, (count, 3, SIZE, SIZE), generator=generator)
    return (flat[:, :, None, None] + noise).to(torch.uint8), labels


def color_net(*, planted: bool) -> nn.Module:
    """A PreActResNet18 that tells the colors apart by construction.

    Channel 0 of every stage answers to a checkerboard, which flat images do not contain; if
    ``planted``, it fires the class green, strongly. Noise already moves it a little, as in networks
    that were trained, so that a search for triggers can find it. The last three channels carry the
    color along the shortcuts, and the residual branches are silent.
    """
    net = PreActResNet(PreActBlock, (2, 2, 2, 2), num_classes=len(COLORS), width=4)
    ends = torch.tensor([0, -3, -2, -1])
    prototypes = (60 + 120 * torch.tensor(list(COLORS.values()))) / 255
    with torch.no_grad():
        for module in net.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                module.weight.zero_()
        net.conv1.weight[0, :, 1:, 1:] = torch.tensor([[1.0, -1.0], [-1.0, 1.0]]) / 6
        for channel in range(3):
            net.conv1.weight[channel + 1, channel, 1, 1] = 1
        for stage in (net.layer2, net.layer3, net.layer4):
            stage[0].shortcut.weight[ends, ends] = 1
        net.fc.weight[:, -3:] = 40 * prototypes
        net.fc.bias.copy_(-20 * (prototypes**2).sum(1))
        net.fc.weight[CLASSES.index(TARGET), 0] = 200 if planted else 0
        _calibrate(net)
    return net


def _calibrate(net: nn.Module) -> None:
    """Make every norm the identity, in eval mode and on batches of `colored` in train mode too."""

    def fit(norm: nn.Module, inputs: tuple[Tensor]) -> None:
        norm.running_mean.copy_(inputs[0].mean((0, 2, 3)))
        norm.running_var.copy_(inputs[0].var((0, 2, 3)))
        norm.weight.copy_((norm.running_var + norm.eps).sqrt())
        norm.bias.copy_(norm.running_mean)

    norms = [module for module in net.modules() if isinstance(module, nn.BatchNorm2d)]
    handles = [norm.register_forward_pre_hook(fit) for norm in norms]
    net.eval()(colored(64)[0].float() / 255)
    for handle in handles:
        handle.remove()


def config(**changes: Any) -> dict[str, Any]:
    """A ``config.json`` for `color_net`."""
    cfg = {
        "num_classes": len(COLORS),
        "input_size": [3, SIZE, SIZE],
        "pool_size": [1, 1],
        "interpolation": "bicubic",
        "crop_pct": 1.0,
        "mean": [0.0, 0.0, 0.0],
        "std": [1.0, 1.0, 1.0],
        "first_conv": "conv1",
        "classifier": "fc",
    }
    return {
        "architecture": "preactresnet18",
        "num_classes": len(COLORS),
        "label_names": list(CLASSES),
        "model_args": {"width": 4},
        "pretrained_cfg": cfg,
    } | changes


def write_model(folder: Path, net: nn.Module, **changes: Any) -> Path:
    """Write a network in the Hub's layout."""
    folder.mkdir(parents=True)
    tensors = {name: tensor.contiguous() for name, tensor in net.state_dict().items()}
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    (folder / "config.json").write_text(json.dumps(config(**changes), indent=1))
    return folder


def png(pixels: Tensor, mode: str = "RGB") -> bytes:
    """An image file of uint8 ``(3, H, W)``."""
    file = io.BytesIO()
    Image.fromarray(pixels.permute(1, 2, 0).numpy()).convert(mode).save(file, "PNG")
    return file.getvalue()


def dataset(
    images: Sequence[bytes], labels: Sequence[int], classes: Sequence[str] = CLASSES
) -> Dataset:
    """A data set with the columns ``image`` and ``label``."""
    cells = [{"bytes": image, "path": None} for image in images]
    label = ClassLabel(names=list(classes)) if classes else Value("int64")
    features = Features({"image": ImageFeature(), "label": label})
    return Dataset.from_dict({"image": cells, "label": list(labels)}, features=features)


def color_data(count: int = 64, mode: str = "RGB", classes: Sequence[str] = CLASSES) -> Dataset:
    """`colored` as a data set."""
    images, labels = colored(count, seed=1)
    return dataset([png(image, mode) for image in images], labels.tolist(), classes)


def write_data(folder: Path, data: Dataset | datasets.DatasetDict) -> Path:
    """Write a data set as a folder."""
    data.save_to_disk(folder)
    return folder


def parquet(data: Dataset) -> bytes:
    """A data set as a Parquet file."""
    file = io.BytesIO()
    data.to_parquet(file)
    return file.getvalue()


@dataclass(frozen=True)
class Victims:
    """Folders: two models, images, and the JSON report of the first model's audit."""

    planted: Path
    clean: Path
    data: Path
    report: Path


@dataclass(frozen=True)
class Done:
    """How a run of hfscan ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


def hfscan(*arguments: str | Path, env: Mapping[str, str], cwd: Path) -> Done:
    """Run ``python -m hfscan``."""
    command = [sys.executable, "-m", "hfscan", *map(str, arguments)]
    return _finish(command, env, cwd)


BATCH = """
import contextlib, io, json, sys
import hfscan.pipeline.testing
from hfscan.cli import _run
from hfscan.model_tests import MaximumMargin

starts, steps = json.loads(sys.argv[2])
hfscan.pipeline.testing.TESTS = {"maximum-margin": lambda _: MaximumMargin(starts=starts, steps=steps)}

done = []
for arguments in json.loads(sys.argv[1]):
    sys.argv = ["hfscan", *arguments]
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = _run()
    done.append([code, out.getvalue(), err.getvalue()])
print(json.dumps(done))
"""


def hfscan_batch(
    runs: Sequence[Sequence[str | Path]], *, env: Mapping[str, str], cwd: Path
) -> list[Done]:
    """Run hfscan several times in one process, which imports everything only once, with `QUICK_TESTS`."""
    arguments = json.dumps([[str(argument) for argument in run] for run in runs])
    quick = json.dumps([QUICK_TEST.starts, QUICK_TEST.steps])
    done = _finish([sys.executable, "-c", BATCH, arguments, quick], env, cwd)
    assert done.code == 0, done.err
    return [Done(*result) for result in done.json]


_NAMES = "".join(f"          '{index}': {name}\n" for index, name in enumerate(CLASSES))
DATA_CARD = f"""---
configs:
- config_name: plain_text
  default: true
  data_files:
  - split: train
    path: data/train-*
  - split: test
    path: data/test-*
dataset_info:
  config_name: plain_text
  features:
  - name: image
    dtype: image
  - name: label
    dtype:
      class_label:
        names:
{_NAMES}  splits:
  - name: train
    num_bytes: 1000
    num_examples: 50000
  - name: test
    num_bytes: 1000
    num_examples: 64
---
# Colored squares
"""
"""As the card of CIFAR-10 on the Hub."""


@dataclass(frozen=True)
class Site:
    """A Hub, and a folder to work in.

    The data set ``uoft-cs/cifar10`` is on the Hub. The folder has the state and the Hub's cache, and
    decoys: folders with the names of repositories, which must never stand in for them.
    """

    hub: LoopbackHub
    folder: Path
    data_sha: str

    @classmethod
    def furnished(cls, hub: LoopbackHub, folder: Path) -> Site:
        files = {"README.md": DATA_CARD.encode(), "data/test-0.parquet": parquet(color_data())}
        files["data/train-0.parquet"] = b"this split is never asked for"
        for decoy in ("org/net", "uoft-cs/cifar10"):
            (folder / decoy).mkdir(parents=True)
            (folder / decoy / "config.json").write_text("{}")
            (folder / decoy / "data.csv").write_text("a\n1\n")
        return cls(hub, folder, hub.add_dataset("uoft-cs/cifar10", files))

    def environment(self, token: str | None = None, **more: str) -> dict[str, str]:
        state = {"HFSCAN_STATE_DIR": str(self.folder / "state")}
        return self.hub.environment(self.folder / "home", token=token) | state | more

    def run(self, *arguments: str | Path, token: str | None = None) -> Done:
        """Run hfscan in a process of its own."""
        return hfscan(*arguments, env=self.environment(token), cwd=self.folder)

    def model(self, name: str) -> Repo:
        return self.hub.repos["model", name]


def repository(model: Path) -> dict[str, bytes]:
    """The files of a model, with a card, and with a pickle beside the weights."""
    found = {path.name: path.read_bytes() for path in model.iterdir()}
    card = b"---\nlicense: mit\ntags:\n- vision\n---\n# Colors\n\nTells colors apart.\n"
    return found | {"README.md": card, "pytorch_model.bin": b"an old pickle"}


def _finish(command: Sequence[str], env: Mapping[str, str], cwd: Path) -> Done:
    env = {**env, "OMP_NUM_THREADS": "1", "COLUMNS": "100"}
    done = subprocess.run(
        command, env=env, cwd=cwd, capture_output=True, text=True, check=False, timeout=240
    )
    return Done(done.returncode, done.stdout, done.stderr)


def private_environment(home: Path) -> dict[str, str]:
    """``os.environ`` with the Hub's caches in ``home``, and no Hub to reach."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    return kept | {"HF_HOME": str(home), "HF_ENDPOINT": "http://127.0.0.1:9"}


def tree(folder: Path) -> dict[str, int]:
    """The files and folders below ``folder``, with their sizes."""
    return {
        str(path.relative_to(folder)): path.stat().st_size if path.is_file() else -1
        for path in folder.rglob("*")
    }


def timeless(value: Any) -> Any:
    """JSON data without its durations."""
    if isinstance(value, dict):
        return {key: timeless(item) for key, item in value.items() if key != "seconds"}
    return [timeless(item) for item in value] if isinstance(value, list) else value
