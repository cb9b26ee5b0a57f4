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
from w2s_data.overlap.inputs import check_alike, check_confidence, check_rows
from w2s_data.overlap.regions import (
    SHARES,
    assign_regions,
    from_columns,
    quantified_table,
    share_table,
)
from w2s_data.utils.intervals import Estimate
from w2s_data.utils.io import jsonable
from w2s_data.utils.typing import AnyArray, BoolArray, FloatArray

NOT_SMOOTHED = "smoothed confidence is defined only on the points of the fit"


class FittedDetector(BaseEstimator):  # type: ignore[misc]
    """Base of `OverlapDetector`: everything that comes after `fit`."""

    def score_points(
        self,
        strong_features: Any,
        weak_proba: AnyArray | None = None,
        *,
        confidence: AnyArray | None = None,
        engine: Engine | None = None,
    ) -> PointScores:
        """Score new points with the fitted anchors and thresholds, from what `fit` was given."""
        check_is_fitted(self)
        features, proba, confidence = self._rows(strong_features, weak_proba, confidence)
        n_classes = 0 if proba is None else proba.shape[1]
        check_alike(features, n_classes, self.n_features_in_, self.n_classes_)
        if self.smooth_confidence:
            raise InputError(NOT_SMOOTHED)
        if proba is not None and self.types_ is not None and self.regions_by_ == "mixture":
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
        >>> from w2s_data import OverlapDetector
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
            shares = self.types_.shares(None if by is None else codes, len(names), self.level)
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
        row = self.shares().iloc[0]
        counts = np.bincount(self.regions_, minlength=len(Region))
        settings = self.get_params()
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
            "quantified_by": self.quantified_by_,
            "regions_by": self.regions_by_,
            "objection": self.objection_,
            "range": self.density_range_,
            "mixture": _mixture(self),
            "n_anchors": self.n_anchors_,
            "precision": self.precision_,
            "settings": {name: value for name, value in settings.items() if name != "random_state"},
        }
        for name in ("confidence", "alignment"):
            low, high = getattr(self, f"{name}_threshold_interval_")
            threshold = getattr(self, f"{name}_threshold_")
            explained = {"explained": getattr(self, f"{name}_explained_")}
            estimate = Estimate(threshold, low, high, self.level)
            values[f"{name}_threshold"] = estimate.to_dict() | explained
        plain: dict[str, Any] = jsonable(values)
        return plain

    def _rows(
        self, strong_features: Any, weak_proba: AnyArray | None, confidence: AnyArray | None
    ) -> tuple[FeatureMatrix, FloatArray | None, FloatArray]:
        """Return checked features, probabilities if they are given, and confidence (N,)."""
        if (weak_proba is None) == (confidence is None):
            raise InputError("give either weak_proba, or confidence where labels are values")
        if weak_proba is None:
            if self.quantify == "mixture":
                raise InputError("confidence requires quantify='count': types have classes")
            return check_confidence(strong_features, confidence)
        features, proba = check_rows(strong_features, weak_proba)
        return features, proba, weak_confidence(proba, self.confidence, self.calibration)

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
            precision=self.precision_,
            engine=engine,
        )


def _mixture(detector: FittedDetector) -> dict[str, Any] | None:
    """Return what was fitted, and how far it is to be trusted; None without a mixture."""
    model = detector.types_
    if model is None:
        return None
    return {
        "kind": model.kind,
        "directions": [member.n_directions for member in model.members],
        "agreement": model.agreement,
        "less_confident": model.less_confident,
        "density": model.density(detector.level),
    }
