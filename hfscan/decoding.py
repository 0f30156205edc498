"""One image file to pixels, as timm's evaluation transform cuts it."""

from __future__ import annotations

import io
import math
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from hfscan.errors import DataError

FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
"""What images may be: Pillow would give others to programs beside it, PostScript to Ghostscript."""

MAX_PIXELS = 90_000_000
"""Of an image before it is cut; one of a few long lines would become gigabytes."""

RESAMPLING = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}


def decode(
    file: io.BytesIO | Path,
    *,
    size: tuple[int, int] | None,
    crop_pct: float,
    interpolation: str,
    where: str,
) -> Tensor:
    """Read an image file.

    Args:
        file: In one of `FORMATS`.
        size: Height and width to bring it to; None as it is.
        crop_pct: An image of another size is resized so that the center crop of ``size`` is this share.
        interpolation: How it is resized.
        where: Names the image in an error.

    Returns:
        uint8 ``(3, H, W)``.

    Raises:
        DataError: It cannot be read.
    """
    try:
        with Image.open(file, formats=FORMATS) as opened:
            image = _rgb(opened, where)
        if size is not None and (image.height, image.width) != size:
            resample = RESAMPLING.get(interpolation, Image.Resampling.BICUBIC)
            image = _fit(image, size, crop_pct, resample)
    except UnidentifiedImageError as error:  # its text has an address in memory
        raise broken(where, f"it is none of {', '.join(FORMATS)}") from error
    except (OSError, ValueError, SyntaxError, MemoryError) as error:
        raise broken(where, str(error)) from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise broken(where, str(error)) from error
    pixels = torch.from_numpy(np.array(image))
    return pixels.permute(2, 0, 1)


def broken(where: str, reason: str) -> DataError:
    """The error for an image that cannot be read."""
    return DataError(
        f"the image in {where} cannot be read ({reason[:100]})", "remove it from the data set"
    )


def _upright(image: Image.Image) -> Image.Image:
    """Turned as its EXIF data says; as it is if that is damaged."""
    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # whatever Pillow makes of it; damaged pixels fail again where they are read
        return image


def _rgb(opened: Image.Image, where: str) -> Image.Image:
    """Any mode as RGB, without alpha, as training reads it with ``convert("RGB")``."""
    image = _upright(opened)
    image.info.pop("transparency", None)  # Pillow warns where it is lost
    if image.mode.startswith("I;16") or (image.mode == "I" and opened.format in ("PNG", "PPM")):
        image = Image.fromarray((np.asarray(image) / 257).round().astype(np.uint8))
    if image.mode in ("I", "F"):
        raise DataError(
            f"the image in {where} has neither 8 nor 16 bits (mode {image.mode})",
            "save it with 8 bits per channel",
        )
    return image.convert("RGB")


def _fit(
    image: Image.Image, size: tuple[int, int], crop_pct: float, resample: Image.Resampling
) -> Image.Image:
    """Resize the shorter side and cut out the center, as timm's evaluation transform does."""
    height, width = size
    scale = max(
        math.floor(height / crop_pct) / image.height, math.floor(width / crop_pct) / image.width
    )
    whole = max(width, round(image.width * scale)), max(height, round(image.height * scale))
    if whole[0] * whole[1] > MAX_PIXELS:
        raise ValueError(
            f"{image.width} x {image.height} pixels cannot be cut to {width} x {height}"
        )
    resized = image.resize(whole, resample)
    left, top = (resized.width - width) // 2, (resized.height - height) // 2
    return resized.crop((left, top, left + width, top + height))
