"""A fitted detector as plain values, for `overlap.json`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from w2s_data.data.regions import Region
from w2s_data.overlap.regions import SHARES, from_columns
from w2s_data.utils.intervals import Estimate
from w2s_data.utils.io import jsonable

if TYPE_CHECKING:
    from w2s_data.overlap.detector import OverlapDetector


def describe(detector: OverlapDetector) -> dict[str, Any]:
    """Return the density, the regions, the thresholds, the mixture and the settings."""
    row = detector.shares().iloc[0]
    counts = np.bincount(detector.regions_, minlength=len(Region))
    settings = detector.get_params()
    values: dict[str, Any] = {
        "n_points": len(detector.regions_),
        "density": from_columns(row, "density", detector.level),
        "regions": {
            region.label: {
                "n": counts[region],
                "share": from_columns(row, column, detector.level),
            }
            for region, column in SHARES.items()
        },
        "quantified_by": detector.quantified_by_,
        "regions_by": detector.regions_by_,
        "objection": detector.objection_,
        "range": detector.density_range_,
        "mixture": _mixture(detector),
        "n_anchors": detector.n_anchors_,
        "settings": {name: value for name, value in settings.items() if name != "random_state"},
    }
    for name in ("confidence", "alignment"):
        low, high = getattr(detector, f"{name}_threshold_interval_")
        threshold = getattr(detector, f"{name}_threshold_")
        explained = {"explained": getattr(detector, f"{name}_explained_")}
        estimate = Estimate(threshold, low, high, detector.level)
        values[f"{name}_threshold"] = estimate.to_dict() | explained
    plain: dict[str, Any] = jsonable(values)
    return plain


def _mixture(detector: OverlapDetector) -> dict[str, Any] | None:
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
