"""How far the vectors of a coarse precision are those of float32, on a sample of items."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from w2s_data.utils.intervals import Estimate, mean_estimate
from w2s_data.utils.typing import FloatArray, IntArray

# Items to compare; the interval of their mean cosine is then a few thousandths wide.
_SAMPLE = 256
# A probe says nothing about fewer labelled items, or classes of fewer.
_LEAST_LABELLED, _LEAST_OF_CLASS, _FOLDS = 50, 5, 5


@dataclass(frozen=True)
class Agreement:
    """Agreement of vectors with those of float32, of the same items.

    Attributes
    ----------
    n_items : int
    cosine : Estimate
        Mean cosine of both vectors of an item, in [-1, 1], with an interval.
    lowest : float
        Lowest of these cosines.
    accuracy, exact_accuracy : float or None
        Shares of labelled items that a probe is right on, cross-validated on these vectors and on
        those of float32; None without enough labels.
    difference : Estimate or None
        The first minus the second, paired, with an interval.
    """

    n_items: int
    cosine: Estimate
    lowest: float
    accuracy: float | None = None
    exact_accuracy: float | None = None
    difference: Estimate | None = None

    def reaches(self, least: float) -> bool:
        """Return whether mean cosine and kept share of the probe's accuracy are at least so high.

        The share counts as lower only where the interval of the difference says so too.

        >>> Agreement(9, Estimate(0.99, 0.98, 1, 0.95), 0.97).reaches(0.98)
        True
        """
        if self.difference is None or self.exact_accuracy is None:
            return self.cosine.value >= least
        kept = self.difference.high >= (least - 1) * self.exact_accuracy
        return self.cosine.value >= least and kept

    def __str__(self) -> str:
        low, high = self.cosine.low, min(1.0, self.cosine.high)
        said = (
            f"mean cosine with float32 {self.cosine.value:.4f} ({low:.4f} to {high:.4f}), "
            f"lowest {self.lowest:.3f}, on {self.n_items:,} items"
        )
        if self.difference is None:
            return said
        change = self.difference
        return (
            f"{said}; a probe is right on {self.accuracy:.1%} instead of "
            f"{self.exact_accuracy:.1%} of them (difference {100 * change.value:+.1f}, "
            f"{100 * change.low:+.1f} to {100 * change.high:+.1f} points)"
        )


def sample_of(n_items: int, labels: IntArray | None) -> IntArray:
    """Choose items evenly, labelled ones first; a label of -1 is none.

    >>> sample_of(3, None).tolist(), sample_of(4, np.array([-1, 0, -1, 1])).tolist()
    ([0, 1, 2], [1, 3])
    """
    rows = np.arange(n_items)
    if labels is not None and (labels >= 0).any():
        rows = np.flatnonzero(labels >= 0)
    places = np.linspace(0, len(rows) - 1, min(_SAMPLE, len(rows))).round().astype(np.int64)
    return rows[places]


def measure(
    coarse: Callable[[list[Any]], FloatArray],
    exact: Callable[[list[Any]], FloatArray],
    items: Sequence[Any],
    labels: IntArray | None = None,
) -> Agreement:
    """Compare the vectors of two encoders on a sample of items."""
    rows = sample_of(len(items), labels)
    sample = [items[row] for row in rows]
    ours, theirs = coarse(sample), exact(sample)
    norms = np.linalg.norm(ours, axis=1) * np.linalg.norm(theirs, axis=1)
    # Two zero vectors are the same, one alone is not.
    cosines = np.where(norms > 0, (ours * theirs).sum(axis=1) / np.maximum(norms, 1e-30), 0.0)
    cosines[(norms == 0) & (ours == theirs).all(axis=1)] = 1.0
    agreement = Agreement(len(rows), mean_estimate(cosines), float(cosines.min()))
    if labels is None or not _can_probe(labels[rows]):
        return agreement
    ours_right, theirs_right = (_hits(vectors, labels[rows]) for vectors in (ours, theirs))
    return replace(
        agreement,
        accuracy=float(ours_right.mean()),
        exact_accuracy=float(theirs_right.mean()),
        difference=mean_estimate(ours_right.astype(float) - theirs_right.astype(float)),
    )


def _can_probe(labels: IntArray) -> bool:
    counts = np.unique(labels, return_counts=True)[1]
    enough = len(labels) >= _LEAST_LABELLED and labels.min() >= 0
    return bool(enough and len(counts) > 1 and counts.min() >= _LEAST_OF_CLASS)


def _hits(vectors: FloatArray, labels: IntArray) -> FloatArray:
    """Return which items a cross-validated logistic regression is right on."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold, cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    # The same folds for both, so that their difference is paired.
    folds = StratifiedKFold(_FOLDS, shuffle=True, random_state=0)
    # A strong penalty: there are more dimensions than items.
    probe = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=200))
    right: FloatArray = cross_val_predict(probe, vectors, labels, cv=folds) == labels
    return right
