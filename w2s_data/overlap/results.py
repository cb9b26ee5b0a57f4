"""Answers of a fitted overlap detector: scores of new points, shares, tables."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from w2s_data.compute.base import Engine
from w2s_data.data.regions import PointScores, Region
from w2s_data.errors import InputError
from w2s_data.features.matrix import FeatureMatrix
from w2s_data.overlap.alignment import align
from w2s_data.overlap.confidence import weak_confidence
from w2s_data.overlap.description import describe
from w2s_data.overlap.inputs import check_alike, check_rows
from w2s_data.overlap.regions import assign_regions, quantified_table, share_table
from w2s_data.utils.typing import AnyArray, BoolArray, FloatArray

NOT_SMOOTHED = "smoothed confidence is defined only on the points of the fit"


class FittedDetector(BaseEstimator):  # type: ignore[misc]
    """Base of `OverlapDetector`: everything that comes after `fit`."""

    def score_points(
        self, strong_features: Any, weak_proba: AnyArray, *, engine: Engine | None = None
    ) -> PointScores:
        """Score new points with the fitted anchors and thresholds."""
        check_is_fitted(self)
        features, proba = check_rows(strong_features, weak_proba)
        check_alike(features, proba, self.n_features_in_, self.n_classes_)
        if self.smooth_confidence:
            raise InputError(NOT_SMOOTHED)
        confidence = weak_confidence(proba, self.confidence, self.calibration)
        if self.types_ is not None and self.regions_by_ == "mixture":
            regions = self.types_.regions_of(features, proba, confidence)
            alignment = self._align(features, regions != Region.HARD, engine)
        else:
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
        if self.types_ is not None and self.quantified_by_ == "mixture":
            shares = self.types_.shares(codes, len(names), self.level)
            return quantified_table(shares, codes, list(names))
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
        return describe(self)

    def _hard_only(self, confidence: FloatArray) -> BoolArray:
        """Mark hard-only points; without a threshold those of confidence 0."""
        limit = 0.0 if np.isnan(self.confidence_threshold_) else self.confidence_threshold_
        return confidence <= limit

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
