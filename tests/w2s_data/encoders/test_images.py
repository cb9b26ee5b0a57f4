"""Pixels of every mode and depth, transparency, orientation, and images that are too large."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from w2s_data.data import images as data_images
from w2s_data.data.load import load_dataset
from w2s_data.encoders import ItemError, PixelEncoder
from w2s_data.encoders.images import open_image
from w2s_data.errors import FileFormatError
from w2s_data.features.store import embed

RAMP = np.tile(np.linspace(0, 1, 16), (16, 1))  # black on the left, white on the right
GREY = (RAMP * 255).round().astype(np.uint8)


def pixels(*items):
    return PixelEncoder(size=4).encode(list(items))


def encoded(image, file_format="PNG", **options):
    buffer = io.BytesIO()
    image.save(buffer, file_format, **options)
    return buffer.getvalue()


def chunk(kind, data):
    body = kind + data
    return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))


def png(width, height, depth, colours, rows):
    """A PNG file of any depth, which Pillow cannot write."""
    header = struct.pack(">IIBBBBB", width, height, depth, colours, 0, 0, 0)
    parts = (chunk(b"IHDR", header), chunk(b"IDAT", rows), chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def deep_png(values):
    """A PNG of 16 bits a channel from numbers (height, width, 3 or 4)."""
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    colours = {3: 2, 4: 6}[values.shape[2]]
    return png(values.shape[1], values.shape[0], 16, colours, zlib.compress(rows))


def whole(largest, kind):
    return Image.fromarray((RAMP * largest).round().astype(kind))


FORMS = {
    "grey": lambda: Image.fromarray(GREY),
    "colour": lambda: Image.fromarray(GREY).convert("RGB"),
    "CMYK": lambda: encoded(Image.fromarray(GREY).convert("RGB").convert("CMYK"), "TIFF"),
    "palette": lambda: encoded(Image.fromarray(GREY).convert("P")),
    "16 bits": lambda: encoded(whole(65535, np.uint16)),
    "12 bits in 16": lambda: encoded(whole(4095, np.uint16)),
    "10 bits in 16": lambda: encoded(whole(1023, np.uint16)),
    "8 bits in 16": lambda: encoded(whole(255, np.uint16)),
    "12 bits in 32": lambda: encoded(whole(4095, np.int32), "TIFF"),
    "float to 1": lambda: encoded(Image.fromarray(RAMP.astype(np.float32)), "TIFF"),
    "float to 255": lambda: encoded(Image.fromarray((RAMP * 255).astype(np.float32)), "TIFF"),
    "float from -1": lambda: encoded(Image.fromarray((2 * RAMP - 1).astype(np.float32)), "TIFF"),
    "colour of 16 bits": lambda: deep_png(np.dstack([RAMP * 65535] * 3).round()),
    "colour of 12 bits in 16": lambda: deep_png(np.dstack([RAMP * 4095] * 3).round()),
    "with alpha of 12 bits in 16": lambda: deep_png(
        np.dstack([*[RAMP * 4095] * 3, np.full((16, 16), 65535)]).round()
    ),
    "turned by its EXIF": lambda: turned(),
}


def turned():
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees
    return encoded(Image.fromarray(np.rot90(GREY).copy()), "TIFF", exif=exif)


@pytest.mark.parametrize("form", FORMS)
def test_one_picture_in_every_form(form):
    expected = pixels(Image.fromarray(GREY))[0]
    assert expected.min() < 0.11 < 0.89 < expected.max()
    np.testing.assert_allclose(pixels(FORMS[form]())[0], expected, atol=0.01)


SQUARE = np.zeros((16, 16), dtype=np.uint8)
SQUARE[4:12, 4:12] = 255


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
@pytest.mark.parametrize(("colour", "background"), [(0, 1), (255, 0)])
def test_a_shape_in_the_alpha_channel_is_seen(mode, colour, background):
    channels = [np.full((16, 16), colour, dtype=np.uint8)] * (len(mode) - 1)
    image = Image.fromarray(np.dstack([*channels, SQUARE]), mode)
    seen = pixels(encoded(image))[0].reshape(4, 4)
    inside = np.zeros((4, 4), dtype=bool)
    inside[1:3, 1:3] = True
    np.testing.assert_allclose(seen[inside], 1 - background)
    np.testing.assert_allclose(seen[~inside], background)


def test_a_colour_that_stands_for_transparent():
    image = Image.fromarray(np.where(SQUARE, 40, 60).astype(np.uint8))
    seen = pixels(encoded(image, transparency=60))[0]
    assert np.ptp(seen) > 0.8  # the square is 40 on 60, and on white after that


@pytest.mark.parametrize("numbers", [[np.nan, np.nan], [np.inf, np.nan]])
def test_an_image_without_numbers_is_named(numbers):
    image = Image.fromarray(np.tile(np.float32(numbers), (4, 2)))
    with pytest.raises(ItemError, match=r"row 0 .* no pixel is a finite number"):
        pixels(image)


def test_a_mode_that_has_no_colours_is_named():
    with pytest.raises(ItemError, match=r"row 1 .* conversion from LAB"):
        pixels(Image.new("L", (4, 4)), Image.new("LAB", (4, 4)))


# --- too many pixels ------------------------------------------------------------------------------


def bomb(side):
    """A small file of a black square."""
    packer = zlib.compressobj(9)
    row = b"\0" + bytes(side // 8)
    rows = b"".join(packer.compress(row) for _ in range(side)) + packer.flush()
    return png(side, side, 1, 0, rows)


def test_too_many_pixels_are_refused_before_they_are_decoded(monkeypatch, tmp_path):
    content = bomb(13_000)
    assert len(content) < 50_000

    def never(*_):
        raise AssertionError("decoded")

    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", never)
    message = r"13,000 x 13,000 pixels, of which at most 67,108,864 are decoded; make it smaller"
    with pytest.raises(ItemError, match=message):
        pixels(content)
    path = tmp_path / "bomb.png"
    path.write_bytes(content)
    table = pd.DataFrame({"image": [str(path)] * 2, "label": ["a", "b"], "id": ["one", "two"]})
    with pytest.raises(FileFormatError, match=rf"bomb.png', '.*bomb.png' \({message}\)"):
        load_dataset(table, item="image", kind="image", label="label", id="id")


def test_a_large_photograph_is_read_reduced(monkeypatch):
    monkeypatch.setattr(data_images, "MOST_PIXELS", 100 * 100)
    photograph = Image.fromarray(np.kron(GREY, np.ones((20, 20), np.uint8)))
    content = encoded(photograph, "JPEG", quality=95)
    assert open_image(content).size == (80, 80)
    np.testing.assert_allclose(pixels(content), pixels(Image.fromarray(GREY)), atol=0.03)


# --- nothing to see -------------------------------------------------------------------------------


def test_images_without_content_are_counted(tmp_path):
    black = [Image.new("L", (20, 20), level) for level in range(3)]
    dark = Image.fromarray((GREY // 20).astype(np.uint8))
    store = embed([*black, dark, Image.fromarray(GREY)], PixelEncoder(2), tmp_path / "dark")
    assert store.notes == ["4 of 5 images are almost black, or of one colour"]
    seen = [Image.fromarray(np.roll(GREY, n, axis=1)) for n in range(4)]
    assert embed([*black[:1], *seen], PixelEncoder(2), tmp_path / "seen").notes == []
