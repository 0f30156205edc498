from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from hfscan.checkpoint import Checkpoint
from hfscan.errors import ModelError
from hfscan.train import FitConfig, fit
from hfscan.types import ImageSet


class KilledError(Exception):
    """Stands for the end of the process."""


def dying(after: int) -> Any:
    """A `Progress` that ends training before a step."""

    def progress(sequence: Any, description: str, total: float) -> Any:
        for count, item in enumerate(sequence):
            if count == after:
                raise KilledError
            yield item

    return progress


def learner() -> nn.Module:
    """With a norm, whose statistics are state too, and dropout, which draws random numbers."""
    torch.manual_seed(0)
    conv = nn.Conv2d(3, 4, 3)
    return nn.Sequential(conv, nn.BatchNorm2d(4), nn.Flatten(), nn.Dropout(), nn.Linear(144, 4))


@pytest.mark.parametrize("schedule", ["cosine", "one-cycle"])
@pytest.mark.parametrize("after", [1, 5, 7])
def test_an_interrupted_training_ends_as_if_it_had_not_been(
    tiny_set: ImageSet, tmp_path: Path, schedule: Any, after: int
) -> None:
    config = FitConfig(epochs=4, lr=0.1, batch_size=16, padding=1, schedule=schedule)
    whole, resumed = learner(), learner()
    expected = fit(whole, tiny_set, config)
    checkpoint = Checkpoint(tmp_path / "x.safetensors")
    with pytest.raises(KilledError):
        fit(resumed, tiny_set, config, checkpoint=checkpoint, progress=dying(after))
    assert checkpoint.path.exists() == (after >= 3)
    fresh = learner()  # as in a new process
    losses = fit(fresh, tiny_set, config, checkpoint=checkpoint)
    assert losses == expected
    for name, tensor in fresh.state_dict().items():
        assert torch.equal(tensor, whole.state_dict()[name]), name


def test_what_is_done_is_not_done_again(tiny_set: ImageSet, tmp_path: Path) -> None:
    config = FitConfig(epochs=1, batch_size=16, padding=1)
    checkpoint = Checkpoint(tmp_path / "x.safetensors")
    losses = fit(learner(), tiny_set, config, checkpoint=checkpoint)
    assert fit(learner(), tiny_set, config, checkpoint=checkpoint, progress=dying(0)) == losses
    assert [path.name for path in tmp_path.iterdir()] == ["x.safetensors"]
    checkpoint.remove()
    checkpoint.remove()
    assert not list(tmp_path.iterdir())


def test_a_damaged_checkpoint(tiny_set: ImageSet, tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    path.write_bytes(b"nonsense")
    with pytest.raises(ModelError, match="damaged"):
        fit(learner(), tiny_set, FitConfig(epochs=1), checkpoint=Checkpoint(path))
