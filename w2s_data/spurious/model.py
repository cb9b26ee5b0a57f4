"""Geometry of two groups in the features of teacher and student, and their risks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from w2s_data.errors import InputError


@dataclass(frozen=True)
class GroupGeometry:
    """The inner products on which the mixture risks depend.

    Numbers, or arrays that broadcast with one entry per jackknife replicate.
    """

    d_w: int
    d_s: int
    m_t: Any  # |mu_t|^2
    m_s: Any  # |mu_s|^2
    across: Any  # <mu_t, Xi mu_s>
    imported: Any  # |Xi mu_s|^2: the student's shift as it reaches the teacher's features
    returned: Any  # |Xi' mu_t|^2: the reverse
    shared: Any  # ||Xi||^2
    variance: float = 1.0

    @classmethod
    def of(
        cls,
        mu_t: ArrayLike,
        mu_s: ArrayLike,
        xi: ArrayLike,
        *,
        variance: float = 1.0,
        shared: float | None = None,
    ) -> GroupGeometry:
        """Compute the inner products of the shifts (d_w,), (d_s,) and the similarity (d_w, d_s).

        For whitened embeddings, `xi` is the covariance of weak and strong features inside groups.
        `shared` is the unbiased ||xi||^2 where it is an estimate, whose own norm is too large.
        """
        t, s, x = (np.asarray(array, dtype=float) for array in (mu_t, mu_s, xi))
        if t.ndim != 1 or s.ndim != 1 or x.shape != t.shape + s.shape:
            raise InputError(
                "mu_t, mu_s and xi must have shapes (d_w,), (d_s,), (d_w, d_s); got "
                f"{t.shape}, {s.shape}, {x.shape}"
            )
        if not variance > 0:
            raise InputError(f"variance must be positive; got {variance!r}")
        imported, returned = x @ s, x.T @ t
        return GroupGeometry(
            d_w=len(t),
            d_s=len(s),
            m_t=float(t @ t),
            m_s=float(s @ s),
            across=float(returned @ s),
            imported=float(imported @ imported),
            returned=float(returned @ returned),
            shared=float(np.sum(x**2)) if shared is None else shared,
            variance=variance,
        )


@dataclass(frozen=True, repr=False)
class GroupRisks:
    """Expected squared errors of teacher and student under one test share, numbers or arrays."""

    teacher: Any
    student: Any

    @property
    def gain(self) -> Any:
        """Teacher minus student: above 0 the student is better."""
        return self.teacher - self.student

    @property
    def relative_gain(self) -> Any:
        """Gain as a part of the teacher's risk: 1 if the student has none of it."""
        return self.gain / self.teacher

    def __repr__(self) -> str:
        if np.ndim(self.teacher) or np.ndim(self.student):
            return f"GroupRisks(teacher, student: arrays of shape {np.shape(self.gain)})"
        return f"GroupRisks(teacher={self.teacher:.4g}, student={self.student:.4g})"


def check_shares(**shares: ArrayLike) -> None:
    """Raise unless all shares lie in [0, 1]."""
    for name, share in shares.items():
        if not np.all((np.asarray(share) >= 0) & (np.asarray(share) <= 1)):
            raise InputError(f"{name} is a share and must lie in [0, 1]; got {share!r}")


def check_scale(gamma: float, nu: float, noise: float) -> None:
    """Raise if a scale is negative or NaN."""
    # Written so that NaN fails too.
    for name, value in {"gamma": gamma, "nu": nu, "noise": noise}.items():
        if not value >= 0:
            raise InputError(f"{name} must be at least 0; got {value!r}")
