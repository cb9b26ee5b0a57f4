"""Turn images into the pixels that a model can read."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from w2s_data.encoders.base import ItemError
from w2s_data.encoders.images import open_images
from w2s_data.encoders.source import Source
from w2s_data.utils.typing import AnyArray, IntArray

if TYPE_CHECKING:
    import torch
    from PIL import Image
    from torch import Tensor

_CHUNK = 64  # images that a thread decodes before their pixels are stored
_PATCH = 16  # side of the squares by which the cost of an image is counted
_TOLERANCE = 1e-5  # of normalized pixels, between the processor and pixels that are held
_HELD = "pixel_values"


@dataclass(frozen=True)
class Images:
    """N images as they were given, and their pixels (N, C, H, W) where these are held."""

    items: list[Any]
    lengths: IntArray  # (N,), each image's squares of 16 x 16 pixels
    pixels: AnyArray | None = None  # uint8, at the size that the model reads, not yet normalized


class ImageReader:
    """A model's own image processor; images to batches of pixels."""

    def __init__(self, source: Source) -> None:
        from transformers import AutoImageProcessor

        # Always Pillow, so that features do not depend on which other libraries are installed.
        self.processor = source.load(
            AutoImageProcessor.from_pretrained, "image processor", backend="pil"
        )

    def prepare(self, images: list[Image.Image]) -> dict[str, Tensor]:
        """Resize, crop and normalize RGB images as the processor's settings say."""
        return dict(self.processor(images=images, return_tensors="pt"))

    def read(self, items: list[Any], resident_bytes: int) -> Images:
        """Decode images once and hold their pixels where they fit into so many bytes.

        Larger sets, and those of models with inputs of a special form, are decoded batch by batch.
        """
        example = self.prepare([_example()])
        size = example[_HELD].shape[1:] if _HELD in example else ()
        squares = max(1, int(np.prod(size[-2:])) // _PATCH**2)
        images = Images(items, np.full(len(items), squares))
        n_bytes = len(items) * int(np.prod(size))
        if not items or n_bytes > resident_bytes or not self._can_hold(example):
            return images
        pixels = np.empty((len(items), *size), dtype=np.uint8)
        chunks = [slice(start, start + _CHUNK) for start in range(0, len(items), _CHUNK)]
        # Decoders release the interpreter lock, so that threads share the work.
        with ThreadPoolExecutor() as threads:
            decoded = threads.map(
                lambda rows: self._pixels(_decode(items[rows], rows.start)), chunks
            )
            for rows, part in zip(chunks, decoded, strict=True):
                pixels[rows] = part
        return Images(items, images.lengths, pixels)

    def batch(
        self, images: Images, rows: IntArray, device: torch.device, dtype: torch.dtype
    ) -> dict[str, Tensor]:
        """Return the model's inputs for some images."""
        import torch

        if images.pixels is None:
            given = [images.items[row] for row in rows.tolist()]
            try:
                inputs = self.prepare(_decode(given))
            except ItemError as error:
                raise error.moved_to(rows.tolist()) from error
        else:
            inputs = {_HELD: self._normalized(torch.from_numpy(images.pixels[rows]).to(device))}
        return cast_inputs(inputs, device, dtype)

    def example(self) -> Images:
        """Return a made-up image, for a first look at what the model computes."""
        return Images([_example()], np.ones(1, dtype=np.int64))

    def _pixels(self, images: list[Image.Image]) -> AnyArray:
        """Return images (n, C, H, W) at the model's size, not yet normalized."""
        given = self.processor(
            images=images, do_rescale=False, do_normalize=False, return_tensors="np"
        )
        return np.asarray(given[_HELD])

    def _normalized(self, pixels: Tensor) -> Tensor:
        import torch

        own, values = self.processor, pixels.float()
        if getattr(own, "do_rescale", False):
            values = values * own.rescale_factor
        if getattr(own, "do_normalize", False):
            mean, std = (
                torch.tensor(numbers, device=values.device).view(-1, 1, 1)
                for numbers in (own.image_mean, own.image_std)
            )
            values = (values - mean) / std
        return values

    def _can_hold(self, example: dict[str, Tensor]) -> bool:
        """Whether the pixels of bytes, normalized here, are those of the processor."""
        import torch

        # Tried rather than known: every family may do more than its settings say.
        if set(example) != {_HELD}:
            return False
        try:
            held = self._pixels([_example()])
            again = self._normalized(torch.from_numpy(held))
        except (TypeError, ValueError, AttributeError, KeyError, RuntimeError):
            return False
        wanted = example[_HELD]
        same = held.dtype == np.uint8 and again.shape == wanted.shape
        return same and torch.allclose(again, wanted, rtol=0, atol=_TOLERANCE)


def cast_inputs(
    inputs: dict[str, Tensor], device: torch.device, dtype: torch.dtype
) -> dict[str, Tensor]:
    """Move inputs to a device, numbers with a fraction in the precision of the model."""
    return {
        name: value.to(device, dtype if value.is_floating_point() else None)
        for name, value in inputs.items()
    }


def _decode(items: list[Any], first: int = 0) -> list[Image.Image]:
    return open_images(items, "RGB", first)


def _example() -> Image.Image:
    from PIL import Image

    return Image.linear_gradient("L").convert("RGB")
