"""Where half precision is fast: told by the device, not by a clock, so that the same run gives the same result."""

from __future__ import annotations

import torch
from torch import cuda


def fast_half(device: torch.device) -> torch.dtype | None:
    """The half precision that a device computes faster than float32; None if there is none.

    bfloat16 where the processor has instructions for it (AVX-512 BF16, and so AMX) or the GPU has it built in;
    float16 on other CUDA GPUs.
    """
    if device.type == "cpu":
        fast = bool(getattr(torch.cpu, "_is_avx512_bf16_supported", bool)())
        return torch.bfloat16 if fast else None
    if device.type != "cuda":
        return None
    return torch.bfloat16 if cuda.is_bf16_supported(including_emulation=False) else torch.float16


def autocast(device: torch.device, *, wanted: bool) -> torch.autocast:
    """Autocast to bfloat16 if it is wanted and fast here; otherwise nothing."""
    fast = fast_half(device) is torch.bfloat16
    return torch.autocast(device.type, torch.bfloat16, enabled=wanted and fast)
