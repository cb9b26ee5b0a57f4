r"""How closely group and label go together: Cramér's V and normalised mutual information.

Both are estimated from the table of counts of G groups and C classes, and both are corrected for
what independent columns of the same size would show: \chi^2/n loses (G-1)(C-1)/(n-1) (Bergsma, *A
bias-correction for Cramér's V and Tschuprow's T*, 2013), the mutual information (G-1)(C-1)/(2n)
(Miller and Madow). Intervals come from tables drawn from the observed one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from w2s_data.utils.intervals import Estimate, percentile_interval
from w2s_data.utils.typing import FloatArray, IntArray

N_RESAMPLES = 1000  # the 2.5 % limits then rest on 25 tables
LEAST_ROWS = 10  # from fewer rows the corrections are as large as the measures


@dataclass(frozen=True)
class Association:
    """Association in one set of rows: estimates in [0, 1], NaN for a `reason` where undefined."""

    n: int
    cramers_v: Estimate
    nmi: Estimate
    replicates: FloatArray  # of V, for differences
    reason: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return one row of `GroupAnalyzer.association_`, but for the rows that it is about."""
        measures = self.cramers_v.columns("cramers_v") | self.nmi.columns("nmi")
        return {"n": self.n, **measures, "reason": self.reason}


def associate(
    groups: IntArray, labels: IntArray, level: float, rng: np.random.Generator
) -> Association:
    """Measure the association of groups with labels (codes >= 0) of the same rows."""
    from scipy.stats.contingency import crosstab

    n = len(groups)
    table = np.asarray(crosstab(groups, labels).count)
    for names, count in (("group", table.shape[0]), ("class", table.shape[1])):
        if n and count < 2:
            return _undefined(n, f"all {n} rows are of one {names}", level)
    if n < LEAST_ROWS:
        return _undefined(n, f"{n} rows are too few: {LEAST_ROWS} are needed", level)
    values = _measures(table[None], corrections=1)[:, 0]
    drawn = rng.multinomial(n, (table / n).ravel(), size=N_RESAMPLES)
    # A drawn table shows the excess of the observed one and its own: both are subtracted.
    replicates = _measures(drawn.reshape(-1, *table.shape), corrections=2)
    v, nmi = (
        Estimate(float(value), *percentile_interval(resampled, float(value), level), level)
        for value, resampled in zip(values, replicates, strict=True)
    )
    return Association(n, v, nmi, replicates[0])


def _undefined(n: int, reason: str, level: float) -> Association:
    nothing = Estimate(np.nan, level=level)
    return Association(n, nothing, nothing, np.full(N_RESAMPLES, np.nan), reason)


def _measures(tables: IntArray, corrections: int) -> FloatArray:
    """Compute V and normalised mutual information (2, B) of tables (B, G, C)."""
    from scipy.special import xlogy

    counts = tables.astype(np.float64)
    n = counts.sum(axis=(1, 2))
    rows, columns = counts.sum(axis=2), counts.sum(axis=1)
    expected = rows[:, :, None] * columns[:, None, :] / n[:, None, None]
    # Drawn tables may lack a group or a class, whose expected counts are then 0.
    with np.errstate(divide="ignore", invalid="ignore"):
        chi2 = np.where(expected > 0, (counts - expected) ** 2 / expected, 0).sum(axis=(1, 2))
        shown, classes = (rows > 0).sum(axis=1), (columns > 0).sum(axis=1)
        free = (shown - 1) * (classes - 1)
        phi2 = np.maximum(0, chi2 / n - corrections * free / (n - 1))
        # The largest possible value, less its own correction.
        fewest = np.minimum(
            shown - (shown - 1) ** 2 / (n - 1), classes - (classes - 1) ** 2 / (n - 1)
        )
        v = np.sqrt(np.minimum(1, phi2 / (fewest - 1)))
        entropies = [-xlogy(c / n[:, None], c / n[:, None]).sum(axis=1) for c in (rows, columns)]
        joint = -xlogy(counts / n[:, None, None], counts / n[:, None, None]).sum(axis=(1, 2))
        shared = np.maximum(0, entropies[0] + entropies[1] - joint - corrections * free / (2 * n))
        nmi = np.minimum(1, shared / ((entropies[0] + entropies[1]) / 2))
    return np.stack([v, nmi])
