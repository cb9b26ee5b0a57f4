"""Gaussian groups whose shifts and similarity are known, behind unknown linear maps."""

from __future__ import annotations

from typing import Any

import numpy as np

from w2s_data import SpuriousAnalyzer

RHO = np.array([0.9, 0.8, 0.6, 0.5, 0.3, 0, 0, 0, 0, 0])
MU_T = np.array([1.5, 0.8, 0.5] + [0.0] * 7)
MU_S = np.array([1, 0.5] + [0.0] * 10 + [0.7, 0, 0])

Data = tuple[Any, Any, Any, Any]


def pilot(seed: int, size: int = 1500, eta_l: float = 0.1, eta_u: float = 0.3) -> Data:
    """Gaussian groups of known shift behind unknown linear maps; exact shares."""
    rng = np.random.default_rng(seed)
    labelled = np.arange(size) < size // 3
    minority = np.zeros(size, dtype=bool)
    for part, eta in ((labelled, eta_l), (~labelled, eta_u)):
        rows = np.flatnonzero(part)
        minority[rows[: round(eta * len(rows))]] = True
    weak, own = rng.normal(size=(size, 10)), rng.normal(size=(size, 15))
    strong = own.copy()
    strong[:, :10] = RHO * weak + np.sqrt(1 - RHO**2) * own[:, :10]
    weak += minority[:, None] * MU_T
    strong += minority[:, None] * MU_S
    weak, strong = weak @ rng.normal(size=(10, 10)) + 3, strong @ rng.normal(size=(15, 15)) - 7
    return strong, weak, np.where(minority, "rural", "urban"), labelled


def fit(analyzer: SpuriousAnalyzer, data: Any) -> SpuriousAnalyzer:
    """Fit on (strong, weak, groups, labelled) and possibly a pool mask."""
    strong, weak, *rest = data
    return analyzer.fit(
        strong, weak, **dict(zip(("groups", "labelled", "pool"), rest, strict=False))
    )
