"""Two groups as teacher and student see them, and the pair of risks predicted from that."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from w2s_data._moments import Moments
from w2s_data._typing import FloatArray
from w2s_data.dimensions import correlation_dimension
from w2s_data.errors import FeatureError, InputError

DETERMINED = 1e-6  # within-group share of a direction's variance below which the group fixes it


@dataclass(frozen=True, repr=False, eq=False)
class GroupModel:
    """How teacher and student features tell two groups apart.

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
        Value to take for ||xi||^2 where `xi` is an estimate, whose own norm is biased; its own
        norm without.

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
    teacher, student : float
        At least 0, lower is better.
    """

    teacher: float
    student: float

    @property
    def gain(self) -> float:
        """Teacher minus student: above 0 the student is better."""
        return self.teacher - self.student

    def __repr__(self) -> str:
        return f"GroupRisks(teacher={self.teacher:.4g}, student={self.student:.4g})"


def check_shares(**shares: float) -> None:
    """Refuse shares outside [0, 1], by name."""
    for name, share in shares.items():
        if not 0 <= share <= 1:
            raise InputError(f"{name} is a share and must lie in [0, 1]; got {share!r}")


def check_scale(gamma: float, nu: float, noise: float) -> None:
    """Refuse negative or NaN scales."""
    for name, value in {"gamma": gamma, "nu": nu, "noise": noise}.items():
        if not value >= 0:
            raise InputError(f"{name} must be at least 0; got {value!r}")


def estimate_group_model(inside: Moments, others: Moments, name: str) -> GroupModel:
    """Shifts and similarity, whitened within groups and without their chance parts."""
    d = inside.d_w
    freedom = inside.n + others.n - 2
    within = (inside.scatter + others.scatter) / freedom
    shift = inside.total / inside.n - others.total / others.n
    white = []
    for side, part in (("weak", slice(0, d)), ("strong", slice(d, None))):
        values, vectors = np.linalg.eigh(within[part, part])
        if values[0] <= DETERMINED:  # in units of the variance over all rows
            raise FeatureError(
                f"group {name!r} determines a direction of the {side} features, which is constant "
                f"inside and outside it: drop it, or give fewer {side}_components"
            )
        white.append((vectors / np.sqrt(values)) @ vectors.T)
    xi = white[0] @ within[:d, d:] @ white[1]
    shared = correlation_dimension(np.sum(xi**2), freedom, d, inside.d_s)
    chance = 1 / inside.n + 1 / others.n
    mu_t, mu_s = (
        _debiased(half @ shift[part], freedom, chance)
        for half, part in zip(white, (slice(0, d), slice(d, None)), strict=True)
    )
    return GroupModel(mu_t, mu_s, xi, shared=float(np.clip(shared, 0, min(d, inside.d_s))))


def covariance_difference(inside: Moments, others: Moments) -> float:
    """How far a group's covariance is from that of the other rows, over the chance part.

    Mean over directions of the squared difference, in units of the covariance inside groups, on
    the side where it is larger: 0 where the group only shifts the mean, .25 where a typical
    standard deviation differs by a quarter.
    """
    found = []
    freedom = inside.n - 1, others.n - 1
    for part in (slice(0, inside.d_w), slice(inside.d_w, None)):
        one, other = inside.scatter[part, part], others.scatter[part, part]
        values, vectors = np.linalg.eigh((one + other) / sum(freedom))
        half = vectors / np.sqrt(values)
        apart = half.T @ (one / freedom[0] - other / freedom[1]) @ half
        chance = (len(one) + 1) * (1 / freedom[0] + 1 / freedom[1])
        found.append(float(np.sum(apart**2)) / len(one) - chance)
    return max(0.0, *found)


def _debiased(shift: FloatArray, freedom: int, chance: float) -> FloatArray:
    """Same direction, with |mu|^2 = (1 - (d + 1) / freedom) |shift|^2 - d chance, at least 0."""
    d, square = len(shift), float(shift @ shift)
    wanted = (freedom - d - 1) / freedom * square - d * chance
    return np.asarray(shift * np.sqrt(max(0.0, wanted) / square)) if square > 0 else shift
