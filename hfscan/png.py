"""Images as the small PNGs that a report carries."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from hfscan.types.pictures import MAX_SIDE


def to_png(image: Tensor, *, side: int = MAX_SIDE) -> str:
    """An image as `Picture` wants it.

    Args:
        image: ``(3, H, W)``; values outside [0, 1] are cut off.
        side: A larger image is scaled down to so many pixels.
    """
    pixels = image.detach().float().cpu()[None]
    height, width = _fitting(pixels.shape[2:], side)
    if (height, width) != tuple(pixels.shape[2:]):
        pixels = F.interpolate(pixels, (height, width), mode="bilinear", antialias=True)
    bytes_ = (pixels[0].clamp(0, 1) * 255).round().to(torch.uint8).permute(1, 2, 0).contiguous()
    stream = io.BytesIO()
    Image.fromarray(bytes_.numpy()).save(stream, "png", optimize=True)
    return base64.b64encode(stream.getvalue()).decode("ascii")


def _fitting(size: Sequence[int], side: int) -> tuple[int, int]:
    height, width = size
    scale = min(1.0, side / max(height, width))
    return max(1, round(height * scale)), max(1, round(width * scale))
