r"""`RidgeProbe`: ridge and ridgeless regression on frozen features, in closed form."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any, Literal, Self

import numpy as np
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.utils.validation import check_is_fitted, column_or_1d, validate_data

from w2s_data.errors import DegenerateDataWarning, FeatureError, InputError, rows
from w2s_data.features.matrix import FeatureMatrix
from w2s_data.probes.checking import numeric_features
from w2s_data.probes.spectrum import (
    LeftOut,
    Rows,
    decompose,
    feature_blocks,
    generalised_score,
    leave_out,
    mean_square_left_out,
    penalty_grid,
    refuse_unfit,
)
from w2s_data.utils.threads import one_thread, threads_for
from w2s_data.utils.typing import AnyArray, FloatArray
from w2s_data.utils.validation import (
    Constraint,
    check_parameters,
    check_same_length,
    check_weights,
    nonnegative,
    one_of,
    positive,
)


def _is_grid(value: Any) -> bool:
    listed = isinstance(value, list | tuple) or (isinstance(value, np.ndarray) and value.ndim == 1)
    return listed and len(value) > 0 and all(positive.accepts(v) for v in value)


CONSTRAINTS = {
    "penalty": nonnegative | one_of("gcv") | Constraint("numbers > 0 to choose from", _is_grid),
    "fit_intercept": one_of(True, False),
    "standardize": one_of(True, False),
}


class RidgeProbe(RegressorMixin, BaseEstimator):  # type: ignore[misc]
    r"""A linear model of values on frozen features, by squared error with an L2 penalty.

    .. math:: \min_{w, b} \sum_i v_i (y_i - w^T x_i - b)^2 + \lambda \|w\|^2

    with weights v_i, 1 by default: scikit-learn's `Ridge`, whose ``alpha`` is the penalty. All
    penalties come from one eigendecomposition in float64, of the D x D products where D <= n and of
    the n x n ones else; features are read block by block.

    Parameters
    ----------
    penalty : "gcv", float or sequence of float
        "gcv" chooses among penalties from 1e-8 to 1e3 of the largest eigenvalue, a sequence names
        them. The choice has the least mean squared error of rows left out one at a time, as
        `RidgeCV`; beyond 3e9 multiplications (20,000 rows of 384 features) leverages are replaced
        by their mean, which is generalised cross-validation. 0 is ridgeless: the least-norm
        solution, which interpolates where D >= n.
    fit_intercept : bool
    standardize : bool
        Scale each feature to variance 1 of the training rows; a constant one gets weight 0.

    Attributes
    ----------
    coef_ : array (D,)
    intercept_ : float
    penalty_ : float
        The penalty used.
    degrees_of_freedom_ : float
        Trace of the hat matrix, the intercept included.
    noise_ : float
        Standard deviation of the targets around the model, at weight 1; NaN for one row, 0 where
        the ridgeless solution interpolates.
    leave_one_out_ : array (n,)
        Prediction of each training row by the model of all others, at the same penalty. NaN where
        without the row it is undefined.
    leave_one_out_errors_ : array (n,)
        Standard error of these predictions as guesses of the target, noise included.
    scores_ : array (P,)
        Score of each penalty in `penalties_`, where it was chosen; lower is better.
    n_features_in_ : int

    References
    ----------
    Golub, Heath, Wahba, *Generalized cross-validation*, Technometrics 21, 1979.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=(200, 3))
    >>> y = x @ [1.0, 0.0, -2.0] + 5 + 0.5 * rng.normal(size=200)
    >>> probe = RidgeProbe().fit(x, y)
    >>> [f"{w:.1f}" for w in probe.coef_], round(probe.noise_, 1)
    (['1.0', '-0.0', '-2.0'], 0.5)
    >>> probe.predict([[1.0, 0.0, 0.0]]).round(1), probe.predict_errors([[1.0, 0.0, 0.0]]).round(1)
    (array([5.9]), array([0.5]))
    """

    def __init__(
        self,
        penalty: float | Sequence[float] | Literal["gcv"] = "gcv",
        *,
        fit_intercept: bool = True,
        standardize: bool = False,
    ) -> None:
        self.penalty = penalty
        self.fit_intercept = fit_intercept
        self.standardize = standardize

    def fit(self, X: Any, y: AnyArray, sample_weight: AnyArray | None = None) -> Self:
        """Fit the probe.

        Parameters
        ----------
        X : array (n, D), DataFrame, memory map or FeatureStore
        y : array (n,) of finite numbers
        sample_weight : array (n,), optional
            Non-negative; the inverse variances of the targets, up to the square of `noise_`.

        Raises
        ------
        InputError
            NaN features or targets, targets in words, row counts that disagree.
        """
        check_parameters(self, CONSTRAINTS)
        features = self._check(X, y, reset=True)
        targets = check_targets(y)
        check_same_length(X=range(features.shape[0]), y=targets)
        if not len(targets):
            raise FeatureError("X has no rows")
        weights = check_weights(sample_weight, len(targets))
        given = Rows(features, targets, weights)
        with threads_for(features.shape[0] * features.shape[1]):
            self._fit(given)
        return self

    def _fit(self, given: Rows) -> None:
        ridgeless = not isinstance(self.penalty, str) and not np.any(self.penalty)
        self.spectrum_ = spectrum = decompose(
            given,
            intercept=self.fit_intercept,
            standardize=self.standardize,
            exact=ridgeless,
        )
        self.penalty_ = self._choose(given)
        self.coef_ = spectrum.coefficients(self.penalty_) / spectrum.scale
        self.intercept_ = float(spectrum.target_mean - self.coef_ @ spectrum.mean)
        self.degrees_of_freedom_ = float(spectrum.freedom(np.array([self.penalty_]))[0])
        # Leaving out each of many rows takes a second reading, so it waits until it is asked for.
        self._given = given if given.is_large else None
        self._left = None if given.is_large else leave_out(spectrum, given, self.penalty_)
        if self._left is None:
            squares = spectrum.residual_squares(np.array([self.penalty_]))[0]
            self._variance = float(squares / (spectrum.n - self.degrees_of_freedom_))
        else:
            self._variance = self._left.variance
        limit = spectrum.interpolates and self.penalty_ == 0
        self.noise_ = 0.0 if limit else float(np.sqrt(self._variance))
        if spectrum.n == 1:
            warnings.warn(
                "one row teaches its own target alone: every prediction is that value",
                DegenerateDataWarning,
                stacklevel=3,
            )

    def _choose(self, given: Rows) -> float:
        """Return the penalty of the least score; ties go to the stronger one."""
        if not isinstance(self.penalty, str | Sequence | np.ndarray):
            return float(self.penalty)
        spectrum = self.spectrum_
        grid = penalty_grid(spectrum)
        if not isinstance(self.penalty, str):
            grid = np.sort(np.asarray(self.penalty, dtype=np.float64))
        self.penalties_ = grid
        if given.is_large:
            self.scores_ = generalised_score(spectrum, grid)
        else:
            self.scores_ = mean_square_left_out(spectrum, given, grid)
        if not np.isfinite(self.scores_).all():  # of a single row there is nothing to compare
            return float(grid[-1])
        return float(grid[len(grid) - 1 - int(np.argmin(self.scores_[::-1]))])

    @property
    def leave_one_out_(self) -> FloatArray:
        """Predictions (n,) of the training rows, each by the model of all others."""
        return self._leave_out().values

    @property
    def leave_one_out_errors_(self) -> FloatArray:
        """Standard errors (n,) of `leave_one_out_`, noise included."""
        return self._leave_out().errors

    def _leave_out(self) -> LeftOut:
        check_is_fitted(self, "spectrum_")
        if self._left is None:
            assert self._given is not None
            self._left = leave_out(self.spectrum_, self._given, self.penalty_)
        return self._left

    def predict(self, X: Any) -> FloatArray:
        """Return the value (m,) of every row."""
        check_is_fitted(self, "spectrum_")
        features = self._check(X, reset=False)
        values = np.empty(features.shape[0])
        # On one thread, else last bits depend on which rows are asked for together. Rows that
        # cannot be used are named below.
        with np.errstate(all="ignore"), one_thread():
            for part, block in feature_blocks(features):
                values[part] = block.astype(np.float64, copy=False) @ self.coef_
        if not np.isfinite(values).all():
            refuse_unfit(features)
        return values + self.intercept_

    def predict_errors(self, X: Any) -> FloatArray:
        r"""Return the standard error (m,) of every prediction as a guess of the target.

        .. math:: \sigma \sqrt{1 + 1 / \textstyle\sum v + z^T (X^T V X + \lambda I)^{-1} z}

        with z the centred row and :math:`\sigma` = `noise_`: the predictive deviation of Bayesian
        ridge regression, whose
        weights have variance :math:`\sigma^2 / \lambda`. Rows unlike those learned from have large
        errors.
        """
        check_is_fitted(self, "spectrum_")
        features = self._check(X, reset=False)
        errors = np.empty(features.shape[0])
        for part, block in feature_blocks(features):
            errors[part] = self.spectrum_.uncertainty(block, self.penalty_)
        return np.sqrt(self._variance * errors)

    def _check(
        self, X: Any, y: Any = "no_validation", *, reset: bool
    ) -> FeatureMatrix | FloatArray:
        """Return features to read in blocks; learn or compare number and names of columns."""
        if isinstance(X, FeatureMatrix):
            if reset:
                self.n_features_in_ = X.shape[1]
            elif X.shape[1] != self.n_features_in_:
                raise FeatureError(
                    f"X has {X.shape[1]} features, but RidgeProbe is expecting "
                    f"{self.n_features_in_} features as input"
                )
            return X
        features = numeric_features(X)
        try:
            validate_data(self, X, y, reset=reset, skip_check_array=True)
        except ValueError as error:
            raise FeatureError(str(error)) from error
        return features


def check_targets(y: Any, name: str = "targets") -> FloatArray:
    """Return targets (n,) as float64, or say which of them are not finite numbers.

    >>> check_targets([1, 2.5]).tolist()
    [1.0, 2.5]
    """
    if y is None:
        raise InputError("requires y to be passed, but the target y is None")
    try:
        given = np.asarray(y)
    except ValueError as error:
        raise InputError(f"{name} must be numbers, one per row; got lists in rows") from error
    refused = InputError(
        f"{name} must be numbers, one per row; got {given.dtype}: classes are for LinearProbe"
    )
    if given.dtype.kind in "cmM":  # numpy would drop half of a complex number, and count dates
        raise refused
    try:
        targets = given.astype(np.float64)
    except (TypeError, ValueError):
        raise refused from None
    if targets.ndim == 2 and targets.shape[1] == 1:
        targets = column_or_1d(targets, warn=True)
    if targets.ndim != 1:
        raise InputError(f"{name} must be numbers of shape (n,); got shape {targets.shape}")
    bad = np.flatnonzero(~np.isfinite(targets))
    if len(bad):
        raise InputError(f"{name} have NaN or infinite values in {rows(bad)}")
    return targets
