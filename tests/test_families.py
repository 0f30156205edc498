"""One tiny random network of each of timm's families goes through audit and repair."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import timm
import torch
from timm.models.byobnet import ByoBlockCfg, ByobNet, ByoModelCfg
from timm.models.densenet import DenseNet
from timm.models.efficientnet import EfficientNet, decode_arch_def
from timm.models.hrnet import HighResolutionNet
from timm.models.mobilenetv3 import MobileNetV3
from timm.models.nfnet import NfCfg, NormFreeNet
from timm.models.regnet import RegNet, RegNetCfg
from timm.models.resnetv2 import ResNetV2
from timm.models.vgg import VGG, ConvMlp
from torch import Tensor, nn

import hfscan
from hfscan.bench.defenses import DEFENSES, Defense
from hfscan.bench.defenses.anp import AdversarialPruning
from hfscan.bench.defenses.clp import LipschitzPruning
from hfscan.bench.defenses.fp import FinePruning
from hfscan.bench.defenses.ft import FineTuning
from hfscan.bench.defenses.nad import AttentionDistillation
from hfscan.bench.defenses.nc import NeuralCleanse
from hfscan.channels import ConvLayer, conv_layers, erase
from hfscan.model_tests import MaximumMargin
from hfscan.train import FitConfig
from hfscan.types import AuditSettings, HubModel, ImageSet, RepairSettings

CLASSES = 4
SETTINGS = AuditSettings(images=4, steps=1)
TUNING = RepairSettings(erase_rate=0.1, epochs=1, clean_rate=0.5, batch_size=8, lr=1e-4)
FIT = FitConfig(epochs=1, lr=1e-4, batch_size=8, autocast=True)
QUICK: dict[str, Defense] = {
    "ft": FineTuning(FIT),
    "fp": FinePruning(step=0.3, tuning=FIT),
    "clp": LipschitzPruning(u=1.5),
    "anp": AdversarialPruning(iterations=2, batch_size=8),
    "nc": NeuralCleanse(steps=2, batch_size=4, index=0.0, tuning=FIT),
    "nad": AttentionDistillation(tuning=FIT),
}
"""All but FMT, which is made of what `test_audit_and_repair` goes through."""
BLOCKS = [["ir_r1_k3_s2_e2_c8_se0.25"], ["er_r1_k3_s2_e2_c8"], ["cn_r1_k1_s1_c16"]]
CONVNEXT = {"depths": (1, 1, 1, 1), "dims": (4, 8, 8, 8)}


def vgg() -> nn.Module:
    net = VGG([8, "M", 8, "M", 8], num_classes=CLASSES, norm_layer=nn.BatchNorm2d, mlp_ratio=0.002)
    net.pre_logits, net.head.fc = ConvMlp(8, 16, 3, mlp_ratio=1), nn.Linear(16, CLASSES)
    return net


def repvgg() -> nn.Module:
    blocks = tuple(ByoBlockCfg("rep", d=1, c=8, s=2) for _ in range(3))
    return ByobNet(ByoModelCfg(blocks, stem_type="rep", stem_chs=8), num_classes=CLASSES)


class SlimHead(HighResolutionNet):
    """A head of 8 channels instead of 2048."""

    def _make_head(
        self, pre_stage_channels: list[int], **options: object
    ) -> tuple[nn.Module, nn.Module, nn.Module]:
        increase = [nn.Conv2d(channels, 8, 1) for channels in pre_stage_channels]
        down = [
            nn.Sequential(nn.Conv2d(8, 8, 3, stride=2, padding=1)) for _ in pre_stage_channels[1:]
        ]
        final = nn.Sequential(nn.Conv2d(8, 8, 1), nn.BatchNorm2d(8), nn.ReLU(inplace=True))
        self.num_features = 8
        return nn.ModuleList(increase), nn.ModuleList(down), final


def hrnet() -> nn.Module:
    config: dict[str, object] = {"stem_width": 8}
    for branches in (1, 2, 3, 4):
        config[f"stage{branches}"] = {
            "num_modules": 1,
            "num_branches": branches,
            "block_type": "BASIC",
            "num_blocks": (1,) * branches,
            "num_channels": (4,) * branches,
            "fuse_method": "SUM",
        }
    return SlimHead(config, num_classes=CLASSES)


def timm_net(name: str, **arguments: object) -> Callable[[], nn.Module]:
    return lambda: timm.create_model(name, num_classes=CLASSES, **arguments)


FAMILIES: dict[str, Callable[[], nn.Module]] = {
    "resnet": timm_net("resnet26d", channels=(4, 4, 8, 8), stem_width=4),
    "resnetv2": lambda: ResNetV2((1, 1), (128, 128), num_classes=CLASSES, stem_chs=32),
    "preactresnet": timm_net("preactresnet18", width=4),
    "vgg": vgg,
    "densenet": lambda: DenseNet(4, (2, 2), num_classes=CLASSES),
    "mobilenetv3": lambda: MobileNetV3(
        decode_arch_def(BLOCKS), num_classes=CLASSES, stem_size=8, num_features=16
    ),
    "efficientnet": lambda: EfficientNet(
        decode_arch_def(BLOCKS), num_classes=CLASSES, stem_size=8, num_features=16
    ),
    "regnet": lambda: RegNet(
        RegNetCfg(depth=4, w0=8, wa=8, wm=1.7, group_size=4, se_ratio=0.25, stem_width=8),
        num_classes=CLASSES,
    ),
    "convnext": timm_net("test_convnext", **CONVNEXT),
    "nfnet": lambda: NormFreeNet(
        NfCfg((1, 1), (16, 16), stem_chs=8, group_size=8), num_classes=CLASSES
    ),
    "repvgg": repvgg,
    "hrnet": hrnet,
}


@pytest.fixture(params=FAMILIES)
def model(request: pytest.FixtureRequest) -> HubModel:
    """A random network whose last layer is shifted and scaled so that it predicts every class."""
    torch.manual_seed(0)
    net = FAMILIES[request.param]().eval()
    *_, last = (module for module in net.modules() if hasattr(module, "bias"))
    with torch.no_grad():
        logits = net(noise().images / 255)
        last.weight *= (3 / logits.std(0)).view(-1, *[1] * (last.weight.ndim - 1))
        last.bias -= net(noise().images / 255).mean(0)
    return hfscan.wrap(net, input_size=(3, 32, 32), num_classes=CLASSES)


def noise() -> ImageSet:
    generator = torch.Generator().manual_seed(0)
    colors = torch.randint(0, 256, (16, 3, 4, 4), generator=generator, dtype=torch.uint8)
    return ImageSet("noise", colors, torch.zeros(16, dtype=torch.int64)).resized((32, 32))


@pytest.fixture
def clean(model: HubModel) -> ImageSet:
    """Images with the labels that the network gives them."""
    with torch.no_grad():
        labels = model.net(noise().images / 255).argmax(1)
    assert len(labels.unique()) > 1
    return replace(noise(), labels=labels)


@pytest.fixture(autouse=True)
def quick_tests(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the model-level tests find is of no interest here."""
    quick = {"maximum-margin": lambda batch_size: MaximumMargin(starts=1, steps=2)}
    monkeypatch.setattr("hfscan.pipeline.testing.TESTS", quick)


def convolutions(net: nn.Module) -> dict[str, nn.Conv2d]:
    return {name: module for name, module in net.named_modules() if isinstance(module, nn.Conv2d)}


def test_audit_and_repair(model: HubModel, clean: ImageSet) -> None:
    report = hfscan.audit(model, clean, settings=SETTINGS)
    assert report.clean_accuracy == 1.0
    assert {layer.layer for layer in report.layers} == set(convolutions(model.net.net))
    for layer in report.layers:
        expected = "its channels are the classes themselves" if layer.layer == "head.fc" else ""
        assert layer.skipped == expected
        if not layer.skipped:
            assert layer.accuracy.shape == (layer.channels, 1)
            assert layer.predictions.shape == (layer.channels, 1, CLASSES)
    suspected = replace(report, target=int(clean.labels[0]))
    repaired, result = hfscan.repair(model, suspected, clean, settings=TUNING)
    erasable = {layer.layer: layer.channels for layer in report.layers if not layer.skipped}
    shares = {name: round(TUNING.erase_rate * channels) for name, channels in erasable.items()}
    assert {name: len(found) for name, found in result.erased.items()} == {
        name: count for name, count in shares.items() if count
    }
    assert torch.isfinite(repaired.net(clean.images / 255)).all()


def test_no_defense_is_forgotten() -> None:
    assert {*QUICK, "fmt", "fmt-tac", "fmt-flow"} == set(DEFENSES)


@pytest.mark.parametrize("name", QUICK)
def test_defenses(name: str, model: HubModel, clean: ImageSet) -> None:
    """Each works on each family; what it erases is there."""
    result = QUICK[name].repair(model.net, clean, seed=0)
    assert torch.isfinite(result.net(clean.images / 255)).all()
    erase(model.net, result.erased, clean.images[:1] / 255)


def maps(net: nn.Module, layers: list[ConvLayer], images: Tensor) -> dict[str, Tensor]:
    """What the convolutions and the norms behind them return."""
    names = [name for layer in layers for name in (layer.name, *layer.norms)]
    seen: dict[str, Tensor] = {}
    for name in names:
        net.get_submodule(name).register_forward_hook(
            lambda module, args, output, name=name: seen.__setitem__(name, output.clone())
        )
    with torch.no_grad():
        net(images)
    return seen


def test_erased_maps_are_zero(model: HubModel, clean: ImageSet) -> None:
    images = clean.images[:2] / 255
    layers = [layer for layer in conv_layers(model.net, images[:1]) if not layer.skipped]
    channels = {layer.name: [0, layer.channels - 1] for layer in layers}
    erased = erase(model.net, channels, images[:1])
    seen = maps(erased.net, layers, images)
    for layer in layers:
        for name in (layer.name, *layer.norms):
            axis = seen[name].shape.index(layer.channels)  # the last one in ConvNeXt
            assert not seen[name].movedim(axis, 0)[channels[layer.name]].any(), name
