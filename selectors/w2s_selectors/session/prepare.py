"""Checks of delivered items, and their strong features and weak probabilities."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from w2s_data.encoders import Encoder
from w2s_data.encoders.base import ItemError, as_items
from w2s_data.errors import FeatureError, InputError, ProbabilityError
from w2s_data.features.store import FeatureStore, item_keys, open_store
from w2s_data.utils.storage import storage_at
from w2s_data.utils.typing import FloatArray
from w2s_data.utils.validation import check_feature_block, check_proba
from w2s_selectors.objectives.base import Acquired
from w2s_selectors.sources.base import Batch, SourceError, check_trust

logger = logging.getLogger("w2s_selectors")


class Preparer:
    """Completes a batch: keeps the numbers that it brings, and computes the others."""

    def __init__(self, strong_encoder: Any, weak_model: Any, folder: Path | None) -> None:
        self._encode = _encoding(strong_encoder, folder)
        self._label = _labelling(weak_model)

    def __call__(self, source: str, batch: Batch) -> tuple[Batch, str]:
        """Return the batch with both, and a note on items that were left out."""
        note = ""
        # Features first: an item that cannot be read needs no weak label.
        if batch.strong_features is None:
            try:
                strong = self.strong_features(source, batch.items)
            except ItemError as error:  # an unreadable image: leave it out, and encode the others
                bad = set(error.positions)
                logger.warning("source %r: %s; left out", source, error)
                note = f"{len(bad)} items left out: {error.reason}"
                batch = batch.take(np.array([i for i in range(len(batch)) if i not in bad], int))
                if not len(batch):
                    return batch, note
                strong = self.strong_features(source, batch.items)
        else:
            strong = np.asarray(batch.strong_features)
        proba = batch.weak_proba
        if proba is None:
            if self._label is None or batch.items is None:
                raise InputError(
                    f"source {source!r} delivers items without weak probabilities: pass weak_model"
                )
            proba = self._label(batch.items)
        _check_strong(source, len(batch), strong)
        if len(proba) != len(batch):
            raise ProbabilityError(
                f"weak_model must return one row of probabilities per item, {len(batch)} for "
                f"source {source!r}; got {len(proba)}"
            )
        trust = None if batch.trust is None else check_trust(batch.trust, len(batch))
        return Batch(batch.ids, batch.items, strong, check_proba(proba), trust), note

    def strong_features(self, source: str, items: tuple[Any, ...] | None) -> FloatArray:
        """Encode items, (n, D)."""
        if self._encode is None or items is None:
            raise InputError(
                f"source {source!r} delivers items without strong features: pass strong_encoder"
            )
        return self._encode(items)


def check_delivered(source: str, batch: Any, acquired: Acquired) -> None:
    """Raise SourceError unless an answer is a batch whose numbers fit earlier ones."""
    if not isinstance(batch, Batch) or not all(isinstance(name, str) for name in batch.ids):
        raise SourceError(
            f"source {source!r} must deliver a Batch whose ids are str; got {batch!r:.80}"
        )
    strong, proba = batch.strong_features, batch.weak_proba
    try:
        if len(batch) and strong is not None:
            _check_strong(source, len(batch), np.asarray(strong))
        if len(batch) and proba is not None:
            check_proba(proba)
        if batch.trust is not None:
            check_trust(batch.trust, len(batch))
        if len(batch):
            acquired.check_fits(strong, proba)
    except InputError as error:
        raise SourceError(f"source {source!r} delivered unusable numbers: {error}") from error


def _check_strong(source: str, n: int, strong: FloatArray) -> None:
    if strong.ndim != 2 or len(strong) != n:
        raise FeatureError(
            f"strong features of {n} items of source {source!r} must have the shape ({n}, D); "
            f"got {strong.shape}"
        )
    name = f"strong features of source {source!r}"
    # A zero row has no direction, which overlap detection compares.
    check_feature_block(strong, np.arange(n), name, nonzero=True)


def _encoding(encoder: Any, folder: Path | None) -> Callable[[Any], FloatArray] | None:
    if encoder is None:
        return None
    if isinstance(encoder, Encoder):
        return encoder.encode if folder is None else _StoredEncoder(encoder, folder)
    if callable(encoder):
        return lambda items: np.asarray(encoder(list(items)), dtype=np.float32)
    raise InputError(f"strong_encoder must be an encoder or a function of items; got {encoder!r}")


def _labelling(model: Any) -> Callable[[Any], FloatArray] | None:
    if model is None:
        return None
    function = getattr(model, "predict_proba", model)
    if callable(function):
        # A list, since models of texts often refuse a tuple.
        return lambda items: np.asarray(function(list(items)))
    raise InputError(f"weak_model must be a function of items or have predict_proba; got {model!r}")


class _StoredEncoder:
    """An encoder whose features are stored, so that a resumed selection encodes nothing twice.

    The store stays open from one answer to the next: opening it reads all keys.
    """

    def __init__(self, encoder: Encoder, folder: Path) -> None:
        self._encoder = encoder
        self._shards = open_store(storage_at(folder), encoder, False)

    def __call__(self, items: Any) -> FloatArray:
        listed = as_items(items, self._encoder.kind)
        keys = item_keys(listed, self._encoder.kind)
        # Equal items are encoded once, in the order of their first occurrence.
        first = np.sort(np.unique(keys, return_index=True)[1])
        todo = first[~np.isin(keys[first], self._shards.keys)]
        if len(todo):
            try:
                vectors = self._encoder.encode([listed[row] for row in todo])
            except ItemError as error:
                raise error.moved_to(todo.tolist()) from error
            self._shards.append(keys[todo], vectors)
        return FeatureStore(self._shards, np.empty(0, np.int64)).select(keys).array()
