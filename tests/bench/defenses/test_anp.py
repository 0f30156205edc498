from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from hfscan.bench.defenses.anp import AdversarialPruning, scaled
from hfscan.channels import ConvLayer, conv_layers, one_image, outer_name
from hfscan.errors import AuditError
from hfscan.metrics import accuracy
from hfscan.models.classifier import Classifier
from hfscan.types import ImageSet

DEFENSE = AdversarialPruning(eps=0.1, lr=0.02, iterations=40, batch_size=20, autocast=False)
CHANNEL = 6


@pytest.fixture
def fragile_net(planted_net: nn.Module) -> nn.Module:
    """The planted channel is silent on clean images, but fires where its weights are perturbed.

    There is no norm, so that the convolutions themselves are masked. The colors are further apart than
    in `planted_net`: a tenth more or less changes no class.
    """
    planted_net.bn1 = nn.Identity()
    with torch.no_grad():
        planted_net.fc.bias[3] = 12.0
        planted_net.conv1.weight[CHANNEL] = 0
        planted_net.conv1.weight[CHANNEL, :, 1, 1] = 0.8
        planted_net.conv1.bias[CHANNEL] = -1.1
        planted_net.fc.weight[2, CHANNEL] = 200.0
    return planted_net


def masks_of(net: nn.Module, images: ImageSet, defense: AdversarialPruning) -> list[torch.Tensor]:
    layers = conv_layers(net, one_image(net, images))
    return list(defense.train_masks(net, layers, images, seed=0).split([8, 8]))


def test_it_erases_the_fragile_channel(fragile_net: nn.Module, tiny_set: ImageSet) -> None:
    assert accuracy(fragile_net, tiny_set) == 1.0
    result = DEFENSE.repair(fragile_net, tiny_set, seed=0)
    assert any(CHANNEL in channels for channels in result.erased.values())
    assert not {0, 1, 2} & {channel for found in result.erased.values() for channel in found}
    assert accuracy(result.net, tiny_set) == 1.0


def test_without_perturbations_nothing_is_fragile(
    fragile_net: nn.Module, tiny_set: ImageSet
) -> None:
    masks = masks_of(fragile_net, tiny_set, replace(DEFENSE, eps=0.0))
    assert all(mask[CHANNEL] > 0.9 for mask in masks)
    perturbed = masks_of(fragile_net, tiny_set, DEFENSE)
    assert min(float(mask[CHANNEL]) for mask in perturbed) < 0.1


def gradient(net: nn.Module, images: ImageSet, alpha: float, eps: float) -> torch.Tensor:
    """The gradient of equation 5 with regard to the masks of `planted_net`, where it makes them fall."""
    once = AdversarialPruning(
        eps=eps, alpha=alpha, lr=0.01, iterations=1, batch_size=40, autocast=False
    )
    layers = [ConvLayer("conv1", 8, ("bn1",)), ConvLayer("conv2", 8)]
    return (1 - once.train_masks(net, layers, images, seed=0)) / once.lr


def wrong(images: ImageSet) -> ImageSet:
    """Labels with which large masks only make the loss larger."""
    return replace(images, labels=(images.labels + 1) % 4)


def test_equation_5_without_perturbations(planted_net: nn.Module, tiny_set: ImageSet) -> None:
    """A mask's gradient is that of what it scales, times that; with the batch's own statistics."""
    images = wrong(tiny_set)
    found = gradient(planted_net, images, alpha=0.2, eps=0.0)
    norm, conv = planted_net.train().bn1.weight, planted_net.conv2.weight
    logits = planted_net(images.images / 255)
    gradients = torch.autograd.grad(F.cross_entropy(logits, images.labels), [norm, conv])
    expected = torch.cat([norm * gradients[0], (conv * gradients[1]).sum((1, 2, 3))])
    assert expected.max() > 1
    torch.testing.assert_close(found, expected.clamp_min(0), rtol=1e-4, atol=1e-4)


def test_alpha_weighs_the_loss_without_perturbations(
    planted_net: nn.Module, tiny_set: ImageSet
) -> None:
    natural, robust, both = (
        gradient(planted_net, wrong(tiny_set), alpha, 0.1) for alpha in (1.0, 0.0, 0.2)
    )
    assert torch.equal(natural, gradient(planted_net, wrong(tiny_set), 1.0, 0.0))
    assert (natural - robust).abs().max() > 0.5
    torch.testing.assert_close(both, 0.2 * natural + 0.8 * robust, rtol=1e-4, atol=1e-4)


def test_masks_stay_between_0_and_1(fragile_net: nn.Module, tiny_set: ImageSet) -> None:
    for mask in masks_of(fragile_net, tiny_set, replace(DEFENSE, lr=50.0)):
        assert mask.min() >= 0
        assert mask.max() <= 1


@pytest.mark.parametrize("wrapped", [False, True])
def test_the_norm_stands_for_its_conv(planted_net: nn.Module, wrapped: bool) -> None:
    """A conv with a norm behind it is scaled by the norm, one without by itself."""
    net = Classifier(planted_net, [0.0] * 3, [1.0] * 3) if wrapped else planted_net
    layers = [ConvLayer("conv1", 8, ("bn1",)), ConvLayer("conv2", 8)]
    weights, biases = torch.arange(16.0), -torch.arange(16.0)
    found = scaled(net, layers, weights, biases)
    names = ("bn1.weight", "bn1.bias", "conv2.weight", "conv2.bias")
    assert found.keys() == {outer_name(net, name) for name in names}
    expected = planted_net.conv2.weight[3] * 11
    assert torch.equal(found[outer_name(net, "conv2.weight")][3], expected)
    assert torch.equal(found[outer_name(net, "bn1.bias")], -planted_net.bn1.bias * weights[:8])


def test_only_convs_with_a_norm_where_there_are_any(
    planted_net: nn.Module, tiny_set: ImageSet
) -> None:
    anything = replace(DEFENSE, iterations=1, threshold=1.1)
    assert anything.repair(planted_net, tiny_set, seed=0).erased == {"conv1": list(range(8))}


def test_a_network_without_convs(tiny_set: ImageSet) -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(192, 4))
    with pytest.raises(AuditError, match="no conv layer"):
        AdversarialPruning().repair(net, tiny_set, seed=0)
