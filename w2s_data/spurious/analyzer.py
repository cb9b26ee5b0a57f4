r"""Spurious correlations: the cost of a group with different shares in labelled set and pool.

Teacher and student see a group attribute (a channel, a hospital, a background) through their
features. Where its share differs between the teacher's labelled rows and the pool, the student can
lose in one group what it gains in another. The closed forms of `w2s_data.spurious.theory` say how
much, and which share the pool should have.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from w2s_data.discrepancy.analyzer import Components
from w2s_data.discrepancy.components import principal_components
from w2s_data.discrepancy.moments import GROUP_BYTES, total_moments
from w2s_data.errors import DegenerateDataWarning, FeatureError, InputError, unknown
from w2s_data.spurious.evidence import GroupEvidence
from w2s_data.spurious.inputs import Rows, check_rows
from w2s_data.spurious.model import GroupGeometry
from w2s_data.spurious.moments import GroupMoments, Whitened, covariance_difference
from w2s_data.spurious.results import GroupPrediction
from w2s_data.utils.intervals import Estimate, wilson_interval
from w2s_data.utils.io import jsonable
from w2s_data.utils.jackknife import JACKKNIFE, LEFT_OUT, random_parts
from w2s_data.utils.threads import each_of, threads_for
from w2s_data.utils.typing import RandomState
from w2s_data.utils.validation import check_generator, check_parameters, share


class SpuriousAnalyzer(BaseEstimator):  # type: ignore[misc]
    r"""Predict the risk of teacher and student inside and outside a group, and the best pool share.

    Each group is compared with all other rows; of two groups, the one with fewer rows is. Features
    are whitened inside groups; then mu_T, mu_S are the shifts of the group's mean, Xi the
    covariance of weak with strong features inside groups, and the mixture form gives

    .. math:: risk(\eta_u, \eta_t), \qquad \gamma = 1 / (n - d_w - 2), \quad \nu = 1 / (N - d_s - 2)

    (see `spurious.theory.mixture_risks`). |mu|^2 loses its chance part d (1/n_0 + 1/n_1), and
    ||Xi||^2 its own as in `correlation_dimension`.

    This is variance: the risk from the label noise that the teacher fitted. It assumes that the
    label does not depend on the group, equal covariances in both groups, and least squares with an
    intercept. Where the label follows the attribute, the bias of the teacher is usually larger.

    Parameters
    ----------
    strong_components, weak_components : None, int, float or "mp"
        Principal components that the probe uses, as in `DiscrepancyAnalyzer`.
    n_jackknife : int
        Intervals are a delete-one-part jackknife over this many random parts of the rows
        (Student t, each group spread evenly over the parts); 0 gives NaN. Fewer (at least 2) are
        used where their second moments would not fit in 256 MB.
    level : float
        Coverage of the intervals, for each group by itself.
    random_state : int, Generator or None
        Controls the random division of the rows into jackknife parts.

    Attributes
    ----------
    groups_ : DataFrame
        One row for each group that could be judged, worst first: shares in labelled set and pool,
        shifts, shared dimensions, predicted gains over the teacher's risk and optimal share, each
        with `_low` and `_high`; failure and its chance; how far the covariances differ (the model
        takes 0).
    unknown_ : dict
        Groups that could not be judged, and why.
    worst_ : str
        Group whose predicted gain, as a part of the teacher's risk and on the worst of the tests
        "others" (none of the group), "inside" (only the group) and "average" (both alike), is
        lowest. All that follows is about it.
    eta_labelled_, eta_pool_ : Estimate
        Its share with Wilson's interval.
    fails_, chance_fails_ : dict
        For each of these tests, whether the student is no better than its teacher, and the
        probability of that.
    optimal_eta_pool_ : Estimate
        Share in the pool, of the same size, with the lowest risk of the student where both groups
        count alike, on a grid of step .01. The interval spans all shares whose risk does not
        differ significantly from that.
    advice_ : str
        One sentence, with its interval; says "cannot tell" where that holds both signs.
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
    >>> analyzer = SpuriousAnalyzer(random_state=0)
    >>> analyzer = analyzer.fit(strong, weak, groups=groups, labelled=labelled)
    >>> analyzer.eta_pool_
    Estimate(0.4433, 0.4184 to 0.4686)
    >>> analyzer.predict_risk()
    GroupPrediction(group='rural', eta_labelled=0.046, eta_pool=0.4433, eta_test=0.5,
                    teacher=0.01692, student=0.006669, gain=0.01025 [0.01013, 0.01037],
                    worst gain=0.01179)
    """

    def __init__(
        self,
        strong_components: Components = None,
        weak_components: Components = None,
        n_jackknife: int = 20,
        level: float = 0.95,
        random_state: RandomState = None,
    ) -> None:
        self.strong_components = strong_components
        self.weak_components = weak_components
        self.n_jackknife = n_jackknife
        self.level = level
        self.random_state = random_state

    def fit(
        self,
        strong_features: Any,
        weak_features: Any,
        *,
        groups: ArrayLike,
        labelled: ArrayLike,
        pool: ArrayLike | None = None,
    ) -> Self:
        """Measure shares, shifts and similarity.

        Parameters
        ----------
        strong_features, weak_features : array (P, D_s), (P, D_w), memory map or FeatureStore
            Features of the labelled and the pool rows together, in the same order.
        groups : array (P,)
            Names or codes, given or discovered, two or more different ones.
        labelled : bool array (P,)
            Rows that the teacher is trained on.
        pool : bool array (P,), optional
            Rows that get pseudo-labels; by default all that are not labelled. Rows in neither are
            dropped, and need no group.

        Raises
        ------
        InputError
            One group only, missing groups (rows named), no group that can be judged, rows in both
            splits, too few labelled (n <= d_w + 2) or pool rows (N <= d_s + 2).
        FeatureError
            NaN rows (named), row counts that disagree.
        """
        check_parameters(self, {"n_jackknife": JACKKNIFE, "level": share})
        rows = check_rows(strong_features, weak_features, groups, labelled, pool)
        self.n_labelled_, self.n_pool_ = rows.n, rows.N
        moments, origin = total_moments(rows.strong, rows.weak, rows.numbers)
        strong_side, weak_side = principal_components(moments, origin)
        self.d_s_ = strong_side.dimension(self.strong_components, "strong")
        self.d_w_ = weak_side.dimension(self.weak_components, "weak")
        rows.check_determined(self.d_s_, self.d_w_)
        maps = strong_side.whitening(self.d_s_), weak_side.whitening(self.d_w_)
        parts = random_parts(rows.codes, self._n_parts(), check_generator(self.random_state))
        group_moments = GroupMoments.read(rows, origin, maps, parts)
        with threads_for((self.d_s_ + self.d_w_) ** 3):
            self._judge(rows, group_moments)
        return self

    def predict_risk(
        self,
        eta_pool: float | None = None,
        eta_test: float = 0.5,
        *,
        group: Any = None,
        n: int | None = None,
        N: int | None = None,
        noise: float = 1.0,
    ) -> GroupPrediction:
        """Predict the risk of teacher and student in the group, outside it, on average, at worst.

        Intervals reflect the uncertainty of the features. The shares are taken as given: those of
        this labelled set, and of a pool with exactly this share.

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
            Variance of the label noise; risks are in units of it where it is 1.
        """
        return self._evidence(group).predict(eta_pool, eta_test, n, N, noise)

    def curve(
        self, eta_pools: Iterable[float] | None = None, eta_test: float = 0.5, **settings: Any
    ) -> pd.DataFrame:
        """Predict over shares of the group in the pool, 0, .05 ... 1 by default.

        Returns
        -------
        DataFrame
            One row per share; `teacher_PART`, `student_PART`, `gain_PART`, `relative_gain_PART`
            with `_low` and `_high`, and `chance_fails_PART`, where PART is "others", "inside",
            "average" or "worst". `settings` are passed to `predict_risk`.
        """
        return pd.DataFrame([p.to_row() for p in self._curve(eta_pools, eta_test, **settings)])

    def advise(self, group: Any = None) -> str:
        """Return one sentence of advice on a group, the worst by default."""
        return self._evidence(group).advice

    def to_frame(self) -> pd.DataFrame:
        """Return one row per group, as `groups_`."""
        check_is_fitted(self)
        return self.groups_.copy()

    def to_dict(self) -> dict[str, Any]:
        """Return everything learned as plain JSON values, the content of `spurious.json`."""
        check_is_fitted(self)
        worst = self._judged[0]
        settings = {k: v for k, v in self.get_params().items() if k != "random_state"}
        summary: dict[str, Any] = jsonable(
            {
                "n_labelled": self.n_labelled_,
                "n_pool": self.n_pool_,
                "d_w": self.d_w_,
                "d_s": self.d_s_,
                "level": self.level,
                "groups": [evidence.to_dict() for evidence in self._judged],
                "worst_group": self.worst_,
                "curve": [prediction.to_dict() for prediction in self._curve()],
                "optimal_eta_pool": worst.optimal_eta_pool.to_dict(),
                "fails": self.fails_,
                "chance_fails": self.chance_fails_,
                "advice": self.advice_,
                "settings": settings,
                "reading": f"{self.advice_[0].upper()}{self.advice_[1:]}.",
                "unknown": [{"group": k, "reason": why} for k, why in self.unknown_.items()],
                "warnings": [],  # the stage fills in those that were raised on the way
            }
        )
        return summary

    def _n_parts(self) -> int:
        # Each part keeps a matrix of second moments in float64.
        fitting = GROUP_BYTES // (8 * (self.d_w_ + self.d_s_) ** 2)
        return max(1, min(self.n_jackknife, max(2, fitting)))

    def _judge(self, rows: Rows, moments: GroupMoments) -> None:
        white = Whitened.of(moments.whole)
        self.unknown_: dict[Any, str] = {}
        models: dict[int, GroupGeometry] = {}
        # Two groups compared with each other are one question, asked for the smaller one.
        asked: Sequence[int] = range(len(rows.names))
        if len(asked) == 2:
            asked = [int(np.argmin(np.bincount(rows.codes)))]
        # Kept for the message to those who ask for the other one.
        self._reference = rows.names[1 - asked[0]] if len(asked) == 1 else None
        for k in asked:
            reason = rows.why_unknown(k)
            try:  # a group that determines a column must not stop the others
                if not reason:
                    models[k] = moments.geometry(k, white)
            except FeatureError as error:
                reason = str(error)
            if reason:
                self.unknown_[rows.names[k]] = reason
        reasons = "; ".join(f"{name!r} {why}" for name, why in self.unknown_.items())
        if not models:
            raise InputError(f"no group can be judged: {reasons}")
        if reasons:
            warnings.warn(f"groups left out: {reasons}", DegenerateDataWarning, stacklevel=3)
        replicates = self._replicates(moments, list(models))
        judged = each_of(
            lambda group: self._evidence_of(*group, rows, moments),
            [*zip(models, models.values(), replicates, strict=True)],
        )
        # The worst comes first, as all attributes of a single group are about it.
        self._judged = sorted(judged, key=lambda evidence: evidence.worst_relative_gain)
        self.groups_ = pd.DataFrame([e.to_row() for e in self._judged]).set_index("group")
        worst = self._judged[0]
        self.worst_, self.fails_, self.chance_fails_ = worst.group, worst.fails, worst.chance_fails
        self.eta_labelled_, self.eta_pool_ = worst.eta_labelled, worst.eta_pool
        self.optimal_eta_pool_, self.advice_ = worst.optimal_eta_pool, worst.advice

    def _replicates(
        self, moments: GroupMoments, asked: list[int]
    ) -> list[GroupGeometry] | list[None]:
        if self.n_jackknife == 0:
            return [None] * len(asked)
        try:
            return moments.replicates(asked)
        except (InputError, np.linalg.LinAlgError):  # the point estimates still hold
            warnings.warn(
                f"{self.n_labelled_ + self.n_pool_} rows do not give intervals on {self.d_w_} weak "
                f"and {self.d_s_} strong dimensions: {LEFT_OUT}",
                DegenerateDataWarning,
                stacklevel=4,
            )
            return [None] * len(asked)

    def _evidence_of(
        self,
        group: int,
        geometry: GroupGeometry,
        left_out: GroupGeometry | None,
        rows: Rows,
        moments: GroupMoments,
    ) -> GroupEvidence:
        inside = rows.codes == group
        shares = []
        for split in (rows.labelled, ~rows.labelled):
            count, total = np.count_nonzero(inside & split), np.count_nonzero(split)
            low, high = wilson_interval(count, total, self.level)
            shares.append(Estimate(count / total, float(low), float(high), self.level))
        size = int(inside.sum())
        own = moments.groups[group]
        return GroupEvidence(
            group=rows.names[group],
            n_rows=size,
            eta_labelled=shares[0],
            eta_pool=shares[1],
            n=rows.n,
            N=rows.N,
            geometry=geometry,
            left_out=left_out,
            # A part without a row of the smaller side repeats the whole: it is no replicate.
            freedom=min(self._n_parts(), size, len(inside) - size) - 1,
            level=self.level,
            covariance_difference=covariance_difference(own, moments.whole - own),
        )

    def _evidence(self, group: Any) -> GroupEvidence:
        check_is_fitted(self)
        if group is None:
            return self._judged[0]
        for evidence in self._judged:
            if evidence.group == group:
                return evidence
        if group == self._reference:  # of two groups only one is judged
            raise InputError(
                f"group {group!r} is the reference group for {self.worst_!r}; see the `others` "
                f"field of predict_risk(group={self.worst_!r})"
            )
        if group in self.unknown_:
            raise InputError(f"group {group!r} could not be judged: it {self.unknown_[group]}")
        raise InputError(unknown("group", str(group), [str(e.group) for e in self._judged]))

    def _curve(
        self, eta_pools: Iterable[float] | None = None, eta_test: float = 0.5, **settings: Any
    ) -> list[GroupPrediction]:
        shares = np.linspace(0, 1, 21) if eta_pools is None else eta_pools
        return [self.predict_risk(float(share), eta_test, **settings) for share in shares]


def unknown_spurious(reason: str) -> dict[str, Any]:
    """Return the content of `spurious.json` where no group could be judged.

    >>> unknown_spurious("all rows belong to one group")["reading"]
    'Unknown: all rows belong to one group.'
    """
    return {
        "groups": [],
        "worst_group": None,
        "advice": None,
        "reading": f"Unknown: {reason}.",
        "unknown": [{"group": None, "reason": reason}],
        "warnings": [],
    }
