r"""Measured squared errors of teacher and student beside the variance that label noise explains."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from w2s_data.discrepancy.design import design_risks
from w2s_data.discrepancy.theory import ROLES
from w2s_data.errors import SplitError
from w2s_data.features.matrix import FeatureView, as_feature_matrix
from w2s_data.probes.ridge import RidgeProbe
from w2s_data.utils.intervals import LEVEL, positive_mean_estimate
from w2s_data.utils.io import jsonable
from w2s_data.utils.typing import FloatArray

NAMES = dict(zip(ROLES, ("teacher", "student", "gold alone", "ceiling"), strict=True))


def measured_beside_predicted(
    strong_features: Any,
    weak_features: Any,
    targets: ArrayLike,
    *,
    labelled: ArrayLike,
    pool: ArrayLike,
    test: ArrayLike,
    level: float = LEVEL,
) -> dict[str, Any]:
    r"""Divide the measured squared errors of ridge models into noise, variance and the rest.

    Teacher, student of its outputs on the pool, student of the gold values alone and, where all of
    the pool have a gold value, ceiling are ridge regressions with penalties by cross-validation.
    Given the rows, the variance of each is exact but for the noise, which is the residual variance
    of the regression that labels come from (`discrepancy.design.design_risks`). Test errors exceed
    noise and variance by what the features miss and penalties shrink.

    Parameters
    ----------
    strong_features, weak_features : array (R, D_s), (R, D_w), memory map or FeatureStore
    targets : float array (R,)
        Gold values, NaN where unknown.
    labelled, pool, test : int array
        Rows of each set; without a gold value they count in the pool alone.

    Returns
    -------
    dict
        For the key "measured" of `discrepancy.json`, in units of the squared target: `models` with
        `mse` (interval over test rows), `noise` (that no model here can tell), `variance` and
        `rest`; `inherited`, the student's variance over its teacher's; and a `reading`.

    Examples
    --------
    >>> from w2s_data.data.continuous import ridgeless
    >>> made = ridgeless(n_pool=500)
    >>> data = made.dataset
    >>> rows = {name: data.rows(name) for name in ("labelled", "pool", "test")}
    >>> found = measured_beside_predicted(
    ...     made.strong_features, made.weak_features, data.targets, **rows
    ... )
    >>> [(row["model"], round(row["variance"], 2)) for row in found["models"]]
    [('teacher', 0.21), ('student', 0.09), ('gold alone', 0.13), ('ceiling', 0.04)]
    >>> round(found["inherited"], 1)
    0.4
    """
    strong = as_feature_matrix(strong_features, "strong features")
    weak = as_feature_matrix(weak_features, "weak features")
    y = np.asarray(targets, dtype=np.float64)
    gold, unlabelled, tested = (np.asarray(rows) for rows in (labelled, pool, test))
    gold, tested = (rows[np.isfinite(y[rows])] for rows in (gold, tested))
    for name, rows in (("labelled", gold), ("test", tested)):
        if not len(rows):
            raise SplitError(f"no {name} row has a gold value, so that no error can be measured")
    models = _models(_Rows(strong, weak, y), gold, unlabelled)
    outputs = {
        role: probe.predict(FeatureView(weak if role == "teacher" else strong, tested))
        for role, probe in models.items()
    }
    penalties: Any = {f"{role}_penalty": probe.penalty_ for role, probe in models.items()}
    variance = design_risks(strong, weak, gold, unlabelled, tested, **penalties).variance
    # Teacher and student have the noise of the weak features; the other models have less.
    floor = float((models.get("ceiling") or models["sft"]).noise_) ** 2
    of_weak = float(models["teacher"].noise_) ** 2
    rows = []
    for role, values in outputs.items():
        error = positive_mean_estimate((values - y[tested]) ** 2, level)
        own = getattr(variance, role) * (of_weak if role in ("teacher", "student") else floor)
        parts = {"noise": floor, "variance": own, "rest": error.value - floor - own}
        rows.append({"model": NAMES[role], "mse": error} | parts)
    inherited = variance.student / variance.teacher
    content: dict[str, Any] = jsonable(
        {
            "n": len(gold),
            "N": len(unlabelled),
            "n_test": len(tested),
            "models": rows,
            "inherited": inherited,
            "reading": _reading(rows, inherited),
        }
    )
    return content


@dataclass(frozen=True)
class _Rows:
    strong: Any
    weak: Any
    targets: FloatArray


def _models(rows: _Rows, gold: Any, pool: Any) -> dict[str, RidgeProbe]:
    """Fit the models by role; the ceiling where the pool's gold values are known."""
    y = rows.targets
    teacher = RidgeProbe().fit(FeatureView(rows.weak, gold), y[gold])
    taught = teacher.predict(FeatureView(rows.weak, pool))
    models = {
        "teacher": teacher,
        "student": RidgeProbe().fit(FeatureView(rows.strong, pool), taught),
        "sft": RidgeProbe().fit(FeatureView(rows.strong, gold), y[gold]),
    }
    if np.isfinite(y[pool]).all():
        both = np.concatenate([gold, pool])
        models["ceiling"] = RidgeProbe().fit(FeatureView(rows.strong, both), y[both])
    return models


def _reading(rows: list[Mapping[str, Any]], inherited: float) -> str:
    teacher, student = rows[0], rows[1]
    gain = teacher["mse"].value - student["mse"].value
    return (
        f"Label noise explains {teacher['variance']:.3g} of the teacher's squared error of "
        f"{teacher['mse'].value:.3g}. The student inherits {inherited:.0%} of that, which is worth "
        f"{(1 - inherited) * teacher['variance']:+.3g}; its measured gain is {gain:+.3g}."
    )
