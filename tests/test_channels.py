from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import pytest
import timm
import torch
import torch.nn.functional as F
from timm.layers import BatchNormAct2d, CondConv2d, LayerNorm2d, ScaledStdConv2d, StdConv2d
from torch import Tensor, nn

from hfscan.channels import (
    conv_layers,
    erase,
    feature_map,
    kept_rows,
    outer_name,
    probing,
    stages,
    watch,
    watch_all,
)
from hfscan.errors import AuditError
from hfscan.models.classifier import Classifier

IMAGE = torch.rand(1, 3, 8, 8, generator=torch.Generator().manual_seed(3))
IMAGES = torch.rand(4, 3, 8, 8, generator=torch.Generator().manual_seed(4))


def randomized(net: nn.Module) -> nn.Module:
    """``net`` in eval mode, every parameter and buffer away from its default of 0 or 1."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for tensor in [*net.parameters(), *(b for b in net.buffers() if b.is_floating_point())]:
            tensor.copy_(torch.rand(tensor.shape, generator=generator) * 0.6 + 0.2)
    return net.eval()


def classifier(**body: nn.Module) -> nn.Module:
    """Named modules in a row, then pooling and a linear layer on 8 channels."""
    tail = {"pool": nn.AdaptiveAvgPool2d(1), "flat": nn.Flatten(), "fc": nn.Linear(8, 4)}
    return randomized(nn.Sequential(OrderedDict(**body, **tail)))


class Net(nn.Module):
    """A network whose forward pass is a function of its modules and the images."""

    def __init__(self, forward: Callable[[Net, Tensor], Tensor], **modules: nn.Module) -> None:
        super().__init__()
        self.function = forward
        for name, module in modules.items():
            self.add_module(name, module)

    def forward(self, x: Tensor) -> Tensor:
        return self.function(self, x)


def net(forward: Callable[[Net, Tensor], Tensor], **modules: nn.Module) -> nn.Module:
    return randomized(Net(forward, **modules))


def convnext_like() -> nn.Module:
    """A norm over the last axis, of a permuted view of the conv's output."""

    def forward(self: Net, x: Tensor) -> Tensor:
        x = self.conv(x).permute(0, 2, 3, 1)
        return self.norm(x).mean((1, 2))

    return net(forward, conv=nn.Conv2d(3, 8, 3), norm=nn.LayerNorm(8))


def conv(channels: int = 8, inputs: int = 3, **options: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, channels, 3, padding=1, **options)


PAIRED: dict[str, Callable[[], nn.Module]] = {
    "batch norm": lambda: classifier(conv=conv(), norm=nn.BatchNorm2d(8), act=nn.ReLU()),
    "grouped": lambda: classifier(
        stem=conv(), conv=conv(inputs=8, groups=2), norm=nn.BatchNorm2d(8)
    ),
    "depthwise": lambda: classifier(
        stem=conv(), conv=conv(inputs=8, groups=8), norm=nn.BatchNorm2d(8)
    ),
    "StdConv2d": lambda: classifier(
        conv=StdConv2d(3, 8, 3, bias=True), norm=nn.GroupNorm(4, 8), act=nn.ReLU(inplace=True)
    ),
    "ScaledStdConv2d": lambda: classifier(
        conv=ScaledStdConv2d(3, 8, 3), norm=nn.BatchNorm2d(8), act=nn.ReLU()
    ),
    "one group": lambda: classifier(conv=conv(), norm=nn.GroupNorm(1, 8), act=nn.ReLU()),
    "LayerNorm2d": lambda: classifier(conv=conv(), norm=LayerNorm2d(8), act=nn.GELU()),
    "channels-last layer norm": convnext_like,
    "BatchNormAct2d": lambda: classifier(
        conv=conv(), norm=BatchNormAct2d(8, act_kwargs={"inplace": True})
    ),
}


@pytest.fixture(params=PAIRED)
def paired(request: pytest.FixtureRequest) -> nn.Module:
    """A network with a layer ``conv`` whose output ``norm`` consumes."""
    return PAIRED[request.param]()


def outputs(net: nn.Module, *names: str) -> dict[str, Tensor]:
    """Copies of what the modules return for `IMAGES`."""
    seen: dict[str, Tensor] = {}

    def keep(name: str, module: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> None:
        seen[name] = output.clone()

    handles = [net.get_submodule(name).register_forward_hook(partial(keep, name)) for name in names]
    with torch.no_grad():
        net(IMAGES)
    for handle in handles:
        handle.remove()
    return seen


def hooked(net: nn.Module) -> list[nn.Module]:
    return [m for m in net.modules() if m._forward_hooks or m._forward_pre_hooks]


# --- finding and pairing


def test_pairing(paired: nn.Module) -> None:
    assert {layer.name: layer.norms for layer in conv_layers(paired, IMAGE)}["conv"] == ("norm",)


def test_order_is_that_of_execution() -> None:
    model = net(lambda self, x: self.a(self.b(x)).mean((2, 3)), a=conv(inputs=8), b=conv())
    assert [layer.name for layer in conv_layers(model, IMAGE)] == ["b", "a"]


def test_preactivation_network() -> None:
    model = timm.create_model("preactresnet18", width=4)
    layers = conv_layers(model, IMAGE)
    names = [layer.name for layer in layers]
    assert len(names) == 20
    assert names.index("layer2.0.shortcut") < names.index("layer2.0.conv1")  # registered after it
    assert {layer.name: layer.norms for layer in layers if layer.norms} == {
        "conv1": ("layer1.0.bn1",),
        **{
            f"layer{stage}.{block}.conv1": (f"layer{stage}.{block}.bn2",)
            for stage in (1, 2, 3, 4)
            for block in (0, 1)
        },
    }


def test_a_norm_in_front_is_not_paired() -> None:
    model = classifier(before=nn.BatchNorm2d(3), conv=conv(), act=nn.ReLU())
    assert conv_layers(model, IMAGE)[0].norms == ()


@pytest.mark.parametrize("inplace", [True, False])
def test_a_norm_behind_an_activation_is_not_paired(inplace: bool) -> None:
    model = classifier(conv=conv(), act=nn.ReLU(inplace=inplace), norm=nn.BatchNorm2d(8))
    assert conv_layers(model, IMAGE)[0].norms == ()


def test_a_norm_behind_an_addition_in_place_is_not_paired() -> None:
    def forward(self: Net, x: Tensor) -> Tensor:
        shortcut = self.shortcut(x)
        out = self.conv(x)
        out += shortcut
        return self.norm(out).mean((2, 3))

    model = net(forward, conv=conv(), shortcut=conv(), norm=nn.BatchNorm2d(8))
    assert [layer.norms for layer in conv_layers(model, IMAGE)] == [(), ()]


def test_a_norm_of_some_of_the_channels_is_not_paired() -> None:
    def forward(self: Net, x: Tensor) -> Tensor:
        left, right = self.conv(x).chunk(2, 1)
        return (self.norm(left) + right).mean((2, 3))

    model = net(forward, conv=conv(), norm=nn.BatchNorm2d(4))
    assert conv_layers(model, IMAGE)[0].norms == ()
    erased = erase(model, {"conv": [7]}, IMAGE)
    assert not outputs(erased, "conv")["conv"][:, 7].any()


def test_a_conv_may_have_two_norms() -> None:
    def forward(self: Net, x: Tensor) -> Tensor:
        x = self.conv(x)
        return (self.one(x) + self.two(x)).mean((2, 3))

    model = net(forward, conv=conv(), one=nn.BatchNorm2d(8), two=nn.BatchNorm2d(8))
    assert conv_layers(model, IMAGE)[0].norms == ("one", "two")


def windows(self: Net, x: Tensor) -> Tensor:
    """The conv sees each half of an image as an image of its own."""
    halves = torch.cat(x.split(4, 2))
    return self.conv(halves).mean((2, 3)).unflatten(0, (2, -1)).mean(0)


def functional(self: Net, x: Tensor) -> Tensor:
    return F.conv2d(x, self.idle.weight).mean((2, 3))


UNSUPPORTED: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "Conv1d": (
        lambda: net(lambda s, x: s.conv(x.flatten(2)).mean(2), conv=nn.Conv1d(3, 8, 3)),
        "Conv1d is not supported",
    ),
    "Conv3d": (
        lambda: net(lambda s, x: s.conv(x[:, None]).mean((2, 3, 4)), conv=nn.Conv3d(1, 8, 3)),
        "Conv3d is not supported",
    ),
    "transposed": (
        lambda: net(lambda s, x: s.conv(x).mean((2, 3)), conv=nn.ConvTranspose2d(3, 8, 3)),
        "ConvTranspose2d is not supported",
    ),
    "CondConv2d": (
        lambda: net(
            lambda s, x: s.conv(x, x.new_ones(len(x), 2)).mean((2, 3)),
            conv=CondConv2d(3, 8, 3, num_experts=2),
        ),
        "CondConv2d is not supported",
    ),
    "parametrized": (
        lambda: classifier(conv=torch.nn.utils.parametrizations.weight_norm(conv())),
        "parametrized",
    ),
    "weight norm by hook": (
        lambda: classifier(conv=torch.nn.utils.spectral_norm(conv())),
        "computed from other tensors",
    ),
    "windows": (lambda: net(windows, conv=conv()), "shape (2, 8, 4, 8)"),
    "classes": (
        lambda: net(lambda s, x: s.conv(x).flatten(1), conv=nn.Conv2d(3, 8, 8)),
        "its channels are the classes themselves",
    ),
    "never called": (
        lambda: net(functional, idle=conv()),
        "the forward pass does not use it",
    ),
}


@pytest.mark.parametrize(("make", "reason"), UNSUPPORTED.values(), ids=UNSUPPORTED)
@pytest.mark.filterwarnings("ignore:.*spectral_norm.*:FutureWarning")
def test_unsupported_layers_are_listed_with_a_reason(
    make: Callable[[], nn.Module], reason: str
) -> None:
    model = make()
    (layer,) = conv_layers(model, IMAGE)
    assert layer.channels == 8
    assert reason in layer.skipped
    with pytest.raises(AuditError, match="cannot erase"):
        erase(model, {layer.name: [0]}, IMAGE)


def test_supported_layers_have_no_reason(paired: nn.Module) -> None:
    assert {layer.skipped for layer in conv_layers(paired, IMAGE)} == {""}


# --- erasing


def test_erased_channels_are_exactly_zero(paired: nn.Module) -> None:
    erased = outputs(erase(paired, {"conv": [1, 6]}, IMAGE), "conv", "norm")
    axis = -1 if type(paired.norm) is nn.LayerNorm else 1
    for maps in (erased["conv"], erased["norm"].movedim(axis, 1)):
        assert maps.flatten(2).abs().sum((0, 2)).eq(0).nonzero().flatten().tolist() == [1, 6]


def test_the_rest_of_the_network_is_unchanged(paired: nn.Module) -> None:
    before = {name: tensor.clone() for name, tensor in paired.state_dict().items()}
    after = erase(paired, {"conv": [1, 6]}, IMAGE).state_dict()
    for name, tensor in before.items():
        expected = tensor.clone()
        if name in ("conv.weight", "conv.bias", "norm.weight", "norm.bias"):
            expected[[1, 6]] = 0
        assert torch.equal(after[name], expected), name


def test_other_channels_of_a_batch_norm_are_unchanged() -> None:
    model = PAIRED["batch norm"]()
    rest = [0, 2, 3, 4, 5, 7]
    before, after = outputs(model, "norm"), outputs(erase(model, {"conv": [1, 6]}, IMAGE), "norm")
    torch.testing.assert_close(after["norm"][:, rest], before["norm"][:, rest])


def test_erasing_leaves_the_original_alone(paired: nn.Module) -> None:
    paired.train()
    before = {name: tensor.clone() for name, tensor in paired.state_dict().items()}
    erased = erase(paired, {"conv": [1]}, IMAGE)
    assert all(torch.equal(before[name], tensor) for name, tensor in paired.state_dict().items())
    assert all(module.training for module in [*paired.modules(), *erased.modules()])
    assert all(parameter.requires_grad for parameter in erased.parameters())


def test_erasing_nothing_changes_nothing(tiny_net: nn.Module) -> None:
    erased = erase(tiny_net, {"conv1": []}, IMAGE)
    assert torch.equal(erased(IMAGES), tiny_net(IMAGES))


@pytest.mark.parametrize(
    ("channels", "message"),
    [
        ({"conv9": [0]}, "conv9: there is no such conv layer"),
        ({"fc": [0]}, "fc: there is no such conv layer"),
        ({"conv1": [2, 8]}, "conv1 has 8 channels, no channel 8"),
        ({"conv1": [-1, 3]}, "conv1 has 8 channels, no channel -1"),
    ],
)
def test_unknown_layers_and_channels(
    tiny_net: nn.Module, channels: dict[str, list[int]], message: str
) -> None:
    with pytest.raises(AuditError, match=message):
        erase(tiny_net, channels, IMAGE)


# --- watching


class Failing(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        raise RuntimeError("planned")


def inplace_net() -> nn.Module:
    return classifier(conv=conv(), act=nn.Hardtanh(0.3, 0.4, inplace=True), norm=nn.BatchNorm2d(8))


def test_feature_map_is_what_the_conv_returned() -> None:
    model = inplace_net()
    maps = feature_map(model, "conv", IMAGES)
    torch.testing.assert_close(maps, F.conv2d(IMAGES, model.conv.weight, model.conv.bias, 1, 1))
    assert maps.max() > 0.4


def test_watch_sees_the_map_before_an_activation_in_place() -> None:
    model = inplace_net()
    images = IMAGES.clone().requires_grad_()
    with probing(model):
        picked, logits = watch(model, "conv", images, lambda output: output[:, 2].clone())
        expected = F.conv2d(images, model.conv.weight, model.conv.bias, 1, 1)[:, 2]
        torch.testing.assert_close(picked, expected)
        gradients = [torch.autograd.grad(y.square().sum(), images)[0] for y in (picked, expected)]
    torch.testing.assert_close(*gradients)
    torch.testing.assert_close(logits, model(IMAGES).detach())
    assert not logits.requires_grad


def test_what_comes_behind_is_computed_without_a_graph() -> None:
    model = classifier(conv=conv(), act=nn.ReLU(), norm=nn.BatchNorm2d(8))
    seen: list[bool] = []
    model.norm.register_forward_pre_hook(lambda module, args: seen.append(args[0].requires_grad))
    with probing(model):
        picked, _ = watch(model, "conv", IMAGES.clone().requires_grad_(), torch.clone)
    assert picked.requires_grad
    assert seen == [False]


def test_the_first_call_of_a_shared_layer_counts() -> None:
    model = net(lambda s, x: s.conv(s.conv(x)).mean((2, 3)), conv=conv(channels=3))
    first = F.conv2d(IMAGES, model.conv.weight, model.conv.bias, 1, 1)
    torch.testing.assert_close(feature_map(model, "conv", IMAGES), first)
    with probing(model):
        picked, logits = watch(model, "conv", IMAGES, torch.clone)
    torch.testing.assert_close(picked, first)
    torch.testing.assert_close(logits, model(IMAGES).detach())


def test_a_layer_out_of_reach() -> None:
    model = net(functional, idle=conv())
    with pytest.raises(AuditError, match="does not reach layer idle"):
        feature_map(model, "idle", IMAGES)
    with pytest.raises(AuditError, match="does not reach layer idle"):
        watch(model, "idle", IMAGES, torch.clone)
    assert not hooked(model)


def test_no_hook_is_left(tiny_net: nn.Module) -> None:
    assert not hooked(erase(tiny_net, {"conv1": [0]}, IMAGE))
    feature_map(tiny_net, "conv2", IMAGES)
    watch(tiny_net, "conv2", IMAGES, torch.clone)
    conv_layers(tiny_net, IMAGE)
    assert not hooked(tiny_net)


def test_no_hook_is_left_after_an_exception() -> None:
    model = classifier(conv=conv(), norm=nn.BatchNorm2d(8), failing=Failing()).train()
    for action in (
        lambda: conv_layers(model, IMAGE),
        lambda: erase(model, {"conv": [0]}, IMAGE),
        lambda: watch(model, "conv", IMAGES, torch.clone),
        lambda: feature_map(model, "failing", IMAGES),
    ):
        with pytest.raises(RuntimeError, match="planned"):
            action()
    assert not hooked(model)
    assert all(module.training for module in model.modules())


def test_hooks_of_others_are_kept(tiny_net: nn.Module) -> None:
    calls: list[nn.Module] = []
    tiny_net.conv1.register_forward_hook(lambda module, args, output: calls.append(module))
    conv_layers(tiny_net, IMAGE)
    assert hooked(tiny_net) == calls == [tiny_net.conv1]


# --- probing


@contextmanager
def state_kept(net: nn.Module) -> Iterator[None]:
    def state() -> list[object]:
        modes = [module.training for module in net.modules()]
        return [*modes, *(parameter.requires_grad for parameter in net.parameters())]

    before = state()
    yield
    assert state() == before


def test_probing_restores_modes_and_gradients(tiny_net: nn.Module) -> None:
    tiny_net.train()
    tiny_net.bn1.eval()
    tiny_net.fc.weight.requires_grad_(False)
    with state_kept(tiny_net), probing(tiny_net):
        assert not any(module.training for module in tiny_net.modules())
        assert not any(parameter.requires_grad for parameter in tiny_net.parameters())
    with state_kept(tiny_net), pytest.raises(RuntimeError, match="planned"), probing(tiny_net):
        raise RuntimeError("planned")


@pytest.mark.parametrize("wrapped", [False, True])
def test_rows_to_keep(wrapped: bool) -> None:
    """Zero exactly where `erase` writes zeros; the names are those of the whole network."""
    body = classifier(conv=nn.Conv2d(3, 8, 3), norm=nn.BatchNorm2d(8), last=nn.Conv2d(8, 8, 1))
    whole = Classifier(body, [0.0] * 3, [1.0] * 3) if wrapped else body
    channels = {"conv": [1, 5]}
    masks = kept_rows(whole, channels, IMAGE)
    assert masks.keys() == {
        outer_name(whole, name) for name in ("conv.weight", "conv.bias", "norm.weight", "norm.bias")
    }
    erased = dict(erase(whole, channels, IMAGE).named_parameters())
    for name, parameter in whole.named_parameters():
        kept = parameter * masks[name] if name in masks else parameter
        assert torch.equal(kept, erased[name])


# --- several modules at once


def test_the_stages_of_a_residual_network() -> None:
    net = timm.create_model("preactresnet18", width=4, num_classes=4)
    names = ["layer1", "layer2", "layer3", "layer4"]
    whole = Classifier(net, [0.0] * 3, [1.0] * 3)
    assert stages(whole, torch.rand(1, 3, 32, 32)) == names
    assert stages(whole, IMAGE) == names[:3]  # the last has a single pixel of images of 8x8


def test_the_stages_of_convs_in_a_row() -> None:
    body = classifier(
        conv1=nn.Conv2d(3, 8, 3), conv2=nn.Conv2d(8, 8, 1), norm=nn.BatchNorm2d(8), act=nn.ReLU()
    )
    assert stages(body, IMAGE) == ["conv2"]


def test_watching_several_layers() -> None:
    body = classifier(conv1=nn.Conv2d(3, 8, 3), act=nn.ReLU(inplace=True), conv2=nn.Conv2d(8, 8, 1))
    names = ["conv2", "conv1"]
    maps, logits = watch_all(body, names, IMAGES, lambda output: output.clone())
    assert torch.equal(logits, body(IMAGES))
    for name, found in zip(names, maps, strict=True):
        assert torch.equal(found, feature_map(body, name, IMAGES))
    (maps[1].sum() + logits.sum()).backward()
    assert all(parameter.grad is not None for parameter in body.parameters())
    assert not any(module._forward_hooks for module in body.modules())


def test_watching_a_layer_that_is_not_reached() -> None:
    body = classifier(conv=nn.Conv2d(3, 8, 3))
    body.idle = nn.Identity()
    body.__class__ = type("Idle", (nn.Sequential,), {"forward": lambda self, x: self.conv(x)})
    with pytest.raises(AuditError, match="does not reach layer idle"):
        watch_all(body, ["conv", "idle"], IMAGES, torch.clone)
    assert not any(module._forward_hooks for module in body.modules())
