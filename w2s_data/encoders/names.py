"""Encoders by name: the short forms that a command line or a table of settings holds."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, get_args

from w2s_data.encoders.base import Encoder, Kind
from w2s_data.encoders.classical import PixelEncoder, TfidfEncoder
from w2s_data.encoders.components import PcaEncoder
from w2s_data.encoders.image import ImageEncoder
from w2s_data.encoders.source import Source
from w2s_data.encoders.text import TextEncoder
from w2s_data.errors import EncoderError, unknown
from w2s_data.utils.io import jsonable


class _Named(NamedTuple):
    encoder: type[Encoder]
    parameter: str | None  # set by the number after a colon, as in "tfidf:16"


_NAMED: dict[str, _Named] = {
    "tfidf": _Named(TfidfEncoder, "n_components"),
    "pixels": _Named(PixelEncoder, "size"),
    "pca": _Named(PcaEncoder, "n_components"),
}
_PRETRAINED: dict[str, Callable[..., Encoder]] = {"text": TextEncoder, "image": ImageEncoder}
# A shorter match, or a path with a slash, is more likely the name of a model than a typing error.
_CLOSE = 0.7


def register_encoder(name: str, encoder: type[Encoder], parameter: str | None = None) -> None:
    """Make an encoder class, whose arguments all have defaults, known by a name.

    A number after the name and a colon sets the argument called `parameter`. Raise EncoderError if
    the name is taken, or the class is not an encoder.

    Examples
    --------
    >>> register_encoder("pixels", PixelEncoder, "size")
    Traceback (most recent call last):
    w2s_data.errors.EncoderError: encoder 'pixels' is registered already (PixelEncoder)
    """
    if not (isinstance(encoder, type) and issubclass(encoder, Encoder)):
        raise EncoderError(f"encoder {name!r} must be a subclass of Encoder; got {encoder!r}")
    if name in _NAMED:
        taken = _NAMED[name].encoder.__name__
        raise EncoderError(f"encoder {name!r} is registered already ({taken})")
    _NAMED[name] = _Named(encoder, parameter)


def available_encoders(kind: str | None = None) -> list[str]:
    """Return the registered names, of encoders of one kind of item if given.

    A pretrained model goes by its folder or hub name instead.

    Examples
    --------
    >>> available_encoders(), available_encoders("image")
    (['pca', 'pixels', 'tfidf'], ['pca', 'pixels'])
    """
    return sorted(n for n, named in _NAMED.items() if kind in (None, named.encoder.kind))


def make_encoder(name: str, kind: str, **options: Any) -> Encoder:
    """Make an encoder for "text" or "image" items from its short form.

    Parameters
    ----------
    name : str
        "tfidf", "tfidf:COMPONENTS", "pixels", "pixels:SIZE", "pca", "pca:COMPONENTS", or a
        pretrained model as "PATH_OR_HUB_NAME" or "PATH_OR_HUB_NAME@LAYER".
    **options
        Further arguments of the encoder.

    Raises
    ------
    EncoderError
        For an unknown name (with the nearest), an encoder of the other kind, or a setting that
        is not an integer. A pretrained model is looked for when it is first used.

    Examples
    --------
    >>> make_encoder("tfidf:16", kind="text")
    TfidfEncoder(n_components=16)
    >>> make_encoder("models/minilm@3", kind="text").layer
    3
    """
    if kind not in get_args(Kind):
        raise EncoderError(unknown("kind of item", kind, get_args(Kind)))
    short, _, number = name.partition(":")
    if short in _NAMED and not Path(name).is_dir():
        encoder, parameter = _NAMED[short]
        if encoder.kind != kind:
            raise EncoderError(
                f"encoder {name!r} reads {encoder.kind} items, but these are {kind} items; use "
                f"{', '.join(map(repr, available_encoders(kind)))} or the path of a pretrained "
                f"{kind} model"
            )
        if number and parameter is None:
            raise EncoderError(f"encoder {short!r} takes no number; got {name!r}")
        if number:
            options[str(parameter)] = _integer(number, f"encoder {name!r}", str(parameter))
        return encoder(**options)
    if "/" not in name and not Path(name).is_dir():
        close = difflib.get_close_matches(short, _NAMED, n=1, cutoff=_CLOSE)
        if close:
            raise EncoderError(f"there is no encoder {name!r}; did you mean {close[0]!r}?")
    model, at, layer = name.rpartition("@")
    if not at or Path(name).is_dir():  # a folder's own name may hold an @
        return _PRETRAINED[kind](model=name, **options)
    options["layer"] = _integer(layer, f"encoder {name!r}", "the layer after '@'")
    return _PRETRAINED[kind](model=model, **options)


def describe_encoder(encoder: Encoder) -> dict[str, Any]:
    """Return class and arguments of an encoder as JSON types, for `remake_encoder`.

    >>> remake_encoder(describe_encoder(PixelEncoder(size=4)))
    PixelEncoder(size=4)
    """
    arguments = encoder.get_params()
    if isinstance(arguments.get("model"), str) and Path(arguments["model"]).is_dir():
        # Found again from another folder too.
        arguments["model"] = str(Path(arguments["model"]).resolve())
    return {"encoder": type(encoder).__name__, **jsonable(arguments)}


def remake_encoder(described: Mapping[str, Any]) -> Encoder:
    """Make the encoder that was described; raise EncoderError if its class has no name here."""
    classes = [named.encoder for named in _NAMED.values()] + [TextEncoder, ImageEncoder]
    arguments = dict(described)
    name = arguments.pop("encoder", None)
    made = next((own for own in classes if own.__name__ == name), None)
    if made is None:
        raise EncoderError(f"encoder {name!r} is of another program: pass the encoder itself")
    listed = {key: tuple(v) if isinstance(v, list) else v for key, v in arguments.items()}
    return made(**listed)


def check_encoder(encoder: Any, kind: str | None = None) -> Encoder | None:
    """Raise what making and loading an encoder would raise, but load no weights; return it.

    `kind` is that of the items, "features" where they are vectors; without it, as before the items
    are read, a pretrained model may read any kind, and None is returned.

    Examples
    --------
    >>> check_encoder("tfidf:many")
    Traceback (most recent call last):
    w2s_data.errors.EncoderError: encoder 'tfidf:many': n_components must be an integer; got 'many'
    """
    if kind == "features":
        raise EncoderError("no encoder can read the items, which are feature vectors")
    if isinstance(encoder, str):
        named = _NAMED.get(encoder.partition(":")[0])
        made = make_encoder(encoder, kind or (named.encoder.kind if named else "text"))
        if kind is None and isinstance(made, TextEncoder):
            Source(made.model).configuration()
            return None
    elif isinstance(encoder, Encoder):
        made = encoder
    else:
        raise EncoderError(f"an encoder is a name or an Encoder; got {encoder!r}")
    if kind not in (None, made.kind):
        raise EncoderError(f"{made!r} reads {made.kind} items, but these are {kind} items")
    made.check()
    return made


def _integer(number: str, where: str, what: str) -> int:
    try:
        return int(number)
    except ValueError as error:
        raise EncoderError(f"{where}: {what} must be an integer; got {number!r}") from error
