"""How well a network works, and how well an attack on it works. All are fractions in [0, 1]."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from scipy import stats
from torch import Tensor, nn

from hfscan.channels import conv_layers, probing, watch_all
from hfscan.types import Channels, FloatArray, ImageSet, Metrics


@torch.inference_mode()
def predict(net: nn.Module, images: ImageSet, *, batch_size: int = 256) -> Tensor:
    """Predicted classes, int64 ``(N,)`` on the CPU, with ``net`` in eval mode."""
    device = next(net.parameters()).device
    with probing(net):
        batches = [
            net(pixels.to(device)).argmax(1).cpu() for pixels, _ in images.batches(batch_size)
        ]
    return torch.cat(batches) if batches else torch.zeros(0, dtype=torch.int64)


def accuracy(net: nn.Module, images: ImageSet, *, batch_size: int = 256) -> float:
    """Share of the images that are classified as labelled."""
    return float((predict(net, images, batch_size=batch_size) == images.labels).float().mean())


def interval(share: float, images: int) -> tuple[float, float]:
    """95 % confidence interval of a share of images, in [0, 1].

    References:
        Wilson, "Probable Inference, the Law of Succession, and Statistical Inference", JASA 1927.
    """
    found = stats.binomtest(round(share * images), images).proportion_ci(method="wilson")
    return round(float(found.low), 4), round(float(found.high), 4)


def asr(net: nn.Module, attacked: ImageSet, target: int) -> float:
    """Attack success rate: the share of triggered images of other classes predicted as ``target``."""
    return float((predict(net, attacked) == target).float().mean())


def ra(net: nn.Module, attacked: ImageSet) -> float:
    """Robust accuracy: the share of triggered images predicted as their original label."""
    return accuracy(net, attacked)


def measure(net: nn.Module, clean: ImageSet, attacked: ImageSet, target: int) -> Metrics:
    """Accuracy on clean images; attack success rate and robust accuracy on triggered ones."""
    predicted = predict(net, attacked)
    return Metrics(
        accuracy=accuracy(net, clean),
        asr=float((predicted == target).float().mean()),
        ra=float((predicted == attacked.labels).float().mean()),
        images=len(clean),
    )


def der(before: Metrics, after: Metrics) -> float:
    """Defense effectiveness rating: 1 for an attack undone for nothing, 0.5 for nothing done at all.

    Raises:
        ValueError: There was no trigger to measure with.

    References:
        Zhu et al., "Enhancing Fine-tuning based Backdoor Defense with Sharpness-Aware Minimization",
        ICCV 2023, section 4.1.
    """
    if before.asr is None or after.asr is None:
        raise ValueError("the attack success rate was not measured")
    undone = max(0.0, before.asr - after.asr)
    lost = max(0.0, before.accuracy - after.accuracy)
    return (undone - lost + 1) / 2


@torch.no_grad()
def tac(
    net: nn.Module, clean: ImageSet, attacked: ImageSet, *, batch_size: int = 100
) -> dict[str, FloatArray]:
    """Trigger-activated change: how far the trigger moves each feature map.

    Deviation from the paper's Definition 1, which sums signed differences, so that opposite ones
    cancel: the L2 norm of a map's difference, averaged over images, as in Zheng et al.

    Args:
        net: The backdoored network; it is left as it was.
        clean: Clean images.
        attacked: The same images in the same order, with the trigger.
        batch_size: Pairs of images at once.

    Returns:
        Conv layer -> float32 ``(C,)``; layers that cannot be erased are left out.

    References:
        FMT, section III-A; Zheng et al., "Data-free Backdoor Removal based on Channel Lipschitzness",
        ECCV 2022, section 4.1.
    """
    device = next(net.parameters()).device
    layers = conv_layers(net, next(clean.batches(1))[0].to(device))
    total = {layer.name: torch.zeros(layer.channels) for layer in layers if not layer.skipped}
    with probing(net):
        for (one, _), (other, _) in zip(
            clean.batches(batch_size), attacked.batches(batch_size), strict=True
        ):
            pairs = torch.cat([one, other]).to(device)
            moved, _ = watch_all(net, list(total), pairs, _moved)
            for name, distances in zip(total, moved, strict=True):
                total[name] += distances
    return {name: (distances / len(clean)).numpy() for name, distances in total.items()}


def _moved(maps: Tensor) -> Tensor:
    """How far the maps ``(2 * B, C, h, w)`` of two halves are from each other, summed over the images ``(C,)``."""
    one, other = maps.float().chunk(2)
    distances: Tensor = (one - other).flatten(2).norm(dim=2)
    return distances.sum(0).cpu()


def coverage(erased: Channels, sensitivity: Mapping[str, FloatArray], *, tau: float = 0.1) -> float:
    """Share of the backdoor channels that were erased: recall, not precision.

    Backdoor channels are those with the highest sensitivity of each layer: sensitivities of different
    layers have different scales.

    Args:
        erased: What a defense erased.
        sensitivity: From `tac`; its layers are the ones that count.
        tau: Share of a layer's channels that are backdoor channels; at least one of each.

    References:
        FMT, section IV-D.
    """
    hit = total = 0
    for layer, values in sensitivity.items():
        count = max(1, int(tau * len(values)))
        top = np.argsort(-values, kind="stable")[:count]
        hit += len(set(top.tolist()) & set(erased.get(layer, [])))
        total += count
    return hit / total if total else 0.0
