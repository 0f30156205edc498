from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

import hfscan
from hfscan.errors import ModelError
from hfscan.hub.save import config_of, save
from hfscan.hub.untrained import untrained
from hfscan.types import HubModel


def fresh(architecture: str = "preactresnet18", seed: int = 0, **args: int) -> HubModel:
    return untrained(
        architecture,
        input_size=(3, 32, 32),
        num_classes=4,
        mean=(0.5, 0.4, 0.3),
        std=(0.2, 0.2, 0.2),
        model_args=args,
        seed=seed,
    )


def test_the_seed_decides_and_the_global_state_is_kept() -> None:
    state = torch.random.get_rng_state()
    digests = [fresh(width=4, seed=seed).weights_sha256 for seed in (0, 0, 1)]
    assert digests[0] == digests[1] != digests[2]
    assert torch.equal(torch.random.get_rng_state(), state)


def test_it_can_be_saved_and_loaded(tmp_path: Path) -> None:
    model = fresh(width=4)
    config = json.dumps(config_of(model, {"width": 4})).encode()
    save(model, tmp_path / "x", more={"config.json": config, "note.txt": b"yes"})
    loaded = hfscan.load(str(tmp_path / "x"))
    assert loaded.architecture == "preactresnet18"
    assert loaded.mean == (0.5, 0.4, 0.3)
    assert (tmp_path / "x" / "note.txt").read_bytes() == b"yes"


def test_what_cannot_be_built() -> None:
    with pytest.raises(ModelError, match="timm does not know the architecture 'nothing'"):
        fresh("nothing")
    with pytest.raises(ModelError, match="preactresnet18 cannot be built"):
        fresh(depth=3)
