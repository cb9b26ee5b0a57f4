"""Decode images of any origin and depth: a path, encoded bytes or a PIL image."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from w2s_data.data.images import image_bytes, opened
from w2s_data.encoders.base import ItemError, describe
from w2s_data.errors import EncoderError, FileFormatError
from w2s_data.utils.typing import AnyArray

if TYPE_CHECKING:
    from PIL import Image

# Depths that cameras and scanners store in wider numbers; the least that holds all is taken.
_DEPTHS = (8, 10, 12, 14, 16, 24, 32)
_ALPHA = ("LA", "La", "PA", "RGBA", "RGBa")
_LOOK = 64  # side of the small copy that is looked at
_BLACK, _SAME = 16, 2  # of 255: brightest in an image that is almost black, range of one colour
# Modes of Pillow's decoder for PNG files of 16 bits a channel: the high bytes, and the low ones.
_HIGH_BYTES = {"RGB;16B": "RGB;16L", "RGBA;16B": "RGBA;16L"}


def open_image(item: Any) -> Image.Image:
    """Decode an image, upright, without transparency, and with 8 bits a channel.

    Whole numbers and floats of other depths are scaled by the range that their values show: 12-bit
    data in 16 bits by 4095, floats in 0 to 1 by 1. Transparent parts are put on white or on black,
    whichever leaves the larger contrast. Raise EncoderError if the image cannot be decoded; the
    message is the reason alone.
    """
    from PIL import Image, ImageOps, UnidentifiedImageError

    try:
        # An image that Python hands over was decoded there.
        image = item if isinstance(item, Image.Image) else opened(image_bytes(item))
        low = _low_bytes(item, image)
        image = ImageOps.exif_transpose(image)
        image.load()  # decodes now, inside the handlers below
        return _eight_bits(image, low)
    except UnidentifiedImageError as error:
        raise EncoderError("not an image in a known format") from error
    except FileFormatError as error:
        raise EncoderError(str(error)) from error
    except Exception as error:  # decoders raise what they please for a damaged file
        unread = isinstance(error, OSError) and error.strerror
        raise EncoderError(unread or f"cannot be decoded: {error}") from error


def open_images(items: list[Any], mode: str, first: int = 0) -> list[Image.Image]:
    """Decode images into one mode; an error counts positions from `first`.

    Raise ItemError naming the first image that cannot be decoded.
    """
    images = []
    for position, item in enumerate(items, start=first):
        try:
            images.append(open_image(item).convert(mode))
        except ValueError as error:  # EncoderError, or no way from one mode to the other
            raise ItemError([position], [describe(item)], str(error)) from error
    return images


def is_flat(image: Image.Image) -> bool:
    """Whether an image is almost black, or of one colour, at the points that are looked at."""
    from PIL import Image

    # Single points: to look at all would cost as much as a tenth of decoding.
    values = np.asarray(image.resize((_LOOK, _LOOK), Image.Resampling.NEAREST))
    return int(values.max()) <= _BLACK or int(np.ptp(values, axis=(0, 1)).max()) <= _SAME


def _low_bytes(item: Any, image: Image.Image) -> Image.Image | None:
    """Return the low bytes of a PNG of 16 bits a channel, of which Pillow keeps the high ones.

    None unless the high bytes leave bits unused, as those of 12-bit data do.
    """
    from PIL import Image, ImageOps

    tiles: Any = getattr(image, "tile", None) or ()
    if isinstance(item, Image.Image) or image.format != "PNG" or len(tiles) != 1:
        return None
    low_bytes = _HIGH_BYTES.get(tiles[0].args)
    image.load()
    if low_bytes is None or np.asarray(image)[..., :3].max() >= 2 ** (_DEPTHS[3] - 8):
        return None
    again: Any = opened(image_bytes(item))
    again.tile = [tiles[0]._replace(args=low_bytes)]
    return ImageOps.exif_transpose(again)


def _eight_bits(image: Image.Image, low: Image.Image | None) -> Image.Image:
    from PIL import Image

    if low is not None:
        values = np.asarray(image).astype(np.uint32) << 8 | np.asarray(low)
        values[..., :3] = _scaled(values[..., :3])
        values[..., 3:] >>= 8  # alpha has all its bits
        image = Image.fromarray(values.astype(np.uint8))
    elif image.mode in ("I", "F") or image.mode.startswith("I;16"):
        return Image.fromarray(_scaled(np.asarray(image)).astype(np.uint8))
    # A palette or a colour that stands for transparent is no mode of its own.
    if image.mode in _ALPHA or "transparency" in image.info:
        return _composed(image.convert("RGBA"))
    return image


def _scaled(values: AnyArray) -> AnyArray:
    """Scale pixels of any depth to 0 to 255.

    >>> _scaled(np.array([0, 4095])).tolist(), _scaled(np.array([0.0, 0.5, 1.0])).tolist()
    ([0, 255], [0, 128, 255])
    """
    known = np.isfinite(values)
    if not known.any():
        raise ValueError("no pixel is a finite number")
    low, high = float(values[known].min()), float(values[known].max())
    # The range that a depth or a convention gives, or else the range of the values.
    bits = next((bits for bits in _DEPTHS if high < 2**bits), None)
    if low < 0 or bits is None:
        start, width = low, (high - low) or 1.0
    elif values.dtype.kind == "f" and high <= 1:
        start, width = 0.0, 1.0
    else:
        start, width = 0.0, float(2**bits - 1)
    share = (np.where(known, values, start).astype(np.float64) - start) / width
    return np.floor(np.clip(share, 0, 1) * 255 + 0.5).astype(np.int64)


def _composed(image: Image.Image) -> Image.Image:
    """Put a transparent image on white or black, whichever shows more of it."""
    from PIL import Image

    small = np.asarray(image.resize((_LOOK, _LOOK), Image.Resampling.BOX), dtype=np.float64)
    alpha = small[..., 3] / 255
    grey = small[..., :3].mean(axis=2) * alpha
    on_white = (grey + 255 * (1 - alpha)).std()
    colour = "white" if on_white >= grey.std() else "black"
    background = Image.new("RGBA", image.size, colour)
    return Image.alpha_composite(background, image).convert("RGB")
