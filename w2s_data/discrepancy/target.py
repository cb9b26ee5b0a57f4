"""Parts of a target that features miss, as inputs of the exact risks, from gold rows."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from w2s_data.discrepancy.dimensions import clip_shared, correlation_dimension
from w2s_data.discrepancy.fits import RANK, set_moments
from w2s_data.discrepancy.ridgeless import ridgeless_risks
from w2s_data.discrepancy.theory import Risks
from w2s_data.errors import FeatureError, InputError
from w2s_data.features.matrix import as_feature_matrix
from w2s_data.utils.linalg import eigh
from w2s_data.utils.typing import FloatArray

SHARED = 1e-9  # a direction of both sides is one direction, but for the rounding of float32


@dataclass(frozen=True)
class TargetParts:
    """Variances of a target's parts, in its squared unit, and dimensions of the features.

    `noise` is what both features together cannot tell, so that no learner here can either; all
    others are as in `theory.risks` and `ridgeless_risks`.
    """

    signal: float
    noise: float
    rho_w: float
    rho_s: float
    c2: float
    rho_ws: float
    d_s: int
    d_w: int
    d_sw: float

    def risks(self, n: ArrayLike, N: ArrayLike, *, intercept: bool = True) -> Risks:
        """Return the expected squared errors to the noiseless target, exact for Gaussian features.

        >>> parts = TargetParts(1.0, 1.0, 0.0, 0.0, 0.0, 0.0, 20, 15, 5.0)
        >>> parts.risks(60, 200, intercept=False).teacher
        0.3409090909090909
        """
        return ridgeless_risks(n, N, **asdict(self), intercept=intercept)


def target_parts(strong_features: Any, weak_features: Any, targets: ArrayLike) -> TargetParts:
    r"""Estimate what linear functions of weak and of strong features miss of a target.

    With hat matrices P_w, P_s of centred features, residuals :math:`e = y - P_w y` and
    S = tr P_s P_w, each is a residual sum of squares over what noise alone would leave:

    .. math::
        s + \rho_w &= |e|^2 / (n - 1 - d_w) \\
        s + \rho_w - c_2 &= |(I - P_s) e|^2 / (n - 1 - d_w - d_s + S) \\
        \rho_{ws} &= [|(I - P_s) P_w y|^2 - (s + \rho_w)(d_w - S)] / (n - 1 - d_s)

    and d_sw is the de-biased S (`dimensions.correlation_dimension`). Estimates that are variances
    are cut at 0.

    Parameters
    ----------
    strong_features, weak_features : array (n, D_s), (n, D_w), memory map or FeatureStore
        Rows with a gold value, more than their ranks together; all columns count, so reduce
        features first where these are many.
    targets : float array (n,)

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> strong = rng.normal(size=(4000, 6))
    >>> weak = np.c_[strong[:, :2], rng.normal(size=(4000, 2))]
    >>> y = weak @ [1, 0, 1, 0] + strong[:, 5] + rng.normal(size=4000)
    >>> parts = target_parts(strong, weak, y)  # each part has variance 1
    >>> [round(x, 1) for x in (parts.noise, parts.rho_w, parts.rho_s, parts.c2, parts.rho_ws)]
    [1.0, 1.0, 1.0, 1.0, 1.0]
    """
    strong = as_feature_matrix(strong_features, "strong features")
    weak = as_feature_matrix(weak_features, "weak features")
    y = np.asarray(targets, dtype=np.float64)
    if y.shape != (strong.shape[0],) or not np.isfinite(y).all():
        raise InputError("targets hold one finite value for each row")
    (moments,) = set_moments(strong, weak, y, [np.arange(len(y))], intercept=True)
    scatter, n, cut = moments.scatter, moments.n, strong.shape[1]
    # Orthonormal coordinates of either side, in which every projection is a product.
    of_strong, of_weak = _whitening(scatter[:cut, :cut]), _whitening(scatter[cut:-1, cut:-1])
    d_s, d_w = of_strong.shape[1], of_weak.shape[1]
    if n <= d_s + d_w + 2:
        raise FeatureError(
            f"{n} gold rows do not tell what {d_s} strong and {d_w} weak dimensions miss: at least "
            f"{d_s + d_w + 3} are needed, or fewer dimensions"
        )
    cross = of_strong.T @ scatter[:cut, cut:-1] @ of_weak
    strong_y, weak_y = of_strong.T @ scatter[:cut, -1], of_weak.T @ scatter[cut:-1, -1]
    shared, total = float(np.sum(cross**2)), float(scatter[-1, -1])
    left = n - 1 - d_w - d_s + shared
    by_teacher = (total - weak_y @ weak_y) / (n - 1 - d_w)
    by_student = (total - strong_y @ strong_y) / (n - 1 - d_s)
    passed = cross @ weak_y  # the strong part of the teacher's outputs
    inherited = strong_y - passed
    residual = total - weak_y @ weak_y - inherited @ inherited
    noise = _left_by_both(cross, strong_y, weak_y, total, n)
    hidden = weak_y @ weak_y - passed @ passed
    d_sw = float(correlation_dimension(shared, n - 1, d_s=d_s, d_w=d_w))
    parts = {
        "rho_w": by_teacher - noise,
        "rho_s": by_student - noise,
        "c2": by_teacher - residual / left,
        "rho_ws": (hidden - by_teacher * (d_w - shared)) / (n - 1 - d_s),
    }
    cut_at = {name: max(0.0, float(value)) for name, value in parts.items()}
    signal = max(total / (n - 1) - noise, cut_at["rho_w"], cut_at["rho_s"])
    return TargetParts(
        float(signal), noise, **cut_at, d_s=d_s, d_w=d_w, d_sw=clip_shared(d_sw, d_s=d_s, d_w=d_w)
    )


def _whitening(scatter: FloatArray) -> FloatArray:
    """Return the map (D, d) to orthonormal columns; collinear ones count once."""
    values, vectors = eigh(scatter)
    kept = values > max(values[-1], 0.0) * RANK
    return np.asarray(vectors[:, kept] / np.sqrt(values[kept]))


def _left_by_both(
    cross: FloatArray, strong_y: FloatArray, weak_y: FloatArray, total: float, n: int
) -> float:
    """Return the residual variance of a regression on both sides at once."""
    d_s, d_w = cross.shape
    gram = np.block([[np.eye(d_s), cross], [cross.T, np.eye(d_w)]])
    values, vectors = eigh(gram)
    kept = values > SHARED
    found = (vectors[:, kept].T @ np.r_[strong_y, weak_y]) ** 2 / values[kept]
    return float(max(0.0, total - found.sum()) / (n - 1 - np.count_nonzero(kept)))
