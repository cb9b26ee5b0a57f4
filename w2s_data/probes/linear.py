r"""Linear probes on frozen features: logistic with hard or soft labels, and ridge."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from copy import copy
from typing import Any, Literal, Self

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.utils.validation import check_is_fitted, validate_data

from w2s_data.errors import FeatureError
from w2s_data.probes.checking import check_features, check_targets
from w2s_data.probes.path import follow
from w2s_data.probes.together import Linear, Objective, groups_of, solve_together
from w2s_data.utils.threads import one_thread, threads_for
from w2s_data.utils.typing import AnyArray, FloatArray, IntArray, RandomState
from w2s_data.utils.validation import (
    check_generator,
    check_parameters,
    check_rows,
    check_same_length,
    check_weights,
    one_of,
    penalty,
    positive,
    whole,
)

# From next to none to a penalty that leaves only the class means; half a decade changes the
# held-out loss by less than its noise.
L2_GRID = tuple(float(value) for value in 10.0 ** np.arange(-4, 1.5, 0.5))
# Tolerance of the gradient while a penalty is chosen: losses are known to far less than their
# noise.
CHOICE_TOL = 1e-5
CONSTRAINTS = {
    "loss": one_of("logistic", "ridge"),
    "l2": penalty | one_of("cv"),
    "folds": whole(2),
    "max_iter": whole(1),
    "tol": positive,
}


class LinearProbe(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    r"""A linear classifier on frozen features.

    With weights v_i (mean 1), features x_i (standardised by default), labels y_i as
    distributions over C classes, and ``loss="logistic"`` it minimises

    .. math:: \frac1n\sum_i v_i\,\mathrm{CE}(y_i, \mathrm{softmax}(Wx_i+b)) + \tfrac{l_2}{2}\|W\|^2

    Two classes share one weight vector (a sigmoid), as in scikit-learn, whose ``C`` equals
    ``1 / (n * l2)``. ``loss="ridge"`` minimises

    .. math:: \frac{1}{2n}\sum_i v_i\,\|y_i - Wx_i-b\|^2 + \tfrac{l_2}{2}\|W\|^2

    as scikit-learn's `Ridge` with ``alpha = n * l2``. For two classes it fits the share p of the
    second alone, and its scores, with `coef_` and `intercept_`, are those of 2 p - 1. ``l2=0`` is
    then the least-norm (ridgeless) solution.

    Parameters
    ----------
    loss : {"logistic", "ridge"}
    l2 : float or "cv"
        Penalty on the weights, never on the intercept. Usual range 1e-4 to 1 on standardised
        features. "cv" takes the best held-out log-loss among `L2_GRID`, from strong to weak, up to
        one that is worse than the best so far by two standard errors.
    standardize : bool
        Scale each feature to mean 0, variance 1 of the training rows; a constant one gets weight 0.
        Without an intercept features are only scaled, to mean square 1.
    fit_intercept : bool
    folds : int
        Folds for ``l2="cv"``.
    max_iter, tol : int, float
        Limit and gradient tolerance of L-BFGS; it works in float64 (float32 on MPS) and on
        coordinates in which the problem is well conditioned, so a few dozen steps suffice.
    device : str
        "auto", "cpu", "cuda", ...
    random_state : int, Generator or None
        Controls the shuffling of the folds of ``l2="cv"``; nothing else is random.

    Attributes
    ----------
    classes_ : array (C,)
        Sorted labels, or ``arange(C)`` for soft labels.
    coef_ : array (C, D), or (1, D) for two classes
        Weights on the unscaled features.
    intercept_ : array (C,), or (1,) for two classes
    n_features_in_ : int
    feature_names_in_ : array (D,)
        Column names, where X was a DataFrame; predicting then requires the same ones.
    l2_ : float
        The penalty used.
    loss_ : float
        Value of the minimised objective (logistic).
    n_iter_ : int

    Examples
    --------
    >>> x = np.array([[-2.0], [-1.0], [1.0], [2.0]])
    >>> probe = LinearProbe(l2=0.1).fit(x, [0, 0, 1, 1])
    >>> probe.predict([[0.5]])
    array([1])
    >>> soft = LinearProbe(l2=0.1).fit(x, [[0.9, 0.1], [0.8, 0.2], [0.3, 0.7], [0.1, 0.9]])
    >>> soft.predict_proba([[3.0]]).round(2)
    array([[0.14, 0.86]])
    """

    def __init__(
        self,
        loss: Literal["logistic", "ridge"] = "logistic",
        l2: float | Literal["cv"] = 1e-2,
        standardize: bool = True,
        fit_intercept: bool = True,
        folds: int = 5,
        max_iter: int = 500,
        tol: float = 1e-7,
        device: str = "auto",
        random_state: RandomState = None,
    ) -> None:
        self.loss = loss
        self.l2 = l2
        self.standardize = standardize
        self.fit_intercept = fit_intercept
        self.folds = folds
        self.max_iter = max_iter
        self.tol = tol
        self.device = device
        self.random_state = random_state

    def fit(self, X: AnyArray, y: AnyArray, sample_weight: AnyArray | None = None) -> Self:
        """Fit the probe.

        Parameters
        ----------
        X : array (n, D) or DataFrame
            TypeError for a sparse matrix, as in scikit-learn.
        y : array (n,) of labels, or (n, C) of probabilities
        sample_weight : array (n,), optional
            Non-negative; only ratios matter.

        Raises
        ------
        InputError
            NaN features, disagreeing row counts, a single class, bad probabilities or weights.
        """
        check_parameters(self, CONSTRAINTS)
        features = check_features(X)
        self._check_columns(X, y, reset=True)
        self.classes_, targets = check_targets(y)
        check_same_length(X=features, y=targets)
        weights = check_weights(sample_weight, len(features))
        with threads_for(features.size * targets.shape[1]):
            chosen = self.l2 if self.l2 != "cv" else self._best_l2(features, targets, weights)
            ((solution,),) = self._solved(features, targets[None], weights[None], [chosen])
            self._take(solution, chosen)
        return self

    def decision_function(self, X: AnyArray) -> FloatArray:
        """Return scores (n, C); (n,) for two classes, positive for ``classes_[1]``."""
        check_is_fitted(self)
        features = check_features(X, allow_empty=True)
        self._check_columns(X, reset=False)
        with one_thread():  # else last bits depend on which rows are asked for together
            scores: FloatArray = features @ self.coef_.T + self.intercept_
        return scores[:, 0] if scores.shape[1] == 1 else scores

    def predict_proba(self, X: AnyArray) -> FloatArray:
        """Return class probabilities (n, C); rows sum to 1.

        Ridge scores are clipped to [0, 1] and renormalised (uniform where all are clipped to 0).
        """
        return self.proba_of(self.decision_function(X))

    def proba_of(self, scores: FloatArray) -> FloatArray:
        """Return class probabilities (n, C) of scores as `decision_function` returns them."""
        from scipy.special import expit, softmax

        if self.loss == "ridge":
            return _clipped_distribution(scores)
        if scores.ndim == 1:  # 1 - p would lose the digits of a small probability
            return np.column_stack([expit(-scores), expit(scores)])
        return np.asarray(softmax(scores, axis=1))

    def predict(self, X: AnyArray) -> AnyArray:
        """Return the most probable class of every row."""
        return self.class_of(self.decision_function(X))

    def class_of(self, scores: FloatArray) -> AnyArray:
        """Return the most probable class of scores as `decision_function` returns them."""
        best = (scores > 0).astype(np.int64) if scores.ndim == 1 else scores.argmax(axis=1)
        return np.asarray(self.classes_[best])

    def _check_columns(self, X: AnyArray, y: Any = "no_validation", *, reset: bool) -> None:
        """Learn or compare number and names of columns, as all of scikit-learn does."""
        try:
            validate_data(self, X, y, reset=reset, skip_check_array=True)
        except ValueError as error:
            raise FeatureError(str(error)) from error

    def _best_l2(self, features: FloatArray, targets: FloatArray, weights: FloatArray) -> float:
        """Return the penalty of least held-out cross-entropy; ties go to the stronger one.

        Weaker ones are not tried after one that is clearly worse than the best.
        """
        rng = check_generator(self.random_state)
        folds = stratified_folds(targets.argmax(axis=1), self.folds, rng)
        folds = [fold for fold in folds if weights[fold[0]].any()]
        if not folds:  # a single row, or a single one with a weight: nothing to leave out
            return L2_GRID[-1]
        masks = np.stack([np.isin(np.arange(len(features)), train) for train, _ in folds])
        # A fold may lack a class, which keeps its column.
        labels = np.broadcast_to(targets, (len(folds), *targets.shape))
        # From strong to weak, since each solution is the start of the next.
        grid = L2_GRID[::-1]
        search = copy(self).set_params(tol=max(self.tol, CHOICE_TOL))
        path = search._solved(features, labels, masks * weights, grid)
        held_out = [rows for _, rows in folds]
        losses = (self._losses(found, held_out, features, targets) for found in path)
        _, best = follow(weights * loss for loss in losses)
        return grid[best]

    def _losses(
        self,
        solutions: list[Linear],
        held_out: list[IntArray],
        features: FloatArray,
        targets: FloatArray,
    ) -> FloatArray:
        """Return the cross-entropy (n,) of every row under the solution that did not see it."""
        losses = np.zeros(len(features))
        for solution, own in zip(solutions, held_out, strict=True):
            proba = copy(self)._take(solution, np.nan).predict_proba(features[own])
            # Ridge probabilities may be exactly 0, whose logarithm would rule a penalty out for a
            # single row.
            losses[own] = -(targets[own] * np.log(np.clip(proba, 1e-12, 1.0))).sum(axis=1)
        return losses

    def _solved(
        self, features: FloatArray, targets: FloatArray, weights: FloatArray, penalties: Any
    ) -> Iterator[list[Linear]]:
        """Solve for L label vectors (L, n, C) with weights (L, n), at one penalty after another."""
        objective = Objective(
            *(self.loss, self.standardize, self.fit_intercept),
            *(self.max_iter, self.tol, self.device),
        )
        return solve_together(objective, features, targets, weights, penalties)

    def _take(self, solution: Linear, l2: float) -> Self:
        self.l2_ = float(l2)
        self.coef_, self.intercept_ = solution.coef, solution.intercept
        self.loss_, self.n_iter_ = solution.loss, solution.n_iter
        return self


def fit_together(
    probe: LinearProbe, X: AnyArray, labels: Sequence[AnyArray], rows: Sequence[AnyArray]
) -> list[LinearProbe]:
    """Fit a clone of the probe to each label vector, on its own rows of X (n, D).

    The same as ``clone(probe).fit(X[rows[k]], labels[k])`` for every k, but the features are scaled
    and factorised once, and each step multiplies them by the weights of all probes. Rows are
    numbers, which may repeat, or a mask (n,). A penalty of "cv" is chosen for each probe alone.

    Examples
    --------
    >>> x = np.array([[-2.0], [-1.0], [1.0], [2.0]])
    >>> labels, rows = [[0, 0, 1, 1], [1, 0, 0]], [np.arange(4), np.arange(3)]
    >>> [int(p.predict([[9.0]])[0]) for p in fit_together(LinearProbe(), x, labels, rows)]
    [1, 0]
    """
    features = check_features(X)
    check_same_length(rows=rows, labels=labels)
    rows = [check_rows(own, len(features), f"rows[{k}]") for k, own in enumerate(rows)]
    n_rows = sum(map(len, rows))
    # Probes that leave out most rows are cheaper alone.
    if probe.l2 == "cv" or probe.loss != "logistic" or 2 * n_rows < len(features) * len(rows):
        pairs = zip(rows, labels, strict=True)
        alone = [clone(probe).fit(features[own], targets) for own, targets in pairs]
        for one in alone:
            one._check_columns(X, reset=True)  # `features` have lost their names
        return alone
    check_parameters(probe, CONSTRAINTS)
    checked = [check_targets(targets) for targets in labels]
    by_classes: dict[tuple[Any, ...], list[int]] = {}
    for k, (classes, targets) in enumerate(checked):
        check_same_length(rows=rows[k], labels=targets)
        by_classes.setdefault(tuple(classes.tolist()), []).append(k)
    fitted: dict[int, LinearProbe] = {}
    for alike in by_classes.values():
        known = clone(probe)
        known._check_columns(X, reset=True)
        known.classes_ = classes = checked[alike[0]][0]
        for part in groups_of(len(alike), features.shape, len(classes)):
            group = alike[part]
            targets = np.zeros((len(group), len(features), len(classes)))
            weights = np.zeros((len(group), len(features)))
            for i, k in enumerate(group):
                # A repeated row has the mean of its labels, and counts as often as it is there.
                np.add.at(targets[i], rows[k], checked[k][1])
                weights[i] = np.bincount(rows[k], minlength=len(features))
                targets[i] /= np.maximum(weights[i], 1.0)[:, None]
            with threads_for(features.size * targets.shape[2]):
                (found,) = known._solved(features, targets, weights, [probe.l2])
            for k, solution in zip(group, found, strict=True):
                fitted[k] = copy(known)._take(solution, probe.l2)
    return [fitted[k] for k in range(len(rows))]


def cross_fit_proba(
    probe: LinearProbe,
    X: AnyArray,
    y: AnyArray,
    *,
    folds: int = 5,
    random_state: RandomState = None,
) -> FloatArray:
    """Predict every row of X (n, D) by a clone of the probe that was not trained on it.

    Returns probabilities (n, C); columns follow the sorted order of the hard labels y (n,). A class
    with a single row is unknown to the probe that predicts that row.

    Examples
    --------
    >>> x = np.linspace(-1, 1, 20)[:, None]
    >>> proba = cross_fit_proba(LinearProbe(), x, (x[:, 0] > 0).astype(int), random_state=0)
    >>> proba.shape, bool((proba.argmax(axis=1) == (x[:, 0] > 0)).mean() > 0.9)
    ((20, 2), True)
    """
    check_parameters({"folds": folds}, {"folds": CONSTRAINTS["folds"]})
    features = check_features(X)
    classes, targets = check_targets(np.asarray(y).ravel())
    check_same_length(X=features, y=targets)
    proba = np.zeros((len(features), len(classes)))
    rng = check_generator(random_state)
    for train, held_out in stratified_folds(targets.argmax(axis=1), folds, rng):
        fold_probe = clone(probe).set_params(random_state=rng)
        # As distributions, so that a class missing from a training part keeps its column.
        proba[held_out] = fold_probe.fit(features[train], targets[train]).predict_proba(
            features[held_out]
        )
    return proba


def stratified_folds(
    codes: IntArray, folds: int, rng: np.random.Generator
) -> list[tuple[IntArray, IntArray]]:
    """Split rows into (train, held-out) folds at random; sizes and classes differ by one at most.

    >>> [held.tolist() for _, held in stratified_folds(np.array([0, 0, 1, 1]), 2,
    ...                                                np.random.default_rng(0))]
    [[0, 2], [1, 3]]
    """
    n = len(codes)
    shuffled = rng.permutation(n)
    by_class = shuffled[np.argsort(np.asarray(codes)[shuffled], kind="stable")]
    fold = np.empty(n, dtype=np.int64)
    fold[by_class] = np.arange(n) % min(folds, n)  # assigned in turn, class after class
    return [(np.flatnonzero(fold != k), np.flatnonzero(fold == k)) for k in range(min(folds, n))]


def _clipped_distribution(scores: FloatArray) -> FloatArray:
    if scores.ndim == 1:
        positive = np.clip((scores + 1) / 2, 0.0, 1.0)
        return np.column_stack([1 - positive, positive])
    clipped = np.clip(scores, 0.0, 1.0)
    total = clipped.sum(axis=1, keepdims=True)
    uniform = np.full_like(clipped, 1 / clipped.shape[1])
    return np.asarray(np.divide(clipped, total, out=uniform, where=total > 0))
