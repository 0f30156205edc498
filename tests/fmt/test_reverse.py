from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import pytest
import timm
import torch
from benchmarks.naive_fmt import naive_profile
from torch import Tensor, nn

from hfscan.channels import conv_layers, probing
from hfscan.fmt.engine import Responses, make_engine
from hfscan.fmt.reverse import reverse_features, start
from hfscan.types import AuditSettings, ImageSet

SETTINGS = AuditSettings(steps=3, step_size=0.03, eps=0.05, gradient="every")


def inverted_residual() -> nn.Module:
    """Pointwise, depthwise and grouped convolutions, with activations in place."""
    return nn.Sequential(
        nn.Conv2d(3, 8, 1),
        nn.ReLU6(inplace=True),
        nn.Conv2d(8, 8, 3, padding=1, groups=8, bias=False),
        nn.BatchNorm2d(8),
        nn.Hardswish(inplace=True),
        nn.Conv2d(8, 4, 3, stride=2, groups=2),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(4, 4),
    )


NETS: dict[str, Callable[[], nn.Module]] = {
    "preactresnet18": lambda: timm.create_model("preactresnet18", width=4),
    "resnet": lambda: timm.create_model("test_resnet", num_classes=5),
    "depthwise": inverted_residual,
}


@pytest.fixture(params=["tiny_net", *NETS])
def net(request: pytest.FixtureRequest) -> nn.Module:
    torch.manual_seed(0)
    made = NETS[request.param]() if request.param in NETS else request.getfixturevalue("tiny_net")
    return made.eval()


@pytest.fixture
def images() -> Tensor:
    return torch.rand(4, 3, 16, 16, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def noise() -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return (2 * torch.rand(4, 3, 16, 16, generator=generator) - 1) * SETTINGS.step_size


def literal(
    net: nn.Module, layer: str, channel: int, images: Tensor, noise: Tensor
) -> Iterator[tuple[Tensor, Tensor]]:
    """Algorithm 1 line by line: one channel, whole passes, nothing shared."""
    maps: list[Tensor] = []
    module = net.get_submodule(layer)
    hook = module.register_forward_hook(lambda m, x, y: maps.append(y[:, channel].clone()))

    def feature(x: Tensor) -> Tensor:
        maps.clear()
        net(x)
        return maps[0]

    perturbed = images + noise
    clean = feature(images).detach()
    for _ in range(SETTINGS.steps):
        perturbed = perturbed.detach().requires_grad_()
        loss = (clean - feature(perturbed)).pow(2).sum()
        (gradient,) = torch.autograd.grad(loss, perturbed)
        perturbed = perturbed.detach() + SETTINGS.step_size * gradient.sign()
        change = torch.clamp(perturbed - images, -SETTINGS.eps, SETTINGS.eps)
        perturbed = torch.clamp(images + change, 0, 1)
        yield perturbed, net(perturbed).detach()
    hook.remove()


def test_equals_the_literal_algorithm(net: nn.Module, images: Tensor, noise: Tensor) -> None:
    for layer in conv_layers(net, images[:1]):
        channels = sorted({0, layer.channels // 2, layer.channels - 1})
        plain = [list(literal(net, layer.name, channel, images, noise)) for channel in channels]
        with probing(net):
            begin = start(net, layer.name, images, noise)
            shared = list(reverse_features(net, begin, channels, SETTINGS))
        for step, (perturbed, logits) in enumerate(shared):
            expected = torch.cat([results[step][0] for results in plain])
            assert (perturbed - expected).abs().gt(1e-6).float().mean() < 1e-3, layer.name
            classes = torch.cat([results[step][1] for results in plain]).argmax(1)
            assert logits.argmax(1).tolist() == classes.tolist(), layer.name


def test_channels_that_share_a_backward_pass_do_not_disturb_each_other(
    net: nn.Module, images: Tensor, noise: Tensor
) -> None:
    layer = conv_layers(net, images[:1])[-1]
    channels = [0, layer.channels - 1, 1]  # two passes: the second has room left
    with probing(net):
        alone, shared = (
            list(reverse_features(net, begin, channels, SETTINGS))
            for begin in (start(net, layer.name, images, noise, copies=n) for n in (1, 2))
        )
    for (one, _), (other, _) in zip(alone, shared, strict=True):
        assert (one - other).abs().gt(1e-6).float().mean() < 1e-3


def test_equals_the_published_procedure(net: nn.Module, images: Tensor, noise: Tensor) -> None:
    settings = replace(SETTINGS, gradient="start")
    labels = torch.zeros(len(images), dtype=torch.int64)
    clean = ImageSet("noise", images.mul(255).round().to(torch.uint8), labels)
    engine = make_engine(net, clean, settings)
    expected = dict(naive_profile(net, engine.pixels, engine.noise, settings))
    assert len(expected) >= 2
    for layer in engine.layers:
        responses = Responses.empty(layer.channels, len(images), settings.steps)
        list(engine.test(layer, responses, range(layer.channels), range(len(images))))
        differs = responses.predicted != expected[layer.name].permute(0, 2, 1).numpy()
        near = np.abs(responses.margin) < 1e-3  # a tie may go either way
        assert not (differs & ~near).any(), layer.name
        assert differs.mean() < 0.01, layer.name


def test_bounds(net: nn.Module, images: Tensor, noise: Tensor) -> None:
    images = images.round(decimals=1)  # some pixels are exactly 0 or 1
    for layer in conv_layers(net, images[:1]):
        with probing(net):
            begin = start(net, layer.name, images, noise)
            for perturbed, logits in reverse_features(net, begin, [1, 0], SETTINGS):
                change = (perturbed - images.repeat(2, 1, 1, 1)).abs().max()
                assert 0.9 * SETTINGS.step_size < change < SETTINGS.eps + 1e-6
                assert perturbed.min() >= 0
                assert perturbed.max() <= 1
                assert not perturbed.requires_grad
                assert not logits.requires_grad
    assert torch.equal(images, images.round(decimals=1))


def test_the_map_moves_away_from_the_clean_one(
    tiny_net: nn.Module, images: Tensor, noise: Tensor
) -> None:
    with probing(tiny_net):
        begin = start(tiny_net, "conv1", images, noise)
        distances = [(begin.maps - begin.clean)[:, 5].square().sum()]
        for perturbed, _ in reverse_features(tiny_net, begin, [5], SETTINGS):
            distances.append((tiny_net.conv1(perturbed) - begin.clean)[:, 5].square().sum())
    assert distances[0] < distances[1] < distances[2]
