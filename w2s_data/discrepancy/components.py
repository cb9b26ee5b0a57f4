"""Principal components of strong or weak features, from their second moments alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import pandas as pd

from w2s_data.discrepancy.dimensions import (
    correlation_dimension,
    effective_dimensions,
    marchenko_pastur_dimension,
    participation_ratio,
    variance_dimension,
)
from w2s_data.discrepancy.moments import Moments
from w2s_data.errors import FeatureError, InputError
from w2s_data.utils.linalg import eigh
from w2s_data.utils.typing import FloatArray

# Relative variance of rounding to float32, in which features are stored: a column or direction
# that varies less than this is constant.
ROUNDING = float(np.finfo(np.float32).eps) ** 2


@dataclass(frozen=True)
class PrincipalComponents:
    """Variances (D,), descending, and unit columns (D, D) of the components of n rows.

    `standard` holds the eigenvalues (r,) and vectors (D, r) of the correlation matrix that rounding
    cannot explain.
    """

    n: int
    spectrum: FloatArray
    components: FloatArray
    standard: tuple[FloatArray, FloatArray]

    @classmethod
    def of(cls, scatter: FloatArray, mean: FloatArray, n: int, name: str) -> Self:
        """Decompose centred sums of products (D, D)."""
        covariance = scatter / (n - 1)
        variance = np.clip(np.diag(covariance), 0.0, None)
        rounding = ROUNDING * (variance + mean**2)
        varies = variance > rounding
        if not varies.any():
            raise FeatureError(f"{name} features are constant: every column holds a single value")
        inverse = np.divide(1.0, np.sqrt(variance), out=np.zeros_like(variance), where=varies)
        values, vectors = eigh(covariance * np.outer(inverse, inverse))
        # Variance that rounding alone puts into each direction, and that of float64 sums. The
        # rank is counted on the correlation matrix, so that it does not depend on units.
        share = np.divide(rounding, variance, out=np.zeros_like(variance), where=varies)
        noise = np.maximum(share @ vectors**2, np.finfo(float).eps * values[-1])
        kept = values > len(values) * noise
        spectrum, components = eigh(covariance)
        return cls(
            n,
            np.clip(spectrum[::-1], 0.0, None),
            components[:, ::-1],
            (values[kept], inverse[:, None] * vectors[:, kept]),
        )

    @property
    def rank(self) -> int:
        """Number of columns that are neither constant nor collinear."""
        return min(len(self.standard[0]), self.n - 1)  # centring takes one row

    @property
    def noise_free(self) -> int:
        """Number of components above the Marchenko-Pastur edge."""
        return min(marchenko_pastur_dimension(self.spectrum, self.n - 1), self.rank)

    def dimension(self, components: Any, name: str) -> int:
        """Resolve a setting like `strong_components` to a number of components."""
        if components is None:
            return self.rank
        if isinstance(components, str) and components == "mp":
            if not self.noise_free:
                raise FeatureError(
                    f"no component of the {name} features is above the noise; "
                    f"pass {name}_components as a number"
                )
            return self.noise_free
        whole = isinstance(components, int | np.integer) and not isinstance(components, bool)
        if whole and 1 <= components <= self.rank:
            return int(components)
        if isinstance(components, float) and 0 < components < 1:
            return min(variance_dimension(self.spectrum, components), self.rank)
        raise InputError(
            f"{name}_components must be None, 'mp', a share of the variance in (0, 1) or a number "
            f"from 1 to the rank of the {name} features, {self.rank}; got {components!r}"
        )

    def whitening(self, dimension: int) -> FloatArray:
        """Return the map (D, d) of the leading components to unit variance; d may be the rank."""
        if dimension == self.rank:  # then d_sw is free of the scale of each column
            values, vectors = self.standard
            return np.asarray(vectors[:, -dimension:] / np.sqrt(values[-dimension:]))
        return np.asarray(self.components[:, :dimension] / np.sqrt(self.spectrum[:dimension]))

    def criteria(self, ridge: float) -> dict[str, float]:
        """Return the dimension by each criterion; `ridge` in units of the mean eigenvalue."""
        df1, df2 = effective_dimensions(self.spectrum, ridge * float(self.spectrum.mean()))
        return {
            "rank": self.rank,
            "marchenko_pastur": self.noise_free,
            "variance_95": min(variance_dimension(self.spectrum, 0.95), self.rank),
            "variance_99": min(variance_dimension(self.spectrum, 0.99), self.rank),
            "df1": df1,
            "df2": df2,
            "participation_ratio": participation_ratio(self.spectrum),
        }


def principal_components(
    moments: Moments, origin: FloatArray
) -> tuple[PrincipalComponents, PrincipalComponents]:
    """Decompose moments about an origin into the components of strong and of weak features."""
    d, scatter = moments.d_s, moments.scatter
    if moments.n < 2:
        raise FeatureError(f"two rows or more are needed; got {moments.n}")
    mean = origin + moments.total / moments.n
    return (
        PrincipalComponents.of(scatter[:d, :d], mean[:d], moments.n, "strong"),
        PrincipalComponents.of(scatter[d:, d:], mean[d:], moments.n, "weak"),
    )


def component_correlations(
    strong: PrincipalComponents, weak: PrincipalComponents, moments: Moments
) -> FloatArray:
    """Correlate strong with weak components, (D_s, D_w); 0 for those without variance."""
    # Any leading block holds all that a truncation to these components needs.
    d = moments.d_s
    cross = strong.components.T @ (moments.scatter[:d, d:] / (moments.n - 1)) @ weak.components
    for side, axis in ((strong, 0), (weak, 1)):
        # Columns of next to no variance count in the rank, which is free of their scale.
        varies = (np.arange(len(side.spectrum)) < side.rank) & (side.spectrum > 0)
        inverse = np.where(varies, 1 / np.sqrt(np.where(varies, side.spectrum, 1.0)), 0.0)
        cross = cross * np.expand_dims(inverse, 1 - axis)
    return np.asarray(cross)


def sensitivity(
    strong: PrincipalComponents,
    weak: PrincipalComponents,
    moments: Moments,
    *,
    used: tuple[float, float, float],
    ridge: float,
) -> pd.DataFrame:
    """Tabulate both dimensions and d_sw under each criterion, the used ones first."""
    columns = {"strong": strong.criteria(ridge), "weak": weak.criteria(ridge)}
    table = pd.DataFrame(columns, dtype=float)
    cross = component_correlations(strong, weak, moments)
    pairs = zip(table["strong"], table["weak"], strict=True)
    table["d_sw"] = [_truncated(cross, float(s), float(w), moments.n) for s, w in pairs]
    # The first row is of the chosen estimator; the others are closed-form, which needs no folds.
    first = pd.DataFrame([used], index=["used"], columns=table.columns, dtype=float)
    return pd.concat([first, table]).rename_axis("criterion")


def _truncated(cross: FloatArray, strong: float, weak: float, n: int) -> float:
    """Estimate d_sw of leading components from their cross-correlations alone."""
    countable = strong.is_integer() and weak.is_integer()
    if not countable or min(strong, weak) < 1 or strong + weak >= n - 1:
        return np.nan
    shared = np.sum(cross[: int(strong), : int(weak)] ** 2)
    return float(correlation_dimension(shared, n - 1, d_s=strong, d_w=weak))
