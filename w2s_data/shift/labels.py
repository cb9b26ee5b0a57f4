r"""Label shift: class shares of the pool where P(x|y) is that of the labelled rows.

Two estimates from held-out class probabilities of gold rows and of pool rows: maximum likelihood by
EM, which uses probabilities as they are, and black-box shift estimation, which uses only how the
probabilities of each class are distributed over the classes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import pandas as pd
from scipy.optimize import nnls
from scipy.special import expit, logit
from scipy.stats import f as fisher
from sklearn.base import BaseEstimator, clone
from sklearn.utils.validation import check_is_fitted

from w2s_data.errors import InputError, rows
from w2s_data.features.matrix import sampled
from w2s_data.posterior.calibration import SHARED_MODELS
from w2s_data.posterior.pooling import LogLinearPool, fit_pool, with_shares
from w2s_data.shift.detector import ShiftDetector
from w2s_data.shift.inputs import FEWEST_ROWS
from w2s_data.shift.share_errors import black_box_errors, likelihood_errors
from w2s_data.utils.constants import LEVEL
from w2s_data.utils.intervals import student_interval
from w2s_data.utils.typing import AnyArray, BoolArray, FloatArray, IntArray, RandomState
from w2s_data.utils.validation import (
    check_codes,
    check_generator,
    check_parameters,
    check_proba,
    share,
    whole,
)

GOLD_OF_CLASS = 20  # with 60 gold rows of six classes intervals of shares held in 76 %, not 95 %
MOST_RATIO = 10.0  # of the shares of a class; more would rest on a handful of gold rows
NEWTON_STEPS, NEWTON_TOLERANCE = 30, 1e-5


class LabelShift(BaseEstimator):  # type: ignore[misc]
    r"""Estimate the class shares of a pool, and correct class probabilities for them.

    .. math:: \pi = \arg\max_\pi \sum_{i \in pool}
        \log \sum_c \frac{\pi_c}{\pi^{gold}_c} p(c \mid x_i)

    with p calibrated on the gold rows (sharpness, and an offset per class). The shares by
    black-box estimation solve A w = m with A the mean probabilities of the gold rows of each class,
    m those of the pool and w >= 0 the ratio of shares, by least squares with a penalty on w - 1.

    Parameters
    ----------
    significance : float
        Chance in (0, 1) of calling equal shares shifted.
    min_difference : float
        A significant difference below it in all classes counts as none.
    n_bootstrap : int
        Draws of gold rows and of pool rows for the intervals.
    max_pool : int
        A random sample of so many rows stands for a larger pool.
    level : float
        Coverage of the intervals.
    random_state : int, Generator or None

    Attributes
    ----------
    shares_, black_box_ : array (C,)
        Class shares of the pool, by EM and by black-box estimation.
    intervals_, black_box_intervals_ : array (C, 2)
        From 0 to 1 for a class of whose share the probabilities say next to nothing.
    labelled_shares_ : array (C,)
        Class shares of the gold rows.
    p_value_ : float
        For equal shares of gold rows and pool, the larger of those of both estimates.
    shifted_ : bool
        Whether shares differ significantly, and by .05 or more in some class.
    ratio_ : array (C,)
        Share in the pool over that in the gold rows, within [.1, 10]; all 1 without a shift.

    Notes
    -----
    It holds where items of a class are the same on both sides, P(x|y), and only how many there are
    differs. Under a shift of the items themselves all of this is wrong: see `matched_rows`.
    Probabilities of gold rows must come from models that did not see their labels.

    References
    ----------
    Saerens, Latinne, Decaestecker, *Adjusting the outputs of a classifier to new a priori
    probabilities*, Neural Computation 2002; Alexandari, Kundaje, Shrikumar, ICML 2020 (calibration
    before it); Lipton, Wang, Smola, *Detecting and correcting for label shift with black box
    predictors*, ICML 2018; Azizzadenesheli et al., ICLR 2019 (penalty).

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> y = np.concatenate([rng.integers(2, size=300), rng.random(2000) < 0.8]).astype(int)
    >>> p = 1 / (1 + np.exp(-2 * (2 * y - 1 + rng.normal(size=2300))))  # calibrated at equal shares
    >>> proba = np.column_stack([1 - p, p])
    >>> shift = LabelShift(random_state=0).fit(proba[:300], y[:300], proba[300:])
    >>> shift.shifted_, bool(abs(shift.shares_[1] - 0.8) < 0.06)
    (True, True)
    >>> bool(abs(shift.black_box_[1] - 0.8) < 0.1)
    True
    """

    def __init__(
        self,
        *,
        significance: float = 0.01,
        min_difference: float = 0.05,
        n_bootstrap: int = 100,
        max_pool: int = 2_000,
        level: float = LEVEL,
        random_state: RandomState = None,
    ) -> None:
        self.significance = significance
        self.min_difference = min_difference
        self.n_bootstrap = n_bootstrap
        self.max_pool = max_pool
        self.level = level
        self.random_state = random_state

    def fit(self, gold_proba: AnyArray, gold_codes: AnyArray, pool_proba: AnyArray) -> Self:
        """Estimate the shares.

        Parameters
        ----------
        gold_proba : array (n, C)
            Held-out class probabilities of the gold rows, 20 for each class or more.
        gold_codes : int array (n,)
            Their classes.
        pool_proba : array (N, C)

        Raises
        ------
        InputError
            Too few gold rows, row counts or classes that disagree.
        """
        check_parameters(
            self,
            {
                "significance": share,
                "min_difference": share,
                "n_bootstrap": whole(50),
                "max_pool": whole(FEWEST_ROWS),
                "level": share,
            },
        )
        gold, codes, pool = _checked(gold_proba, gold_codes, pool_proba)
        rng = check_generator(self.random_state)
        pool = pool[sampled(np.arange(len(pool)), self.max_pool, rng)]
        found, n = _Shares.of(gold, codes, pool), len(gold)
        draws = [
            _Shares.of(*_resampled(gold, codes, rng), pool[rng.integers(len(pool), size=len(pool))])
            for _ in range(self.n_bootstrap)
        ]
        self.calibration_ = found.calibration
        self.shares_, self.black_box_ = found.likelihood, found.black_box
        self.labelled_shares_ = found.gold
        calibrated = found.calibration.proba(pool[None])
        self.intervals_ = _intervals(
            *(found.likelihood, [d.likelihood for d in draws]),
            likelihood_errors(calibrated, found.prior, found.likelihood),
            *(n, self.level),
        )
        calibrated_gold = found.calibration.proba(gold[None])
        self.black_box_intervals_ = _intervals(
            *(found.black_box, [d.black_box for d in draws]),
            black_box_errors(calibrated_gold, codes, calibrated, found.black_box),
            *(n, self.level),
        )
        # Few gold rows of many classes make one of the two see a shift where there is none.
        self.p_value_ = max(
            _p_value(found.likelihood - found.gold, [d.likelihood - d.gold for d in draws], n),
            _p_value(found.black_box - found.gold, [d.black_box - d.gold for d in draws], n),
        )
        far = np.abs(found.likelihood - found.gold).max() >= self.min_difference
        self.shifted_ = bool(far and self.p_value_ < self.significance)
        ratio = np.clip(found.likelihood / found.prior, 1 / MOST_RATIO, MOST_RATIO)
        self.ratio_ = ratio if self.shifted_ else np.ones_like(ratio)
        return self

    def corrected(self, proba: AnyArray) -> FloatArray:
        """Return class probabilities (n, C) of rows as the pool has them.

        They are calibrated, multiplied by the ratio of shares and divided by their sum; without a
        shift they stay what they are.
        """
        check_is_fitted(self, "ratio_")
        own = check_proba(proba, "proba")
        if not self.shifted_:
            return own
        return with_shares(self.calibration_.proba(own[None]), self.ratio_)

    def weights(self, codes: AnyArray) -> FloatArray:
        """Return the weight (n,) of gold rows with these classes, for estimates on the pool."""
        check_is_fitted(self, "ratio_")
        n = len(np.atleast_1d(codes))
        return self.ratio_[check_codes(codes, n, len(self.ratio_), "codes", unknown=False)]

    def matched_rows(self, pool_proba: AnyArray, random_state: RandomState = None) -> IntArray:
        r"""Draw pool rows, each at most once, so that their features are like the gold rows'.

        Row x is kept with a chance proportional to sum_c q(c|x) / ratio_c, q corrected, which is
        the density of gold rows over that of the pool. Where only the labels shifted these rows
        cannot be told from gold rows; a domain classifier that can sees something else.
        """
        rng = check_generator(random_state)
        keep = (self.corrected(pool_proba) / self.ratio_).sum(axis=1)
        return np.flatnonzero(rng.random(len(keep)) < keep / keep.max())

    def explains(
        self,
        detector: ShiftDetector,
        strong_features: Any,
        *,
        reference: IntArray,
        pool: IntArray,
        pool_proba: AnyArray,
    ) -> bool:
        """Return whether other class shares are all that tells the pool from the gold rows.

        The detector (a clone is fitted) compares gold rows `reference` with `matched_rows` of the
        pool, whose probabilities are `pool_proba`. It misses what it misses: a few gold rows cannot
        show much.
        """
        rows = np.asarray(pool)[self.matched_rows(pool_proba, detector.random_state)]
        if len(rows) < FEWEST_ROWS:
            return True
        fitted = clone(detector).fit(
            strong_features, reference=reference, others={"pool": rows}, progress=False
        )
        return not fitted.alarm_

    def to_frame(self) -> pd.DataFrame:
        """Return one row per class: shares of gold rows and pool, with intervals."""
        check_is_fitted(self, "ratio_")
        return pd.DataFrame(
            {
                "labelled_share": self.labelled_shares_,
                "pool_share": self.shares_,
                "pool_share_low": self.intervals_[:, 0],
                "pool_share_high": self.intervals_[:, 1],
                "black_box_share": self.black_box_,
                "black_box_share_low": self.black_box_intervals_[:, 0],
                "black_box_share_high": self.black_box_intervals_[:, 1],
            }
        ).rename_axis("class")


@dataclass(frozen=True)
class _Shares:
    """Shares (C,) of gold rows and pool, from one set of rows."""

    calibration: LogLinearPool
    gold: FloatArray
    prior: FloatArray  # the shares that calibrated probabilities assume
    likelihood: FloatArray
    black_box: FloatArray

    @classmethod
    def of(cls, gold: FloatArray, codes: IntArray, pool: FloatArray) -> _Shares:
        calibration = fit_pool(gold[None], codes)
        gold, pool = calibration.proba(gold[None]), calibration.proba(pool[None])
        counted = np.bincount(codes, minlength=gold.shape[1]) / len(codes)
        # Not the counted shares: a class without gold rows has a chance all the same.
        prior = gold.mean(axis=0)
        return cls(
            calibration,
            counted,
            prior,
            likeliest_shares(pool, prior),
            black_box_shares(gold, codes, pool.mean(axis=0)),
        )


def fewest_gold(n_classes: int) -> int:
    """Return the gold rows that class shares of a pool require: 20 for each class."""
    return GOLD_OF_CLASS * n_classes


def likeliest_shares(proba: FloatArray, prior: FloatArray) -> FloatArray:
    """Return the likeliest class shares (C,) of rows whose probabilities assume a prior.

    The maximum that EM climbs to, by Newton steps, since EM takes hundreds where classes are hard
    to tell apart. Each step is a problem of least squares with shares >= 0 (Wang, JRSS B 2007).

    >>> sure = np.eye(2)[[0, 1, 1, 1]]
    >>> likeliest_shares(sure, np.array([0.5, 0.5])).round(3).tolist()
    [0.25, 0.75]
    """
    likelihoods = proba / prior
    shares = proba.mean(axis=0)
    of_rows = likelihoods @ shares
    for _ in range(NEWTON_STEPS):
        ratios = likelihoods / of_rows[:, None]
        gram = ratios.T @ ratios / len(ratios) + 1e-9 * np.eye(len(shares))
        root = np.linalg.cholesky(gram)
        target = nnls(root.T, np.linalg.solve(root, 2 * ratios.mean(axis=0) - 1))[0]
        step = target / target.sum() - shares
        reached = np.log(of_rows).mean()
        # Half of it, and again, where the parabola overshoots.
        for size in 0.5 ** np.arange(10):
            moved = likelihoods @ (shares + size * step)
            if np.log(moved).mean() >= reached:
                break
        shares, of_rows = shares + size * step, moved
        if np.abs(size * step).max() < NEWTON_TOLERANCE:
            break
    return np.asarray(shares)


def black_box_shares(gold: FloatArray, codes: IntArray, pool_mean: FloatArray) -> FloatArray:
    """Return class shares (C,) of a pool by inverting the soft confusion matrix of gold rows."""
    n, n_classes = gold.shape
    members = np.eye(n_classes)[codes]
    confusion, gold_shares = gold.T @ members / n, members.mean(axis=0)
    # A tenth of the noise of the equations: all of it would pull 20 gold rows of two classes that
    # are hard to tell apart halfway to equal shares.
    penalty = np.sqrt(0.1 / (n * n_classes))
    certain = 100.0  # shares sum to 1, nearly exactly
    left = np.vstack([confusion, penalty * np.eye(n_classes), certain * gold_shares])
    right = np.concatenate([pool_mean, np.full(n_classes, penalty), [certain]])
    found = nnls(left, right)[0] * gold_shares
    return np.asarray(found / found.sum())


def _checked(
    gold_proba: AnyArray, gold_codes: AnyArray, pool_proba: AnyArray
) -> tuple[FloatArray, IntArray, FloatArray]:
    gold, pool = check_proba(gold_proba, "gold_proba"), check_proba(pool_proba, "pool_proba")
    codes = np.asarray(gold_codes)
    if gold.shape[1] != pool.shape[1]:
        raise InputError(
            f"gold_proba has {gold.shape[1]} classes, pool_proba {pool.shape[1]}: both need the "
            "same, in one order"
        )
    if codes.dtype.kind not in "iu" or codes.shape != (len(gold),):
        raise InputError(
            f"gold_codes must be class codes of shape ({len(gold)},); got {codes.dtype} of "
            f"{codes.shape}"
        )
    bad: BoolArray = (codes < 0) | (codes >= gold.shape[1])
    if bad.any():
        raise InputError(
            f"gold_codes must be class codes from 0 to {gold.shape[1] - 1}; "
            f"{rows(np.flatnonzero(bad))} are not"
        )
    least = fewest_gold(gold.shape[1])
    if len(gold) < least or not len(pool):
        raise InputError(
            f"class shares of the pool require {least} or more gold rows of {gold.shape[1]} "
            f"classes, and a pool; got {len(gold)} and {len(pool)}"
        )
    return gold, codes.astype(np.int64), pool


def _resampled(
    gold: FloatArray, codes: IntArray, rng: np.random.Generator
) -> tuple[FloatArray, IntArray]:
    drawn = rng.integers(len(codes), size=len(codes))
    return gold[drawn], codes[drawn]


def _intervals(
    found: FloatArray, draws: list[FloatArray], errors: FloatArray, n: int, level: float
) -> FloatArray:
    """Return Student's interval (C, 2) of the log odds of each share, by the spread of draws.

    Percentiles of the draws held too rarely with 50 gold rows. Where an interval by the errors
    (C,) would be wider than all shares, the draws agree for want of information: it is [0, 1].
    With classes .2 standard deviations apart and 150 gold rows, black-box intervals so hold in
    85 % of 300 draws, and in 10 % without.
    """
    least = 0.5 / n  # odds of a class that no draw has
    odds, drawn = (logit(np.clip(values, least, 1 - least)) for values in (found, np.array(draws)))
    # Draws of rows leave out that held-out probabilities share their models.
    error = SHARED_MODELS * drawn.std(axis=0, ddof=1)
    low, high = student_interval(odds, error, n - 1, level)
    held = np.column_stack([np.minimum(expit(low), found), np.maximum(expit(high), found)])
    lowest, highest = student_interval(found, errors, n - 1, level)
    held[highest - lowest > 1] = 0.0, 1.0
    return held


def _p_value(difference: FloatArray, draws: list[FloatArray], n: int) -> float:
    """Return the p-value of no difference, by the covariance of the draws (Hotelling)."""
    free = min(len(difference) - 1, n - 2)  # differences sum to 0
    covariance = np.atleast_2d(np.cov(np.array(draws)[:, :free], rowvar=False))
    covariance += np.eye(free) * 1e-6  # a class that no draw has
    distance = difference[:free] @ np.linalg.solve(covariance, difference[:free])
    return float(fisher.sf(distance * (n - free) / (free * (n - 1)), free, n - free))
