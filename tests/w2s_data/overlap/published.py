"""The published overlap detection, written plainly from the paper with ruptures.

Independent of the package: nothing is imported from it.
"""

from __future__ import annotations

import numpy as np
import ruptures


def binseg_threshold(values: np.ndarray) -> float:
    ordered = np.sort(values)
    k = ruptures.Binseg(model="l2").fit(ordered.reshape(-1, 1)).predict(n_bkps=1)[0]
    return ordered[k]


def published_regions(strong_features: np.ndarray, weak_proba: np.ndarray) -> np.ndarray:
    """0 hard-only, 1 easy-only, 2 overlap."""
    ranked = np.sort(weak_proba, axis=1)
    confidence = ranked[:, -1] - ranked[:, -2]
    hard = confidence <= binseg_threshold(confidence)
    features = strong_features.astype(np.float64)
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    score = np.abs(unit[~hard] @ unit[hard].T).max(axis=1)
    regions = np.zeros(len(features), dtype=int)
    regions[~hard] = 1 + (score >= binseg_threshold(score))
    return regions
