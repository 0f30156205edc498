from __future__ import annotations

import torch
from torch import nn

from hfscan.bench.defenses.fmt_tac import TriggerActivatedErasing
from hfscan.types import ImageSet


def test_where_no_class_is_suspected(tiny_net: nn.Module, tiny_set: ImageSet) -> None:
    result = TriggerActivatedErasing().repair(tiny_net, tiny_set, seed=0)
    assert result.how == "FMT-TAC: no class is suspected, left as it was"
    assert result.erased == {}
    images = tiny_set.images / 255
    assert torch.equal(result.net(images), tiny_net(images))
