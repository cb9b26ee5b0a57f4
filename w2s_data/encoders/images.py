"""Decode images of any origin: a path, encoded bytes or a PIL image."""

from __future__ import annotations

import io
import struct
from typing import TYPE_CHECKING, Any

import numpy as np

from w2s_data.data.images import image_bytes
from w2s_data.encoders.base import ItemError, describe
from w2s_data.errors import EncoderError

if TYPE_CHECKING:
    from PIL import Image


def open_image(item: Any) -> Image.Image:
    """Decode an image, upright and with 8 bits a channel.

    Raise EncoderError if it cannot be decoded; the message is the reason alone.
    """
    from PIL import Image, ImageOps, UnidentifiedImageError

    try:
        content = b"" if isinstance(item, Image.Image) else image_bytes(item)
    except OSError as error:
        raise EncoderError(error.strerror or str(error)) from error
    try:
        image = item if isinstance(item, Image.Image) else Image.open(io.BytesIO(content))
        image = ImageOps.exif_transpose(image)
        image.load()  # decodes now, inside the handlers below
    except UnidentifiedImageError as error:
        raise EncoderError("not an image in a known format") from error
    except (OSError, SyntaxError, struct.error, Image.DecompressionBombError) as error:
        raise EncoderError(f"cannot be decoded: {error}") from error
    if image.mode == "I" or image.mode.startswith("I;16"):
        # PIL would clip 16-bit values to white instead of scaling them.
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    # Straight to RGB, Pillow would drop the transparency of a palette with a warning.
    if image.mode == "P" and "transparency" in image.info:
        return image.convert("RGBA")
    return image


def open_images(items: list[Any], mode: str, first: int = 0) -> list[Image.Image]:
    """Decode images into one mode; an error counts positions from `first`.

    Raise ItemError naming the first image that cannot be decoded.
    """
    images = []
    for position, item in enumerate(items, start=first):
        try:
            images.append(open_image(item).convert(mode))
        except EncoderError as error:
            raise ItemError([position], [describe(item)], str(error)) from error
    return images
