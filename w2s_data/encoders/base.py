"""Base of all encoders: items in, one float32 vector per item out, and a spec of the encoder."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import Any, ClassVar, Literal, Self

import numpy as np
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin

from w2s_data.compute.base import Advance
from w2s_data.errors import EncoderError, rows
from w2s_data.utils.progress import no_advance
from w2s_data.utils.typing import FloatArray, IntArray

Kind = Literal["text", "image"]


class ItemError(EncoderError):
    """Some items cannot be encoded; `positions` are theirs in the items that were passed."""

    def __init__(self, positions: Sequence[int], labels: Sequence[str], reason: str) -> None:
        self.positions = [int(position) for position in positions]
        self.labels = list(labels)
        self.reason = reason
        names = ", ".join(self.labels[:3]) + (", ..." if len(self.labels) > 3 else "")
        super().__init__(f"cannot encode {rows(self.positions)} ({names}): {reason}")

    def __reduce__(self) -> tuple[Any, ...]:
        # An exception is pickled as its message by default; workers send these to the driver.
        return ItemError, (self.positions, self.labels, self.reason)

    def moved_to(self, positions: Sequence[int]) -> ItemError:
        """Return the same error with positions in a larger sequence."""
        return ItemError([positions[i] for i in self.positions], self.labels, self.reason)


class Encoder(ABC, ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Base of all encoders, a scikit-learn transformer of a sequence of items.

    A subclass sets `kind` and implements `_encode` and `spec`; one that learns overrides `fit`,
    and its `spec` is known only afterwards. With `_n_features_out`, the dimensions D once they are
    known, `get_feature_names_out` and `set_output` work.

    Attributes
    ----------
    kind : "text" or "image"
        Kind of the items: strings, or images (a path, PNG/JPEG/... bytes, or a PIL image).
    learns : bool
        Whether `fit` learns from the items.
    """

    kind: ClassVar[Kind]
    learns: ClassVar[bool] = False

    def fit(self, items: Iterable[Any], y: Any = None) -> Self:  # noqa: ARG002
        """Check the settings; nothing is learned from the items."""
        return self

    def check(self) -> Any:
        """Raise EncoderError for settings that cannot be used; loads no weights and no items."""

    def encode(self, items: Iterable[Any], *, advance: Advance | None = None) -> FloatArray:
        """Encode N items, in their order; return a float32 array (N, D).

        `advance` is called with the number of items done, after each batch. Raise EncoderError
        naming the items that cannot be read, or whose vectors are not finite.
        """
        checked = as_items(items, self.kind)
        vectors = self._encode(checked, advance or no_advance)
        self._check_finite(vectors, checked, np.arange(len(checked)))
        return vectors

    def encode_part(
        self,
        items: list[Any],
        part: int,
        n_parts: int,  # noqa: ARG002
        *,
        advance: Advance | None = None,
    ) -> tuple[IntArray, FloatArray]:
        """Encode one of `n_parts` parts of the items, to the same bytes as `encode`.

        Return the positions (n,) of the items in the part, and their vectors (n, D). This default
        encodes all items in the first part.
        """
        mine = items if part == 0 else []
        return np.arange(len(mine)), self.encode(mine, advance=advance)

    def notes(self) -> list[str]:
        """Say what the encoder decided by itself, one line each; it is fitted, if it learns."""
        return []

    def zero_reason(self, item: Any) -> str:
        """Say why the vector of an item may hold zeros only."""
        empty = isinstance(item, str) and not item.strip()
        return "the text is empty" if empty else f"{type(self).__name__} gives only zeros"

    def transform(self, items: Iterable[Any]) -> FloatArray:
        """Encode items: scikit-learn's name for `encode`."""
        return self.encode(items)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        # Items are a sequence of texts or images, never a table of numbers.
        tags.input_tags.two_d_array = False
        tags.input_tags.string = self.kind == "text"
        tags.no_validation = True
        tags.requires_fit = self.learns
        return tags

    @abstractmethod
    def spec(self) -> dict[str, Any]:
        """Return the settings that the vectors depend on, as JSON types ("name" is a label)."""

    def _check_finite(self, vectors: FloatArray, items: list[Any], rows: IntArray) -> None:
        """Raise for items whose vectors are not finite; `rows` are the encoded items."""
        # A row's sum is finite unless the row is not, or its values are near float32's limits.
        suspicious = np.flatnonzero(~np.isfinite(vectors.sum(axis=1)))
        bad = [int(rows[i]) for i in suspicious if not np.isfinite(vectors[i]).all()]
        if bad:
            labels = [describe(items[row]) for row in bad]
            raise ItemError(bad, labels, f"{type(self).__name__} gave NaN or infinite values")

    @abstractmethod
    def _encode(self, items: list[Any], advance: Advance) -> FloatArray:
        """Return the float32 vectors (N, D) of checked items."""


def as_items(items: Iterable[Any], kind: Kind) -> list[Any]:
    """List the items; raise if one is not of the kind.

    >>> as_items(("a", "b"), "text")
    ['a', 'b']
    """
    if isinstance(items, str | bytes | os.PathLike):
        raise EncoderError(f"items must be a sequence of {kind} items; got a single one: wrap it")
    if not isinstance(items, Iterable):
        raise EncoderError(f"items must be a sequence of {kind} items; got {type(items).__name__}")
    # tolist turns strings of numpy into str, which tokenizers require.
    listed: list[Any] = items.tolist() if hasattr(items, "tolist") else list(items)
    legal = str if kind == "text" else _image_types()
    bad = [i for i, item in enumerate(listed) if not isinstance(item, legal)]
    if bad:
        expected = "str" if kind == "text" else "a path, encoded bytes or a PIL image"
        types = ", ".join(sorted({type(listed[i]).__name__ for i in bad}))
        raise ItemError(bad, [describe(listed[i]) for i in bad], f"not {expected} but {types}")
    return listed


def describe(item: Any) -> str:
    """Name an item in a message: its path, its first words, or its type and size."""
    if isinstance(item, os.PathLike):
        return repr(os.fspath(item))
    if isinstance(item, bytes):
        return f"{len(item)} bytes"
    text = repr(item)
    return text if len(text) <= 60 else f"{text[:56]}...{text[0] if text[0] in '<' else ''}"


def _image_types() -> tuple[type, ...]:
    from PIL import Image

    return str, bytes, os.PathLike, Image.Image
