"""Teachers that learn from gold rows, and can learn again without some of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from w2s_data.features.matrix import FeatureMatrix
from w2s_data.teachers.items import Items
from w2s_data.teachers.opinions import Opinions
from w2s_data.utils.typing import BoolArray, FloatArray, IntArray

# Trains again on some of a teacher's rows, a mask (n,); probabilities (k, C) of other rows.
Relearn = Callable[[BoolArray], FloatArray]


@dataclass(frozen=True)
class Lesson:
    """Rows (n,) that a teacher learns from, ascending, and their class codes (n,)."""

    rows: IntArray
    codes: IntArray

    def take(self, chosen: Any) -> Lesson:
        """Return some of the rows, by their places or a mask."""
        return Lesson(self.rows[chosen], self.codes[chosen])


class Learner(Protocol):
    """A teacher that learns from gold rows.

    It need not be trained when it is made: `opinions` trains it, and so do the others.
    """

    @property
    def lesson(self) -> Lesson:
        """The rows that it learns from, after rows were left out that memory does not hold."""

    @property
    def learned(self) -> Mapping[str, Any]:
        """Choices made while it learned, in JSON, so that nothing is chosen a second time."""

    @property
    def n_columns(self) -> int:
        """Columns of the features that it reads, by which memory is planned."""

    @property
    def gold_folds(self) -> IntArray | None:
        """Fold (N,) of each gold row, by which alone it can be trained again; None for any."""

    def opinions(self) -> Opinions:
        """Label all items; those that it learned from by cross-fitting."""

    def label(self, items: Items) -> FloatArray:
        """Return probabilities (N, C) of other items."""

    def relearn(self, at: IntArray) -> Relearn | None:
        """Return a function that trains it again and labels rows (k,); None if that is too dear."""

    def fold_view(self, rows: IntArray, rng: np.random.Generator) -> FeatureMatrix | None:
        """Return log-probabilities (N, K) of models that learned from some of its rows by folds.

        No row is predicted by a model that learned from it; None where there are no such models.
        """
