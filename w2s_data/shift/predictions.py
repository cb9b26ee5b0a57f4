"""Predictions of models as features whose sides can be compared: nobody is predicted by heart.

A model predicts the rows that it learned from more surely than others, which a domain classifier
would take for shift. So rows are divided into folds, and each is predicted by the one model that
did not learn from its fold, whichever side it is on.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from sklearn.base import clone

from w2s_data.features.matrix import DEFAULT_BLOCK_BYTES, FeatureMatrix, row_blocks
from w2s_data.probes.linear import LinearProbe, stratified_folds
from w2s_data.shift.classifier import FOLDS
from w2s_data.utils.typing import FloatArray, IntArray

LEAST_CHANCE = 1e-4  # smaller chances differ by what a model cannot know


def log_chances(proba: FloatArray) -> FloatArray:
    """Return log-probabilities (n, ...) that are bounded below.

    >>> log_chances(np.array([[0.0, 1.0]])).round(2)
    array([[-9.21,  0.  ]], dtype=float32)
    """
    return np.log(np.maximum(proba, LEAST_CHANCE)).astype(np.float32)


@dataclass(frozen=True, eq=False)
class FoldPredictions:
    """Log-probabilities (N, C) of rows by models that did not learn from them, as features."""

    features: FeatureMatrix  # (N, D), of the models
    models: tuple[LinearProbe, ...]
    folds: IntArray  # (N,), number of the model that predicts a row

    @classmethod
    def fit(
        cls,
        features: FeatureMatrix,
        probe: LinearProbe,
        rows: IntArray,
        codes: IntArray,
        rng: np.random.Generator,
    ) -> Self:
        """Train one model per fold on rows and their class codes (n,); others get random folds."""
        n_rows = features.shape[0]
        folds = rng.permutation(n_rows) % FOLDS
        train = features.take(rows)
        # As distributions, so that a class missing from a fold keeps its column.
        targets = np.eye(codes.max() + 1)[codes]
        models = []
        for number, (kept, held_out) in enumerate(stratified_folds(codes, FOLDS, rng)):
            folds[rows[held_out]] = number
            models.append(clone(probe).fit(train[kept], targets[kept]))
        return cls(features, tuple(models), folds)

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and classes."""
        return self.features.shape[0], len(self.models[0].classes_)

    def take(self, rows: Any) -> FloatArray:
        """Return log-probabilities of some rows, whose features are read in blocks."""
        numbers = np.arange(self.shape[0])[rows]
        taken = np.empty((len(numbers), self.shape[1]), dtype=np.float32)
        for part in row_blocks((len(numbers), self.features.shape[1]), DEFAULT_BLOCK_BYTES):
            block, folds = self.features.take(numbers[part]), self.folds[numbers[part]]
            for number in np.unique(folds):
                own = folds == number
                proba = self.models[number].predict_proba(block[own])
                taken[part][own] = log_chances(proba)
        return taken

    def blocks(self, max_bytes: int = DEFAULT_BLOCK_BYTES) -> Iterator[tuple[slice, FloatArray]]:
        """Yield (rows, log-probabilities) in order."""
        for rows in row_blocks((self.shape[0], self.features.shape[1]), max_bytes):
            yield rows, self.take(np.arange(rows.start, rows.stop))


@dataclass(frozen=True, eq=False)
class SideBySide:
    """Columns of several feature matrices beside each other."""

    parts: Sequence[FeatureMatrix]

    @property
    def shape(self) -> tuple[int, int]:
        """Rows, and columns of all parts."""
        return self.parts[0].shape[0], sum(part.shape[1] for part in self.parts)

    def take(self, rows: Any) -> FloatArray:
        """Return some rows."""
        return np.hstack([part.take(rows) for part in self.parts])

    def blocks(self, max_bytes: int = DEFAULT_BLOCK_BYTES) -> Iterator[tuple[slice, FloatArray]]:
        """Yield (rows, block) in order."""
        for rows in row_blocks(self.shape, max_bytes):
            yield rows, self.take(np.arange(rows.start, rows.stop))
