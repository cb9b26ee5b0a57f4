r"""Exact variance and bias of linear teacher and student on the rows that they have.

A linear learner's outputs on m test rows are H y for its n labels y, and so are those of a student
of its outputs. For label noise of variance s and the noiseless target f

.. math:: variance = s \|H\|_F^2 / m, \qquad bias = |f - H f|^2 / m

are exact for any features: no law of theirs is assumed, and their sum is the expected squared
error to f over the noise. Only D x D matrices are kept, never H.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from w2s_data.discrepancy.fits import LinearFit, Side, about, fitted, set_moments
from w2s_data.discrepancy.moments import Moments
from w2s_data.discrepancy.theory import ROLES, Risks
from w2s_data.errors import FeatureError, InputError
from w2s_data.features.matrix import as_feature_matrix
from w2s_data.utils.typing import FloatArray


@dataclass(frozen=True, repr=False)
class DesignRisks:
    """Variance and bias of the four models, given their rows.

    Attributes
    ----------
    variance : Risks
        For label noise with variance 1.
    bias : Risks or None
        Mean squared bias; None where the target was not given.

    Examples
    --------
    >>> DesignRisks(Risks(0.4, 0.2, 0.3, 0.1), Risks(0.0, 0.1, 0.0, 0.0)).risks(noise=2.0)
    Risks(teacher=0.8, student=0.5, sft=0.6, ceiling=0.2, pgr=0.5, opr=1.2)
    """

    variance: Risks
    bias: Risks | None = None

    def risks(self, noise: float) -> Risks:
        """Return the expected squared errors to the target for label noise of some variance."""
        values = {role: noise * getattr(self.variance, role) for role in ROLES}
        if self.bias is not None:
            values = {role: value + getattr(self.bias, role) for role, value in values.items()}
        return Risks(**values)

    def __repr__(self) -> str:
        return f"DesignRisks(variance={self.variance!r}, bias={self.bias!r})"


def design_risks(
    strong_features: Any,
    weak_features: Any,
    labelled: ArrayLike,
    pool: ArrayLike,
    test: ArrayLike,
    *,
    target: ArrayLike | None = None,
    teacher_penalty: float = 0.0,
    student_penalty: float = 0.0,
    sft_penalty: float | None = None,
    ceiling_penalty: float | None = None,
    intercept: bool = True,
) -> DesignRisks:
    r"""Return exact variance and bias of linear teacher, student, gold alone and ceiling.

    Each minimises :math:`|y - X\theta - c|^2 + \lambda |\theta|^2`; with penalty 0 it is least
    squares, of least norm where rows are fewer than dimensions. The student learns the teacher's
    outputs on the pool.

    Parameters
    ----------
    strong_features, weak_features : array (R, D_s), (R, D_w), memory map or FeatureStore
    labelled, pool, test : int array
        Rows of each set.
    target : float array (R,), optional
        The noiseless target; without it there is no bias. With labels in its place the bias is
        the squared error that was measured. The ceiling's is NaN where a pool row has none.
    teacher_penalty, student_penalty, sft_penalty, ceiling_penalty : float
        :math:`\lambda`; that of the student for gold alone and ceiling too unless they have one.
    intercept : bool
        Whether each fits c, which is not penalised.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> strong, weak = rng.normal(size=(460, 20)), rng.normal(size=(460, 15))
    >>> weak[:, :5] = strong[:, :5]
    >>> labelled, pool, test = np.split(np.arange(460), [60, 260])
    >>> design_risks(strong, weak, labelled, pool, test, intercept=False)
    DesignRisks(variance=Risks(teacher=0.3333, student=0.1279, sft=0.5924, ceiling=0.08663,
                pgr=0.8326, opr=4.632), bias=None)
    """
    given = teacher_penalty, student_penalty, sft_penalty, ceiling_penalty
    penalties = {
        role: student_penalty if penalty is None else penalty
        for role, penalty in zip(ROLES, given, strict=True)
    }
    for role, penalty in penalties.items():
        if not penalty >= 0:
            raise InputError(f"{role}_penalty must be at least 0; got {penalty!r}")
    sets = [np.asarray(rows, dtype=np.intp) for rows in (labelled, pool, test)]
    for name, rows in zip(("labelled", "pool", "test"), sets, strict=True):
        if not len(rows):
            raise FeatureError(f"{name} names no rows: variance and bias are those on given rows")
    strong = as_feature_matrix(strong_features, "strong features")
    weak = as_feature_matrix(weak_features, "weak features")
    known = target is not None
    values = np.zeros(strong.shape[0]) if target is None else np.asarray(target, dtype=np.float64)
    used = np.concatenate(sets[::2])
    if values.shape != (strong.shape[0],) or not np.isfinite(values[used]).all():
        raise InputError("target holds one finite value for each labelled and each test row")
    sure = np.nan_to_num(values)
    gold, unlabelled, tested = set_moments(strong, weak, sure, sets, intercept)
    cut = strong.shape[1]
    sides = {
        role: Side(slice(cut, -1) if role == "teacher" else slice(0, cut), penalty)
        for role, penalty in penalties.items()
    }
    tested_by = _Tested(tested, intercept)
    teacher = fitted(gold, sides["teacher"], intercept)
    student = fitted(unlabelled, sides["student"], intercept)
    found = {
        "teacher": tested_by.alone(teacher),
        "student": tested_by.taught(teacher, student, unlabelled),
        "sft": tested_by.alone(fitted(gold, sides["sft"], intercept)),
        "ceiling": tested_by.alone(fitted(gold + unlabelled, sides["ceiling"], intercept)),
    }
    if not np.isfinite(values[sets[1]]).all():
        found["ceiling"] = (found["ceiling"][0], np.nan)
    variance, bias = (Risks(**{role: pair[k] for role, pair in found.items()}) for k in (0, 1))
    return DesignRisks(variance, bias if known else None)


@dataclass(frozen=True)
class _Tested:
    """Sums over the test rows, by which errors are measured."""

    moments: Moments
    intercept: bool

    def alone(self, fit: LinearFit) -> tuple[float, float]:
        """Return variance and mean squared bias of a model of gold labels."""
        return self._errors(fit, fit.columns, np.eye(len(fit.inverse)), fit.centre, 0.0)

    def taught(self, teacher: LinearFit, student: LinearFit, pool: Moments) -> tuple[float, float]:
        """Return variance and mean squared bias of a student of the teacher's outputs."""
        cross = about(pool, self.intercept)[student.columns, teacher.columns]
        # Its coefficients are a linear map of the teacher's; its mean is the teacher's in the pool.
        learned = student.inverse @ cross
        moved = (student.centre - teacher.centre)[teacher.columns]
        return self._errors(teacher, student.columns, learned, student.centre, moved)

    def _errors(
        self, fit: LinearFit, seen: slice, learned: FloatArray, centre: FloatArray, moved: Any
    ) -> tuple[float, float]:
        """Return both for outputs y_mean + (moved + learned' (x - centre))' theta at test rows."""
        m = self.moments.n
        centre = np.r_[centre[:-1], fit.centre[-1]]
        mean = self.moments.total / m - centre
        about = self.moments.scatter / m + np.outer(mean, mean)
        shift = np.outer(moved + np.zeros(learned.shape[1]), mean[seen] @ learned)
        square = learned.T @ about[seen, seen] @ learned + shift + shift.T
        square += np.outer(moved, moved) if np.ndim(moved) else 0.0
        product = learned.T @ about[seen, -1] + moved * mean[-1]
        variance = float(np.sum(square * fit.spread)) + (1 / fit.n if self.intercept else 0.0)
        theta = fit.coefficients
        bias = float(about[-1, -1] - 2 * theta @ product + theta @ square @ theta)
        return variance, max(0.0, bias)  # rounding may take it below
