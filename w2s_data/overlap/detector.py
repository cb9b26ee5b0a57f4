r"""Overlap density: the share of points that carry both an easy and a hard pattern.

Two thresholds divide the points into three regions. A point whose weak confidence is low is
hard-only. Among the rest, a point whose strong features align with the hard-only points is
overlap, the others are easy-only. On overlap points the weak label is right *and* the hard
pattern is visible, so that is where the strong student learns it.
"""

from __future__ import annotations

import warnings
from typing import Any, Literal, Self

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from w2s_data.compute.base import Engine
from w2s_data.data.regions import PointScores, Region
from w2s_data.errors import DegenerateDataWarning, InputError
from w2s_data.features.matrix import FeatureMatrix
from w2s_data.overlap.alignment import align, unit_rows
from w2s_data.overlap.bootstrap import ThresholdBootstrap
from w2s_data.overlap.changepoint import binseg_change_point, change_point
from w2s_data.overlap.confidence import smooth_confidence, weak_confidence
from w2s_data.overlap.inputs import CONSTRAINTS, check_pool, check_rows
from w2s_data.overlap.regions import SHARES, assign_regions, degeneracy, from_columns, share_table
from w2s_data.utils.intervals import Estimate, percentile_interval
from w2s_data.utils.io import jsonable
from w2s_data.utils.typing import AnyArray, BoolArray, FloatArray, IntArray, RandomState
from w2s_data.utils.validation import check_generator, check_parameters

# Against all hard-only points a sample of 4,096 changes .6 % of the regions, one of 2,048 1 %.
MAX_ANCHORS = 4096
NOT_SMOOTHED = "smoothed confidence is defined only on the points of the fit"


class OverlapDetector(BaseEstimator):  # type: ignore[misc]
    r"""Divide points into hard-only, easy-only and overlap; estimate the overlap density.

    With weak confidence c_i, strong features x_i, and H the hard-only points {c_i <= t_c},

    .. math:: a_i = \mathrm{mean\ of\ the\ largest\ 20\,\%\ of\ } |\cos(x_i, x_h)|,\ h \in H

    and a point outside H is overlap iff a_i >= t_a. Both thresholds are exact l2 change points of
    the sorted values. The mean of a share of the similarities is a property of their distribution,
    so a sample of 4,096 anchors from H represents all of it and the cost is linear in N.

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
    n_resamples : int
        Bootstrap replicates behind the intervals; 0 gives NaN intervals.
    level : float
        Coverage of the percentile intervals.
    device : str
        "auto" takes CUDA, then MPS, then the CPU.
    tf32 : bool
        Multiply in TF32 on CUDA: several times faster, alignments within 1e-3 of the CPU's.
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
        threshold. NaN where no change point exists.
    density_interval_, confidence_threshold_interval_, alignment_threshold_interval_ : tuple
        Percentile intervals, (low, high), of coverage `level`.
    confidence_explained_, alignment_explained_ : float
        Share of the variance that the change point explains, in [0, 1]. Evenly spread values give
        0.75, so a change point that explains less is poorly supported.
    density_ : float
        Overlap points / N, in [0, 1]; NaN when no hard-only point or no alignment change point
        exists (a warning says which).
    n_anchors_ : int
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
        n_resamples: int = 200,
        level: float = 0.95,
        device: str = "auto",
        tf32: bool = False,
        random_state: RandomState = None,
    ) -> None:
        self.threshold = threshold
        self.alignment = alignment
        self.calibration = calibration
        self.n_anchors = n_anchors
        self.confidence = confidence
        self.top_share = top_share
        self.smooth_confidence = smooth_confidence
        self.n_resamples = n_resamples
        self.level = level
        self.device = device
        self.tf32 = tf32
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
                        threshold='binseg')
        """
        published = {"threshold": "binseg", "alignment": "max", "n_anchors": "full"}
        return cls(**published | options)

    def fit(
        self,
        strong_features: Any,
        weak_proba: AnyArray,
        *,
        pool: AnyArray | None = None,
        engine: Engine | None = None,
    ) -> Self:
        """Find both thresholds on the pool, and assign every point to a region.

        Parameters
        ----------
        strong_features : array (N, D), memory map or FeatureStore
            Aligned block by block, in one pass.
        weak_proba : array (N, C), or (N, M, C) for M weak models, which are averaged
            Rows sum to 1.
        pool : bool array (N,) or int array, optional
            Rows that are fitted, by default all: all learned attributes but `scores_` are of them
            alone. The other rows are scored by the same thresholds in the same pass.
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
        features, proba = check_rows(strong_features, weak_proba)
        fitted = check_pool(pool, len(proba))
        if self.smooth_confidence and len(fitted) < len(proba):
            raise InputError(NOT_SMOOTHED)
        self._seen: tuple[FloatArray, FloatArray] | None = None  # forget what was streamed
        rng = check_generator(self.random_state)
        # Anchors and replicates draw from streams of their own, so that neither depends on how
        # many numbers the other takes.
        anchor_rng = np.random.default_rng(rng.integers(2**63))
        seed = int(rng.integers(2**63))
        self.n_features_in_, self.n_classes_ = features.shape[1], proba.shape[1]
        confidence = weak_confidence(proba, self.confidence, self.calibration)
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
        self.anchors_ = self._draw_anchors(features, fitted[hard[fitted]], anchor_rng)
        self.n_anchors_ = len(self.anchors_)
        wanted = ~hard
        if self.alignment != "max":
            # Points that are hard-only here but not in every replicate need an alignment as well
            # (the maximum would find the point itself among the anchors).
            wanted[fitted] |= self.confidence_ > self._bootstrap.lowest_confidence_threshold
        alignment = self._align(features, wanted, engine)
        self._bootstrap.fit_alignment(alignment[fitted])
        alignment[hard] = np.nan
        known = alignment[fitted]
        split = find(known[np.isfinite(known)])
        self.alignment_threshold_, self.alignment_explained_ = split.upper, split.explained
        regions = assign_regions(hard, alignment, self.alignment_threshold_)
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

    def score_points(
        self, strong_features: Any, weak_proba: AnyArray, *, engine: Engine | None = None
    ) -> PointScores:
        """Score new points with the fitted anchors and thresholds."""
        check_is_fitted(self)
        features, proba = check_rows(strong_features, weak_proba)
        if (features.shape[1], proba.shape[1]) != (self.n_features_in_, self.n_classes_):
            raise InputError(
                f"the detector was fitted on {self.n_features_in_} features and "
                f"{self.n_classes_} classes; got {features.shape[1]} and {proba.shape[1]}"
            )
        if self.smooth_confidence:
            raise InputError(NOT_SMOOTHED)
        confidence = weak_confidence(proba, self.confidence, self.calibration)
        hard = self._hard_only(confidence)
        alignment = self._align(features, ~hard, engine)
        regions = assign_regions(hard, alignment, self.alignment_threshold_)
        return PointScores(regions, confidence, alignment.astype(np.float32))

    def predict(self, strong_features: Any, weak_proba: AnyArray) -> AnyArray:
        """Return the regions (N,) of new points under the fitted thresholds."""
        return self.score_points(strong_features, weak_proba).regions

    def shares(self, by: Any = None) -> pd.DataFrame:
        """Return region shares with intervals, of all points or by source or group.

        All rows come from this one fit and the same replicates, so that they can be compared.

        Parameters
        ----------
        by : array-like (N,), optional
            Source or group of each point; missing values are left out.

        Returns
        -------
        DataFrame
            Sorted by name: name, n, and for `density`, `hard_only`, `easy_only` the share in
            [0, 1] with `_low` and `_high` limits.

        Examples
        --------
        >>> rng = np.random.default_rng(0)
        >>> p = rng.random(60)
        >>> detector = OverlapDetector(random_state=0)
        >>> detector = detector.fit(rng.normal(size=(60, 3)), np.column_stack([p, 1 - p]))
        >>> detector.shares(["web"] * 40 + ["crowd"] * 20)[["name", "n"]].values.tolist()
        [['crowd', 20], ['web', 40]]
        """
        check_is_fitted(self)
        n = len(self.regions_)
        labels = pd.Series(["all"] * n if by is None else list(by))
        if len(labels) != n:
            raise InputError(f"by has {len(labels)} entries; the detector was fitted on {n} points")
        codes, names = pd.factorize(labels, sort=True)
        known = self._bootstrap
        return share_table(
            self.regions_,
            codes,
            list(names),
            known.overall if by is None else known.shares(codes, len(names)),
            defined=not np.isnan(self.density_),
            level=self.level,
        )

    def to_frame(self) -> pd.DataFrame:
        """Return one row per fitted point: region (by name), confidence and alignment."""
        check_is_fitted(self)
        labels = [Region(value).label for value in self.regions_]
        columns = {"confidence": self.confidence_, "alignment": self.alignment_}
        return pd.DataFrame({"region": labels} | columns)

    def to_dict(self) -> dict[str, Any]:
        """Return the density, the regions, the thresholds and the settings, as plain values."""
        row = self.shares().iloc[0]
        counts = np.bincount(self.regions_, minlength=len(Region))
        values: dict[str, Any] = {
            "n_points": len(self.regions_),
            "density": from_columns(row, "density", self.level),
            "regions": {
                region.label: {
                    "n": counts[region],
                    "share": from_columns(row, column, self.level),
                }
                for region, column in SHARES.items()
            },
            "n_anchors": self.n_anchors_,
            "settings": {k: v for k, v in self.get_params().items() if k != "random_state"},
        }
        for name in ("confidence", "alignment"):
            low, high = getattr(self, f"{name}_threshold_interval_")
            estimate = Estimate(getattr(self, f"{name}_threshold_"), low, high, self.level)
            explained = {"explained": getattr(self, f"{name}_explained_")}
            values[f"{name}_threshold"] = estimate.to_dict() | explained
        plain: dict[str, Any] = jsonable(values)
        return plain

    def _hard_only(self, confidence: FloatArray) -> BoolArray:
        """Mark hard-only points; without a threshold those of confidence 0."""
        limit = 0.0 if np.isnan(self.confidence_threshold_) else self.confidence_threshold_
        return confidence <= limit

    def _draw_anchors(
        self, features: FeatureMatrix, candidates: IntArray, rng: np.random.Generator
    ) -> FloatArray:
        """Return hard-only points in random order, so that any prefix is a sample of them."""
        limits = {"auto": MAX_ANCHORS, "full": len(candidates)}
        limit = int(limits.get(str(self.n_anchors), self.n_anchors))
        # The published maximum decides by ties, which rounding to float32 would break.
        dtype = "float64" if self.alignment == "max" else "float32"
        return unit_rows(features, rng.permutation(candidates)[:limit], dtype)

    def _align(
        self, features: FeatureMatrix, wanted: BoolArray, engine: Engine | None
    ) -> FloatArray:
        return align(
            features,
            wanted,
            self.anchors_,
            top_share=self.top_share if self.alignment == "top_share" else None,
            device=self.device,
            dtype=self.anchors_.dtype.name,
            tf32=self.tf32,
            engine=engine,
        )

    def _summarize(self) -> None:
        """Set density and intervals; warn where they are undefined."""
        self.density_ = float(np.mean(self.regions_ == Region.OVERLAP))
        reason = degeneracy(self.regions_, self.confidence_, self.alignment_threshold_)
        if reason:
            warnings.warn(reason, DegenerateDataWarning, stacklevel=3)
            if not (self.regions_ == Region.HARD).all():
                self.density_ = np.nan
        row = self.shares().iloc[0]
        self.density_interval_ = (float(row["density_low"]), float(row["density_high"]))
        for name in ("confidence", "alignment"):
            replicates = getattr(self._bootstrap, f"{name}_thresholds")
            threshold = getattr(self, f"{name}_threshold_")
            interval = percentile_interval(replicates, threshold, self.level)
            setattr(self, f"{name}_threshold_interval_", interval)
