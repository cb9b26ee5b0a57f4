"""Encoders by name, as they are written on the command line."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

from w2s_data.encoders.base import Encoder, Kind
from w2s_data.encoders.classical import PixelEncoder, TfidfEncoder
from w2s_data.encoders.image import ImageEncoder
from w2s_data.encoders.text import TextEncoder
from w2s_data.errors import EncoderError, unknown

# name -> (class, the setting that a number after the colon sets)
_NAMED: dict[str, tuple[type[TfidfEncoder] | type[PixelEncoder], str]] = {
    "tfidf": (TfidfEncoder, "n_components"),
    "pixels": (PixelEncoder, "size"),
}
_PRETRAINED: dict[str, Callable[..., Encoder]] = {"text": TextEncoder, "image": ImageEncoder}


def encoder_from_spec(text: str, kind: str, **options: Any) -> Encoder:
    """Build an encoder from its short form.

    Parameters
    ----------
    text : str
        "tfidf", "tfidf:COMPONENTS", "pixels", "pixels:SIZE", or a pretrained model as
        "PATH_OR_HUB_NAME" or "PATH_OR_HUB_NAME@LAYER".
    kind : "text" or "image"
        What the items are.
    **options
        Further settings of the encoder.

    Raises
    ------
    EncoderError
        For an unknown name (with the nearest), an encoder of the other kind, or a setting that
        is no number. A pretrained model is looked for when it is first used.

    Examples
    --------
    >>> encoder_from_spec("tfidf:16", kind="text")
    TfidfEncoder(n_components=16)
    >>> encoder_from_spec("models/minilm@3", kind="text").layer
    3
    """
    if kind not in get_args(Kind):
        raise EncoderError(unknown("kind of item", kind, get_args(Kind)))
    name, _, number = text.partition(":")
    if name in _NAMED and not Path(text).is_dir():
        encoder, setting = _NAMED[name]
        if encoder.kind != kind:
            raise EncoderError(
                f"encoder {text!r} reads {encoder.kind} items, but these are {kind} items; "
                f"use {_alternatives(kind)}"
            )
        if number:
            options[setting] = _integer(number, f"encoder {text!r}", setting)
        return encoder(**options)
    if "/" not in text and not Path(text).is_dir():
        close = difflib.get_close_matches(name, _NAMED, n=1, cutoff=0.7)
        if close:
            raise EncoderError(f"there is no encoder {text!r}; did you mean {close[0]!r}?")
    model, at, layer = text.rpartition("@")
    if not at or Path(text).is_dir():
        return _PRETRAINED[kind](model=text, **options)
    options["layer"] = _integer(layer, f"encoder {text!r}", "the layer after '@'")
    return _PRETRAINED[kind](model=model, **options)


def _alternatives(kind: str) -> str:
    named = [repr(name) for name, (encoder, _) in _NAMED.items() if encoder.kind == kind]
    return f"{', '.join(named)} or the path of a pretrained {kind} model"


def _integer(number: str, where: str, what: str) -> int:
    try:
        return int(number)
    except ValueError as error:
        raise EncoderError(f"{where}: {what} must be a whole number; got {number!r}") from error
