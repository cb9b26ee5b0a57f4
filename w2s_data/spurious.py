r"""Spurious correlations: what a group that teacher and pool hold in different shares costs.

Teacher and student see a group attribute (a channel, a hospital, a background) through their
features. Where the teacher's labelled rows and the pool hold it in different shares, the student
can lose in one group what it gains in another. The closed forms of `w2s_data.spurious_theory` say
how much, and which share the pool should have.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from w2s_data._blocks import as_feature_matrix
from w2s_data._bootstrap import wilson_interval
from w2s_data._group_model import (
    GroupModel,
    GroupRisks,
    covariance_difference,
    estimate_group_model,
)
from w2s_data._moments import GROUP_BYTES, Moments, group_moments, total_moments
from w2s_data._sides import Side
from w2s_data._spurious_results import GroupPrediction, GroupSummary, Share
from w2s_data._typing import BoolArray, IntArray
from w2s_data._validation import check_same_length
from w2s_data.discrepancy import Components
from w2s_data.errors import DegenerateDataWarning, InputError, listing, rows, unknown
from w2s_data.spurious_theory import mixture_fails, mixture_optimum, mixture_risks

MIN_ROWS = 10  # of a group and of all others; from fewer the shift of the mean is unknown
WORTHWHILE = 0.01  # part of the student's risk that re-weighting must save to be advised
DIFFERENT = 0.25  # covariance difference from which the closed form is only a tendency


class SpuriousAnalyzer(BaseEstimator):  # type: ignore[misc]
    r"""Predicted risk of teacher and student inside and outside a group, and the best pool share.

    Each group is held against all other rows; with two groups, the one with fewer rows is. Features
    are whitened inside groups; then mu_T, mu_S are the shifts of the group's mean, Xi the
    covariance of weak with strong features inside groups, and the mixture form gives

    .. math:: risk(\eta_u, \eta_t), \qquad \gamma = 1 / (n - d_w - 2), \quad \nu = 1 / (N - d_s - 2)

    (see `spurious_theory.mixture_risks`). |mu|^2 loses its chance part d (1/n_0 + 1/n_1), and
    ||Xi||^2 its own as in `correlation_dimension`.

    This is variance: the risk from the label noise that the teacher fitted. It assumes that the
    label does not depend on the group, equal covariances in both groups, and least squares with an
    intercept. Where the label follows the attribute, the bias of the teacher is usually larger:
    give `engine.deterministic_equivalent` the target and group weights.

    Parameters
    ----------
    weak_components, strong_components : None, int, float or "mp"
        Principal components that the probe uses, as in `DiscrepancyAnalyzer`.
    level : float
        Coverage of the intervals of the shares.

    Attributes
    ----------
    groups_ : DataFrame
        One row for each group that could be judged, worst first: shares in labelled set and pool
        with intervals, shifts, predicted gains, failure, optimal share, and how far the covariances
        differ (the model takes 0).
    unknown_ : dict
        Groups that could not be judged, and why.
    worst_ : str
        Group whose predicted gain, as a part of the teacher's risk and on the worst of the tests
        {only others, only the group, both alike}, is lowest. All that follows is about it.
    eta_labelled_, eta_pool_ : Share
        Its share with Wilson's interval.
    fails_ : dict
        Test share 0 (others), 1 (the group), .5 (both alike) -> whether the student is no better
        than its teacher.
    optimal_eta_pool_ : float
        Share in the pool, of the same size, with the lowest risk of the student where both groups
        count alike; on a grid of step .01.
    advice_ : str
    d_w_, d_s_, n_labelled_, n_pool_ : int

    References
    ----------
    Liu, Dong, Lei, *Does Weak-to-Strong Generalization Happen under Spurious Correlations?*, ICLR
    2026 (the model); the mixture form and the recipe for embeddings are this toolkit's.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> labelled = np.arange(2000) < 500
    >>> rural = rng.random(2000) < np.where(labelled, 0.06, 0.42)
    >>> weak, strong = rng.normal(size=(2000, 6)), rng.normal(size=(2000, 8))
    >>> strong[:, :3] += weak[:, :3]
    >>> weak[:, 5] += 2.0 * rural
    >>> strong[:, 0] += 3.0 * rural
    >>> groups = np.where(rural, "rural", "urban")
    >>> analyzer = SpuriousAnalyzer().fit(weak, strong, groups, labelled)
    >>> analyzer.eta_pool_
    Share(0.4433, 0.4184 to 0.4686)
    >>> analyzer.predict()
    GroupPrediction(group='rural', eta_labelled=0.046, eta_pool=0.4433, eta_test=0.5,
                    teacher=0.01692, student=0.006669, gain=0.01025, worst gain=0.01179)
    """

    def __init__(
        self,
        weak_components: Components = None,
        strong_components: Components = None,
        level: float = 0.95,
    ) -> None:
        self.weak_components = weak_components
        self.strong_components = strong_components
        self.level = level

    def fit(
        self, weak_features: Any, strong_features: Any, groups: ArrayLike, labelled: ArrayLike
    ) -> Self:
        """Measure shares, shifts and similarity.

        Parameters
        ----------
        weak_features, strong_features : array (P, D_w), (P, D_s), memory map or FeatureStore
            Of the labelled and the pool rows together, in the same order.
        groups : array (P,)
            Names or codes, two or more different ones.
        labelled : bool array (P,)
            Rows the teacher is trained on; all others are the pool.

        Raises
        ------
        InputError
            One group only, missing groups (rows named), a group that the labelled set lacks, too
            few labelled (n <= d_w + 2) or pool rows (N <= d_s + 2).
        FeatureError
            NaN rows (named), row counts that disagree, features that the group determines.
        """
        if not 0 < self.level < 1:
            raise InputError(f"level must lie in (0, 1); got {self.level!r}")
        weak = as_feature_matrix(weak_features, "weak features")
        strong = as_feature_matrix(strong_features, "strong features")
        names, codes = _check_groups(groups)
        mask = _check_mask(labelled)
        check_same_length(weak_features=np.empty(weak.shape[0]), groups=codes, labelled=mask)
        self.n_labelled_, self.n_pool_ = int(mask.sum()), int((~mask).sum())

        moments, origin = total_moments(weak, strong)
        sides = Side.both(moments, origin)
        self.d_w_ = sides[0].dimension(self.weak_components, "weak")
        self.d_s_ = sides[1].dimension(self.strong_components, "strong")
        self._check_rows(len(names))
        maps = sides[0].whitening(self.d_w_), sides[1].whitening(self.d_s_)
        parts = group_moments(weak, strong, origin, maps, codes)
        self._judge(names, codes, mask, parts)
        return self

    def predict(
        self,
        eta_pool: float | None = None,
        eta_test: float = 0.5,
        *,
        group: Any = None,
        n: int | None = None,
        N: int | None = None,
        noise: float = 1.0,
    ) -> GroupPrediction:
        """Risk of teacher and student in the group, outside it, on average and at worst.

        Parameters
        ----------
        eta_pool : float in [0, 1], optional
            Share of the group in the pool; the observed one by default.
        eta_test : float in [0, 1]
            Share of the group in the test for the average.
        group : optional
            The worst by default.
        n, N : int, optional
            Labelled and pool rows; those of the data by default.
        noise : float
            Variance of the label noise; risks are in its units where it is 1.
        """
        check_is_fitted(self)
        summary = self._summary(group)
        share = summary.eta_pool.value if eta_pool is None else float(eta_pool)
        alone, inside, average = (
            self._risks(summary, share, test, n, N, noise) for test in (0.0, 1.0, eta_test)
        )
        return GroupPrediction(
            group=summary.group,
            eta_labelled=summary.eta_labelled.value,
            eta_pool=share,
            eta_test=float(eta_test),
            n=int(self.n_labelled_ if n is None else n),
            N=int(self.n_pool_ if N is None else N),
            noise=float(noise),
            others=alone,
            inside=inside,
            average=average,
        )

    def curve(
        self, eta_pools: Iterable[float] | None = None, eta_test: float = 0.5, **settings: Any
    ) -> pd.DataFrame:
        """Predictions over shares of the group in the pool, 0, .05 ... 1 by default.

        Returns
        -------
        DataFrame
            One row per share, columns as in `GroupPrediction.to_dict`. `settings` go to `predict`.
        """
        shares = np.linspace(0, 1, 21) if eta_pools is None else eta_pools
        return pd.DataFrame(
            [self.predict(float(share), eta_test, **settings).to_dict() for share in shares]
        )

    def _check_rows(self, n_groups: int) -> None:
        for what, count, side, d in (
            ("labelled", self.n_labelled_, "weak", self.d_w_),
            ("pool", self.n_pool_, "strong", self.d_s_),
        ):
            if count <= d + 2:
                raise InputError(
                    f"{count} {what} rows do not determine a fit on {d} {side} dimensions: more "
                    f"than {d + 2} are needed, or fewer {side}_components"
                )
        if n_groups * 8 * (self.d_w_ + self.d_s_) ** 2 > GROUP_BYTES:
            raise InputError(
                f"{n_groups} groups of {self.d_w_} + {self.d_s_} dimensions do not fit in memory: "
                "give fewer groups, or fewer weak_components and strong_components"
            )

    def _judge(
        self, names: list[Any], codes: IntArray, mask: BoolArray, parts: list[Moments]
    ) -> None:
        whole = sum(parts[1:], parts[0])
        sizes = np.bincount(codes, minlength=len(names))
        in_labelled = np.bincount(codes[mask], minlength=len(names))
        self.unknown_: dict[Any, str] = {}
        found = []
        # Two groups against each other are one question; the smaller one asks it.
        asked = range(len(names)) if len(names) > 2 else [int(np.argmin(sizes))]
        for k in asked:
            reason = _unknown(sizes[k], len(codes), in_labelled[k], self.n_labelled_)
            if reason:
                self.unknown_[names[k]] = reason
                continue
            others = whole - parts[k]
            model = estimate_group_model(parts[k], others, str(names[k]))
            differs = covariance_difference(parts[k], others)
            counts = int(in_labelled[k]), int(sizes[k] - in_labelled[k])
            found.append(self._summarise(names[k], model, counts, differs))
        reasons = "; ".join(f"{name!r} {why}" for name, why in self.unknown_.items())
        if not found:
            raise InputError(f"no group can be judged: {reasons}")
        if reasons:
            warnings.warn(f"left out: {reasons}", DegenerateDataWarning, stacklevel=3)
        self._summaries = sorted(found, key=lambda summary: summary.worst_relative_gain)
        worst = self._summaries[0]
        self.groups_ = pd.DataFrame([s.to_dict() for s in self._summaries]).set_index("group")
        self.worst_, self.fails_ = worst.group, dict(worst.fails)
        self.eta_labelled_, self.eta_pool_ = worst.eta_labelled, worst.eta_pool
        self.optimal_eta_pool_ = worst.optimal_eta_pool
        self.advice_ = self._advice(worst)

    def _summarise(
        self, name: Any, model: GroupModel, counts: tuple[int, int], differs: float
    ) -> GroupSummary:
        totals = self.n_labelled_, self.n_pool_
        shares = [
            Share(count / total, *wilson_interval(count, total, self.level))
            for count, total in zip(counts, totals, strict=True)
        ]
        nu = 1 / (self.n_pool_ - self.d_s_ - 2)
        etas = shares[0].value, shares[1].value
        tests = {t: mixture_risks(model, *etas, t, 1.0, nu) for t in (0.0, 1.0, 0.5)}
        return GroupSummary(
            group=name,
            n_rows=sum(counts),
            eta_labelled=shares[0],
            eta_pool=shares[1],
            model=model,
            fails=mixture_fails(model, *etas, nu),
            relative_gains={t: risk.gain / risk.teacher for t, risk in tests.items()},
            optimal_eta_pool=mixture_optimum(model, etas[0], 0.5, nu),
            covariance_difference=differs,
        )

    def _advice(self, summary: GroupSummary) -> str:
        now = self.predict(group=summary.group)
        best = self.predict(summary.optimal_eta_pool, group=summary.group)
        said = (
            f"the pool holds {now.eta_pool:.0%} of group {str(summary.group)!r}, the teacher saw "
            f"{now.eta_labelled:.0%}: predicted gain {now.average.gain:+.2g} label-noise variances "
            f"({now.average.gain / now.average.teacher:+.0%} of the teacher's risk), "
            f"{now.inside.gain:+.2g} in the group and {now.others.gain:+.2g} outside; "
        )
        saved = now.average.student - best.average.student
        if saved <= WORTHWHILE * now.average.student:
            said += "another share in the pool would change little"
        else:
            said += (
                f"re-weight the pool towards {summary.optimal_eta_pool:.0%} "
                f"(gain {best.average.gain:+.2g})"
            )
        if summary.covariance_difference > DIFFERENT:
            said += "; the group differs in covariance too, so this is a tendency, not a number"
        return said

    def _summary(self, group: Any) -> GroupSummary:
        if group is None:
            return self._summaries[0]
        for summary in self._summaries:
            if summary.group == group:
                return summary
        if group in self.unknown_:
            raise InputError(f"group {group!r} could not be judged: it {self.unknown_[group]}")
        raise InputError(unknown("group", str(group), [str(s.group) for s in self._summaries]))

    def _risks(
        self,
        summary: GroupSummary,
        eta_pool: float,
        eta_test: float,
        n: int | None,
        N: int | None,
        noise: float,
    ) -> GroupRisks:
        free = (self.n_labelled_ if n is None else n) - self.d_w_ - 2
        pool = (self.n_pool_ if N is None else N) - self.d_s_ - 2
        if free <= 0 or pool <= 0:
            raise InputError(
                f"n must exceed d_w + 2 = {self.d_w_ + 2} and N d_s + 2 = {self.d_s_ + 2}; got "
                f"n = {n}, N = {N}"
            )
        eta_l = summary.eta_labelled.value
        return mixture_risks(
            summary.model, eta_l, eta_pool, eta_test, 1 / free, 1 / pool, noise=noise
        )


def _unknown(size: int, total: int, labelled: int, n_labelled: int) -> str:
    """Why a group cannot be judged; empty if it can."""
    if labelled == 0:
        return "has no labelled row: label some, or merge it with another group"
    if labelled == n_labelled:
        return "holds all labelled rows: the teacher saw no other group; label some rows of them"
    if size < MIN_ROWS:
        return f"has {size} rows: {MIN_ROWS} or more are needed, merge it with another group"
    if total - size < MIN_ROWS:
        return f"holds all but {total - size} rows: {MIN_ROWS} or more others are needed"
    return ""


def _check_groups(groups: ArrayLike) -> tuple[list[Any], IntArray]:
    """Different names in order of their text, and the code of each row."""
    series = pd.Series(np.asarray(groups).ravel() if np.ndim(groups) == 1 else np.asarray([]))
    if not len(series):
        raise InputError(f"groups must name one group for each row; got shape {np.shape(groups)}")
    missing = np.flatnonzero(series.isna())
    if len(missing):
        raise InputError(f"groups are missing in {rows(missing)}")
    codes, found = pd.factorize(series.to_numpy(), sort=False)
    names = [name.item() if isinstance(name, np.generic) else name for name in found]
    if len(names) < 2:
        raise InputError(f"all rows belong to one group, {listing(names)}: two or more are needed")
    return names, np.asarray(codes)


def _check_mask(labelled: ArrayLike) -> BoolArray:
    mask = np.asarray(labelled)
    if mask.ndim != 1 or mask.dtype != bool:
        raise InputError(
            f"labelled must be a boolean for each row; got {mask.dtype} of shape {mask.shape}"
        )
    return mask
