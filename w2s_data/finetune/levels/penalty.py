"""The penalty of a linear head, chosen on rows that did not train it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import log_softmax

from w2s_data.compute.device import or_on_cpu
from w2s_data.features.matrix import ArrayFeatures, as_feature_matrix, sampled
from w2s_data.finetune.levels.inputs import feature_scaling
from w2s_data.probes.linear import stratified_folds
from w2s_data.probes.path import excess, follow
from w2s_data.probes.solvers import LogisticProblems
from w2s_data.utils.threads import threads_for
from w2s_data.utils.typing import BoolArray, FloatArray, IntArray, RandomState
from w2s_data.utils.validation import check_generator, check_proba, check_same_length
from w2s_data.utils.votes import abstains

# From a penalty that leaves little but the class means; half a decade changes less than its noise.
PENALTIES = tuple(float(value) for value in 10.0 ** np.arange(0, -4.5, -0.5))
MOST_ROWS = 5_000  # more would sharpen the choice by less than a step of the grid
FOLDS = 3
# The gradient, from where the solution at the penalty before leaves it, is followed to this size:
# held-out losses are then off by far less than their standard errors.
TOLERANCE, MOST_ITERATIONS = 1e-4, 200
PROBABILITY_FLOOR = 1e-12  # keeps the loss finite where a head is sure of the wrong class


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
    x, y = np.asarray(matrix.take(rows)), labels[rows]
    scaling = feature_scaling(ArrayFeatures(x))
    scaling = scaling.uncentred() if paired else scaling
    scaled = scaling.apply(x)
    if gold is None:
        folds_of = stratified_folds(y.argmax(axis=1), folds, rng)
        used = np.ones((len(folds_of), len(y)))
        for own, (_, held) in zip(used, folds_of, strict=True):
            own[held] = 0
        trial = _Trial(scaled, y, used, scaled, y, used == 0)
    else:
        judges = as_feature_matrix(gold[0], "gold features")
        held_out = scaling.apply(judges.take(np.arange(judges.shape[0])))
        truth = np.eye(labels.shape[1])[gold[1]]
        judged = np.ones((1, len(truth)), dtype=bool)
        trial = _Trial(scaled, y, np.ones((1, len(y))), held_out, truth, judged)

    def choose(place: str) -> float:
        with threads_for(scaled.size * labels.shape[1]):
            return _least(_losses(trial, not paired, place, by_error=gold is not None))

    return or_on_cpu(choose, device, "the choice of a penalty")


@dataclass(frozen=True)
class _Trial:
    """Rows that train K heads, and rows that judge them, standardised."""

    features: FloatArray  # (n, D)
    targets: FloatArray  # (n, C)
    used: FloatArray  # (K, n), 1 for the rows that train a head
    held_features: FloatArray  # (m, D)
    held_targets: FloatArray  # (m, C)
    judged: BoolArray  # (K, m), the rows that judge it


def _losses(
    trial: _Trial, fit_intercept: bool, device: str, by_error: bool
) -> Iterator[FloatArray]:
    """Yield the losses (m,) of the held-out rows at each penalty, the strongest first."""
    n_heads, n_classes = len(trial.used), trial.targets.shape[1]
    targets = trial.targets[:, 1:] if n_classes == 2 else trial.targets
    problems = LogisticProblems(
        trial.features,
        np.broadcast_to(targets, (n_heads, *targets.shape)),
        trial.used / trial.used.sum(axis=1, keepdims=True),
        fit_intercept,
        device,
    )
    for l2 in PENALTIES:
        found = problems.minimize(l2, MOST_ITERATIONS, TOLERANCE)
        logits = trial.held_features @ found.coef.swapaxes(1, 2).astype(np.float32)  # (K, m, C)
        logits += found.intercept[:, None]
        if n_classes == 2:
            logits = np.concatenate([np.zeros_like(logits), logits], axis=2)
        if by_error:
            losses = logits.argmax(axis=2) != trial.held_targets.argmax(axis=1)
        else:
            logs = np.maximum(log_softmax(logits, axis=2), np.log(PROBABILITY_FLOOR))
            losses = -(trial.held_targets * logs).sum(axis=2)
        yield losses[trial.judged].astype(np.float64)


def _least(losses: Iterator[FloatArray]) -> float:
    """Return the strongest penalty within a standard error of the best."""
    tried, best = follow(losses)
    return next(
        l2 for l2, loss in zip(PENALTIES, tried, strict=False) if excess(loss, tried[best]) <= 1
    )
