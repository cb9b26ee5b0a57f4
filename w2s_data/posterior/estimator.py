"""`LabelPosterior`: the chance of each class of every pool row, and of its weak label."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Self

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from w2s_data.errors import listing
from w2s_data.features.matrix import FeatureMatrix, as_feature_matrix
from w2s_data.posterior.accuracy import Judge, Known
from w2s_data.posterior.calibration import calibration_error, reliability
from w2s_data.posterior.inputs import (
    check_gold,
    check_pool,
    check_ratio,
    check_teachers,
    check_weak,
    checked_relabel,
)
from w2s_data.posterior.pooling import (
    FEWEST_GOLD,
    LogLinearPool,
    few_gold,
    join_views,
    with_shares,
)
from w2s_data.posterior.views import Gold, Recipe, Relabel, Views, make_views, predict_blocks
from w2s_data.probes.linear import stratified_folds
from w2s_data.utils.constants import LEVEL
from w2s_data.utils.progress import progress as progress_bar
from w2s_data.utils.typing import AnyArray, FloatArray, IntArray, RandomState
from w2s_data.utils.validation import (
    check_generator,
    check_parameters,
    check_weights,
    nonnegative,
    one_of,
    share,
    whole,
)
from w2s_data.utils.votes import chance, mean_label, teacher_names, votes
from w2s_data.utils.weighting import WEIGHTED, worth

# Below it a class is little known. Equal weights for all would cost 4 points on six classes, of
# which one is rare.
FEWEST_OF_CLASS = 2


class LabelPosterior(BaseEstimator):  # type: ignore[misc]
    r"""Join gold and weak labels into one distribution over the classes of every pool row.

    .. math:: \log q(c) = b_c + \sum_v a_v \log p_v(c) - \log Z

    The views p_v are the teachers, two models of the gold labels on strong features, linear and by
    class means, and a student of the weak labels; on gold rows each is held out. Weights a >= 0
    and offsets b are fitted to the gold labels, so that q is calibrated and a says whom to trust.
    A teacher that abstains (a uniform row) adds nothing.

    Parameters
    ----------
    l2 : float or "cv"
        Penalty of the model of the gold labels.
    student_l2 : float
        Penalty of the students.
    folds : int
        Folds in which views are held out.
    repeats : int
        Partitions of the gold rows into folds for the models of the gold labels; the weights are
        fitted to all of them.
    max_pool : int
        Students learn from a random sample of a larger pool; all rows get a posterior.
    paired : bool
        Rows are differences of preference pairs: models without intercept, no class offsets.
    level : float
        Coverage of the intervals.
    device : str
    random_state : int, Generator or None
        Controls folds and samples.

    Attributes
    ----------
    proba_ : array (N, C)
        Posterior q of the pool; rows sum to 1.
    trust_ : array (N,)
        Chance in [0, 1] that the weak label is right, q of its class; NaN where all abstain.
    weights_ : Series (V,)
        Weight of each view by its name.
    offsets_ : array (C,)
    accuracy_, weak_accuracy_, student_accuracy_ : Estimate
        Accuracy on the pool of the most probable class, of the weak labels, and of a student of
        them: the mean chance over the pool plus what rows with a gold label correct.
    teacher_accuracies_ : dict of Estimate
        The same of each teacher.
    accuracy_by_ : str
        "pool labels": corrected by 20 or more rows drawn from the pool, for which the interval
        holds. "calibration": by held-out gold rows, so that it holds for pool rows like them.
    n_known_ : int
        Rows drawn from the pool.
    lead_, voted_accuracy_ : Estimate
        Accuracy on the pool of the most probable class minus that of the weak label, over rows that
        have one; paired, so that its interval is shorter than those of the two suggest. And that of
        the most probable class over the same rows.
    equal_weights_ : bool
        Whether there were too few gold rows to fit the weights.
    calibration_error_ : float
        Mean distance of confidence and accuracy on held-out gold rows, in [0, 1]; 0 is best.
    reliability_ : DataFrame
        Confidence and accuracy of held-out gold rows, by bins of equal size.
    gold_proba_ : array (n, C)
        Posterior of the gold rows, held out.
    notes_ : tuple of str
        Reasons why the posterior is less certain than it says.

    Notes
    -----
    With fewer than 20 gold rows, or those of one class, views have equal weights, whose sum alone
    is fitted. Training takes folds + 1 students, and as many again for a teacher that learned from
    the gold rows.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> y = rng.integers(2, size=600)
    >>> strong = rng.normal(size=(600, 4)) + 1.5 * y[:, None] * [1, 0, 0, 0]
    >>> weak = np.where(rng.random(600) < 0.7, y, 1 - y)  # right in 70 %
    >>> proba = np.where(np.eye(2)[weak] > 0, 0.7, 0.3)
    >>> gold, pool = slice(100), slice(100, 600)
    >>> posterior = LabelPosterior(random_state=0).fit(
    ...     strong[pool], proba[pool], gold=(strong[gold], proba[gold], y[gold])
    ... )
    >>> right = weak[pool] == y[pool]
    >>> bool(posterior.trust_[right].mean() > posterior.trust_[~right].mean() + 0.2)
    True
    """

    def __init__(
        self,
        *,
        l2: Any = "cv",
        student_l2: float = 0.1,
        folds: int = 5,
        repeats: int = 3,
        max_pool: int = 20_000,
        paired: bool = False,
        level: float = LEVEL,
        device: str = "auto",
        random_state: RandomState = None,
    ) -> None:
        self.l2 = l2
        self.student_l2 = student_l2
        self.folds = folds
        self.repeats = repeats
        self.max_pool = max_pool
        self.paired = paired
        self.level = level
        self.device = device
        self.random_state = random_state

    def fit(
        self,
        strong_features: Any,
        weak_proba: Any,
        *,
        gold: tuple[Any, Any, AnyArray],
        relabel: Relabel | None = None,
        relabel_folds: IntArray | None = None,
        gold_weight: AnyArray | None = None,
        pool_labels: AnyArray | None = None,
        from_pool: AnyArray | None = None,
        weak_names: tuple[str, ...] = (),
        class_names: tuple[str, ...] = (),
        progress: bool | None = None,
    ) -> Self:
        """Fit the views and their weights, and label the pool.

        Parameters
        ----------
        strong_features : array (N, D), memory map or FeatureStore
            Features of the pool; read block by block.
        weak_proba : array (N, C), or (N, M, C) of M teachers
        gold : (strong_features (n, D), weak_proba (n, C) or (n, M, C), labels (n,))
            Gold rows, labels as class codes. A teacher that learned from them must be cross-fitted
            there, and needs `relabel`.
        relabel : function of row numbers, optional
            Retrains the teacher on some of the gold rows; returns its probabilities of all gold
            rows and of the pool.
        relabel_folds : int array (n,), optional
            Which gold rows `relabel` holds out together; drawn if not given.
        gold_weight : array (n,), optional
            Density ratios of the pool to the gold rows where these come from elsewhere, as
            `ShiftDetector.weights_` has them. They enter the accuracies and their intervals. The
            views and the pool of them stay as they are: weighting those made q worse.
        pool_labels : int array (N,), optional
            Class codes of pool rows whose label is known, -1 elsewhere. No model learns from them;
            20 or more measure the accuracies, for which they have to be drawn at random.
        from_pool : bool array (n,), optional
            Gold rows that were drawn from the pool at random, and measure the accuracies where
            there are too few `pool_labels`.
        weak_names, class_names : tuples of M and of C str
            Names of the teachers in `weights_`, and of the classes in `notes_`.
        progress : bool or None

        Raises
        ------
        InputError
            If rows, columns or classes disagree.
        """
        self._check_parameters()
        strong = as_feature_matrix(strong_features, "strong_features")
        weak = check_pool(weak_proba, strong.shape[0])
        rows = check_gold(gold, strong.shape[1], weak.shape[1:])
        if (weight := gold_weight) is not None:
            weight = check_weights(weight, len(rows), "gold_weight")
        known = Known.checked(pool_labels, from_pool, strong.shape[0], len(rows), weak.shape[2])
        rng = check_generator(self.random_state)
        names = teacher_names(weak_names, weak.shape[1])
        if relabel is not None:
            relabel = checked_relabel(relabel, len(rows), weak.shape)
        steps = self.folds + 2 + (0 if relabel is None else self.folds)
        with progress_bar("posterior", steps, unit="models", enabled=progress) as advance:
            teachers = relabel, relabel_folds, names
            views = make_views(strong, weak, rows, self._recipe(), *teachers, rng, advance)
        self.equal_weights_ = few_gold(rows.codes)
        doubts = _too_few(rows, class_names), self._sampled(strong.shape[0])
        weighted = "" if weight is None else worth(len(rows), weight)
        self.notes_ = tuple(filter(None, (*doubts, weighted)))
        self.views_ = views
        self.pool_ = self._fit_pool(views.gold, rows.codes)
        self.classes_, self.ratio_ = np.arange(weak.shape[2]), np.ones(weak.shape[2])
        self.n_features_in_ = strong.shape[1]
        self.weights_ = pd.Series(self.pool_.weights, index=list(views.names), name="weight")
        self.offsets_ = self.pool_.offsets
        self.proba_ = self.pool_.proba(views.pool)
        self.gold_by_repeat_ = self._held_out(views, rows.codes, rng)
        self.gold_codes_, self.known_ = rows.codes, known
        self._measure(weight)
        return self

    def correct_shares(self, ratio: AnyArray) -> Self:
        r"""Correct the posterior for a pool of other class shares, where only these are other.

        .. math:: q'(c) \propto q(c) \, ratio_c

        `ratio` (C,) are shares of the pool over those of the gold rows, as `LabelShift.ratio_` has
        them; those of several calls multiply. Trust and accuracies follow, with the gold rows of a
        class weighted by its ratio, which replaces `gold_weight`: both are weights of this shift.
        Saerens, Latinne, Decaestecker, Neural Computation 2002.
        """
        check_is_fitted(self, "pool_")
        factors = check_ratio(ratio, len(self.classes_))
        self.ratio_ = self.ratio_ * factors
        self.offsets_ = self.pool_.offsets + np.log(factors)
        self.pool_ = replace(self.pool_, offsets=self.offsets_)
        self.proba_ = with_shares(self.proba_, factors)
        self.gold_by_repeat_ = with_shares(self.gold_by_repeat_, factors)
        weight = self.ratio_[self.gold_codes_]
        others = (note for note in self.notes_ if not note.startswith(WEIGHTED))
        self.notes_ = (*others, worth(len(weight), weight))
        self._measure(weight)
        return self

    def predict_proba(self, strong_features: Any, weak_proba: Any) -> FloatArray:
        """Return the posterior (n, C) of other rows, which need weak labels as well.

        The field calls this a vote of teacher and student at use.
        """
        check_is_fitted(self, "pool_")
        strong: FeatureMatrix = as_feature_matrix(strong_features, "strong_features")
        weak = check_weak(weak_proba, strong.shape[0])
        check_teachers(weak, self.views_.weak_gold.shape[1:], "weak_proba", "the rows of the fit")
        n_classes = len(self.classes_)
        own = [
            np.full((strong.shape[0], n_classes), 1 / n_classes)
            if model is None
            else predict_blocks(model, strong, n_classes)
            for model in self.views_.models
        ]
        return self.pool_.proba(np.stack([*weak.transpose(1, 0, 2), *own]))

    def predict(self, strong_features: Any, weak_proba: Any) -> IntArray:
        """Return the most probable class code (n,) of other rows."""
        return np.asarray(self.predict_proba(strong_features, weak_proba).argmax(axis=1))

    def to_dict(self) -> dict[str, Any]:
        """Return weights, accuracies and calibration as plain types."""
        check_is_fitted(self, "pool_")
        estimates = "accuracy", "weak_accuracy", "student_accuracy", "lead", "voted_accuracy"
        return {
            "weights": self.weights_.to_dict(),
            "offsets": self.offsets_.tolist(),
            **{name: getattr(self, f"{name}_").to_dict() for name in estimates},
            "teacher_accuracies": {k: v.to_dict() for k, v in self.teacher_accuracies_.items()},
            "accuracy_by": self.accuracy_by_,
            "n_known": self.n_known_,
            "calibration_error": self.calibration_error_,
            "reliability": self.reliability_.to_dict("records"),
            "notes": list(self.notes_),
        }

    def to_frame(self) -> pd.DataFrame:
        """Return one row per pool row: the probability of each class, and trust."""
        check_is_fitted(self, "pool_")
        frame = pd.DataFrame(self.proba_, columns=[f"proba_{c}" for c in self.classes_])
        return frame.assign(trust=self.trust_)

    def _recipe(self) -> Recipe:
        return Recipe(
            *(self.l2, self.student_l2, self.folds, self.repeats),
            *(self.max_pool, self.paired, self.device),
        )

    def _fit_pool(self, gold_views: FloatArray, codes: IntArray) -> LogLinearPool:
        repeats, voting = len(gold_views), self.views_.voting
        return join_views(
            np.concatenate(gold_views[:, voting], axis=1),
            np.tile(codes, repeats),
            equal=self.equal_weights_,
            offsets=not self.paired,
            weight=1 / repeats,
        ).spread(voting)

    def _held_out(self, views: Views, codes: IntArray, rng: np.random.Generator) -> FloatArray:
        """Return the posterior (R, n, C) of gold rows whose label does not count in the weights."""
        proba = np.empty((len(views.gold), *views.gold.shape[2:]))
        for train, held_out in stratified_folds(codes, self.folds, rng):
            pool = self._fit_pool(views.gold[:, :, train], codes[train])
            for own, part in zip(proba, views.gold, strict=True):
                own[held_out] = pool.proba(part[:, held_out])
        return proba

    def _measure(self, gold_weight: FloatArray | None = None) -> None:
        """Measure trust, the accuracies on the pool, and calibration."""
        views, codes = self.views_, self.gold_codes_
        weak = views.pool[: views.weak_gold.shape[1]].swapaxes(0, 1)
        said = votes(mean_label(weak))
        self.trust_ = chance(self.proba_, said)
        self.gold_proba_ = self.gold_by_repeat_.mean(axis=0)
        judge = Judge(
            *(self.proba_, self.gold_by_repeat_, codes, self.known_, self.level, gold_weight)
        )
        own = judge.scores(self.proba_.argmax(axis=1), self.gold_by_repeat_.argmax(axis=2))
        taught = judge.scores(said, votes(mean_label(views.weak_gold)))
        student = judge.scores(votes(views.pool[-1]), votes(views.gold[0, -1]))
        self.accuracy_, self.weak_accuracy_ = judge.mean(own), judge.mean(taught)
        self.student_accuracy_ = judge.mean(student)
        by_teacher = zip(weak.swapaxes(0, 1), views.weak_gold.swapaxes(0, 1), strict=True)
        each = [judge.mean(judge.scores(votes(own), votes(of_gold))) for own, of_gold in by_teacher]
        self.teacher_accuracies_ = dict(zip(views.names, each, strict=False))
        # Only rows with a weak label have trust: `taught - taught` is 0 there, and NaN elsewhere.
        self.lead_ = judge.mean(own - taught, least=-1.0)
        self.voted_accuracy_ = judge.mean(own - (taught - taught))
        self.accuracy_by_, self.n_known_ = self.known_.method, len(self.known_)
        confidence = self.gold_proba_.max(axis=1)
        right = self.gold_proba_.argmax(axis=1) == codes
        self.calibration_error_ = calibration_error(confidence, right)
        self.reliability_ = reliability(confidence, right, self.level)

    def _sampled(self, n_pool: int) -> str:
        if n_pool <= self.max_pool:
            return ""
        return (
            f"students learned from a random {self.max_pool:,} of the {n_pool:,} pool rows "
            "(max_pool); all rows have a posterior"
        )

    def _check_parameters(self) -> None:
        limits = {
            "l2": nonnegative | one_of("cv"),
            "student_l2": nonnegative,
            "folds": whole(2),
            "repeats": whole(1),
            "max_pool": whole(2),
            "paired": one_of(True, False),
            "level": share,
        }
        check_parameters(self, limits)


def _too_few(rows: Gold, class_names: tuple[str, ...]) -> str:
    """Return in which way there are few gold rows; empty if there are enough."""
    counts = np.bincount(rows.codes, minlength=rows.weak_proba.shape[2])
    names = class_names or range(len(counts))
    few = [names[c] for c in np.flatnonzero(counts < FEWEST_OF_CLASS)]
    if len(rows) < FEWEST_GOLD:
        return (
            f"{len(rows)} gold rows are too few to weight the views (fewer than {FEWEST_GOLD}): "
            "they count equally"
        )
    if few:
        some = f"class {listing(few)} has" if len(few) == 1 else f"classes {listing(few)} have"
        rests = "the views count equally" if few_gold(rows.codes) else "weak labels alone know it"
        return f"{some} fewer than {FEWEST_OF_CLASS} gold rows: {rests}"
    return ""
