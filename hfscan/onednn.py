"""Keeps clear of an error in oneDNN, which computes convolutions on CPUs.

Weight gradients of a strided 1x1 convolution in the channels_last layout, of fewer input channels than a vector
holds, are written past the end of a buffer: wrong, or the process ends or hangs (oneDNN issue 6035; seen with torch
2.14 on processors without AVX-512). Without a stride, on every n-th pixel of the images, the same convolution is safe.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from torch import Tensor, nn

VECTOR = 16
"""Float32 values in the widest vector, that of AVX-512; AVX2 has 8."""


@contextmanager
def safe_weight_gradients(net: nn.Module) -> Iterator[None]:
    """Let the convolutions of ``net`` that would meet the error do the same in another way meanwhile."""
    with ExitStack() as stack:
        for module in net.modules():
            if isinstance(module, nn.Conv2d) and _meets_it(module):
                stack.enter_context(_every_nth_pixel(module))
        yield


def _meets_it(conv: nn.Conv2d) -> bool:
    narrow = conv.in_channels // conv.groups < VECTOR
    strided, padded = max(conv.stride) > 1, conv.padding not in (0, (0, 0))
    return conv.kernel_size == (1, 1) and strided and narrow and not padded


@contextmanager
def _every_nth_pixel(conv: nn.Conv2d) -> Iterator[None]:
    down, right = stride = conv.stride

    def thin_out(_: nn.Module, args: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        images, *others = args
        return (images[..., ::down, ::right], *others)

    hook = conv.register_forward_pre_hook(thin_out)
    conv.stride = (1, 1)
    try:
        yield
    finally:
        conv.stride = stride
        hook.remove()
