"""Check the order of the classes of weak probabilities against gold labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from w2s_data.utils.typing import BoolArray, FloatArray, IntArray

_SURE = 2.33  # standard errors, of a one-sided test at 1 %
_LOW_AUC = 0.4  # an area under the ROC curve below which probabilities mislead by more than chance
_FEWEST = 10  # gold rows; fewer cannot tell an order from chance


@dataclass(frozen=True)
class OrderWarning:
    """Another order of the classes that suits the gold labels clearly better.

    Attributes
    ----------
    text : str
    order : tuple of str
        The class that each of the present classes seems to be.
    """

    text: str
    order: tuple[str, ...]


def order_warning(
    proba: FloatArray, codes: IntArray, abstains: BoolArray, class_names: Sequence[str]
) -> OrderWarning | None:
    """Compare weak probabilities (N, C) with gold codes (N,), -1 where missing.

    Two classes are compared by the rank of their probabilities, which no imbalance of the classes
    misleads; several by the assignment of predicted to gold classes that is right most often,
    chosen on one half of the rows and tested on the other.
    """
    known = np.flatnonzero((codes >= 0) & ~abstains)
    if len(known) < _FEWEST:
        return None
    right, gold = proba[known], codes[known]
    if proba.shape[1] == 2:
        order: tuple[int, ...] = (1, 0) if _is_reversed(right[:, 1], gold) else (0, 1)
    else:
        order = _best_order(right.argmax(axis=1), gold, proba.shape[1])
    if order == tuple(range(len(order))):
        return None
    now = (right.argmax(axis=1) == gold).mean()
    then = (np.array(order)[right.argmax(axis=1)] == gold).mean()
    names = tuple(class_names[c] for c in order)
    moved = [
        f"{old!r} is {new!r}" for old, new in zip(class_names, names, strict=True) if old != new
    ]
    more = f" and {len(moved) - 4} more" if len(moved) > 4 else ""
    other = "in reverse" if len(names) == 2 else f"if {', '.join(moved[:4])}{more}"
    return OrderWarning(
        f"the classes seem to be in the wrong order, since {now:.0%} of {len(known):,} gold labels "
        f"agree and {then:.0%} would {other}",
        names,
    )


def _is_reversed(proba: FloatArray, gold: IntArray) -> bool:
    """Whether the second class has clearly lower probabilities where it is right."""
    n_pos = int(gold.sum())
    n_neg = len(gold) - n_pos
    if not (n_pos and n_neg):
        # Gold labels of one class: by the side of 1/2 that the probabilities lie on.
        votes = (proba != 0.5).sum()
        wrong = ((proba > 0.5) != (gold == 1))[proba != 0.5].sum()
        return bool(votes and (wrong - votes / 2) / np.sqrt(votes / 4) > _SURE)
    _, inverse, counts = np.unique(proba, return_inverse=True, return_counts=True)
    middle = np.cumsum(counts) - (counts - 1) / 2  # ranks from 1; equal values share theirs
    statistic = middle[inverse][gold == 1].sum() - n_pos * (n_pos + 1) / 2
    n = len(gold)
    ties = (counts.astype(np.float64) ** 3 - counts).sum() / (n * (n - 1))
    spread = np.sqrt(n_pos * n_neg / 12 * (n + 1 - ties))
    is_low = statistic / (n_pos * n_neg) < _LOW_AUC
    return bool(is_low and spread > 0 and (statistic - n_pos * n_neg / 2) / spread < -_SURE)


def _best_order(predicted: IntArray, gold: IntArray, n_classes: int) -> tuple[int, ...]:
    """Return the gold class of each predicted one, itself unless another order is better."""
    same = tuple(range(n_classes))
    first, second = slice(0, None, 2), slice(1, None, 2)
    counts = np.bincount(
        predicted[first] * n_classes + gold[first], minlength=n_classes**2
    ).reshape(n_classes, n_classes)
    if (counts.max(axis=1) == counts.diagonal()).all():
        return same
    from scipy.optimize import linear_sum_assignment

    # Ties go to the present order.
    best = linear_sum_assignment(counts * (n_classes + 1) + np.eye(n_classes), maximize=True)[1]
    moved = (best != np.arange(n_classes))[predicted[second]]
    now = int((predicted == gold)[second][moved].sum())
    then = int((best[predicted] == gold)[second][moved].sum())
    # A weak model confuses classes; it is seldom right more often under another name.
    clearly = then > 2 * now and (then - now) / np.sqrt(max(1, then + now)) > _SURE
    return tuple(int(c) for c in best) if clearly else same
