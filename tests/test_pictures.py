from __future__ import annotations

import base64
import io
import json
import struct
import zlib
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

import hfscan
from hfscan.errors import AuditError
from hfscan.pipeline import pictures
from hfscan.pipeline.pictures import draw_channels, to_png
from hfscan.report.findings import suspicious_channels
from hfscan.types import AuditReport, AuditSettings, HubModel, ImageSet, Picture
from hfscan.types.pictures import MAX_PICTURES, png_size

SETTINGS = AuditSettings(images=40, steps=3, step_size=0.1, eps=0.25)
DOT = to_png(torch.full((3, 4, 6), 0.5))


def pixels(picture: Picture) -> np.ndarray:
    """``(H, W, 3)`` in [0, 255]."""
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(picture.png))), np.int64)


@pytest.fixture(scope="module")
def audited() -> list[AuditReport]:
    return []


@pytest.fixture
def report(audited: list[AuditReport], planted_model: HubModel, tiny_set: ImageSet) -> AuditReport:
    if not audited:
        audited.append(hfscan.audit(planted_model, tiny_set, settings=SETTINGS))
    return audited[0]


# --- what is drawn


def test_the_channels_are_those_of_the_report(report: AuditReport) -> None:
    shown = [(one.layer, one.channel) for one in suspicious_channels(report, pictures.CHANNELS)]
    assert shown
    assert [(p.layer, p.channel) for p in report.pictures[::3]] == shown
    assert [p.role for p in report.pictures] == ["clean", "reversed", "difference"] * len(shown)


def test_the_clean_image_is_one_of_the_audit(report: AuditReport, tiny_set: ImageSet) -> None:
    for picture in report.pictures[::3]:
        image = torch.from_numpy(pixels(picture)).permute(2, 0, 1)
        (index,) = (tiny_set.images.long() == image).flatten(1).all(1).nonzero()
        assert tiny_set.labels[index] == picture.label == picture.predicted
        assert picture.label != report.target


def test_the_most_suspicious_channel_moves_its_image_into_the_target(report: AuditReport) -> None:
    clean, reverse, _ = report.pictures[:3]
    assert reverse.predicted == report.target
    assert reverse.label == clean.label


def test_the_change_is_within_eps_and_amplified(report: AuditReport) -> None:
    for clean, reverse, difference in zip(*[iter(report.pictures)] * 3, strict=True):
        change = pixels(reverse) - pixels(clean)
        assert 0 < abs(change).max() <= round(255 * SETTINGS.eps) + 1
        assert difference.gain == 1
        assert abs(127.5 + change - pixels(difference)).max() <= 3


def test_the_same_pictures_whatever_the_memory(
    report: AuditReport, planted_model: HubModel, tiny_set: ImageSet
) -> None:
    before = {name: value.clone() for name, value in planted_model.net.state_dict().items()}
    assert draw_channels(planted_model.net, tiny_set, report) == report.pictures
    for name, value in planted_model.net.state_dict().items():
        assert torch.equal(value, before[name])


def test_nothing_is_drawn_without_channels(
    report: AuditReport, planted_model: HubModel, tiny_set: ImageSet
) -> None:
    assert draw_channels(planted_model.net, tiny_set, replace(report, layers=())) == ()


def test_without_a_suspected_class_the_lowest_accuracy_is_shown(
    report: AuditReport, tiny_model: HubModel, tiny_set: ImageSet
) -> None:
    plain = hfscan.audit(tiny_model, tiny_set, settings=replace(SETTINGS, eps=1.0, steps=1))
    assert plain.target is None
    first = suspicious_channels(plain, 1)[0]
    assert (plain.pictures[0].layer, plain.pictures[0].channel) == (first.layer, first.channel)
    assert plain.pictures[2].gain == 1


# --- as PNG


@pytest.mark.parametrize(
    ("shape", "size"),
    [((3, 32, 32), (32, 32)), ((3, 224, 224), (128, 128)), ((3, 100, 400), (128, 32))],
)
def test_large_images_are_scaled_down(shape: tuple[int, ...], size: tuple[int, int]) -> None:
    assert png_size(to_png(torch.rand(shape))) == size


def test_the_largest_picture_fits() -> None:
    noise = torch.rand(3, 128, 128, generator=torch.Generator().manual_seed(0))
    assert Picture("clean", to_png(noise)).size == (128, 128)


def test_values_are_kept_and_cut_off() -> None:
    image = torch.tensor([-1.0, 0.2, 2.0]).reshape(3, 1, 1)
    assert pixels(Picture("trigger", to_png(image))).tolist() == [[[0, 51, 255]]]


# --- hostile files


def chunk(kind: bytes, body: bytes) -> bytes:
    checksum = zlib.crc32(kind + body).to_bytes(4, "big")
    return struct.pack(">I", len(body)) + kind + body + checksum


def png(*, width: int = 2, height: int = 2, kind: bytes = b"\x08\x02\0\0\0", rows: bytes) -> bytes:
    head = struct.pack(">II", width, height) + kind
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", head)
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )


ROWS = bytes(14)
GOOD = png(rows=ROWS)
BAD = {
    "empty": b"",
    "no chunks": GOOD[:8],
    "another format": b"GIF89a" + bytes(20),
    "markup": b"<svg onload=alert(1)>",
    "cut": GOOD[:-1],
    "one byte more": GOOD + b"\0",
    "checksum": GOOD[:30] + b"\0" + GOOD[31:],
    "too wide": png(width=129, height=1, rows=bytes(388)),
    "too high": png(width=1, height=129, rows=bytes(516)),
    "no pixels": png(width=0, height=0, rows=b""),
    "huge": png(width=2**31, height=2**31, rows=ROWS),
    "a bomb": png(rows=bytes(10**7)),
    "too few rows": png(rows=ROWS[:-1]),
    "one row more": png(rows=ROWS + b"\0"),
    "filter": png(rows=b"\5" + ROWS[1:]),
    "palette": png(kind=b"\x08\x03\0\0\0", rows=ROWS),
    "16 bit": png(kind=b"\x10\x02\0\0\0", rows=ROWS),
    "interlaced": png(kind=b"\x08\x02\0\0\1", rows=ROWS),
    "text": GOOD[:-12] + chunk(b"tEXt", b"Comment\0<script>") + GOOD[-12:],
    "animated": GOOD[:33] + chunk(b"acTL", bytes(8)) + GOOD[33:],
    "no IDAT": GOOD[:33] + GOOD[-12:],
    "two ends": GOOD + GOOD[-12:],
    "not zlib": GOOD[:33] + chunk(b"IDAT", b"pixels") + GOOD[-12:],
    "after the stream": GOOD[:33] + chunk(b"IDAT", zlib.compress(ROWS) + b"x") + GOOD[-12:],
}


def test_good() -> None:
    assert png_size(base64.b64encode(GOOD).decode()) == (2, 2)


@pytest.mark.parametrize("name", BAD)
def test_bad_png(name: str) -> None:
    with pytest.raises(ValueError, match="picture"):
        png_size(base64.b64encode(BAD[name]).decode())


@pytest.mark.parametrize(
    "text", ["é", DOT + "=", DOT + "\n", f"data:image/png;base64,{DOT}", DOT[:-1], "A" * 100_000]
)
def test_not_base64(text: str) -> None:
    with pytest.raises(ValueError, match=r"picture|ase64|ASCII|padding"):
        png_size(text)


@pytest.mark.parametrize(
    "change",
    [
        {"channel": -1},
        {"label": -1},
        {"label": 4},
        {"predicted": 4},
        {"gain": 0},
        {"gain": 1e9},
        {"share": 1.5},
        {"role": "script"},
        {"png": ""},
        {"caption": "x"},
    ],
    ids=str,
)
def test_a_report_with_a_bad_picture_is_damaged(
    report: AuditReport, change: dict[str, object]
) -> None:
    data = json.loads(json.dumps(report.to_dict()))
    data["pictures"][0].update(change)
    with pytest.raises(AuditError, match="damaged"):
        AuditReport.from_dict(data)


def test_a_report_with_too_many_pictures_is_damaged(report: AuditReport) -> None:
    many = replace(report, pictures=report.pictures[:1] * (MAX_PICTURES + 1))
    with pytest.raises(AuditError, match="65 pictures"):
        AuditReport.from_dict(json.loads(json.dumps(many.to_dict())))


def test_an_inverted_trigger_survives_json(report: AuditReport) -> None:
    trigger = Picture("trigger", DOT, predicted=2, family="patch", share=0.98)
    more = replace(report, pictures=(*report.pictures, trigger))
    assert AuditReport.from_dict(json.loads(json.dumps(more.to_dict()))).pictures == more.pictures
