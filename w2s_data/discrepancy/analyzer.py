r"""Discrepancy of strong and weak features: how much of the teacher's error a student inherits.

Teacher and student see the same items through different features. Label noise that the teacher
fitted in directions unknown to the student averages out over the pool; the rest is inherited.
Dimensions and canonical correlations of the features therefore predict the variance
part of the weak-to-strong gain before anything is trained.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any, Literal, Self

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from w2s_data.discrepancy import theory
from w2s_data.discrepancy.components import (
    PrincipalComponents,
    principal_components,
    sensitivity,
)
from w2s_data.discrepancy.dimensions import clip_shared, correlation_dimension
from w2s_data.discrepancy.moments import (
    GROUP_BYTES,
    Moments,
    group_moments,
    shared_variance,
    total_moments,
    two_fold,
)
from w2s_data.discrepancy.predictions import GainPrediction, PoolSize, reading, student_limits
from w2s_data.discrepancy.ridgeless import ridgeless_risks
from w2s_data.discrepancy.theory import Risks
from w2s_data.errors import DegenerateDataWarning, FeatureError, InputError
from w2s_data.features.matrix import as_feature_matrix
from w2s_data.utils.intervals import Estimate, student_interval
from w2s_data.utils.io import jsonable
from w2s_data.utils.jackknife import JACKKNIFE, LEFT_OUT, jackknife_error
from w2s_data.utils.threads import each_of, one_thread
from w2s_data.utils.typing import RandomState
from w2s_data.utils.validation import (
    check_generator,
    check_parameters,
    one_of,
    positive,
    share,
    whole,
)

Components = int | float | Literal["mp"] | None
CONSTRAINTS = {
    "estimator": one_of("closed", "two_fold"),
    "n_jackknife": JACKKNIFE,
    "level": share,
    "ridge": positive,
}


class DiscrepancyAnalyzer(BaseEstimator):  # type: ignore[misc]
    r"""Measure dimensions and correlations of features; predict the variance of the student.

    .. math:: d_{sw} = \sum_i \rho_i^2, \qquad
              student = \frac{s}{n - d_w - 1}
                        \left[d_{sw} + \frac{d_s}{N - d_s - 1} (d_w - d_{sw})\right]

    against s d_w / (n - d_w - 1) for the teacher, with rho_i the canonical correlations of weak
    and strong features. The student has less variance iff d_sw < d_w and N > 2 d_s + 1.

    Features are read twice, block by block; only D x D matrices are kept, in float64. d_sw is
    invariant to rotations of either features, and to any invertible linear map where all
    components are used.

    Parameters
    ----------
    strong_components, weak_components : None, int, float or "mp"
        Principal components that the probe uses: all that are not collinear, a number, the
        fewest that hold this share of the variance (in (0, 1)), or those above the
        Marchenko-Pastur edge. Set them to what your probe really uses; for a ridge probe, its
        df2 in `sensitivity_`.
    estimator : {"closed", "two_fold"}
        For d_sw: closed de-biased form, |bias| < .09; or exactly unbiased for Gaussian features,
        with a larger spread on few rows. Heavy tails common to all columns of a row (a random
        radius) bias both upwards: normalise the rows first, or read d_sw as an upper bound.
    n_jackknife : int
        The interval of d_sw is a delete-one-group jackknife over this many random groups of rows
        (Student t); 0 gives NaN intervals. It assumes exchangeable rows. Fewer groups are used
        (at least 2) where their second moments would not fit in 256 MB.
    level : float
        Coverage of the intervals.
    ridge : float
        Ridge of df1 and df2 in `sensitivity_`, in units of the mean eigenvalue.
    intercept : bool
        Whether both probes fit an intercept; changes predictions by about 1 / n.
    random_state : int, Generator or None
        Controls the random assignment of rows to jackknife groups.

    Attributes
    ----------
    d_s_, d_w_ : int
        Dimensions used.
    strong_spectrum_, weak_spectrum_ : array (D,)
        Variances of the principal components, descending.
    sensitivity_ : DataFrame
        Rows: used, rank, marchenko_pastur, variance_95, variance_99, df1, df2,
        participation_ratio; columns strong, weak (dimensions) and d_sw (closed form, all rows;
        NaN where the row gives no whole dimensions or rows are too few).
    canonical_correlations_ : array (min(d_s, d_w),)
        Sample values, descending, in [0, 1]; biased upwards.
    correlation_dimension_ : float
        Without that bias; unclipped, chance may take it slightly below 0.
    correlation_dimension_interval_ : (float, float)
        Inside [0, min(d_s, d_w)].
    break_even_ : float
        Pool size above which the student has less variance than its teacher.
    n_rows_ : int

    References
    ----------
    Dong, Li, Li, Lee, Lei, *Discrepancies are Virtue: Weak-to-Strong Generalization through Lens
    of Intrinsic Dimension*, 2025: correlation dimension and variance of W2S, to leading order;
    `w2s_data.discrepancy.theory` says what is exact.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> common = rng.normal(size=(2000, 3))
    >>> weak = np.hstack([common, rng.normal(size=(2000, 5))])
    >>> strong = np.hstack([common, rng.normal(size=(2000, 9))]) @ rng.normal(size=(12, 12))
    >>> analyzer = DiscrepancyAnalyzer(random_state=0).fit(strong, weak)
    >>> analyzer.d_s_, analyzer.d_w_, round(analyzer.correlation_dimension_, 2)
    (12, 8, 3.0)
    >>> analyzer.predict_variance(n=50, N=500)
    GainPrediction(n=50, N=500, teacher=0.1951, student=0.07618, sft=0.3243, ceiling=0.02235,
                   pgr=0.688, opr=4.26)
    >>> analyzer.needed_pool(0.9, n=50).N
    133.0
    """

    def __init__(
        self,
        strong_components: Components = None,
        weak_components: Components = None,
        estimator: Literal["closed", "two_fold"] = "closed",
        n_jackknife: int = 20,
        level: float = 0.95,
        ridge: float = 0.1,
        intercept: bool = False,
        random_state: RandomState = None,
    ) -> None:
        self.strong_components = strong_components
        self.weak_components = weak_components
        self.estimator = estimator
        self.n_jackknife = n_jackknife
        self.level = level
        self.ridge = ridge
        self.intercept = intercept
        self.random_state = random_state

    def fit(self, strong_features: Any, weak_features: Any) -> Self:
        """Measure dimensions and canonical correlations.

        Parameters
        ----------
        strong_features, weak_features : array (N, D_s), (N, D_w), memory map or FeatureStore
            Features of the same items, in the same order; labelled and pool rows may be joined.

        Raises
        ------
        FeatureError
            NaN or infinite rows (named), row counts that disagree, only constant columns, or no
            more rows than dimensions (the error says which dimensions would do).
        InputError
            A parameter out of range.
        """
        check_parameters(self, CONSTRAINTS)
        strong = as_feature_matrix(strong_features, "strong features")
        weak = as_feature_matrix(weak_features, "weak features")
        moments, origin = total_moments(strong, weak)
        self.n_rows_ = moments.n
        sides = principal_components(moments, origin)
        self.strong_spectrum_, self.weak_spectrum_ = (side.spectrum for side in sides)
        # The dimensions that the probe really uses: only then is the theory about that probe.
        self.d_s_ = sides[0].dimension(self.strong_components, "strong")
        self.d_w_ = sides[1].dimension(self.weak_components, "weak")
        self._check_rows(*sides)
        # Here the student's bracket equals d_w, whatever d_sw is.
        self.break_even_ = theory.rows_for_factor(1.0, self.d_s_, intercept=self.intercept)
        groups = self._groups()
        maps = sides[0].whitening(self.d_s_), sides[1].whitening(self.d_w_)
        parts = group_moments(strong, weak, origin=origin, maps=maps, groups=groups)
        # A second reading, now whitened: canonical correlations need no more than these moments,
        # and the jackknife leaves groups out without reading again.
        total = sum(parts[1:], parts[0])
        cross = total.scatter[: self.d_s_, self.d_s_ :] / (self.n_rows_ - 1)
        # Whitened components: the singular values of their covariance are the correlations.
        with one_thread():
            values = np.linalg.svd(cross, compute_uv=False)
            self.correlation_dimension_ = self._estimate(parts)
        self.canonical_correlations_ = np.clip(values, 0.0, 1.0)
        self.correlation_dimension_interval_ = self._jackknife(parts)
        used = self.d_s_, self.d_w_, self.correlation_dimension_
        self.sensitivity_ = sensitivity(*sides, moments, used=used, ridge=self.ridge)
        return self

    def predict_variance(self, n: int, N: int, *, noise: float = 1.0) -> GainPrediction:
        """Predict the variance of teacher, student, supervised fine-tuning and ceiling.

        For Gaussian features the level is exact, with ``intercept=True`` for probes that fit one.
        On real features the teacher's variance was up to 30 % above it, and more with heavy tails
        and few rows; the student's part of it was within 10 %. Rely on ratios (`pgr`, `opr`), and
        take levels from `design.design_risks`, which needs no law of the features.

        Variance only, not what features cannot represent: `predict_risk` adds it.

        Parameters
        ----------
        n, N : int
            Labelled and pseudo-labelled rows; InputError unless n > d_w + 1 and N >= 1.
        noise : float
            Variance of the label noise.
        """
        check_parameters({"n": n, "N": N}, {"n": whole(), "N": whole()})
        risks, limits = self._predicted(n, N, noise)
        values = risks.to_dict()
        for name, ends in limits.items():
            values[name] = Estimate(values[name], *ends, self.level)
        return GainPrediction(
            n=int(n),
            N=int(N),
            d_s=self.d_s_,
            d_w=self.d_w_,
            d_sw=self._shared_values()[0],
            noise=float(noise),
            **values,
            reading=reading(N, self.d_w_, self._shared_values(), self.break_even_, risks),
        )

    def predict_risk(self, n: int, N: int, *, noise: float = 1.0, **parts: float) -> Risks:
        """Predict variance and approximation error together, also below interpolation.

        `parts` are `signal`, `rho_w`, `rho_s`, `c2` and `rho_ws` of `ridgeless.ridgeless_risks`;
        `target.target_parts` estimates them from gold rows. As exact as `predict_variance`.
        """
        check_is_fitted(self)
        sizes: Any = {"d_s": self.d_s_, "d_w": self.d_w_, "d_sw": self._shared_values()[0]}
        return ridgeless_risks(n, N, **sizes, **parts, noise=noise, intercept=self.intercept)

    def curve(self, n: int, Ns: Iterable[int], *, noise: float = 1.0) -> pd.DataFrame:
        """Predict variances over pool sizes, one row per N.

        Columns N, teacher, student, sft, ceiling, pgr, opr, and `_low`, `_high` of student, pgr
        and opr.
        """
        pool = np.asarray(list(Ns), dtype=int)
        risks, limits = self._predicted(n, pool, noise)
        columns = {"N": pool} | risks.to_dict()
        for name, (first, last) in limits.items():
            columns |= {f"{name}_low": first, f"{name}_high": last}
        return pd.DataFrame(columns, index=range(len(pool)))

    def needed_pool(self, share: float, n: int) -> PoolSize:
        """Return the pseudo-labels that give a share of the gain of an endless pool.

        N = d_s + 1 + d_s / (1 - share) without an intercept, with `share` in [0, 1]; 0 is the
        break-even. The n labelled rows only have to determine the teacher, n > d_w + 1.
        """
        check_is_fitted(self)
        self._check_labelled(n)
        if not 0 <= share <= 1:
            raise InputError(f"share must lie in [0, 1]; got {share!r}")
        wanted = np.nan
        if self._shared_values()[0] < self.d_w_:  # else there is no gain to share
            wanted = theory.rows_for_factor(1 - share, self.d_s_, intercept=self.intercept)
        return PoolSize.of(float(share), wanted, self.d_w_)

    def to_dict(self) -> dict[str, Any]:
        """Return the learned values and the settings as plain JSON values."""
        table = self.to_frame().reset_index()
        low, high = self.correlation_dimension_interval_
        shared = Estimate(self.correlation_dimension_, low, high, self.level)
        values: dict[str, Any] = jsonable(
            {
                "n_rows": self.n_rows_,
                "d_w": self.d_w_,
                "d_s": self.d_s_,
                "correlation_dimension": shared,
                "sensitivity": table.to_dict("records"),
                "weak_spectrum": self.weak_spectrum_,
                "strong_spectrum": self.strong_spectrum_,
                "canonical_correlations": self.canonical_correlations_,
                "break_even": self.break_even_,
                "settings": {k: v for k, v in self.get_params().items() if k != "random_state"},
            }
        )
        return values

    def to_frame(self) -> pd.DataFrame:
        """Return the dimensions under each criterion; the same table as `sensitivity_`."""
        check_is_fitted(self)
        return self.sensitivity_.copy()

    def _check_rows(self, strong: PrincipalComponents, weak: PrincipalComponents) -> None:
        # The closed form needs n - 1 > d_s + d_w, the inverse Wishart factor of two folds
        # n / 2 > d + 2.
        fewest = self.d_w_ + self.d_s_ + 2
        if self.estimator == "two_fold":
            fewest = max(fewest, 2 * (max(self.d_w_, self.d_s_) + 3))
        if self.n_rows_ < fewest:
            raise FeatureError(
                f"{self.n_rows_} rows do not determine {self.d_s_} strong and {self.d_w_} weak "
                f"dimensions: at least {fewest} are needed; pass more rows, or fewer "
                f"strong_components and weak_components ({strong.noise_free} and "
                f"{weak.noise_free} stand out from noise)"
            )

    def _check_labelled(self, n: int) -> None:
        # Up to here the expected variance of the teacher is infinite.
        needed = self.d_w_ + (2 if self.intercept else 1)
        if n <= needed:
            raise InputError(
                f"n = {n} labelled rows do not determine a teacher on {self.d_w_} weak dimensions: "
                f"more than {needed} are needed, or fewer weak_components"
            )

    def _groups(self) -> Any:
        """Assign each row to a jackknife group at random; sizes are nearly equal."""
        # Each group keeps a D x D matrix of float64.
        fitting = GROUP_BYTES // (8 * (self.d_w_ + self.d_s_) ** 2)
        count = min(self.n_jackknife, max(2, fitting), self.n_rows_)
        if self.estimator == "two_fold":
            count = max(2, count - count % 2)  # as many groups in either fold
        count = max(count, 1)
        order = check_generator(self.random_state).permutation(self.n_rows_)
        return order % count

    def _estimate(self, parts: Sequence[Moments], without: int | None = None) -> float:
        """Estimate the correlation dimension from all groups of rows but one."""
        empty = Moments.zero(self.d_s_ + self.d_w_, self.d_s_)
        kept = [empty if k == without else part for k, part in enumerate(parts)]
        first, second = sum(kept[::2], empty), sum(kept[1::2], empty)
        if self.estimator == "two_fold":
            return two_fold(first, second)
        total = first + second
        return float(
            correlation_dimension(shared_variance(total), total.n - 1, d_s=self.d_s_, d_w=self.d_w_)
        )

    def _jackknife(self, parts: Sequence[Moments]) -> tuple[float, float]:
        count = len(parts)
        if self.n_jackknife == 0:
            return np.nan, np.nan
        try:
            left_out = np.array(each_of(partial(self._estimate, parts), range(count)))
        except (InputError, np.linalg.LinAlgError):  # too few rows without a group
            warnings.warn(
                f"{self.n_rows_} rows do not give an interval of the correlation dimension of "
                f"{self.d_s_} strong and {self.d_w_} weak dimensions: {LEFT_OUT}",
                DegenerateDataWarning,
                stacklevel=3,
            )
            return np.nan, np.nan
        error, limit = jackknife_error(left_out), min(self.d_s_, self.d_w_)
        value = self.correlation_dimension_
        # Student t with K - 1 degrees: with 20 groups the normal would cover too little.
        low, high = student_interval(value, error, count - 1, self.level, 0.0, limit)
        return float(low), float(high)

    def _shared_values(self) -> tuple[float, float, float]:
        """Return estimate and limits of d_sw, clipped; d_w itself where only rounding differs."""
        values = self.correlation_dimension_, *self.correlation_dimension_interval_
        estimate, low, high = (clip_shared(value, d_s=self.d_s_, d_w=self.d_w_) for value in values)
        return estimate, low, high

    def _predicted(
        self, n: int, N: Any, noise: float
    ) -> tuple[theory.Risks, dict[str, tuple[Any, Any]]]:
        """Predict risks at the estimate of d_sw; return also the limits of the student's."""
        check_is_fitted(self)
        self._check_labelled(n)
        sizes: Any = {
            "d_s": self.d_s_,
            "d_w": self.d_w_,
            "noise": noise,
            "intercept": self.intercept,
        }
        values = self._shared_values()
        known = theory.risks(n, N, d_sw=values[0], **sizes)
        if np.isnan(values[1]):  # no interval of d_sw
            unknown = theory.Risks(*[np.full(np.shape(N), np.nan)] * len(theory.ROLES))
            return known, student_limits(unknown, unknown)
        return known, student_limits(*(theory.risks(n, N, d_sw=d, **sizes) for d in values[1:]))
