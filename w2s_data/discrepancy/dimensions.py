"""Intrinsic dimensions and the correlation dimension, estimated from features.

The dimension that matters is the one the probe really uses; the others say how far that choice
could be off. The correlation dimension d_sw is the sum of the squared canonical correlations of
weak and strong features, without the bias that a finite sample adds to it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from w2s_data.discrepancy.theory import plain
from w2s_data.errors import InputError
from w2s_data.utils.typing import FloatArray
from w2s_data.utils.validation import check_parameters, whole

SAME = 1e-6  # relative difference of d_sw and d_w that rounding of float32 features can make


def correlation_dimension(
    shared: ArrayLike, n: ArrayLike, *, d_s: ArrayLike, d_w: ArrayLike
) -> Any:
    """De-bias the sum of squared sample canonical correlations.

    The sample sum S is biased upwards: two unrelated feature spaces share d_w d_s / n dimensions
    by chance. Where every rho is 0 or 1, E S = d + (d_s - d)(d_w - d) / (n - d) exactly; solved
    for d: (n S - d_w d_s) / (n - d_w - d_s + S). Elsewhere its bias is O(1/n), below .09 over
    d 10 to 40 and n 100 to 1000. Unclipped: chance may take it slightly below 0.

    `shared` is S = ||Q_s^T Q_w||_F^2; `n` counts the rows, less one if features were centred, and
    must exceed d_s + d_w.

    >>> correlation_dimension(6.5, n=100, d_s=20, d_w=15)
    4.895104895104895
    """
    shared, n, d_s, d_w = (np.asarray(x, dtype=float) for x in (shared, n, d_s, d_w))
    if not np.all(n > d_s + d_w):
        raise InputError(
            f"the correlation dimension needs more rows than d_s + d_w; got {n} rows for "
            f"{d_s} + {d_w} dimensions"
        )
    # Subtracting d_w d_s / n instead would be right for d = 0 only: at d = 30, n = 100 it is off
    # by 9.
    return plain((n * shared - d_w * d_s) / (n - d_w - d_s + shared))


def clip_shared(d_sw: float, *, d_s: float, d_w: float) -> float:
    """Clip a correlation dimension to [0, min(d_s, d_w)]; d_w where only rounding differs.

    >>> clip_shared(-0.1, d_s=5, d_w=3), clip_shared(2.9999999, d_s=5, d_w=3)
    (0.0, 3.0)
    """
    inside = float(np.clip(d_sw, 0.0, min(d_w, d_s)))
    return float(d_w) if d_w - inside <= SAME * d_w else inside


def effective_dimensions(spectrum: ArrayLike, ridge: float) -> tuple[float, float]:
    """Return degrees of freedom (df1, df2) of a ridge fit; at most the rank.

    df1 = sum e / (e + ridge), df2 = sum (e / (e + ridge))^2 over the eigenvalues e of the
    covariance, the ridge in the same units. The variance of a ridge fit follows df2.

    >>> effective_dimensions([1.0, 1.0, 0.0], ridge=1.0)
    (1.0, 0.5)
    """
    if not ridge > 0:
        raise InputError(f"ridge must be positive; got {ridge!r}")
    shrunk = _spectrum(spectrum)
    shrunk = shrunk / (shrunk + ridge)
    return float(shrunk.sum()), float((shrunk**2).sum())


def participation_ratio(spectrum: ArrayLike) -> float:
    """Return the participation ratio (sum e)^2 / sum e^2, in [1, D].

    The number of equal eigenvalues that are as concentrated as these; 7 to 16 % too low for a
    low-rank signal with a small tail. NaN where all are zero.

    >>> participation_ratio([2.0, 2.0, 0.0])
    2.0
    """
    values = _spectrum(spectrum)
    # By a power of two, which keeps all digits: squares stay within the range of float64.
    values = np.ldexp(values, -np.frexp(values.max())[1])
    square = float((values**2).sum())
    return float(values.sum()) ** 2 / square if square > 0 else np.nan


def variance_dimension(spectrum: ArrayLike, share: float) -> int:
    """Return the fewest principal components that hold a share of the variance, in (0, 1].

    Counts noise where the tail is broad.

    >>> variance_dimension([6.0, 3.0, 1.0], share=0.9)
    2
    """
    if not 0 < share <= 1:
        raise InputError(f"share must lie in (0, 1]; got {share!r}")
    values = np.sort(_spectrum(spectrum))[::-1]
    held = np.cumsum(values)
    # The whole variance is the last sum, but for its rounding.
    return int(np.searchsorted(held, share * held[-1] * (1 - 1e-12))) + 1


def marchenko_pastur_dimension(spectrum: ArrayLike, n: int) -> int:
    """Count the principal components above the largest that isotropic noise would have.

    An eigenvalue counts above s (1 + sqrt(b))^2, b = D / n, the upper edge of the
    Marchenko-Pastur law; the noise level s is the median eigenvalue over the median of that law.
    Right for a low-rank signal in less than half of the dimensions on a flat tail; a tail that
    is not flat is counted in part. `n` counts the rows, less one if features were centred.

    Source: Gavish and Donoho, *The optimal hard threshold for singular values is 4/sqrt(3)*,
    2014 (noise level); Marchenko and Pastur, 1967 (edge).

    >>> features = np.random.default_rng(0).normal(size=(500, 60)) * ([9.0] * 8 + [1.0] * 52)
    >>> marchenko_pastur_dimension(np.linalg.eigvalsh(np.cov(features.T)), n=499)
    8
    """
    check_parameters({"n": n}, {"n": whole(1)})
    values = np.sort(_spectrum(spectrum))[::-1]
    small, large = sorted((len(values), n))
    values = values[:small] * (n / large)  # the law of the smaller of the two Gram matrices
    ratio = small / large
    # The median is noise as long as the signal takes less than half of the dimensions.
    noise = float(np.median(values)) / _marchenko_pastur_median(ratio)
    # Without noise the edge is 0, and rounding alone would pass it.
    edge = max(noise * (1 + np.sqrt(ratio)) ** 2, values[0] * np.finfo(float).eps * len(values))
    return int(np.sum(values > edge))


def _marchenko_pastur_median(ratio: float) -> float:
    # The density over the angle is smooth up to its ends, where that over the eigenvalue is not,
    # so that sums over midpoints converge fast.
    angle = (np.arange(4096) + 0.5) * np.pi / 4096
    position = 1 + ratio - 2 * np.sqrt(ratio) * np.cos(angle)
    density = np.cumsum(np.sin(angle) ** 2 / position)
    return float(position[np.searchsorted(density, density[-1] / 2)])


def _spectrum(spectrum: ArrayLike) -> FloatArray:
    values = np.asarray(spectrum, dtype=float)
    if values.ndim != 1 or not len(values) or not np.isfinite(values).all():
        raise InputError("a spectrum is a non-empty list of finite eigenvalues")
    return np.asarray(np.clip(values, 0.0, None))  # rounding makes zero eigenvalues negative
