from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from PIL import ExifTags, Image
from timm.data import create_transform

from hfscan.decoding import decode
from hfscan.errors import DataError


def read(
    image: Image.Image,
    size: tuple[int, int] | None = None,
    *,
    file: str = "PNG",
    crop_pct: float = 1.0,
    interpolation: str = "bicubic",
) -> torch.Tensor:
    """Write it and read it again."""
    stream = io.BytesIO()
    image.save(stream, file)
    return decode(
        stream, size=size, crop_pct=crop_pct, interpolation=interpolation, where="x row 0"
    )


def picture(size: tuple[int, int] = (8, 6)) -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8))


MODES: dict[str, tuple[Image.Image, tuple[int, int, int]]] = {
    "gray": (Image.new("L", (6, 8), 100), (100, 100, 100)),
    "black and white": (Image.new("1", (6, 8), 1), (255, 255, 255)),
    "half transparent": (Image.new("RGBA", (6, 8), (0, 100, 200, 128)), (0, 100, 200)),
    "transparent": (Image.new("RGBA", (6, 8), (9, 9, 9, 0)), (9, 9, 9)),
    "gray with alpha": (Image.new("LA", (6, 8), (100, 0)), (100, 100, 100)),
    "palette": (Image.new("RGB", (6, 8), (255, 0, 0)).convert("P"), (255, 0, 0)),
}


@pytest.mark.parametrize(("image", "color"), MODES.values(), ids=MODES)
def test_modes(image: Image.Image, color: tuple[int, int, int]) -> None:
    found = read(image)
    assert found.shape == (3, 8, 6)
    assert (found.flatten(1).float().mean(1) - torch.tensor(color)).abs().max() <= 1


@pytest.mark.parametrize("transparency", [0, bytes([0, 255])])
@pytest.mark.filterwarnings("error")
def test_transparent_colors_of_a_palette(transparency: int | bytes) -> None:
    image = Image.new("P", (6, 8), 0)
    image.putpalette([9, 8, 7, 0, 0, 0])
    stream = io.BytesIO()
    image.save(stream, "PNG", transparency=transparency)
    found = decode(stream, size=None, crop_pct=1, interpolation="bicubic", where="x")
    assert found.flatten(1)[:, 0].tolist() == [9, 8, 7]


@pytest.mark.parametrize("file", ["JPEG", "PNG", "TIFF", "WEBP"])
def test_photos_that_lie_on_their_side_are_turned(file: str) -> None:
    photo = Image.new("RGB", (16, 32), (0, 0, 0))
    photo.paste((255, 255, 255), (0, 0, 8, 32))  # the left half
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6  # to be turned right by a quarter: the left half goes up
    stream = io.BytesIO()
    photo.save(stream, file, exif=exif)
    found = decode(stream, size=None, crop_pct=1, interpolation="bicubic", where="x").float()
    assert found.shape == (3, 16, 32)
    assert found[:, :7].mean() > 250 > 5 > found[:, 9:].mean()


def test_damaged_exif_data_is_left_alone() -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    stream = io.BytesIO()
    picture().save(stream, "PNG", exif=exif.tobytes().replace(b"MM", b"??"))
    found = decode(stream, size=None, crop_pct=1, interpolation="bicubic", where="x")
    assert torch.equal(found, torch.from_numpy(np.array(picture())).permute(2, 0, 1))


@pytest.mark.parametrize("file", ["PNG", "PPM", "TIFF"])
def test_16_bits_become_8(file: str) -> None:
    deep = Image.fromarray(np.tile(np.array([0, 128 * 257 + 100, 65_535], np.uint16), (8, 2)))
    assert read(deep, file=file)[:, 0, :3].tolist() == 3 * [[0, 128, 255]]


@pytest.mark.parametrize("mode", ["I", "F"])
def test_more_bits_are_refused(mode: str) -> None:
    with pytest.raises(DataError, match=rf"x row 0 has neither 8 nor 16 bits \(mode {mode}\)") as e:
        read(Image.new(mode, (6, 8), 100), file="TIFF")
    assert e.value.hint == "save it with 8 bits per channel"


def test_other_formats_are_not_opened() -> None:
    """Pillow would give PostScript to Ghostscript, which runs it."""
    with pytest.raises(DataError, match=r"x row 0 cannot be read \(it is none of BMP, GIF, JPEG"):
        read(picture(), file="EPS")


def test_a_line_is_no_image() -> None:
    with pytest.raises(DataError, match="60000 x 1 pixels cannot be cut to 224 x 224"):
        read(Image.new("1", (60_000, 1)), (224, 224))


@pytest.mark.parametrize("size", [(50, 80), (80, 50), (20, 20)])
@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_resize_and_crop_as_timm_does(size: tuple[int, int], interpolation: str) -> None:
    found = read(picture(size), (32, 32), crop_pct=0.8, interpolation=interpolation)
    transform = create_transform(
        (3, 32, 32), crop_pct=0.8, interpolation=interpolation, mean=(0, 0, 0), std=(1, 1, 1)
    )
    assert torch.equal(found.float(), transform(picture(size)).mul(255).round())


def test_images_of_the_right_size_are_left_alone() -> None:
    found = read(picture(), (8, 6), crop_pct=0.5)
    assert torch.equal(found, torch.from_numpy(np.array(picture())).permute(2, 0, 1))
