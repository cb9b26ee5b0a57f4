r"""Spurious correlations: what a group that teacher and pool hold in different shares costs.

Teacher and student see a group attribute (a channel, a hospital, a background) through their
features. Where the teacher's labelled rows and the pool hold it in different shares, the student
can lose in one group what it gains in another. The closed forms of `w2s_data.spurious.theory` say
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

from w2s_data.discrepancy.analyzer import Components
from w2s_data.discrepancy.components import Side
from w2s_data.discrepancy.moments import GROUP_BYTES, total_moments
from w2s_data.errors import DegenerateDataWarning, FeatureError, InputError, unknown
from w2s_data.features.matrix import FeatureView, as_feature_matrix
from w2s_data.spurious.advice import advise
from w2s_data.spurious.estimate import GroupMoments, Whitened, covariance_difference
from w2s_data.spurious.evidence import GroupEvidence
from w2s_data.spurious.inputs import (
    check_group_count,
    check_groups,
    check_rows,
    check_split,
    why_unknown,
)
from w2s_data.spurious.model import GroupGeometry, GroupModel
from w2s_data.spurious.results import GroupPrediction, GroupSummary
from w2s_data.spurious.theory import ETA_TESTS, mixture_fails
from w2s_data.utils.intervals import Estimate, wilson_interval
from w2s_data.utils.jackknife import LEFT_OUT, random_parts
from w2s_data.utils.typing import BoolArray, IntArray, RandomState
from w2s_data.utils.validation import check_generator, check_same_length


class SpuriousAnalyzer(BaseEstimator):  # type: ignore[misc]
    r"""Predicted risk of teacher and student inside and outside a group, and the best pool share.

    Each group is held against all other rows; with two groups, the one with fewer rows is. Features
    are whitened inside groups; then mu_T, mu_S are the shifts of the group's mean, Xi the
    covariance of weak with strong features inside groups, and the mixture form gives

    .. math:: risk(\eta_u, \eta_t), \qquad \gamma = 1 / (n - d_w - 2), \quad \nu = 1 / (N - d_s - 2)

    (see `spurious.theory.mixture_risks`). |mu|^2 loses its chance part d (1/n_0 + 1/n_1), and
    ||Xi||^2 its own as in `correlation_dimension`.

    This is variance: the risk from the label noise that the teacher fitted. It assumes that the
    label does not depend on the group, equal covariances in both groups, and least squares with an
    intercept. Where the label follows the attribute, the bias of the teacher is usually larger:
    give `engine.deterministic_equivalent` the target and group weights.

    Parameters
    ----------
    weak_components, strong_components : None, int, float or "mp"
        Principal components that the probe uses, as in `DiscrepancyAnalyzer`.
    n_parts : int
        Intervals are a delete-one-part jackknife over this many random parts of the rows
        (Student t, each group spread evenly over the parts); 0 gives NaN. Fewer (at least 2) are
        used where their second moments would not fit in 256 MB.
    level : float
        Coverage of the intervals, for each group by itself.
    random_state : int, Generator or None
        Parts the rows.

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
        {only others, only the group, both alike}, is lowest. All that follows is about it.
    eta_labelled_, eta_pool_ : Estimate
        Its share with Wilson's interval.
    fails_, chance_fails_ : dict
        Test share 0 (others), 1 (the group), .5 (both alike) -> whether the student is no better
        than its teacher, and the chance of that.
    optimal_eta_pool_ : float
        Share in the pool, of the same size, with the lowest risk of the student where both groups
        count alike; on a grid of step .01.
    optimal_eta_pool_interval_ : (float, float)
        From the lowest to the highest share whose risk the rows cannot tell from that.
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
    >>> analyzer = SpuriousAnalyzer(random_state=0).fit(weak, strong, groups, labelled)
    >>> analyzer.eta_pool_
    Estimate(0.4433, 0.4184 to 0.4686)
    >>> analyzer.predict()
    GroupPrediction(group='rural', eta_labelled=0.046, eta_pool=0.4433, eta_test=0.5,
                    teacher=0.01692, student=0.006669, gain=0.01025 [0.01013, 0.01037],
                    worst gain=0.01179)
    """

    def __init__(
        self,
        weak_components: Components = None,
        strong_components: Components = None,
        n_parts: int = 20,
        level: float = 0.95,
        random_state: RandomState = None,
    ) -> None:
        self.weak_components = weak_components
        self.strong_components = strong_components
        self.n_parts = n_parts
        self.level = level
        self.random_state = random_state

    def fit(
        self,
        weak_features: Any,
        strong_features: Any,
        groups: ArrayLike,
        labelled: ArrayLike,
        pool: ArrayLike | None = None,
    ) -> Self:
        """Measure shares, shifts and similarity.

        Parameters
        ----------
        weak_features, strong_features : array (P, D_w), (P, D_s), memory map or FeatureStore
            Of the labelled and the pool rows together, in the same order.
        groups : array (P,)
            Names or codes, given or discovered, two or more different ones.
        labelled : bool array (P,)
            Rows the teacher is trained on.
        pool : bool array (P,), optional
            Rows that get pseudo-labels; by default all that are not labelled. Rows in neither are
            left out, and need no group.

        Raises
        ------
        InputError
            One group only, missing groups (rows named), no group that can be judged, rows in both
            splits, too few labelled (n <= d_w + 2) or pool rows (N <= d_s + 2).
        FeatureError
            NaN rows (named), row counts that disagree.
        """
        self._check_parameters()
        weak = as_feature_matrix(weak_features, "weak features")
        strong = as_feature_matrix(strong_features, "strong features")
        mask, used = check_split(labelled, pool)
        check_same_length(
            weak_features=np.empty(weak.shape[0]), groups=np.asarray(groups), labelled=mask
        )
        if len(used) < len(mask):
            weak, strong, mask = FeatureView(weak, used), FeatureView(strong, used), mask[used]
        names, codes = check_groups(groups, used)
        self.n_labelled_, self.n_pool_ = int(mask.sum()), int((~mask).sum())

        moments, origin = total_moments(weak, strong, used)
        sides = Side.both(moments, origin)
        self.d_w_ = sides[0].dimension(self.weak_components, "weak")
        self.d_s_ = sides[1].dimension(self.strong_components, "strong")
        check_rows(self.n_labelled_, self.n_pool_, self.d_w_, self.d_s_)
        check_group_count(len(names), self.d_w_, self.d_s_)
        maps = sides[0].whitening(self.d_w_), sides[1].whitening(self.d_s_)
        parts = random_parts(codes, self._n_parts(), check_generator(self.random_state))
        self._judge(names, codes, mask, GroupMoments.read(weak, strong, origin, maps, codes, parts))
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

        Intervals carry what the rows leave open about the features. The shares are taken as they
        are: those of this labelled set, and of a pool with exactly this share.

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
        gamma, nu = self._scales(n, N)
        others, inside, average = (
            summary.evidence.risks(share, test, gamma, nu, noise) for test in (0.0, 1.0, eta_test)
        )
        return GroupPrediction(
            group=summary.group,
            eta_labelled=summary.eta_labelled.value,
            eta_pool=share,
            eta_test=float(eta_test),
            n=int(self.n_labelled_ if n is None else n),
            N=int(self.n_pool_ if N is None else N),
            noise=float(noise),
            others=others,
            inside=inside,
            average=average,
            worst=summary.evidence.worst(share, gamma, nu, noise),
            level=self.level,
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

    def advise(self, group: Any = None) -> str:
        """One sentence on a group, the worst by default; `advice_` for that."""
        check_is_fitted(self)
        summary = self._summary(group)
        best = summary.optimal_eta_pool.value
        saving = summary.evidence.saving(summary.eta_pool.value, best, self._scales()[1])
        now, then = (self.predict(share, group=summary.group) for share in (None, best))
        return advise(now, then, saving, summary.covariance_difference)

    def to_dict(self) -> dict[str, Any]:
        """Everything learned as plain numbers and sentences; what `spurious.json` holds."""
        from w2s_data.spurious.summary import summarize_spurious

        check_is_fitted(self)
        return summarize_spurious(self)

    def _check_parameters(self) -> None:
        if not 0 < self.level < 1:
            raise InputError(f"level must lie in (0, 1); got {self.level!r}")
        if self.n_parts < 0 or self.n_parts == 1:
            raise InputError(f"n_parts must be 0 or at least 2; got {self.n_parts!r}")

    def _n_parts(self) -> int:
        fitting = GROUP_BYTES // (8 * (self.d_w_ + self.d_s_) ** 2)
        return max(1, min(self.n_parts, max(2, fitting)))

    def _judge(
        self, names: list[Any], codes: IntArray, mask: BoolArray, moments: GroupMoments
    ) -> None:
        sizes = np.bincount(codes, minlength=len(names))
        in_labelled = np.bincount(codes[mask], minlength=len(names))
        whole = moments.whole
        white = Whitened.of(whole)
        self.unknown_: dict[Any, str] = {}
        models: dict[int, GroupModel] = {}
        # Two groups against each other are one question; the smaller one asks it.
        asked = range(len(names)) if len(names) > 2 else [int(np.argmin(sizes))]
        self._rest = names[1 - asked[0]] if len(asked) == 1 else None
        for k in asked:
            reason = why_unknown(sizes[k], len(codes), in_labelled[k], self.n_labelled_)
            try:
                if not reason:
                    models[k] = moments.model(k, white)
            except FeatureError as error:
                reason = str(error)
            if reason:
                self.unknown_[names[k]] = reason
        reasons = "; ".join(f"{name!r} {why}" for name, why in self.unknown_.items())
        if not models:
            raise InputError(f"no group can be judged: {reasons}")
        if reasons:
            warnings.warn(f"left out: {reasons}", DegenerateDataWarning, stacklevel=3)
        replicates = self._replicates(moments, list(models))
        found = []
        for (k, model), left_out in zip(models.items(), replicates, strict=True):
            differs = covariance_difference(moments.groups[k], whole - moments.groups[k])
            counts = int(in_labelled[k]), int(sizes[k] - in_labelled[k])
            found.append(self._summarise(names[k], model, left_out, counts, differs))
        self._conclude(sorted(found, key=lambda summary: summary.worst_relative_gain))

    def _replicates(
        self, moments: GroupMoments, asked: list[int]
    ) -> list[GroupGeometry] | list[None]:
        if self.n_parts == 0:
            return [None] * len(asked)
        try:
            return moments.replicates(asked)
        except (InputError, np.linalg.LinAlgError):
            warnings.warn(
                f"{self.n_labelled_ + self.n_pool_} rows do not give intervals on {self.d_w_} weak "
                f"and {self.d_s_} strong dimensions: {LEFT_OUT}",
                DegenerateDataWarning,
                stacklevel=4,
            )
            return [None] * len(asked)

    def _summarise(
        self,
        name: Any,
        model: GroupModel,
        left_out: GroupGeometry | None,
        counts: tuple[int, int],
        differs: float,
    ) -> GroupSummary:
        totals = self.n_labelled_, self.n_pool_
        shares = [
            Estimate(count / total, *wilson_interval(count, total, self.level))
            for count, total in zip(counts, totals, strict=True)
        ]
        smaller = min(sum(counts), sum(totals) - sum(counts))
        freedom = min(self._n_parts(), smaller) - 1
        evidence = GroupEvidence(model.geometry, left_out, shares[0].value, freedom, self.level)
        gamma, nu = self._scales()
        return GroupSummary(
            group=name,
            n_rows=sum(counts),
            eta_labelled=shares[0],
            eta_pool=shares[1],
            model=model,
            evidence=evidence,
            risks={t: evidence.risks(shares[1].value, t, gamma, nu) for t in ETA_TESTS},
            fails=mixture_fails(model, shares[0].value, shares[1].value, nu),
            optimal_eta_pool=evidence.optimum(nu),
            covariance_difference=differs,
        )

    def _conclude(self, summaries: list[GroupSummary]) -> None:
        self._summaries = summaries
        self.groups_ = pd.DataFrame([s.to_dict() for s in summaries]).set_index("group")
        worst, best = summaries[0], summaries[0].optimal_eta_pool
        self.worst_, self.fails_ = worst.group, dict(worst.fails)
        self.chance_fails_ = {share: risk.chance_fails for share, risk in worst.risks.items()}
        self.eta_labelled_, self.eta_pool_ = worst.eta_labelled, worst.eta_pool
        self.optimal_eta_pool_ = best.value
        self.optimal_eta_pool_interval_ = best.low, best.high
        self.advice_ = self.advise()

    def _summary(self, group: Any) -> GroupSummary:
        if group is None:
            return self._summaries[0]
        for summary in self._summaries:
            if summary.group == group:
                return summary
        if group == self._rest:
            raise InputError(
                f"group {group!r} is the rest that {self.worst_!r} is held against: its risks are "
                "`others` there"
            )
        if group in self.unknown_:
            raise InputError(f"group {group!r} could not be judged: it {self.unknown_[group]}")
        raise InputError(unknown("group", str(group), [str(s.group) for s in self._summaries]))

    def _scales(self, n: int | None = None, N: int | None = None) -> tuple[float, float]:
        """Gamma and nu at these sizes, those of the data by default."""
        free = (self.n_labelled_ if n is None else n) - self.d_w_ - 2
        pool = (self.n_pool_ if N is None else N) - self.d_s_ - 2
        if free <= 0 or pool <= 0:
            raise InputError(
                f"n must exceed d_w + 2 = {self.d_w_ + 2} and N d_s + 2 = {self.d_s_ + 2}; got "
                f"n = {n}, N = {N}"
            )
        return 1 / free, 1 / pool
