"""Predictions of gold rows by ridge teachers and students that did not learn from them."""

from __future__ import annotations

import numpy as np
from sklearn.base import clone

from w2s_data.errors import SplitError
from w2s_data.forecast.inputs import FEWEST_POOL
from w2s_data.probes.ridge import RidgeProbe
from w2s_data.utils.typing import FloatArray, IntArray


def held_out(
    features: FloatArray,
    targets: FloatArray,
    folds: IntArray,
    probe: RidgeProbe,
    seen: FloatArray | None = None,
) -> FloatArray:
    """Return predictions (n,) by clones of a probe, each fitted to the other folds.

    With `seen` of `student_map` they are those of the models' students.
    """
    found = np.empty(len(targets))
    for fold in np.unique(folds):
        out = folds == fold
        model = clone(probe).fit(features[~out], targets[~out])
        weights = np.append(model.coef_, model.intercept_)
        found[out] = (_with_one(features[out]) if seen is None else seen[out]) @ weights
    return found


def from_given(
    own: FloatArray,
    of_pool: FloatArray,
    strong_gold: FloatArray,
    strong_pool: FloatArray,
    targets: FloatArray,
) -> dict[str, FloatArray]:
    """Return predictions of ready-made values and of their student, which never saw gold."""
    known = np.isfinite(of_pool)
    if known.sum() < FEWEST_POOL:
        raise SplitError(
            f"{known.sum()} pool rows have a weak value; a forecast needs {FEWEST_POOL}"
        )
    student = RidgeProbe().fit(strong_pool[known], of_pool[known])
    # Where the teacher abstains there is nothing better than the mean of the others.
    others = (targets.sum() - targets) / (len(targets) - 1)
    return {
        "teacher": np.where(np.isfinite(own), own, others),
        "weak": student.predict(strong_gold),
    }


def student_map(
    weak_pool: FloatArray, strong_pool: FloatArray, strong_rows: FloatArray, penalty: float
) -> FloatArray:
    """Return (n, D_w + 1) that maps a teacher's weights to its student's predictions of n rows.

    The student is a ridge model of the teacher's values of the pool; of the weights the last is the
    intercept, as of both models, which is not penalised.
    """
    a, b = _with_one(weak_pool), _with_one(strong_pool)
    ridge = np.diag(np.append(np.full(b.shape[1] - 1, penalty), 0.0))
    weights = np.linalg.pinv(b.T @ b + ridge, hermitian=True) @ (b.T @ a)
    return np.asarray(_with_one(strong_rows) @ weights)


def mixed(
    gold: FloatArray, weak: FloatArray, targets: FloatArray, weights: FloatArray
) -> FloatArray:
    """Return the best mix of two predictions, its share in [0, 1] fitted to all other rows.

    >>> one, two, y = np.array([1.0, 2, 3]), np.array([3.0, 4, 5]), np.array([2.0, 3, 4])
    >>> mixed(one, two, y, np.ones(3)).tolist()
    [2.0, 3.0, 4.0]
    """
    apart = gold - weak
    products, squares = weights * apart * (targets - weak), weights * apart**2
    above, below = products.sum() - products, squares.sum() - squares
    part = np.clip(np.divide(above, below, out=np.ones_like(above), where=below > 0), 0, 1)
    return np.asarray(part * gold + (1 - part) * weak)


def _with_one(block: FloatArray) -> FloatArray:
    return np.column_stack([block, np.ones(len(block))])
