r"""Overlap density: the share of points that carry both an easy and a hard pattern.

Two thresholds divide the points into three regions. A point whose weak confidence is low is
hard-only. Among the rest, a point whose strong features align with the hard-only points is
overlap, the others are easy-only. On overlap points the weak label is right *and* the hard
pattern is visible, so that is where the strong student learns it.

A share of thresholded scores is not the share of types, so a mixture of the types, started from the
thresholds' regions, corrects the level; see `w2s_data.overlap.quantify`.
"""

from __future__ import annotations

import warnings
from typing import Any, Literal, Self

import numpy as np

from w2s_data.compute.base import Engine
from w2s_data.data.regions import PointScores, Region
from w2s_data.errors import DegenerateDataWarning, InputError
from w2s_data.features.matrix import FeatureMatrix
from w2s_data.overlap.alignment import draw_anchors
from w2s_data.overlap.bootstrap import ThresholdBootstrap
from w2s_data.overlap.changepoint import binseg_change_point, change_point
from w2s_data.overlap.confidence import smooth_confidence, weak_confidence
from w2s_data.overlap.fitting import NOT_SOUGHT, Gold, find_types
from w2s_data.overlap.inputs import CONSTRAINTS, check_gold, check_pool, check_rows
from w2s_data.overlap.precision import Precision, choose_precision
from w2s_data.overlap.regions import assign_regions, degeneracy
from w2s_data.overlap.results import NOT_SMOOTHED, FittedDetector
from w2s_data.utils.intervals import percentile_interval
from w2s_data.utils.typing import AnyArray, FloatArray, RandomState
from w2s_data.utils.validation import check_generator, check_parameters


class OverlapDetector(FittedDetector):
    r"""Divide points into hard-only, easy-only and overlap; estimate the overlap density.

    With weak confidence c_i, strong features x_i, and H the hard-only points {c_i <= t_c},

    .. math:: a_i = \mathrm{mean\ of\ the\ largest\ 20\,\%\ of\ } |\cos(x_i, x_h)|,\ h \in H

    and a point outside H is overlap iff a_i >= t_a. Both thresholds are exact l2 change points of
    the sorted values. The mean of a share of the similarities is a property of their distribution,
    so a sample of 4,096 anchors from H represents all of it and the cost is linear in N.

    Counting regions draws every share towards the middle. By default the density is therefore the
    share of overlap points in a mixture of the types, fitted to strong features and weak labels
    from these regions on, unless the thresholds split clearly, or parts of the points find
    different types, or its hard-only points are no less confident than others (`objection_`). Where
    the thresholds split no better than evenly spread values would be split, the regions too are the
    likeliest types of the mixture.

    Parameters
    ----------
    threshold : {"changepoint", "binseg"}
        Exact change point, or the coarse grid of the published code.
    alignment : {"top_share", "max"}
        Mean of the largest `top_share` of the cosines, or their maximum (published).
    calibration : float or None
        Temperature T > 0 applied to the weak probabilities first (p^(1/T), renormalised): above
        1 it spreads out a saturated weak model.
    n_anchors : "auto", "full" or int
        Hard-only points that serve as anchors. "auto" takes all of them up to 4,096 and a random
        sample of 4,096 beyond, "full" all of them, a number at most that many.
    confidence : {"margin", "top1"}
        Top-1 minus top-2 probability, or rescaled top-1, (C p_max - 1) / (C - 1). They agree for
        two classes; for more they rank right weak labels equally well on average.
    top_share : float
        Share of the cosines that is averaged, in (0, 1]. The maximum follows a few polluted
        anchors: where regions are known, it separates easy-only from overlap points with an AUC
        of .59, .69 and .88 on three test beds, the top 20 % with .85, .78 and .97.
    smooth_confidence : bool
        Average each confidence with those of its 20 nearest neighbours in strong features
        (z-scores, rescaled to [0, 1]). Ranks sources better, but costs gain as a filter.
    quantify : {"mixture", "count"}
        Shares of a fitted mixture of the types, or of regions by thresholds alone (published).
    n_resamples : int
        Bootstrap replicates behind the intervals; 0 gives NaN intervals.
    level : float
        Coverage of the percentile intervals.
    device : str
        "auto" takes CUDA, then MPS, then the CPU.
    precision : {"auto", "float32", "tf32", "bfloat16", "int8"}
        For products with anchors, which are summed in float32 (int8: int32). "auto" takes the
        fastest that the device has, but stays in float32 up to 10^10 multiplications: int8 on a CPU
        with VNNI, else bfloat16 where it is in hardware. On real features 99.9 % of the points keep
        the region of exact products where the change point stays. One that the device lacks is
        replaced by the next, with a warning in the log. The maximum is always in float64.
    random_state : int, Generator or None
        Controls the drawing of anchors and replicates.

    Attributes
    ----------
    regions_ : int8 array (N,)
        Values of `Region`; this and the next two of the fitted rows (see `pool` of `fit`).
    confidence_ : array (N,)
        In [0, 1]; higher is surer.
    alignment_ : float32 array (N,)
        In [0, 1]; NaN on hard-only points.
    confidence_threshold_, alignment_threshold_ : float
        hard-only iff confidence <= threshold; overlap iff not hard-only and alignment >=
        threshold, where `regions_by_` is "thresholds". NaN where no change point exists.
    density_interval_, confidence_threshold_interval_, alignment_threshold_interval_ : tuple
        Percentile intervals, (low, high), of coverage `level`.
    confidence_explained_, alignment_explained_ : float
        Share of the variance that the change point explains, in [0, 1]. Evenly spread values give
        0.75, so a change point that explains less is poorly supported.
    density_ : float
        Share of overlap points, in [0, 1]; NaN when no hard-only point or no alignment change point
        exists (a warning says which).
    quantified_by_ : {"mixture", "count"}
        Where the density and `shares` come from. The interval of a count covers the estimate, not
        the truth; that of a mixture covers the truth as far as the mixture fits.
    regions_by_ : {"thresholds", "mixture"}
    density_range_ : tuple or None
        Limits (low, high) of every estimate there is, where no level is to be relied on: then read
        the density as a rank among sources, and as a range. None where `density_` is a level.
    objection_ : str
        Why there is no mixture or it is not relied on; empty if it is, or was not asked for.
    types_ : TypeModel or None
        The mixture, with its form, the agreement of its parts and its own density.
    n_anchors_ : int
    precision_ : str
        That was used: "float32", "tf32", "bfloat16", "int8", or "float64" for the maximum.
    scores_ : PointScores
        Regions, confidence and alignment of all rows that were given, in or out of the pool.

    References
    ----------
    Shin, Cooper, Sala, *Weak-to-Strong Generalization Through the Data-Centric Lens*, ICLR 2025,
    Algorithm 1; `OverlapDetector.reference` is that algorithm to the letter.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> easy = np.repeat([1, 0, 1], 100) * rng.choice([-1, 1], 300)
    >>> hard = np.repeat([0, 1, 1], 100) * rng.choice([-1, 1], 300)
    >>> features = np.column_stack([3 * easy, 3 * hard]) + rng.normal(0, 0.3, (300, 2))
    >>> positive = 1 / (1 + np.exp(-4 * easy))
    >>> weak_proba = np.column_stack([1 - positive, positive])
    >>> detector = OverlapDetector(random_state=0).fit(features, weak_proba)
    >>> np.bincount(detector.regions_)
    array([100,  99, 101])
    >>> round(detector.density_, 2)
    0.34
    """

    def __init__(
        self,
        threshold: Literal["changepoint", "binseg"] = "changepoint",
        alignment: Literal["top_share", "max"] = "top_share",
        calibration: float | None = None,
        n_anchors: int | Literal["auto", "full"] = "auto",
        confidence: Literal["margin", "top1"] = "margin",
        top_share: float = 0.2,
        smooth_confidence: bool = False,
        quantify: Literal["mixture", "count"] = "mixture",
        n_resamples: int = 200,
        level: float = 0.95,
        device: str = "auto",
        precision: Precision = "auto",
        random_state: RandomState = None,
    ) -> None:
        self.threshold = threshold
        self.alignment = alignment
        self.calibration = calibration
        self.n_anchors = n_anchors
        self.confidence = confidence
        self.top_share = top_share
        self.smooth_confidence = smooth_confidence
        self.quantify = quantify
        self.n_resamples = n_resamples
        self.level = level
        self.device = device
        self.precision = precision
        self.random_state = random_state

    @classmethod
    def reference(cls, **options: Any) -> OverlapDetector:
        """Return the published algorithm, bit for bit in its partition.

        Margin confidence, change points on every fifth index, and the maximal absolute cosine
        to all hard-only points, in float64. Quadratic in N; kept for parity with the paper.

        Examples
        --------
        >>> OverlapDetector.reference(n_resamples=0)
        OverlapDetector(alignment='max', n_anchors='full', n_resamples=0,
                        quantify='count', threshold='binseg')
        """
        published = {
            "threshold": "binseg",
            "alignment": "max",
            "n_anchors": "full",
            "quantify": "count",
        }
        return cls(**published | options)

    def fit(
        self,
        strong_features: Any,
        weak_proba: AnyArray | None = None,
        *,
        confidence: AnyArray | None = None,
        pool: AnyArray | None = None,
        gold: tuple[Any, AnyArray, AnyArray] | None = None,
        engine: Engine | None = None,
    ) -> Self:
        """Find both thresholds on the pool, and assign every point to a region.

        Parameters
        ----------
        strong_features : array (N, D), memory map or FeatureStore
            Aligned block by block, in one pass.
        weak_proba : array (N, C), or (N, M, C) for M weak models, which are averaged
            Rows sum to 1.
        confidence : array (N,), optional
            Ready-made confidence in [0, 1], higher is surer, instead of weak_proba: of values, for
            which the paper defines none. There are no types without classes, so that it requires
            ``quantify="count"``.
        pool : bool array (N,) or int array, optional
            Rows that are fitted, by default all: all learned attributes but `scores_` are of them
            alone. The other rows are scored by the same thresholds in the same pass.
        gold : (strong_features (n, D), weak_proba (n, C), labels (n,)), optional
            Rows of the same population with gold labels, as class codes with -1 for unknown, and
            weak probabilities that were not trained on them (cross-fitted). They say which class
            a pattern belongs to, and are used where the types are fitted by a mixture.
        engine : Engine, optional
            Aligns blocks of points; by default in this process.

        Raises
        ------
        FeatureError, ProbabilityError
            NaN, infinite or zero rows, and rows that are not distributions; all are named.
        InputError
            Row counts that disagree, or a parameter out of range.
        """
        check_parameters(self, CONSTRAINTS)
        features, proba, confidence = self._rows(strong_features, weak_proba, confidence)
        fitted = check_pool(pool, len(confidence))
        if self.smooth_confidence and len(fitted) < len(confidence):
            raise InputError(NOT_SMOOTHED)
        self._seen: tuple[FloatArray, FloatArray] | None = None  # forget what was streamed
        rng = check_generator(self.random_state)
        # Anchors and replicates draw from streams of their own, so that neither depends on how
        # many numbers the other takes.
        anchor_rng = np.random.default_rng(rng.integers(2**63))
        seed = int(rng.integers(2**63))
        self.n_features_in_ = features.shape[1]
        self.n_classes_ = 0 if proba is None else proba.shape[1]
        if self.smooth_confidence:
            confidence = smooth_confidence(confidence, features)
        self.confidence_ = confidence[fitted]
        published = self.threshold == "binseg"
        find = binseg_change_point if published else change_point
        split = find(self.confidence_)
        # As published: hard-only up to and including the smallest value above the split.
        self.confidence_threshold_ = split.upper if published else split.lower
        self.confidence_explained_ = split.explained
        hard = self._hard_only(confidence)
        self._bootstrap = ThresholdBootstrap(self.confidence_, published, self.n_resamples, seed)
        self.anchors_ = draw_anchors(
            features,
            anchor_rng.permutation(fitted[hard[fitted]]),
            self.n_anchors,
            "float64" if self.alignment == "max" else "float32",
        )
        self.n_anchors_ = len(self.anchors_)
        wanted = ~hard
        if self.alignment != "max":
            # Points that are hard-only here but not in every replicate need an alignment as well
            # (the maximum would find the point itself among the anchors).
            wanted[fitted] |= self.confidence_ > self._bootstrap.lowest_confidence_threshold
        self.precision_ = "float64"  # the published maximum decides by ties, which rounding breaks
        if self.alignment != "max":
            n_products = int(wanted.sum()) * self.anchors_.size
            self.precision_ = choose_precision(self.precision, self.device, n_products, engine)
        alignment = self._align(features, wanted, engine)
        self._bootstrap.fit_alignment(alignment[fitted])
        alignment[hard] = np.nan
        known = alignment[fitted]
        split = find(known[np.isfinite(known)])
        self.alignment_threshold_, self.alignment_explained_ = split.upper, split.explained
        regions = assign_regions(hard, alignment, self.alignment_threshold_)
        found = NOT_SOUGHT
        if self.quantify == "mixture" and proba is not None:
            found = find_types(
                *(features, fitted, proba, confidence, regions[fitted]),
                gold=self._gold(gold),
                explained=(self.confidence_explained_, self.alignment_explained_),
                intervals=self.n_resamples > 0,
                seed=seed,
            )
        self.types_, self.objection_, self.quantified_by_, self.regions_by_ = found
        if self.types_ is not None and self.regions_by_ == "mixture":
            regions = self.types_.regions
            alignment = self._realigned(alignment, regions, features, engine)
        self.scores_ = PointScores(regions, confidence, alignment.astype(np.float32))
        self.regions_, self.alignment_ = regions[fitted], self.scores_.alignment[fitted]
        self._summarize()
        return self

    def partial_fit(self, strong_features: Any, weak_proba: AnyArray) -> Self:
        """Add points and fit all points seen so far again.

        With an int seed the result equals one `fit` on all points, and costs as much.
        """
        features, proba = check_rows(strong_features, weak_proba)
        added = features.take(np.arange(features.shape[0]))
        seen = getattr(self, "_seen", None)
        if seen is not None:
            if seen[0].shape[1] != added.shape[1] or seen[1].shape[1] != proba.shape[1]:
                raise InputError(
                    f"earlier calls had {seen[0].shape[1]} features and {seen[1].shape[1]} "
                    f"classes; got {added.shape[1]} and {proba.shape[1]}"
                )
            added, proba = np.concatenate([seen[0], added]), np.concatenate([seen[1], proba])
        self.fit(added, proba)
        self._seen = (added, proba)
        return self

    def _gold(self, given: tuple[Any, AnyArray, AnyArray] | None) -> Gold | None:
        rows = check_gold(given, self.n_features_in_, self.n_classes_)
        if rows is None:
            return None
        features, proba, labels = rows
        confidence = weak_confidence(proba, self.confidence, self.calibration)
        return Gold(features, proba, confidence, labels)

    def _realigned(
        self,
        alignment: FloatArray,
        regions: AnyArray,
        features: FeatureMatrix,
        engine: Engine | None,
    ) -> FloatArray:
        """Return an alignment of all points that are not hard-only by `regions`, NaN of others."""
        missing = (regions != Region.HARD) & np.isnan(alignment)
        if missing.any():
            alignment = np.where(missing, self._align(features, missing, engine), alignment)
        return np.where(regions == Region.HARD, np.nan, alignment)

    def _summarize(self) -> None:
        """Set density and intervals; warn where they are undefined."""
        self.density_ = float(np.mean(self.regions_ == Region.OVERLAP))
        reason = None
        if self.quantified_by_ == "count":
            reason = degeneracy(self.regions_, self.confidence_, self.alignment_threshold_)
        if reason:
            warnings.warn(reason, DegenerateDataWarning, stacklevel=3)
            if not (self.regions_ == Region.HARD).all():
                self.density_ = np.nan
        row = self.shares().iloc[0]
        if self.quantified_by_ == "mixture":
            self.density_ = float(row["density"])
        self.density_interval_ = (float(row["density_low"]), float(row["density_high"]))
        self.density_range_ = self._range() if self.objection_ else None
        for name in ("confidence", "alignment"):
            replicates = getattr(self._bootstrap, f"{name}_thresholds")
            threshold = getattr(self, f"{name}_threshold_")
            interval = percentile_interval(replicates, threshold, self.level)
            setattr(self, f"{name}_threshold_interval_", interval)

    def _range(self) -> tuple[float, float] | None:
        """Return limits that hold the count and the mixture's share, with their intervals."""
        if np.isnan(self.density_):
            return None
        limits = [self.density_, *self.density_interval_]
        if self.types_ is not None:
            model = self.types_.density(self.level)
            limits += [model.value, model.low, model.high]
        return float(np.nanmin(limits)), float(np.nanmax(limits))
