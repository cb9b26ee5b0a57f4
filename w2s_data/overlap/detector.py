r"""Overlap density: the share of points that carry both an easy and a hard pattern.

Two thresholds part the points into three regions. A point whose weak confidence is low is
hard-only. Among the rest, a point whose strong features align with the hard-only points is
overlap, the others are easy-only. On overlap points the weak label is right *and* the hard
pattern is visible, so that is where the strong student learns it.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Sequence
from typing import Any, Literal, Self

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from w2s_data.compute.base import Engine
from w2s_data.data.regions import PointScores, Region
from w2s_data.errors import DegenerateDataWarning, FeatureError, InputError
from w2s_data.features.matrix import FeatureMatrix, as_feature_matrix
from w2s_data.overlap.alignment import align, align_blocks, unit_rows
from w2s_data.overlap.bootstrap import ThresholdBootstrap
from w2s_data.overlap.changepoint import (
    NO_CHANGE_POINT,
    ChangePoint,
    binseg_change_point,
    sorted_change_point,
)
from w2s_data.overlap.confidence import smooth_confidence, weak_confidence
from w2s_data.utils.intervals import percentile_interval, share_interval
from w2s_data.utils.typing import AnyArray, BoolArray, FloatArray, IntArray, RandomState
from w2s_data.utils.validation import check_generator, check_proba

MAX_ANCHORS = 4096
NOT_SMOOTHED = "smoothed confidence is defined only on the points of the fit"
REFERENCE_MINIMUM = 7  # fewer values leave the published grid empty


class OverlapDetector(BaseEstimator):  # type: ignore[misc]
    r"""Part points into hard-only, easy-only and overlap; estimate the overlap density.

    With weak confidence c_i, strong features x_i, and H the hard-only points {c_i <= t_c},

    .. math:: a_i = \mathrm{mean\ of\ the\ largest\ 20\,\%\ of\ } |\cos(x_i, x_h)|,\ h \in H

    and a point outside H is overlap iff a_i >= t_a. Both thresholds are exact l2 change points of
    the sorted values. The mean of a share of the similarities is a quantity of their distribution,
    so a sample of 4,096 anchors from H stands for all of it and the cost is linear in N.

    Parameters
    ----------
    threshold : {"changepoint", "binseg"}
        Exact change point, or the coarse grid of the published code.
    alignment : {"top_share", "max"}
        Mean of the largest `top_share` of the cosines, or their maximum (published).
    calibration : float or None
        Temperature T > 0 applied to the weak probabilities first (p^(1/T), renormalised): above
        1 it spreads out a saturated weak model. None leaves them as they are.
    n_anchors : "auto", "full" or int
        Hard-only points that serve as anchors. "auto" takes all of them up to 4,096 and a random
        sample of 4,096 beyond, "full" all of them, a number at most that many.
    confidence : {"margin", "top1"}
        Top-1 minus top-2 probability, or rescaled top-1, (C p_max - 1) / (C - 1). They agree for
        two classes; for more they rank right weak labels equally well on average.
    top_share : float
        Share of the cosines that is averaged, in (0, 1].
    smooth_confidence : bool
        Average each confidence with those of its 20 nearest neighbours in strong features
        (z-scores, rescaled to [0, 1]). Ranks sources better; not meant for filtering.
    n_resamples : int
        Bootstrap replicates behind the intervals; 0 gives NaN intervals.
    level : float
        Coverage of the percentile intervals.
    device : str
        "auto" takes CUDA, then MPS, then the CPU.
    tf32 : bool
        Multiply in TF32 on CUDA: several times faster, alignments within about 1e-3 instead of
        1e-6 of the CPU's. The published alignment is always in float64.
    random_state : int, Generator or None
        Draws anchors and replicates.

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
    confidence_threshold_interval_, alignment_threshold_interval_ : (float, float)
    confidence_explained_, alignment_explained_ : float
        Share of the variance that the change point explains, in [0, 1]. Evenly spread values
        give 0.75, so a change point that explains less says little.
    density_ : float
        Overlap points / N, in [0, 1]; NaN when no hard-only point or no alignment change point
        exists (a warning says which).
    density_interval_ : (float, float)
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
        """The published algorithm, bit for bit in its partition.

        Margin confidence, change points on every fifth index, and the maximal absolute cosine
        to all hard-only points, in float64. Quadratic in N; kept for parity with the paper.

        Examples
        --------
        >>> OverlapDetector.reference(n_resamples=0)
        OverlapDetector(alignment='max', n_anchors='full', n_resamples=0,
                        threshold='binseg')
        """
        published = {
            "threshold": "binseg",
            "alignment": "max",
            "confidence": "margin",
            "n_anchors": "full",
        }
        return cls(**{**published, **options})

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
            Rows that are fitted: thresholds, intervals and all learned attributes but `scores_`
            are of them alone. The other rows are scored by these thresholds in the same pass. By
            default all rows.
        engine : Engine, optional
            Aligns blocks of points; by default in this process.

        Raises
        ------
        FeatureError
            NaN, infinite or zero rows (named).
        ProbabilityError
            Rows that are not distributions (named).
        InputError
            Row counts that disagree, or a parameter out of range.
        """
        self._check_parameters()
        features, proba = _check_pair(strong_features, weak_proba)
        fitted = _selected(pool, len(proba))
        if self.smooth_confidence and len(fitted) < len(proba):
            raise InputError(NOT_SMOOTHED)
        self._seen: tuple[FloatArray, FloatArray] | None = None  # forget what was streamed
        rng = check_generator(self.random_state)
        # Anchors and replicates draw from streams of their own, so that neither depends on how
        # many numbers the other takes.
        anchor_rng = np.random.default_rng(rng.integers(2**63))
        seed = int(rng.integers(2**63))

        self.n_features_in_, self.n_classes_ = features.shape[1], proba.shape[1]
        confidence = self._measure_confidence(proba)
        if self.smooth_confidence:
            confidence = smooth_confidence(confidence, features)
        self.confidence_ = confidence[fitted]
        split = self._split(np.sort(self.confidence_))
        self.confidence_threshold_ = split.upper if self._published else split.lower
        self.confidence_explained_ = split.explained
        hard = self._hard_only(confidence)
        self._bootstrap = ThresholdBootstrap(
            self.confidence_, self._published, self.n_resamples, seed
        )
        self.anchors_ = self._choose_anchors(features, fitted[hard[fitted]], anchor_rng)
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
        split = self._split(np.sort(known[np.isfinite(known)]))
        self.alignment_threshold_, self.alignment_explained_ = split.upper, split.explained
        regions = self._assign(hard, alignment)
        self.scores_ = PointScores(regions, confidence, alignment.astype(np.float32))
        self.regions_, self.alignment_ = regions[fitted], self.scores_.alignment[fitted]
        self._summarize()
        return self

    def partial_fit(self, strong_features: Any, weak_proba: AnyArray) -> Self:
        """Add points and part everything seen so far anew.

        Thresholds and earlier regions are revised with every call: with an int seed the result
        equals one `fit` on all points. Features are kept, and a call costs as much as that fit.
        """
        features, proba = _check_pair(strong_features, weak_proba)
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
        """Measure new points with the fitted anchors and part them by the fitted thresholds."""
        check_is_fitted(self)
        features, proba = _check_pair(strong_features, weak_proba)
        if (features.shape[1], proba.shape[1]) != (self.n_features_in_, self.n_classes_):
            raise InputError(
                f"the detector was fitted on {self.n_features_in_} features and "
                f"{self.n_classes_} classes; got {features.shape[1]} and {proba.shape[1]}"
            )
        if self.smooth_confidence:
            raise InputError(NOT_SMOOTHED)
        confidence = self._measure_confidence(proba)
        hard = self._hard_only(confidence)
        alignment = self._align(features, ~hard, engine)
        regions = self._assign(hard, alignment)
        return PointScores(regions, confidence, alignment.astype(np.float32))

    def predict(self, strong_features: Any, weak_proba: AnyArray) -> AnyArray:
        """Regions (N,) of new points under the fitted thresholds."""
        return self.score_points(strong_features, weak_proba).regions

    def shares(self, by: Sequence[object] | AnyArray | None = None) -> pd.DataFrame:
        """Region shares with intervals, of all points or by source or group.

        All rows come from this one fit and the same replicates, so that they can be compared.

        Parameters
        ----------
        by : array (N,), optional
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
        inside = codes >= 0
        cells = np.bincount(
            3 * codes[inside] + self.regions_[inside], minlength=3 * len(names)
        ).reshape(-1, 3)
        total = cells.sum(axis=1)
        share = cells / total[:, None]
        if np.isnan(self.density_):
            share[:, Region.EASY] = share[:, Region.OVERLAP] = np.nan
        bootstrap = self._bootstrap
        replicates = bootstrap.overall if by is None else bootstrap.shares(codes, len(names))
        table = {"name": list(names), "n": total}
        columns = (
            ("density", Region.OVERLAP),
            ("hard_only", Region.HARD),
            ("easy_only", Region.EASY),
        )
        for column, region in columns:
            limits = [
                share_interval(replicates[:, g, region], share[g, region], total[g], self.level)
                for g in range(len(names))
            ]
            table[column] = share[:, region]
            table[f"{column}_low"] = [low for low, _ in limits]
            table[f"{column}_high"] = [high for _, high in limits]
        return pd.DataFrame(table)

    @property
    def _published(self) -> bool:
        return self.threshold == "binseg"

    def _check_parameters(self) -> None:
        allowed = {
            "threshold": ("changepoint", "binseg"),
            "alignment": ("top_share", "max"),
            "confidence": ("margin", "top1"),
        }
        for name, valid in allowed.items():
            if getattr(self, name) not in valid:
                raise InputError(f"{name} must be one of {valid}; got {getattr(self, name)!r}")
        if self.n_anchors not in ("auto", "full") and not (
            isinstance(self.n_anchors, int) and self.n_anchors >= 1
        ):
            raise InputError(
                f"n_anchors must be 'auto', 'full' or a number >= 1; got {self.n_anchors!r}"
            )
        if not 0 < self.top_share <= 1:
            raise InputError(f"top_share must be in (0, 1]; got {self.top_share!r}")
        if not 0 < self.level < 1:
            raise InputError(f"level must be in (0, 1); got {self.level!r}")
        if self.calibration is not None and not self.calibration > 0:
            raise InputError(f"calibration must be a temperature > 0; got {self.calibration!r}")
        if self.n_resamples < 0:
            raise InputError(f"n_resamples must be >= 0; got {self.n_resamples!r}")

    def _split(self, ordered: FloatArray) -> ChangePoint:
        """Change point of ascending values, by this detector's rule."""
        if not self._published:
            return sorted_change_point(ordered)
        if len(ordered) < REFERENCE_MINIMUM or ordered[0] == ordered[-1]:
            return NO_CHANGE_POINT
        return binseg_change_point(ordered)

    def _measure_confidence(self, proba: FloatArray) -> FloatArray:
        return weak_confidence(proba, self.confidence, self.calibration)

    def _hard_only(self, confidence: FloatArray) -> BoolArray:
        """Without a threshold a point is hard-only iff the weak model knows nothing about it."""
        limit = 0.0 if np.isnan(self.confidence_threshold_) else self.confidence_threshold_
        return confidence <= limit

    def _choose_anchors(
        self, features: FeatureMatrix, candidates: IntArray, rng: np.random.Generator
    ) -> FloatArray:
        """Hard-only points in random order, so that any prefix is a sample of them."""
        limits = {"auto": MAX_ANCHORS, "full": len(candidates)}
        limit = limits.get(str(self.n_anchors), self.n_anchors)
        chosen = rng.permutation(candidates)[: int(limit)]
        dtype = "float64" if self.alignment == "max" else "float32"
        return unit_rows(features, chosen, dtype)

    def _align(
        self, features: FeatureMatrix, wanted: BoolArray, engine: Engine | None
    ) -> FloatArray:
        measure = align
        if engine is not None and engine.name != "local":
            measure = functools.partial(align_blocks, engine)
        return measure(
            features,
            wanted,
            self.anchors_,
            top_share=self.top_share if self.alignment == "top_share" else None,
            device=self.device,
            dtype="float64" if self.alignment == "max" else "float32",
            tf32=self.tf32,
        )

    def _assign(self, hard: BoolArray, alignment: FloatArray) -> AnyArray:
        regions = np.full(len(hard), Region.EASY, dtype=np.int8)
        regions[hard] = Region.HARD
        regions[~hard & (alignment >= self.alignment_threshold_)] = Region.OVERLAP
        return regions

    def _summarize(self) -> None:
        """Density, intervals, and a warning for everything that is undefined."""
        hard = self.regions_ == Region.HARD
        self.density_ = float(np.mean(self.regions_ == Region.OVERLAP))
        trouble = self._trouble(hard)
        if trouble:
            warnings.warn(trouble, DegenerateDataWarning, stacklevel=3)
            if not hard.all():
                self.density_ = np.nan
        row = self.shares().iloc[0]
        self.density_interval_ = (float(row["density_low"]), float(row["density_high"]))
        interval = functools.partial(percentile_interval, level=self.level)
        self.confidence_threshold_interval_ = interval(
            self._bootstrap.confidence_thresholds, self.confidence_threshold_
        )
        self.alignment_threshold_interval_ = interval(
            self._bootstrap.alignment_thresholds, self.alignment_threshold_
        )

    def _trouble(self, hard: BoolArray) -> str | None:
        if hard.all():
            return (
                "every point is hard-only (the weak model is equally unsure of all): "
                "the overlap density is 0"
            )
        if not hard.any():
            value = self.confidence_[0]
            return (
                f"the weak confidence is constant ({value:.3g}), so no hard-only points can be "
                "told apart: the density is undefined (NaN) and all points count as easy-only; it "
                "needs the weak model's probabilities, or how sure it is of each point"
            )
        if np.isnan(self.alignment_threshold_):
            return (
                f"the {int((~hard).sum())} points that are not hard-only have no alignment change "
                "point: the overlap density is undefined (NaN) and they count as easy-only"
            )
        return None


def _selected(pool: AnyArray | None, n: int) -> IntArray:
    """Row numbers of the pool, given as a mask, as numbers or not at all."""
    if pool is None:
        return np.arange(n)
    rows = np.asarray(pool)
    if rows.dtype == bool and rows.shape == (n,):
        rows = np.flatnonzero(rows)
    whole = rows.ndim == 1 and np.issubdtype(rows.dtype, np.integer)
    if not whole or not len(rows) or rows.min() < 0 or rows.max() >= n:
        raise InputError(
            f"pool must be a mask of the {n} rows or row numbers from 0 to {n - 1}, and select "
            f"at least one row; got {rows.dtype} of shape {np.shape(pool)}"
        )
    return rows


def _check_pair(strong_features: Any, weak_proba: AnyArray) -> tuple[FeatureMatrix, FloatArray]:
    features = as_feature_matrix(strong_features, "strong_features")
    proba = np.asarray(weak_proba)
    if proba.ndim == 3:
        for m in range(proba.shape[1]):
            check_proba(proba[:, m], f"weak_proba of weak model {m}")
        proba = proba.mean(axis=1)
    proba = check_proba(proba)
    if features.shape[0] != len(proba):
        raise InputError(
            f"row counts disagree: strong_features have {features.shape[0]}, "
            f"weak_proba has {len(proba)}"
        )
    if len(proba) == 0:
        raise FeatureError("strong_features have no rows")
    return features, proba
