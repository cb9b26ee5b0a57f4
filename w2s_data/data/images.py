"""Bytes and digests of images, and the images that cannot be decoded."""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from w2s_data.errors import FileFormatError
from w2s_data.utils.progress import progress
from w2s_data.utils.reading import check_regular, reason_of


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


def _why_unreadable(item: str | bytes) -> str | None:
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(io.BytesIO(image_bytes(item))) as image:
            image.draft(image.mode, (1, 1))  # JPEG: decode at an eighth of the size, it suffices
            image.load()
    except UnidentifiedImageError:
        return "not an image in a known format"
    except Exception as error:  # decoders raise what they please for a damaged file
        return reason_of(error)
    return None
