"""ANP: prune the channels that are sensitive to adversarial perturbations of their weights.

Wu and Wang, "Adversarial Neuron Pruning Purifies Backdoored Deep Models", NeurIPS 2021: relative perturbations
delta of the neurons' weights and xi of their biases, within a budget eps, are chosen to maximize the loss
on clean images; masks m in [0, 1] of the weights are trained to minimize
``alpha * L(m * w, b) + (1 - alpha) * L((m + delta) * w, (1 + xi) * b)`` (equation 5), and neurons whose mask
falls below a threshold are pruned. Where a batch norm follows a convolution, its scale and shift stand for the
neuron's weight and bias (section 4).

Deviations: 300 iterations on batches of 64, not 2,000 on batches of 128: that is what one CPU core does in
minutes. Only a norm that consumes the convolution's very output stands for its channels; a convolution that
writes into a sum, as half of those of a pre-activation network do, is neither masked nor pruned. In a
network without such norms, the convolutions' own weights and biases are masked. As in the authors' release
batch norms use the statistics of the batch; with those of the network, perturbations of so many channels
at once ruin it, and the masks of 40 % of all channels fell to 0. Pruned channels are erased, shift
included: the paper keeps the shift, a constant.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from hfscan.channels import ConvLayer, erasable_layers, erase, one_image, outer_name
from hfscan.half import autocast
from hfscan.models.classifier import inner
from hfscan.types import Channels, ImageSet, Progress, Repaired, silent


@dataclass(frozen=True)
class AdversarialPruning:
    """Adversarial Neuron Pruning: erase the channels that are most sensitive to perturbed weights.

    Cost: ``iterations`` times three passes with gradient over ``batch_size`` images.

    Args:
        eps: Largest relative perturbation of a channel's weight and bias.
        alpha: Weight of the loss without perturbation, in [0, 1].
        lr: Of the masks, by SGD.
        momentum: Of that.
        iterations: Steps of it.
        batch_size: Images per step.
        threshold: Channels whose mask is below are erased.
        autocast: Compute in bfloat16 where the CPU or GPU has it fast.
    """

    eps: float = 0.4
    alpha: float = 0.2
    lr: float = 0.2
    momentum: float = 0.9
    iterations: int = 300
    batch_size: int = 64
    threshold: float = 0.2
    autocast: bool = True

    def repair(
        self, net: nn.Module, clean: ImageSet, *, seed: int, progress: Progress = silent
    ) -> Repaired:
        """Train the masks, prune.

        Raises:
            AuditError: There is no layer whose channels can be erased.
        """
        image = one_image(net, clean)
        convs = erasable_layers(net, image)
        layers = [layer for layer in convs if layer.norms] or convs
        masks = self.train_masks(net, layers, clean, seed=seed, progress=progress)
        erased: Channels = {}
        for layer, mask in zip(layers, _by_layer(masks, layers), strict=True):
            if found := (mask < self.threshold).nonzero().flatten().tolist():
                erased[layer.name] = found
        how = f"ANP: the channels whose mask against perturbations of {self.eps:g} is below {self.threshold:g}"
        return Repaired(erase(net, erased, image).eval(), erased, how)

    def train_masks(
        self,
        net: nn.Module,
        layers: Sequence[ConvLayer],
        clean: ImageSet,
        *,
        seed: int,
        progress: Progress = silent,
    ) -> Tensor:
        """The masks of all channels, ``(C_1 + C_2 + ...,)`` in [0, 1], layer after layer."""
        generator = torch.Generator().manual_seed(seed)
        masks = one_image(net, clean).new_ones(sum(layer.channels for layer in layers))
        optimizer = torch.optim.SGD([masks], lr=self.lr, momentum=self.momentum)
        batches = _endless(clean, self.batch_size, generator)
        live = _with_batch_statistics(net)
        for _ in progress(range(self.iterations), "training masks", self.iterations):
            pixels, labels = next(batches)
            batch = pixels.to(masks.device), labels.to(masks.device)
            model = _Scaled(live, layers, *batch, autocast=self.autocast)
            masks.grad = self._gradient(model, masks, generator)
            optimizer.step()
            masks.clamp_(0, 1)
        return masks

    def _gradient(self, model: _Scaled, masks: Tensor, generator: torch.Generator) -> Tensor:
        """Of equation 5, at the perturbations that one step of gradient ascent finds."""
        start = torch.rand((2, *masks.shape), generator=generator).to(masks.device)
        start = ((2 * start - 1) * self.eps).requires_grad_()
        (ascent,) = torch.autograd.grad(model.loss(masks + start[0], 1 + start[1]), start)
        delta, xi = (start.detach() + self.eps * ascent.sign()).clamp(-self.eps, self.eps)
        masks = masks.detach().requires_grad_()
        robust = (1 - self.alpha) * model.loss(masks + delta, 1 + xi)
        (gradient,) = torch.autograd.grad(robust, masks)
        natural = self.alpha * model.loss(masks, torch.ones_like(xi))
        return gradient + torch.autograd.grad(natural, masks)[0]


@dataclass(frozen=True, eq=False)
class _Scaled:
    """A network's loss on a batch as a function of its channels' scales."""

    net: nn.Module
    layers: Sequence[ConvLayer]
    pixels: Tensor
    labels: Tensor
    autocast: bool

    def loss(self, weights: Tensor, biases: Tensor) -> Tensor:
        """With each channel's weight and bias multiplied by these, ``(C_1 + C_2 + ...,)``."""
        parameters = scaled(self.net, self.layers, weights, biases)
        with autocast(self.pixels.device, wanted=self.autocast):
            logits = functional_call(self.net, parameters, (self.pixels,))
        return F.cross_entropy(logits.float(), self.labels)


def scaled(
    net: nn.Module, layers: Sequence[ConvLayer], weights: Tensor, biases: Tensor
) -> dict[str, Tensor]:
    """The parameters that stand for the channels, multiplied: name in ``net`` -> tensor."""
    parameters = {}
    for layer, weight, bias in zip(
        layers, _by_layer(weights, layers), _by_layer(biases, layers), strict=True
    ):
        for module in layer.norms or (layer.name,):
            for name, parameter in inner(net).get_submodule(module).named_parameters():
                scale = bias if name == "bias" else weight
                scale = scale.view(-1, *[1] * (parameter.ndim - 1))
                parameters[outer_name(net, f"{module}.{name}")] = parameter * scale
    return parameters


def _with_batch_statistics(net: nn.Module) -> nn.Module:
    """A copy in eval mode, without gradients, whose batch norms normalize by the batch's statistics."""
    live = copy.deepcopy(net).eval().requires_grad_(False)
    for module in live.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.train()
    return live


def _by_layer(values: Tensor, layers: Sequence[ConvLayer]) -> tuple[Tensor, ...]:
    parts: tuple[Tensor, ...] = values.split([layer.channels for layer in layers])
    return parts


def _endless(
    images: ImageSet, batch_size: int, generator: torch.Generator
) -> Iterator[tuple[Tensor, Tensor]]:
    """Shuffled batches, one epoch after the other; none of a single image, for the batch norms."""
    size = min(batch_size, max(2, len(images)))
    while True:
        for pixels, labels in images.batches(size, generator=generator):
            if len(labels) == 1:
                continue
            yield pixels.contiguous(memory_format=torch.channels_last), labels
