from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace

import pytest
import timm
import torch
from torch import Tensor, nn

from hfscan.bench.defenses.ft import FineTuning
from hfscan.bench.defenses.nad import AttentionDistillation, attention, distilling
from hfscan.channels import watch_all
from hfscan.errors import AuditError
from hfscan.train import Objective
from hfscan.types import ImageSet

from .support import TUNING

LAYERS = ["layer1", "layer2", "layer3"]


def network(seed: int) -> nn.Module:
    torch.manual_seed(seed)
    return timm.create_model("preactresnet18", width=4, num_classes=4).eval()


def maps_of(net: nn.Module, images: ImageSet) -> list[Tensor]:
    with torch.no_grad():
        return watch_all(net, LAYERS, images.images / 255, attention)[0]


def test_attention_is_where_the_channels_are_large() -> None:
    maps = torch.zeros(1, 5, 2, 3)
    maps[0, :, 1, 2] = -3
    maps[0, 0, 0, 0] = 3
    found = attention(maps)
    torch.testing.assert_close(found.norm(dim=1), torch.ones(1))
    assert found.argmax() == 5
    torch.testing.assert_close(found[0, 5], 5 * found[0, 0])


def test_the_student_takes_over_the_teachers_attention(tiny_set: ImageSet) -> None:
    """With the student's labels out of play, the distance to another network's attention falls."""
    teacher, student = network(0), network(1)
    objective = distilling(teacher, LAYERS, 1000.0)
    optimizer = torch.optim.SGD(student.parameters(), lr=1e-3)
    pixels, labels = tiny_set.images / 255, tiny_set.labels

    def distance() -> float:
        pairs = zip(maps_of(student, tiny_set), maps_of(teacher, tiny_set), strict=True)
        return sum(float((a - b).square().mean()) for a, b in pairs)

    before = distance()
    for _ in range(10):
        optimizer.zero_grad()
        objective(student, pixels, labels).backward()
        optimizer.step()
    assert distance() < 0.7 * before
    assert all(parameter.grad is None for parameter in teacher.parameters())


def test_a_copy_is_at_no_distance(tiny_set: ImageSet) -> None:
    net = network(0)
    pixels, labels = tiny_set.images / 255, tiny_set.labels
    loss = distilling(copy.deepcopy(net), LAYERS, 1e6)(net, pixels, labels)
    torch.testing.assert_close(loss, nn.functional.cross_entropy(net(pixels), labels))


def test_beta_counts(tiny_set: ImageSet) -> None:
    defense = AttentionDistillation(tuning=replace(TUNING, lr=0.01))
    results = [
        replace(defense, beta=beta).repair(network(0), tiny_set, seed=0).net for beta in (0.0, 1e3)
    ]
    assert not torch.equal(results[0].conv1.weight, results[1].conv1.weight)


def test_the_teacher_is_fine_tuned(tiny_set: ImageSet, monkeypatch: pytest.MonkeyPatch) -> None:
    teachers: list[nn.Module] = []

    def noted(teacher: nn.Module, layers: Sequence[str], beta: float) -> Objective:
        teachers.append(teacher)
        return distilling(teacher, layers, beta)

    monkeypatch.setattr("hfscan.bench.defenses.nad.distilling", noted)
    AttentionDistillation(tuning=TUNING).repair(network(0), tiny_set, seed=3)
    (teacher,) = teachers
    expected = FineTuning(TUNING).repair(network(0), tiny_set, seed=3).net.state_dict()
    assert all(torch.equal(value, expected[key]) for key, value in teacher.state_dict().items())
    assert not torch.equal(teacher.conv1.weight, network(0).conv1.weight)


def test_a_network_without_maps(tiny_set: ImageSet) -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(192, 4))
    with pytest.raises(AuditError, match="no feature maps"):
        AttentionDistillation().repair(net, tiny_set, seed=0)
