from __future__ import annotations

from dataclasses import replace

import torch
from torch import nn

from hfscan.bench.defenses.ft import TUNING, FineTuning
from hfscan.metrics import accuracy
from hfscan.types import ImageSet


def test_it_learns_the_clean_labels(tiny_net: nn.Module, tiny_set: ImageSet) -> None:
    with torch.no_grad():
        tiny_net.fc.bias[3] = 0  # gray is lost
    before = accuracy(tiny_net, tiny_set)
    tuning = replace(TUNING, epochs=30, lr=0.002, batch_size=16, padding=1)
    result = FineTuning(tuning).repair(tiny_net, tiny_set, seed=0)
    assert before == accuracy(tiny_net, tiny_set) == 0.75
    assert accuracy(result.net, tiny_set) == 1.0
    assert result.erased == {}


def test_the_papers_configuration() -> None:
    tuning = FineTuning().tuning
    assert (tuning.epochs, tuning.lr, tuning.batch_size, tuning.momentum) == (10, 0.01, 256, 0.9)
    assert tuning.schedule == "cosine"
