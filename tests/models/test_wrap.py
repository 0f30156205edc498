from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import timm
import torch
from torch import Tensor, nn

import hfscan
from hfscan.errors import ModelError
from hfscan.models.classifier import architecture_of, inner
from hfscan.types import HubModel, ImageSet

IMAGES = torch.rand(3, 3, 8, 8, generator=torch.Generator().manual_seed(0))


class Returning(nn.Module):
    """A network with something around its logits."""

    def __init__(self, net: nn.Module, output: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.inside, self.output = net, output

    def forward(self, x: Tensor) -> Any:
        return self.output(self.inside(x))


def wrap(net: nn.Module, channels: int = 3, classes: int = 4, **options: Any) -> HubModel:
    return hfscan.wrap(net, input_size=(channels, 8, 8), num_classes=classes, **options)


OUTPUTS: dict[str, Callable[[Tensor], Any]] = {
    "logits": lambda y: y,
    "tuple": lambda y: (y, y.mean()),
    "list": lambda y: [y[:, :, None], y],
    "dict": lambda y: {"aux": 5 * y, "logits": y},
    "dict without logits": lambda y: {"features": y[:, :, None], "out": y},
}


@pytest.mark.parametrize("output", OUTPUTS.values(), ids=OUTPUTS)
def test_logits_are_found(tiny_net: nn.Module, output: Callable[[Tensor], Any]) -> None:
    model = wrap(Returning(tiny_net, output))
    assert torch.equal(model.net(IMAGES), tiny_net(IMAGES))


NORMALIZED: dict[str, Callable[[Tensor], Any]] = {
    "softmax": lambda y: y.softmax(1),
    "log-softmax": lambda y: y.log_softmax(1),
    "softmax in a tuple": lambda y: (y.softmax(1),),
}


@pytest.mark.parametrize("output", NORMALIZED.values(), ids=NORMALIZED)
def test_probabilities_become_logits(tiny_net: nn.Module, output: Callable[[Tensor], Any]) -> None:
    model = wrap(Returning(tiny_net, output))
    expected = tiny_net(IMAGES).log_softmax(1)
    torch.testing.assert_close(model.net(IMAGES), expected, rtol=1e-4, atol=1e-4)


def test_certain_probabilities_stay_finite() -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(192, 4), nn.Softmax(1))
    with torch.no_grad():
        net[1].weight.fill_(0)
        net[1].bias.copy_(torch.tensor([0.0, 1000.0, 0.0, 0.0]))
    logits = wrap(net).net(IMAGES)
    assert torch.isfinite(logits).all()
    assert logits.argmax(1).tolist() == [1, 1, 1]


def test_normalization_is_inside(tiny_net: nn.Module) -> None:
    mean, std = (0.1, 0.2, 0.3), (0.5, 0.6, 0.7)
    model = wrap(tiny_net, mean=mean, std=std)
    shaped = [torch.tensor(values).view(1, 3, 1, 1) for values in (mean, std)]
    torch.testing.assert_close(model.net(IMAGES), tiny_net((IMAGES - shaped[0]) / shaped[1]))
    assert (model.mean, model.std) == (mean, std)


def test_one_input_channel_gets_the_luma() -> None:
    net = nn.Sequential(nn.Conv2d(1, 4, 8), nn.Flatten())
    model = wrap(net, channels=1, mean=[0.5], std=[0.25])
    luma = (IMAGES * torch.tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)).sum(1, keepdim=True)
    torch.testing.assert_close(model.net(IMAGES), net((luma - 0.5) / 0.25))


def test_the_facts(tiny_model: HubModel, tiny_net: nn.Module, tiny_set: ImageSet) -> None:
    assert inner(tiny_model.net) is tiny_net
    assert tiny_model.architecture == "TinyNet"
    assert tiny_model.label_names == tiny_set.classes
    assert tiny_model.revision is tiny_model.folder is None
    assert len(tiny_model.weights_sha256) == 64
    assert vars(tiny_model.facts).keys() == vars(tiny_model).keys() - {"net", "folder"}


def test_a_network_of_timm_keeps_its_name() -> None:
    net = timm.create_model("resnet10t", num_classes=4)
    model = wrap(net.eval(), channels=3)
    assert model.architecture == "resnet10t"
    assert architecture_of(model.net) == architecture_of(net) == "resnet10t"


def test_the_digest_is_of_the_weights(tiny_net: nn.Module) -> None:
    digests = [wrap(net).weights_sha256 for net in (tiny_net, copy.deepcopy(tiny_net))]
    with torch.no_grad():
        tiny_net.fc.bias[0] += 1
    digests.append(wrap(tiny_net).weights_sha256)
    assert digests[0] == digests[1] != digests[2]


def test_the_module_is_left_as_it_was(tiny_net: nn.Module) -> None:
    tiny_net.train()
    before = copy.deepcopy(tiny_net.state_dict())
    random_state = torch.random.get_rng_state()
    wrap(tiny_net)
    assert tiny_net.training
    assert tiny_net.bn1.training
    assert all(parameter.requires_grad for parameter in tiny_net.parameters())
    assert all(torch.equal(before[key], value) for key, value in tiny_net.state_dict().items())
    assert torch.equal(torch.random.get_rng_state(), random_state)


def failing(y: Tensor) -> Tensor:
    raise ValueError("planned\nfailure")


@pytest.mark.parametrize(
    ("output", "message"),
    [
        (lambda y: y * torch.nan, "NaN or infinite"),
        (lambda y: y / 0, "NaN or infinite"),
        (lambda y: y[:, :3], "returns 3 classes, 4 are declared"),
        (lambda y: y[:, :, None, None], "returns Tensor, no tensor of shape"),
        (lambda y: None, "returns NoneType"),
        (lambda y: {"boxes": y[0]}, "no tensor of shape"),
        (failing, r"fails on images of 8x8 pixels \(planned\)"),
    ],
)
def test_unusable_outputs(
    tiny_net: nn.Module, output: Callable[[Tensor], Any], message: str
) -> None:
    with pytest.raises(ModelError, match=message):
        wrap(Returning(tiny_net, output))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"channels": 4}, "wants 4 input channels"),
        ({"channels": 1}, "fails on images of 8x8"),
        ({"mean": [0.5], "std": [0.5]}, "do not fit 3 input channels"),
        ({"std": [0.5, 0.5, 0.0]}, "do not fit 3 input channels"),
        ({"classes": 10}, "returns 4 classes, 10 are declared"),
        ({"label_names": ["a", "b"]}, "2 label names for 4 classes"),
    ],
    ids=str,
)
def test_wrong_descriptions(tiny_net: nn.Module, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        wrap(tiny_net, **options)


def test_a_network_without_parameters() -> None:
    with pytest.raises(ModelError, match="no parameters"):
        wrap(nn.Sequential(nn.AdaptiveAvgPool2d((2, 2)), nn.Flatten()), classes=12)
