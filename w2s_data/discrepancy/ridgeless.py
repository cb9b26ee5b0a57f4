r"""Exact risks of ridgeless least squares on both sides of interpolation.

With fewer rows than dimensions least squares fits its labels exactly, and the solution of least
norm sees only the part of a direction that lies in the span of its rows. For isotropic Gaussian
features that part is random and known on average, so that bias and variance are exact here too.

The model is that of `theory.risks`, which these risks equal where both regressions are
determined. The publication (arXiv 2502.05075) treats that side alone, to leading order; the other
side was derived for this toolkit and checked by simulation.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from w2s_data.discrepancy.theory import Risks, check_sizes, check_variances, plain, times
from w2s_data.errors import InputError
from w2s_data.utils.typing import AnyArray


def ridgeless_risks(
    n: ArrayLike,
    N: ArrayLike,
    *,
    d_s: ArrayLike,
    d_w: ArrayLike,
    d_sw: ArrayLike,
    signal: float = 0.0,
    noise: float = 1.0,
    rho_w: float = 0.0,
    rho_s: float = 0.0,
    c2: float = 0.0,
    rho_ws: float = 0.0,
    intercept: bool = False,
) -> Risks:
    r"""Return exact expected risks of ridgeless regression, however few the rows are.

    With r rows (one less with an intercept), d dimensions, p = min(1, r / d) and
    k = d / (r - d - 1), or r / (d - r - 1) where r < d, a model on gold labels alone has

    .. math:: \rho + (1 - p) (v - \rho) + (s + \rho) k

    with the variance v of the target and :math:`\rho` of what its features miss. The student sees
    the part p of what its features share with the teacher's outputs, and k times the rest of them.

    Parameters
    ----------
    n, N, d_s, d_w, d_sw, noise, rho_w, rho_s, c2, rho_ws
        As in `theory.risks`. Features are isotropic in their d dimensions, which matters where
        rows are fewer.
    signal : float
        Variance v of the noiseless target, at least every other part of it; 0 with no other part
        gives variances alone.
    intercept : bool
        Whether both models fit one; then risks hold for features and targets of any means.

    Returns
    -------
    Risks
        inf for d - 1 to d + 1 rows (an intercept takes one), the peak of double descent.

    Examples
    --------
    >>> ridgeless_risks(n=60, N=40, d_s=80, d_w=15, d_sw=5)  # fewer rows than dimensions
    Risks(teacher=0.3409, student=0.2899, sft=3.158, ceiling=4.211, pgr=nan, opr=10.89)
    >>> ridgeless_risks(n=[5, 10, 60], N=200, d_s=20, d_w=15, d_sw=5, signal=1.0).teacher
    array([1.22222222, 2.83333333, 0.34090909])
    """
    sizes = check_sizes(n, N, d_s=d_s, d_w=d_w, d_sw=d_sw)
    parts = {"noise": noise, "rho_w": rho_w, "rho_s": rho_s, "c2": c2, "rho_ws": rho_ws}
    check_variances(parts | {"signal": signal})
    if signal and signal < max(rho_w, rho_s):
        raise InputError(
            f"signal is the variance of the whole target, at least rho_w and rho_s; got {signal!r}"
        )
    rows, pool, strong, weak, shared = sizes
    # The variances of the best weak and the best strong function.
    seen_w, seen_s = (max(0.0, signal - rho) for rho in (rho_w, rho_s))
    teacher = _Fit.of(rows, weak, intercept)
    student = _Fit.of(pool, strong, intercept)
    alone = _Fit.of(rows, strong, intercept), _Fit.of(rows + pool, strong, intercept)
    taught = _Taught.by(teacher, seen_w, noise + rho_w, seen_w - rho_ws, shared)
    # The inner product of the best strong function and the strong part of the best weak one.
    agreement = (seen_s + seen_w - rho_ws - c2) / 2
    missed = seen_s + student.kept * (taught.visible - 2 * teacher.kept * agreement)
    error = missed + times(student.spread, taught.hidden)
    if intercept:
        between = (1 - student.kept) * taught.visible + times(student.spread + 1, taught.hidden)
        error = error + between / pool + teacher.of_mean(seen_w, noise + rho_w)
    return Risks(
        teacher=plain(rho_w + teacher.error(seen_w, noise + rho_w)),
        student=plain(rho_s + np.where(np.isnan(error), np.inf, error)),
        sft=plain(rho_s + alone[0].error(seen_s, noise + rho_s)),
        ceiling=plain(rho_s + alone[1].error(seen_s, noise + rho_s)),
    )


@dataclass(frozen=True)
class _Fit:
    """Least squares on centred rows: what it keeps of a direction, what noise adds."""

    rows: Any
    dimensions: Any
    kept: Any  # E P = kept I, for the projection P on the span of the rows
    spread: Any  # E tr (X'X)^+
    intercept: bool

    @classmethod
    def of(cls, n: AnyArray, d: AnyArray, intercept: bool) -> _Fit:
        r = n - intercept
        gap = np.abs(r - d) - 1
        few, many = np.minimum(r, d), np.where(gap > 0, gap, 1.0)
        return cls(n, d, np.minimum(1.0, r / d), np.where(gap > 0, few / many, np.inf), intercept)

    def coefficients(self, seen: float, noise: float) -> Any:
        """Return the expected squared error of the coefficients."""
        return (1 - self.kept) * seen + noise * self.spread

    def of_mean(self, seen: float, noise: float) -> Any:
        """Return the expected squared error of the constant."""
        return (noise + self.coefficients(seen, noise)) / self.rows

    def error(self, seen: float, noise: float) -> Any:
        constant = self.of_mean(seen, noise) if self.intercept else 0.0
        return self.coefficients(seen, noise) + constant


@dataclass(frozen=True)
class _Taught:
    """Mean square of the teacher's outputs: of their part in the strong features, and the rest."""

    visible: Any
    hidden: Any

    @classmethod
    def by(cls, fit: _Fit, seen: float, noise: float, shared_signal: float, d_sw: Any) -> _Taught:
        r, d = fit.rows - fit.intercept, fit.dimensions
        # E P a a' P = along a a' + across |a|^2 I, for a random projection P of rank r.
        square = np.where(r < d, r * (r + 2) / (d * (d + 2)), 1.0)
        across = np.where(r < d, (fit.kept - square) / np.maximum(d - 1, 1), 0.0)
        by_noise = noise * fit.spread / d
        visible = (square - across) * shared_signal + times(across * seen + by_noise, d_sw)
        hidden = (square - across) * (seen - shared_signal) + times(
            across * seen + by_noise, d - d_sw
        )
        return cls(visible, hidden)
