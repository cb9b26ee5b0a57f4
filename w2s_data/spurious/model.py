"""Geometry of two groups in the features of teacher and student, and their risks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from w2s_data.errors import InputError
from w2s_data.utils.typing import FloatArray


@dataclass(frozen=True)
class GroupGeometry:
    """The inner products on which the mixture risks depend.

    Numbers, or arrays that broadcast with one entry per jackknife replicate.

    Parameters
    ----------
    d_w, d_s : int
    m_t, m_s : |mu_t|^2, |mu_s|^2
    across : <mu_t, Xi mu_s>
    imported : |Xi mu_s|^2
    returned : |Xi' mu_t|^2
    shared : ||Xi||^2
    variance : float
    """

    d_w: int
    d_s: int
    m_t: Any
    m_s: Any
    across: Any
    imported: Any
    returned: Any
    shared: Any
    variance: float = 1.0


@dataclass(frozen=True, repr=False, eq=False)
class GroupModel:
    """Shift of a group in the features of teacher and student, and their similarity.

    Parameters
    ----------
    mu_t : array (d_w,), mu_s : array (d_s,)
        Shift of the minority's mean in the group features of teacher and student.
    xi : array (d_w, d_s)
        Similarity T'S of the group directions; for whitened embeddings the covariance of weak and
        strong features inside groups.
    variance : float
        s_x, of every group feature inside a group.
    shared : float
        Unbiased ||xi||^2 where `xi` is an estimate, whose own norm is too large; by default the
        norm of `xi`.

    Examples
    --------
    >>> GroupModel([1.5, 0.0], [1.0], [[0.8], [0.0]])
    GroupModel(d_w=2, d_s=1, shift_teacher=1.5, shift_student=1, shared=0.64)
    """

    mu_t: FloatArray
    mu_s: FloatArray
    xi: FloatArray
    variance: float = 1.0
    shared: float = np.nan

    def __post_init__(self) -> None:
        for name in ("mu_t", "mu_s", "xi"):
            object.__setattr__(self, name, np.asarray(getattr(self, name), dtype=float))
        shapes = self.mu_t.shape, self.mu_s.shape, self.xi.shape
        if len(shapes[0]) != 1 or len(shapes[1]) != 1 or shapes[2] != shapes[0] + shapes[1]:
            raise InputError(
                f"mu_t, mu_s and xi must have shapes (d_w,), (d_s,), (d_w, d_s); got {shapes}"
            )
        if not self.variance > 0:
            raise InputError(f"variance must be positive; got {self.variance!r}")
        if np.isnan(self.shared):
            object.__setattr__(self, "shared", float(np.sum(self.xi**2)))

    @property
    def p_t(self) -> int:
        """Teacher features for each core feature, d_w + 1."""
        return len(self.mu_t) + 1

    @property
    def p_s(self) -> int:
        """Student features for each core feature, d_s + 1."""
        return len(self.mu_s) + 1

    @property
    def p_ts(self) -> float:
        """Shared features, 1 + ||xi||^2: what p_t exceeds it by is the discrepancy."""
        return 1 + self.shared

    @property
    def m_t(self) -> float:
        """|mu_t|^2."""
        return float(self.mu_t @ self.mu_t)

    @property
    def m_s(self) -> float:
        """|mu_s|^2."""
        return float(self.mu_s @ self.mu_s)

    @property
    def imported(self) -> FloatArray:
        """Xi mu_s (d_w,): the student's shift as it reaches the teacher's features."""
        return np.asarray(self.xi @ self.mu_s)

    @property
    def geometry(self) -> GroupGeometry:
        """Inner products of shifts and similarity."""
        returned = self.xi.T @ self.mu_t
        return GroupGeometry(
            d_w=self.p_t - 1,
            d_s=self.p_s - 1,
            m_t=self.m_t,
            m_s=self.m_s,
            across=float(returned @ self.mu_s),
            imported=float(self.imported @ self.imported),
            returned=float(returned @ returned),
            shared=self.shared,
            variance=self.variance,
        )

    def __repr__(self) -> str:
        return (
            f"GroupModel(d_w={self.p_t - 1}, d_s={self.p_s - 1}, "
            f"shift_teacher={self.m_t**0.5:.4g}, shift_student={self.m_s**0.5:.4g}, "
            f"shared={self.shared:.4g})"
        )


@dataclass(frozen=True, repr=False)
class GroupRisks:
    """Expected squared errors of teacher and student under one test share.

    Attributes
    ----------
    teacher, student : float or array
        At least 0, lower is better.
    """

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
    for name, value in {"gamma": gamma, "nu": nu, "noise": noise}.items():
        if not value >= 0:
            raise InputError(f"{name} must be at least 0; got {value!r}")
