"""Conv layers and their channels: find them, watch them, erase them. The only module with hooks.

A channel is ``(name of the layer, index)``, never a position in some list of all channels.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from hfscan.errors import AuditError
from hfscan.models.classifier import Classifier, inner
from hfscan.types import Channels, ImageSet

UNSUPPORTED_CONVS = (
    nn.Conv1d,
    nn.Conv3d,
    nn.ConvTranspose1d,
    nn.ConvTranspose2d,
    nn.ConvTranspose3d,
)


class _StopError(Exception):
    """Ends a forward pass once the wanted feature map is there."""


@dataclass(frozen=True)
class ConvLayer:
    """A convolution of a network.

    Args:
        name: Of the module in the network.
        channels: C, its output channels.
        norms: Names of the norm layers that consume exactly its output.
        skipped: Why its channels cannot be tested or erased; empty if they can.
        macs: Multiply-accumulate operations for one image.
    """

    name: str
    channels: int
    norms: tuple[str, ...] = ()
    skipped: str = ""
    macs: int = 0


@contextmanager
def _hooks(handles: list[torch.utils.hooks.RemovableHandle]) -> Iterator[None]:
    """Remove every hook in ``handles``, whatever happens."""
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def probing(net: nn.Module) -> Iterator[None]:
    """Eval mode and no gradients of parameters meanwhile; afterwards everything is as it was."""
    modes = {module: module.training for module in net.modules()}
    trainable = [parameter for parameter in net.parameters() if parameter.requires_grad]
    net.eval()
    for parameter in trainable:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for module, training in modes.items():
            module.training = training
        for parameter in trainable:
            parameter.requires_grad_(True)


def watch(
    net: nn.Module, layer: str, images: Tensor, pick: Callable[[Tensor], Tensor]
) -> tuple[Tensor, Tensor]:
    """One forward pass that also looks at a layer's feature maps.

    What comes after the layer is computed without a graph, as if from a constant.

    Args:
        net: The network, inside `probing`.
        layer: Name of the module; where it is called more than once, the first call counts.
        images: ``(B, 3, H, W)`` in [0, 1].
        pick: Takes what is wanted out of the feature maps ``(B, C, h, w)``, as a copy: in-place layers
            may overwrite them.

    Returns:
        What was picked, attached to the graph of ``images``; and the logits ``(B, K)``.

    Raises:
        AuditError: The forward pass does not reach the layer.
    """
    picked: list[Tensor] = []

    def capture(module: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> Tensor | None:
        if picked:
            return None
        picked.append(pick(output))
        return output.detach()

    with _hooks([inner(net).get_submodule(layer).register_forward_hook(capture)]):
        logits = net(images)
    if not picked:
        raise _unreached(layer)
    return picked[0], logits.detach()


def _unreached(layer: str) -> AuditError:
    return AuditError(
        f"the forward pass does not reach layer {layer}", "take one that `conv_layers` lists"
    )


def feature_map(net: nn.Module, layer: str, images: Tensor) -> Tensor:
    """The output of a layer, computed without what comes after it.

    Args:
        net: The network.
        layer: Name of the module; where it is called more than once, the first call counts.
        images: ``(B, 3, H, W)`` in [0, 1].

    Returns:
        ``(B, C, h, w)``, attached to the graph of ``images``.

    Raises:
        AuditError: The forward pass does not reach the layer.
    """
    captured: list[Tensor] = []

    def capture(module: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> None:
        captured.append(output)
        raise _StopError

    with _hooks([inner(net).get_submodule(layer).register_forward_hook(capture)]):
        try:
            net(images)
        except _StopError:
            return captured[0]
    raise _unreached(layer)


def watch_all(
    net: nn.Module, layers: Sequence[str], images: Tensor, pick: Callable[[Tensor], Tensor]
) -> tuple[list[Tensor], Tensor]:
    """One forward pass that also looks at the outputs of several modules.

    Args:
        net: The network, in whatever mode.
        layers: Names of the modules; where one is called more than once, the first call counts.
        images: ``(B, 3, H, W)`` in [0, 1].
        pick: Takes what is wanted out of an output ``(B, C, h, w)``, as a copy: in-place layers may
            overwrite it.

    Returns:
        What was picked, in the order of ``layers``, and the logits ``(B, K)``, attached to the graph.

    Raises:
        AuditError: The forward pass does not reach one of them.
    """
    picked: dict[str, Tensor] = {}

    def capture(layer: str, module: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> None:
        if layer not in picked:
            picked[layer] = pick(output)

    modules = {layer: inner(net).get_submodule(layer) for layer in layers}
    handles = [
        module.register_forward_hook(partial(capture, layer)) for layer, module in modules.items()
    ]
    with _hooks(handles):
        logits: Tensor = net(images)
    for layer in layers:
        if layer not in picked:
            raise AuditError(
                f"the forward pass does not reach layer {layer}",
                "name a layer that the network uses",
            )
    return [picked[layer] for layer in layers], logits


def stages(net: nn.Module, image: Tensor) -> list[str]:
    """The module that ends each stage of a network: the last with convolutions at a resolution.

    In a residual network these are the groups of blocks.

    Args:
        net: The network; it is left as it was.
        image: One image ``(1, 3, H, W)`` in [0, 1].

    Returns:
        Names, in order of execution; their outputs are feature maps ``(B, C, h, w)`` of more than one
        pixel.
    """
    last: dict[torch.Size, str] = {}

    def leave(name: str, module: nn.Module, args: tuple[object, ...], output: object) -> None:
        if isinstance(output, Tensor) and output.ndim == 4 and output.shape[2:].numel() > 1:
            last.pop(output.shape[2:], None)
            last[output.shape[2:]] = name

    handles = [
        module.register_forward_hook(partial(leave, name))
        for name, module in inner(net).named_modules()
        if name and any(isinstance(part, nn.Conv2d) for part in module.modules())
    ]
    with _hooks(handles), probing(net), torch.no_grad():
        net(image)
    return list(last.values())


def one_image(net: nn.Module, images: ImageSet) -> Tensor:
    """The first image as ``(1, 3, H, W)`` in [0, 1] where the network is, to look at its layers with."""
    return images.images[:1].to(next(net.parameters()).device).float() / 255


def conv_layers(net: nn.Module, image: Tensor) -> list[ConvLayer]:
    """All convolutions, in order of execution, each paired with the norms behind it.

    A norm belongs to a convolution when it is given the very tensor that the convolution returned (or
    a view of it, as in ConvNeXt's channels-last norm), unchanged since: identity and version are
    compared during one forward pass, no table of architectures is involved.

    Args:
        net: The network; it is left as it was.
        image: One image ``(1, 3, H, W)`` in [0, 1].

    Returns:
        Layers that cannot be tested are there, with the reason in ``skipped``.
    """
    names = {module: name for name, module in inner(net).named_modules() if _is_conv(module)}
    outputs: dict[nn.Module, tuple[Tensor, int]] = {}
    shapes: dict[nn.Module, torch.Size] = {}
    norms: dict[nn.Module, list[str]] = {}

    def leave_conv(module: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> None:
        if isinstance(output, Tensor):
            shapes.setdefault(module, output.shape)
            outputs[module] = (output, output._version)

    def enter_norm(module: nn.Module, args: tuple[object, ...]) -> None:
        for conv, (output, version) in outputs.items():
            unchanged = output._version == version
            if args and unchanged and _consumes(module, args[0], output):
                norms.setdefault(conv, []).append(norm_names[module])

    norm_names = {module: name for name, module in inner(net).named_modules() if _is_norm(module)}
    handles = [module.register_forward_hook(leave_conv) for module in names]
    handles += [module.register_forward_pre_hook(enter_norm) for module in norm_names]
    with _hooks(handles), probing(net), torch.no_grad():
        logits = net(image)
    called = [
        _describe(names[conv], conv, shape, norms.get(conv, []), _shows(logits, outputs[conv][0]))
        for conv, shape in shapes.items()
    ]
    idle = [
        ConvLayer(name, _out_channels(conv), skipped="the forward pass does not use it")
        for conv, name in names.items()
        if conv not in shapes
    ]
    return called + idle


def erasable_layers(net: nn.Module, image: Tensor) -> list[ConvLayer]:
    """The convolutions whose channels can be tested and erased, in order of execution.

    Args:
        net: The network; it is left as it was.
        image: One image ``(1, 3, H, W)`` in [0, 1].

    Raises:
        AuditError: There is none.
    """
    layers = [layer for layer in conv_layers(net, image) if not layer.skipped]
    if not layers:
        raise AuditError(
            "the network has no conv layer whose channels can be erased", "choose another --method"
        )
    return layers


def _is_conv(module: nn.Module) -> bool:
    kinds = (nn.Conv2d, *UNSUPPORTED_CONVS)
    if isinstance(module, kinds):
        return True
    return "Conv" in type(module).__name__ and hasattr(module, "out_channels") and _owns(module)


def _owns(module: nn.Module) -> bool:
    """Whether the module has a weight of its own, as a convolution has."""
    return isinstance(module._parameters.get("weight"), Tensor)


def _is_norm(module: nn.Module) -> bool:
    """Whether this is a norm with one scale per channel."""
    weight = getattr(module, "weight", None)
    return "Norm" in type(module).__name__ and isinstance(weight, Tensor) and weight.ndim == 1


def _consumes(norm: nn.Module, given: object, output: Tensor) -> bool:
    """Whether a norm is given all channels of a convolution's output."""
    return _shows(given, output) and norm.weight.shape == output.shape[1:2]


def _shows(candidate: object, output: Tensor) -> bool:
    """Whether this is ``output``, or a view of all of it."""
    if not isinstance(candidate, Tensor) or candidate.numel() != output.numel():
        return False
    return candidate is output or candidate._base is output


def _out_channels(module: nn.Module) -> int:
    return int(getattr(module, "out_channels", 0))


def _describe(
    name: str, conv: nn.Module, shape: torch.Size, norms: list[str], last: bool
) -> ConvLayer:
    channels = _out_channels(conv)
    reason = ""
    if not isinstance(conv, nn.Conv2d):
        reason = f"{type(conv).__name__} is not supported"
    elif parametrize.is_parametrized(conv) or not _owns(conv):
        reason = "its weight is computed from other tensors (parametrized)"
    elif len(shape) != 4 or shape[:2] != (1, channels):
        reason = f"its output for one image has shape {tuple(shape)}, not (1, {channels}, h, w)"
    elif last:
        reason = "its channels are the classes themselves"
    macs = conv.weight.numel() * math.prod(shape[2:]) if isinstance(conv, nn.Conv2d) else 0
    return ConvLayer(name, channels, tuple(norms), reason, macs)


@torch.no_grad()
def erase(net: nn.Module, channels: Channels, image: Tensor) -> nn.Module:
    """Erase channels: their feature maps become exactly zero, behind the norm too.

    Sets the rows of the convolution's weight and bias to zero, and the scale and shift of the norms
    that consume the convolution's output: with the convolution alone, the map would become the
    constant ``beta - gamma * mean / std`` (FMT, section III-F).

    Args:
        net: The network; it is left as it was.
        channels: What to erase.
        image: One image ``(1, 3, H, W)`` in [0, 1], to find the norms with.

    Returns:
        A changed copy.

    Raises:
        AuditError: A layer or channel does not exist, or cannot be erased.
    """
    erased = copy.deepcopy(net)
    layers = {layer.name: layer for layer in conv_layers(erased, image)}
    for name, indices in channels.items():
        layer = layers.get(name)
        if layer is None or layer.skipped:
            reason = layer.skipped if layer else "there is no such conv layer"
            raise AuditError(f"cannot erase channels of {name}: {reason}", "leave that layer out")
        for index in indices:
            if not 0 <= index < layer.channels:
                raise AuditError(
                    f"{name} has {layer.channels} channels, no channel {index}",
                    "audit the model again",
                )
        for module in (name, *layer.norms):
            _zero_rows(inner(erased).get_submodule(module), indices)
    return erased


def _zero_rows(module: nn.Module, indices: list[int]) -> None:
    for parameter in (module.weight, getattr(module, "bias", None)):
        if isinstance(parameter, Tensor):
            parameter[indices] = 0


def kept_rows(net: nn.Module, channels: Channels, image: Tensor) -> dict[str, Tensor]:
    """What must stay zero for erased channels to stay erased while the network is trained.

    Args:
        net: The network.
        channels: From `erase`.
        image: One image ``(1, 3, H, W)`` in [0, 1], to find the norms with.

    Returns:
        Parameter name in ``net`` -> 0 in the rows of erased channels, 1 in the others, ``(C, 1, ...)``.
    """
    masks = {}
    for layer in conv_layers(net, image):
        for module in (layer.name, *layer.norms) if layer.name in channels else ():
            for name, parameter in inner(net).get_submodule(module).named_parameters():
                mask = parameter.new_ones(len(parameter), *[1] * (parameter.ndim - 1))
                mask[channels[layer.name]] = 0
                masks[outer_name(net, f"{module}.{name}")] = mask
    return masks


def outer_name(net: nn.Module, name: str) -> str:
    """What a parameter of the network inside a `Classifier` is called from outside."""
    return f"net.{name}" if isinstance(net, Classifier) else name
