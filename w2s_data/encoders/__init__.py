"""Encoders: from texts and images to feature vectors.

`TfidfEncoder` and `PixelEncoder` are cheap and weak, `TextEncoder` and `ImageEncoder` run a
pretrained model. All share the contract of `Encoder`, which is also the base for your own.
"""

from __future__ import annotations

from w2s_data.encoders.base import Encoder, ItemError
from w2s_data.encoders.classical import PixelEncoder, TfidfEncoder
from w2s_data.encoders.image import ImageEncoder
from w2s_data.encoders.names import encoder_from_spec
from w2s_data.encoders.text import TextEncoder

__all__ = [
    "Encoder",
    "ImageEncoder",
    "ItemError",
    "PixelEncoder",
    "TextEncoder",
    "TfidfEncoder",
    "encoder_from_spec",
]
