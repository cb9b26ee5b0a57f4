"""Rows of a data set as sources."""

from __future__ import annotations

import copy
import hashlib
import sys
from collections.abc import Collection, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from w2s_data.data.load import W2SDataset
from w2s_data.errors import InputError, NotApplicableError, listing, unknown
from w2s_data.features.matrix import (
    ArrayFeatures,
    FeatureMatrix,
    as_feature_matrix,
    has_random_access,
)
from w2s_data.utils.io import sha256_json
from w2s_data.utils.typing import IntArray, RandomState
from w2s_data.utils.validation import check_generator, check_proba
from w2s_data.utils.votes import mean_label
from w2s_selectors.objectives.base import Rows
from w2s_selectors.sources.base import Batch, check_cost, check_trust


class TableSource:
    """Rows of a data set as a source, delivered without replacement in a seeded order.

    Parameters
    ----------
    name : str
    dataset : W2SDataset
    rows : int array, optional
        Row numbers; all rows by default.
    cost : float
    strong_features : FeatureMatrix (N, D), optional
        Ready-made, of all rows of the data set (an array, a memory map, a `FeatureStore`).
    weak_proba : array (N, C) or (N, M, C), optional
        Ready-made; the data set's own by default. Several weak models are averaged.
    trust : array (N,), optional
        Chance that each weak label is right, in [0, 1]; NaN where it is not known.
    random_state : int, Generator or None
        Controls the order. 0 by default, since a selection resumes on the same order only.

    Examples
    --------
    >>> from w2s_data import load_dataset
    >>> data = load_dataset(pd.DataFrame({"text": list("abcd"), "from": ["x", "y"] * 2}),
    ...                     source="from")
    >>> x, y = TableSource.from_dataset(data)
    >>> x.name, x.size, sorted(x.query(5).items)
    ('x', 2, ['a', 'c'])
    """

    def __init__(
        self,
        name: str,
        dataset: W2SDataset,
        rows: IntArray | None = None,
        *,
        cost: float = 1.0,
        strong_features: Any = None,
        weak_proba: Any = None,
        trust: Any = None,
        random_state: RandomState = 0,
    ) -> None:
        self.name, self.cost = name, check_cost(name, cost)
        self._dataset = dataset
        picked = np.arange(len(dataset)) if rows is None else np.asarray(rows)
        self._order = check_generator(random_state).permutation(picked)
        self._features: FeatureMatrix | None = None
        if strong_features is not None:
            self._features = _random_access(strong_features)
            _check_rows("strong_features", self._features.shape[0], dataset)
        proba = dataset.weak_proba if weak_proba is None else np.asarray(weak_proba)
        if proba is not None:
            _check_rows("weak_proba", len(proba), dataset)
        self._weak_proba = proba
        # Only the length: each answer is checked, and many sources share one array.
        self._trust = None if trust is None else np.asarray(trust, dtype=np.float64)
        if self._trust is not None:
            _check_rows("trust", len(self._trust), dataset)
        self._position = 0

    @classmethod
    def from_dataset(
        cls,
        dataset: W2SDataset,
        *,
        costs: Mapping[str, float] | None = None,
        split: str = "pool",
        strong_features: Any = None,
        weak_proba: Any = None,
        trust: Any = None,
        random_state: RandomState = 0,
    ) -> list[TableSource]:
        """Return one source per value of the data set's source column, among the rows of a split.

        `costs` are per item, by source; 1 where none is given.
        """
        if dataset.sources is None:
            raise NotApplicableError(
                "the data set has no sources: pass source, the name of their column, when it is "
                "loaded"
            )
        rows = dataset.rows(split)
        codes, names = pd.factorize(pd.Series(dataset.sources[rows]), sort=True)
        if not len(names):
            raise NotApplicableError(f"no row of the split {split!r} has a source")
        costs = dict(costs or {})
        for name in costs:
            if name not in names:
                raise InputError(unknown("source", str(name), [str(known) for known in names]))
        # Rows without a source have the code -1 and sort first: they belong to no source.
        by_source = np.argsort(codes, kind="stable")[np.count_nonzero(codes < 0) :]
        ends = np.cumsum(np.bincount(codes[codes >= 0]))[:-1]
        if strong_features is not None:
            strong_features = _random_access(strong_features)  # once, for all sources
        if trust is not None:
            trust = check_trust(trust, len(dataset))
        # A generator per source: the order of one does not depend on the size of another.
        rngs = check_generator(random_state).spawn(len(names))
        return [
            cls(
                str(name),
                dataset,
                rows[own],
                cost=costs.get(name, 1.0),
                strong_features=strong_features,
                weak_proba=weak_proba,
                trust=trust,
                random_state=rng,
            )
            for name, own, rng in zip(names, np.split(by_source, ends), rngs, strict=True)
        ]

    def __repr__(self) -> str:
        return f"TableSource({self.name!r}, {self.size:,} items, cost={self.cost:g})"

    @property
    def size(self) -> int:
        """Number of items."""
        return len(self._order)

    @property
    def ready(self) -> bool:
        """Whether its items come with strong features and weak probabilities."""
        return self._features is not None and self._weak_proba is not None

    def open(self, delivered: Collection[str], folder: Path | None = None) -> None:  # noqa: ARG002
        """Resume after the delivered items, which are the first of the order."""
        self._position = len(delivered)

    def shuffled(self, rng: np.random.Generator) -> TableSource:
        """Return a copy in another order that has delivered nothing."""
        copied = copy.copy(self)
        copied.__dict__.pop("fingerprint", None)  # and _index: both depend on the old order
        copied.__dict__.pop("_index", None)
        copied._order, copied._position = rng.permutation(self._order), 0
        return copied

    def query(self, n: int, request: str = "") -> Batch:  # noqa: ARG002
        """Deliver the next n rows; fewer at the end."""
        rows = self._order[self._position : self._position + n]
        self._position += len(rows)
        return self._batch(rows)

    def lookup(self, ids: Sequence[str]) -> Batch:
        """Return the rows of some ids."""
        places = self._index.get_indexer(pd.Index(ids))
        missing = [name for name, place in zip(ids, places, strict=True) if place < 0]
        if missing:
            raise InputError(f"source {self.name!r} holds no item with the id {listing(missing)}")
        return self._batch(self._order[places])

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of the data set, the rows in their order, ready-made probabilities and trust.

        Features enter by their shape alone: they may be too large to read for a hash.
        """
        digest = hashlib.sha256(self._dataset.fingerprint.encode())
        digest.update(np.ascontiguousarray(self._order, dtype=np.int64).data)
        if self._weak_proba is not None:
            own = np.ascontiguousarray(self._weak_proba[self._order], dtype=np.float64)
            digest.update(own.data)
        if self._trust is not None:
            digest.update(np.ascontiguousarray(self._trust[self._order]).data)
        digest.update(
            sha256_json(None if self._features is None else self._features.shape).encode()
        )
        return digest.hexdigest()

    @cached_property
    def _index(self) -> pd.Index[Any]:
        index: pd.Index[Any] = pd.Index(self._dataset.ids[self._order])
        return index

    def _batch(self, rows: IntArray) -> Batch:
        data = self._dataset
        proba = None if self._weak_proba is None else self._weak_proba[rows]
        if proba is not None:
            proba = mean_label(proba)
        # Items are only sent along where something is left to compute from them.
        items = None
        if not self.ready and data.features is not None:
            items = tuple(data.features[rows])
        elif not self.ready:
            items = tuple(data.table["item"].iloc[rows])
        return Batch(
            # Interned, since every replay delivers the same ids again.
            ids=tuple(map(sys.intern, data.table["id"].iloc[rows].tolist())),
            items=items,
            strong_features=None if self._features is None else self._features.take(rows),
            weak_proba=None if proba is None or not len(rows) else check_proba(proba),
            trust=None if self._trust is None else self._trust[rows],
        )


def _random_access(features: Any) -> FeatureMatrix:
    """Return features whose rows can be read one by one; a store is read once, shard by shard."""
    matrix = as_feature_matrix(features, "strong_features")
    if has_random_access(matrix):
        return matrix
    copied = Rows(np.float32)
    for _, block in matrix.blocks():
        copied.append(block)
    return ArrayFeatures(copied.array)


def _check_rows(what: str, n: int, dataset: W2SDataset) -> None:
    if n != len(dataset):
        raise InputError(f"{what} have {n} rows; the data set has {len(dataset)}")
