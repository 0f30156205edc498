"""Small pictures that a report carries, as evidence that a person can look at."""

from __future__ import annotations

import base64
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

Role = Literal["clean", "reversed", "difference", "trigger", "triggered"]

MAX_SIDE = 128
"""Largest width and height of a picture, in pixels."""

MAX_PICTURES = 64
"""Most pictures of one report."""

_MAX_TEXT = 80_000
"""Most characters of a picture's base64: more than 128 x 128 pixels that do not compress."""

_SIGNATURE = b"\x89PNG\r\n\x1a\n"


@dataclass(frozen=True)
class Picture:
    """One picture, and what its caption needs.

    Args:
        role: ``"clean"`` image, the image ``"reversed"`` for a channel, their amplified ``"difference"``, an
            inverted ``"trigger"``, or an image that carries it (``"triggered"``).
        png: Base64 of a PNG: 8-bit RGB, at most 128 x 128 pixels, no metadata.
        layer: Name of the module, if the picture belongs to a channel.
        channel: Index, likewise.
        label: The class of the clean image, if it belongs to one.
        predicted: The class that the network sees in the picture, if it was asked.
        gain: By how much a difference is amplified.
        family: Of an inverted trigger.
        share: Of the images that a trigger leads to ``predicted``, in [0, 1].

    Raises:
        ValueError: ``png`` is anything else, or a figure is out of its range.
    """

    role: Role
    png: str
    layer: str = ""
    channel: int | None = None
    label: int | None = None
    predicted: int | None = None
    gain: float = 1.0
    family: str = ""
    share: float | None = None

    def __post_init__(self) -> None:
        png_size(self.png)
        figures = (self.channel or 0, self.label or 0, self.predicted or 0)
        if min(figures) < 0 or not 0 < self.gain <= 1e6 or not 0 <= (self.share or 0.0) <= 1:
            raise ValueError(f"a figure of the {self.role} picture is out of its range")

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        return png_size(self.png)


def png_size(text: str) -> tuple[int, int]:
    """Width and height of a small PNG in base64, after checking all of it.

    A report may come from anywhere, and browsers decode what is in it: only the plainest kind is let
    through, and no more is unpacked than its header says.

    Raises:
        ValueError: It is not an 8-bit RGB PNG of at most 128 x 128 pixels without extra chunks.
    """
    if len(text) > _MAX_TEXT:
        raise ValueError(f"a picture has {len(text)} characters, more than {_MAX_TEXT}")
    data = base64.b64decode(text, validate=True)
    if base64.b64encode(data).decode("ascii") != text or not data.startswith(_SIGNATURE):
        raise ValueError("a picture is not base64 of a PNG")
    (first, head), *middle, (last, end) = _chunks(data)
    kinds = {kind for kind, _ in middle}
    if (first, last, len(head), end) != (b"IHDR", b"IEND", 13, b"") or kinds != {b"IDAT"}:
        raise ValueError("a picture's PNG has other chunks than pixels")
    width, height, *kind = struct.unpack(">IIBBBBB", head)
    if not (1 <= width <= MAX_SIDE and 1 <= height <= MAX_SIDE) or kind != [8, 2, 0, 0, 0]:
        raise ValueError(f"a picture is not 8-bit RGB of at most {MAX_SIDE} x {MAX_SIDE} pixels")
    _check_pixels(b"".join(body for _, body in middle), height, 1 + 3 * width)
    return width, height


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Kind and content of each chunk, if its length and checksum are right; two at least."""
    place, count = len(_SIGNATURE), 0
    while place < len(data) or count < 2:
        if len(data) < place + 12:
            raise ValueError("a picture's PNG ends too early")
        length, kind = struct.unpack_from(">I4s", data, place)
        body = data[place + 8 : place + 8 + length]
        checksum = data[place + 8 + length : place + 12 + length]
        if zlib.crc32(kind + body).to_bytes(4, "big") != checksum:
            raise ValueError("a picture's PNG is damaged")
        yield kind, body
        place, count = place + 12 + length, count + 1


def _check_pixels(packed: bytes, height: int, stride: int) -> None:
    unpacker = zlib.decompressobj()
    try:
        rows = unpacker.decompress(packed, height * stride + 1)
    except zlib.error as error:
        raise ValueError("a picture's pixels are damaged") from error
    if len(rows) != height * stride or not unpacker.eof or unpacker.unused_data:
        raise ValueError("a picture's PNG does not have as many pixels as it says")
    if max(rows[::stride]) > 4:
        raise ValueError("a picture's pixels have an unknown filter")
