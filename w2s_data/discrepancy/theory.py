r"""Weak-to-strong gain in closed form: the intrinsic-dimension model.

A teacher regresses n noisy labels on d_w weak features; a student regresses the teacher's labels
of N further rows on d_s strong features. Their canonical correlations rho_i, through the
correlation dimension d_sw = sum rho_i^2, say how much of the teacher's error the student inherits.

Source of the model: Dong, Li, Li, Lee, Lei, *Discrepancies are Virtue: Weak-to-Strong
Generalization through Lens of Intrinsic Dimension*, 2025 (arXiv 2502.05075), whose risks are the
leading order here (``leading=True``). The exact finite-sample factors, the break-even and the
estimators of d_sw were derived for this toolkit and checked by simulation.

Every risk is an expected squared error to the noiseless target, in units of the squared label.
Functions take numbers or arrays that broadcast. Where a regression is determined but its expected
error infinite (d - 1 <= n <= d + 1 rows), risks are inf; below that they are NaN, and those of
the solution of least norm are in `w2s_data.discrepancy.ridgeless`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from w2s_data.errors import InputError
from w2s_data.utils.typing import AnyArray

ROLES = ("teacher", "student", "sft", "ceiling")


@dataclass(frozen=True, repr=False)
class Risks:
    """Expected squared errors of the four models, and the two ratios that compare them.

    Weak teacher on n labels; student on N pseudo-labels; strong model on the n labels (supervised
    fine-tuning); strong model on n + N labels. At least 0, lower is better; numbers or arrays.

    >>> Risks(teacher=0.4, student=0.2, sft=0.3, ceiling=0.1)
    Risks(teacher=0.4, student=0.2, sft=0.3, ceiling=0.1, pgr=0.6667, opr=1.5)
    """

    teacher: Any
    student: Any
    sft: Any
    ceiling: Any

    @property
    def pgr(self) -> Any:
        """Performance gap recovered, (teacher - student) / (teacher - ceiling).

        1 means as good as the ceiling and may be passed; below 0 the student is worse than its
        teacher. NaN unless the ceiling is better than the teacher.
        """
        # Infinite risks differ by NaN, which no comparison with 0 passes.
        with np.errstate(invalid="ignore", divide="ignore"):
            gap = np.subtract(self.teacher, self.ceiling)
            ratio = np.divide(np.subtract(self.teacher, self.student), gap)
            return plain(np.where(gap > 0, ratio, np.nan))

    @property
    def opr(self) -> Any:
        """Outperforming ratio, sft / student: above 1 the student beats the n gold labels."""
        with np.errstate(invalid="ignore", divide="ignore"):
            return plain(np.divide(self.sft, self.student))

    def to_dict(self) -> dict[str, Any]:
        """Return the risks and both ratios by name."""
        return {role: getattr(self, role) for role in ROLES} | {"pgr": self.pgr, "opr": self.opr}

    def __repr__(self) -> str:
        if any(np.ndim(value) for value in self.to_dict().values()):
            return f"Risks({', '.join(ROLES)}: arrays of shape {np.shape(self.student)})"
        return f"Risks({', '.join(f'{k}={v:.4g}' for k, v in self.to_dict().items())})"


def risks(
    n: ArrayLike,
    N: ArrayLike,
    *,
    d_s: ArrayLike,
    d_w: ArrayLike,
    d_sw: ArrayLike,
    noise: float = 1.0,
    rho_w: float = 0.0,
    rho_s: float = 0.0,
    c2: float = 0.0,
    rho_ws: float = 0.0,
    intercept: bool = False,
    leading: bool = False,
) -> Risks:
    r"""Return exact expected risks for jointly Gaussian features and least squares.

    .. math::
        teacher &= \rho_w + (s + \rho_w) k_w(n), \qquad k_d(n) = d / (n - d - 1) \\
        student &= \rho_s + c_2 + \frac{s + \rho_w}{n - d_w - 1}
                   [d_{sw} + k_s(N) (d_w - d_{sw})] + k_s(N) \rho_{ws} \\
        sft &= \rho_s + (s + \rho_s) k_s(n), \qquad ceiling = \rho_s + (s + \rho_s) k_s(n + N)

    With an intercept in both models (any means), k_d(n) = (d + 1 - 2/n) / (n - d - 2), the
    student's bracket gains 1 - 2/n, and n - d_w - 1 becomes n - d_w - 2; as exact.

    Parameters
    ----------
    n, N : int or array
        Labelled rows, pseudo-labelled rows (disjoint).
    d_s, d_w, d_sw : float or array
        Dimensions that the probes use, and the correlation dimension, in [0, min(d_w, d_s)].
    noise : float
        Variance s of the label noise.
    rho_w, rho_s : float
        Variance of the target that the best weak, best strong function misses.
    c2 : float
        The part of rho_w that the strong features can see, in [0, rho_w]: the student learns it
        as if it were true.
    rho_ws : float
        Variance of the best weak function that strong features cannot represent.
    leading : bool
        The published expressions, to leading order for n >> d_w and N >> d_s: every n - d - 1
        becomes n. Risks come out 2 to 70 % too low at usual sizes, and the break-even at N = d_s,
        half of the true one; kept for comparison with the publication.

    Examples
    --------
    >>> risks(n=60, N=200, d_s=20, d_w=15, d_sw=5)
    Risks(teacher=0.3409, student=0.139, sft=0.5128, ceiling=0.08368, pgr=0.7848, opr=3.689)
    >>> risks(60, 200, d_s=20, d_w=15, d_sw=15).pgr  # it sees what the teacher sees
    0.0
    """
    n, N, d_s, d_w, d_sw = check_sizes(n, N, d_s=d_s, d_w=d_w, d_sw=d_sw)
    check_variances({"noise": noise, "rho_w": rho_w, "rho_s": rho_s, "c2": c2, "rho_ws": rho_ws})
    if leading and intercept:
        raise InputError(
            "intercept must be False where leading is True: it changes no leading term"
        )

    def factor(rows: AnyArray, d: AnyArray) -> Any:
        return d / rows if leading else variance_factor(rows, d, intercept=intercept)

    k_s = factor(N, d_s)
    unit = 1 / n if leading else _unit_variance(n, d_w, intercept)
    # Noise in directions that the student shares stays; the rest averages out over the pool.
    shared = d_sw + times(k_s, d_w - d_sw) + ((1 - 2 / n) if intercept else 0.0)
    return Risks(
        teacher=plain(rho_w + (noise + rho_w) * factor(n, d_w)),
        student=plain(rho_s + c2 + (noise + rho_w) * unit * shared + times(k_s, rho_ws)),
        sft=plain(rho_s + (noise + rho_s) * factor(n, d_s)),
        ceiling=plain(rho_s + (noise + rho_s) * factor(n + N, d_s)),
    )


def variance_factor(n: ArrayLike, d: ArrayLike, *, intercept: bool = False) -> Any:
    """Return the expected variance of least squares, in units of the noise.

    d / (n - d - 1) for d Gaussian features and n rows, or with an intercept (d + 1 - 2/n) /
    (n - d - 2). Falls to 0 as n grows; inf up to n = d + 1 (d + 2), NaN below d - 1 (d).

    >>> variance_factor([14, 21, 31, 121], d=10)
    array([3.33333333, 1.        , 0.5       , 0.09090909])
    """
    n, d = np.asarray(n, dtype=float), np.asarray(d, dtype=float)
    top = (d + 1 - 2 / n) if intercept else d
    return plain(top * _unit_variance(n, d, intercept))


def rows_for_factor(factor: ArrayLike, d: ArrayLike, *, intercept: bool = False) -> Any:
    """Return the rows n at which `variance_factor` falls to a value; its exact inverse.

    d + 1 + d / factor; inf for factor 0. For factor 1 this is the pool that breaks even,
    N = 2 d_s + 1 (with intercepts nearly 2 d_s + 3 - 2 / (2 d_s + 3)); for 1 - share the one that
    gives a share of the gain of an endless pool.

    >>> rows_for_factor(0.5, d=10)
    31.0
    """
    k, d = np.asarray(factor, dtype=float), np.asarray(d, dtype=float)
    with np.errstate(divide="ignore"):
        inverse = 1 / k
    if not intercept:
        return plain(d + 1 + d * inverse)
    # k n^2 - [(1 + k)(d + 2) - 1] n + 2 = 0, larger root, divided by k.
    half = (d + 2 + (d + 1) * inverse) / 2
    with np.errstate(invalid="ignore"):
        root = half + np.sqrt(half**2 - 2 * inverse)
    return plain(np.where(k == 0, np.inf, root))


def check_variances(variances: Mapping[str, float]) -> None:
    """Raise for a variance that is negative or NaN."""
    for name, value in variances.items():
        if not value >= 0:  # NaN fails as well
            raise InputError(f"{name} is a variance and must be at least 0; got {value!r}")


def check_sizes(
    n: ArrayLike, N: ArrayLike, *, d_s: ArrayLike, d_w: ArrayLike, d_sw: ArrayLike
) -> tuple[AnyArray, ...]:
    """Return rows and dimensions (n, N, d_s, d_w, d_sw) as float arrays, or raise."""
    n, N, d_s, d_w, d_sw = (np.asarray(value, dtype=float) for value in (n, N, d_s, d_w, d_sw))
    for name, value in {"n": n, "N": N, "d_s": d_s, "d_w": d_w}.items():
        if not np.all(value >= 1):
            raise InputError(f"{name} must be at least 1; got {value}")
    limit = np.minimum(d_s, d_w)
    if not np.all((d_sw >= 0) & (d_sw <= limit)):
        raise InputError(f"d_sw must lie in [0, min(d_s, d_w)] = [0, {limit}]; got {d_sw}")
    return n, N, d_s, d_w, d_sw


def _unit_variance(n: Any, d: Any, intercept: bool) -> Any:
    """Return 1 / (n - d - 1), or 1 / (n - d - 2): the mean inverse of d sample variances."""
    # inf where the expectation of an inverse Wishart matrix is, NaN where least squares is
    # undetermined.
    denominator = n - d - (2 if intercept else 1)
    positive = denominator > 0
    value = np.where(positive, 1 / np.where(positive, denominator, 1.0), np.inf)
    return np.where(n >= d - 1 + intercept, value, np.nan)


def times(factor: Any, amount: Any) -> Any:
    """Multiply; an infinite factor of 0 gives 0, as nothing is lost of what is not there."""
    with np.errstate(invalid="ignore"):
        return np.where((np.asarray(amount) == 0) & ~np.isnan(factor), 0.0, factor * amount)


def plain(value: Any) -> Any:
    """Return a float for a 0-d array, the array otherwise."""
    return float(value) if np.ndim(value) == 0 else np.asarray(value)
