"""Bytes and digests of images, and the images that cannot be decoded."""

from __future__ import annotations

import hashlib
import io
import os
import threading
import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from w2s_data.errors import FileFormatError
from w2s_data.utils.progress import progress
from w2s_data.utils.reading import check_regular, reason_of

if TYPE_CHECKING:
    from PIL import Image


# Largest image that is decoded: 8192 x 8192, a quarter of a gigabyte at four bytes each, whatever
# the memory setting. A file of some kilobytes may ask for more than a machine has.
MOST_PIXELS = 2**26
_SEVERAL = 2**22  # above this, one image at a time is decoded, so that threads do not add up
_one_at_a_time = threading.Lock()


def image_bytes(item: Any) -> bytes:
    """Return the bytes of an image file, or a digest of the pixels of a PIL image.

    Raise OSError if the file cannot be read.
    """
    if isinstance(item, bytes):
        return item
    if isinstance(item, str | os.PathLike):
        check_regular(item)
        return Path(item).read_bytes()
    # Images of other modes and sizes may have the same bytes.
    header = f"{item.mode} {item.size}".encode()
    return hashlib.sha256(header + item.tobytes()).digest()


def is_text(item: Any) -> bool:
    """Whether an item is a text and not an image, to which a string is a path."""
    # Not Path.is_file, which raises for texts that are too long for a name.
    return isinstance(item, str) and not os.path.isfile(item)  # noqa: PTH113


def image_digest(item: Any) -> str:
    """Return the SHA-256 of an image's bytes, wherever they lie."""
    try:
        return hashlib.sha256(image_bytes(item)).hexdigest()
    except OSError as error:
        raise FileFormatError(f"cannot read the image {item!r}: {error.strerror}") from error


def unreadable_images(items: Sequence[str | bytes]) -> dict[int, str]:
    """Return the rows whose image cannot be decoded, with the reason."""
    # Decoders release the interpreter lock, so that threads share the work.
    with ThreadPoolExecutor() as threads, progress("images", len(items)) as advance:
        reasons = {}
        for row, reason in enumerate(threads.map(_why_unreadable, items)):
            advance(1)
            if reason is not None:
                reasons[row] = reason
    return reasons


def opened(content: bytes) -> Image.Image:
    """Open an image without decoding it, at a reduced size where a JPEG has too many pixels.

    Raise what Pillow does for a damaged file, and FileFormatError for any other image of more than
    `MOST_PIXELS`, before any memory is taken for them.
    """
    from PIL import Image

    with warnings.catch_warnings():
        # Pillow's own limit only warns, and its hard one lies at twice as much.
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        image = Image.open(io.BytesIO(content))
    width, height = image.size
    if width * height > MOST_PIXELS:
        # Once, to the largest that fits: Pillow does not reduce what is reduced already.
        fits = (n for n in (2, 4, 8) if (width // n) * (height // n) <= MOST_PIXELS)
        if scale := next(fits, None):
            image.draft(image.mode, (width // scale, height // scale))
    if image.size[0] * image.size[1] > MOST_PIXELS:
        raise FileFormatError(
            f"{width:,} x {height:,} pixels, of which at most {MOST_PIXELS:,} are decoded; make "
            "it smaller"
        )
    return image


def _why_unreadable(item: str | bytes) -> str | None:
    from PIL import UnidentifiedImageError

    try:
        with opened(image_bytes(item)) as image:
            image.draft(image.mode, (1, 1))  # JPEG: decode at an eighth of the size, it suffices
            large = image.size[0] * image.size[1] > _SEVERAL
            with _one_at_a_time if large else nullcontext():
                image.load()
    except UnidentifiedImageError:
        return "not an image in a known format"
    except FileFormatError as error:
        return str(error)
    except Exception as error:  # decoders raise what they please for a damaged file
        return reason_of(error)
    return None
