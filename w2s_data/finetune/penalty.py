"""The penalty of a linear head, chosen on rows that did not train it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from w2s_data.features.matrix import as_feature_matrix, sampled
from w2s_data.probes.linear import LinearProbe, stratified_folds
from w2s_data.utils.typing import FloatArray, IntArray, RandomState
from w2s_data.utils.validation import check_generator, check_proba, check_same_length
from w2s_data.utils.votes import abstains

# From a penalty that leaves little but the class means; half a decade changes less than its noise.
PENALTIES = tuple(float(value) for value in 10.0 ** np.arange(0, -4.5, -0.5))
MOST_ROWS = 5_000  # more would sharpen the choice by less than a step of the grid
FOLDS = 3
# Below the best by this many standard errors, weaker penalties are not tried: the held-out loss
# has one minimum, and beyond it every step of the grid costs as much as the ones before.
HOPELESS = 2.0

Trial = tuple[FloatArray, FloatArray, FloatArray, FloatArray]


def choose_penalty(
    features: Any,
    targets: FloatArray,
    *,
    gold: tuple[Any, IntArray] | None = None,
    folds: int = FOLDS,
    most_rows: int = MOST_ROWS,
    paired: bool = False,
    device: str = "auto",
    random_state: RandomState = None,
) -> float:
    r"""Choose l2 of a linear head by rows that it was not trained on.

    The strongest penalty whose loss exceeds the least one by at most a standard error of the
    difference. Without gold rows the loss is the cross-entropy with the targets out of fold: for
    soft weak labels it asks how much of the teacher the strong features can explain, which is
    not what a weak teacher merely knows by its own features. With gold rows it is their error
    rate, since the cross-entropy of a student of weak labels measures how unsure its teacher was.

    Parameters
    ----------
    features : array (N, D), memory map or FeatureStore
        Strong features of the rows that a student will learn from.
    targets : float array (N, C)
        Their labels as distributions, weak or gold; rows on which a teacher abstains are left out.
    gold : (features (n, D), class codes (n,)), optional
        Rows that judge students of weak labels. Neither the student nor the teacher may have
        learned their labels.
    folds : int
    most_rows : int
        A random sample of so many rows is trained on.
    paired : bool
        Rows are differences of preference pairs: heads without an intercept.
    device : str
    random_state : int, Generator or None
        Controls sample and folds.

    Returns
    -------
    l2 : float
        Among `PENALTIES`, 1e-4 to 1; in the sense of `LinearProbe`.

    Raises
    ------
    InputError
        If rows disagree or targets are no distributions.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> features = rng.normal(size=(400, 20))
    >>> clear = np.eye(2)[(features[:, 0] > 0).astype(int)]
    >>> noise = np.eye(2)[rng.integers(2, size=400)]
    >>> choose_penalty(features, clear, random_state=0) < choose_penalty(features, noise)
    True
    """
    matrix = as_feature_matrix(features)
    labels = check_proba(targets, "targets")
    check_same_length(features=range(matrix.shape[0]), targets=labels)
    rng = check_generator(random_state)
    rows: IntArray = np.flatnonzero(~abstains(labels))
    if len(rows) < 2:  # nothing to learn: the student is its intercept at any penalty
        return PENALTIES[0]
    rows = sampled(rows, most_rows, rng)
    x, y = np.asarray(matrix.take(rows), dtype=np.float64), labels[rows]
    trials: list[Trial]
    if gold is None:
        parts = stratified_folds(y.argmax(axis=1), folds, rng)
        trials = [(x[train], y[train], x[held], y[held]) for train, held in parts]
    else:
        judges = as_feature_matrix(gold[0], "gold features")
        truth = np.eye(labels.shape[1])[gold[1]]
        held_out = np.asarray(judges.take(np.arange(judges.shape[0])), dtype=np.float64)
        trials = [(x, y, held_out, truth)]
    probe = LinearProbe(fit_intercept=not paired, tol=1e-4, device=device)
    return _least(_losses(probe, trials, by_error=gold is not None))


def _losses(probe: LinearProbe, trials: list[Trial], by_error: bool) -> Iterator[FloatArray]:
    """Yield the losses (n,) of the held-out rows at each penalty, the strongest first."""
    for l2 in PENALTIES:
        losses = []
        for features, targets, held_features, held_targets in trials:
            probe.set_params(l2=l2).fit(features, targets)
            proba = probe.predict_proba(held_features)
            if by_error:
                wrong = proba.argmax(axis=1) != held_targets.argmax(axis=1)
                losses.append(wrong.astype(np.float64))
            else:
                losses.append(-(held_targets * np.log(np.maximum(proba, 1e-12))).sum(axis=1))
        yield np.concatenate(losses)


def _least(losses: Iterator[FloatArray]) -> float:
    """Return the strongest penalty within a standard error of the best."""
    tried: list[FloatArray] = []
    best = 0
    for loss in losses:
        tried.append(loss)
        if loss.mean() < tried[best].mean():
            best = len(tried) - 1
        elif _excess(loss, tried[best]) > HOPELESS:
            break
    return next(
        l2 for l2, loss in zip(PENALTIES, tried, strict=False) if _excess(loss, tried[best]) <= 1
    )


def _excess(loss: FloatArray, best: FloatArray) -> float:
    """Return by how many standard errors a mean loss exceeds the best, row by row."""
    difference = loss - best
    mean, error = difference.mean(), difference.std(ddof=1) / np.sqrt(len(loss))
    if error == 0:
        return np.inf if mean > 0 else 0.0
    return float(mean / error)
