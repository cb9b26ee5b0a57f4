"""Linear students of values on frozen features: in closed form, or trained step by step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from w2s_data.errors import FeatureError, InputError
from w2s_data.features.matrix import FeatureMatrix, FeatureView, as_feature_matrix
from w2s_data.finetune.levels.head import HeadTask
from w2s_data.finetune.levels.linear import HeadModel
from w2s_data.finetune.levels.values import FitValues
from w2s_data.finetune.pool import Pool
from w2s_data.finetune.settings import TrainingSettings
from w2s_data.probes.ridge import RidgeProbe
from w2s_data.probes.spectrum import refuse_unfit
from w2s_data.regression.inputs import check_held_out
from w2s_data.regression.material import Lesson
from w2s_data.regression.whole import Scale
from w2s_data.utils.typing import FloatArray

Head = Literal["ridge", "ridgeless", "squared", "huber"]
HEADS: tuple[Head, ...] = ("ridge", "ridgeless", "squared", "huber")
# Ten times that of classes: logits may end anywhere, but values have a scale to reach.
RATE = 1e-2
CLOSED_FORM = ("ridge", "ridgeless")  # the same for all seeds


@dataclass(frozen=True)
class LinearValues:
    """S linear models of values."""

    coef: FloatArray  # (S, D)
    intercept: FloatArray  # (S,)

    def predict(self, inputs: Any) -> FloatArray:
        """Return values (S, n) of features (n, D), read block by block."""
        features = as_feature_matrix(inputs)
        if features.shape[1] != self.coef.shape[1]:
            raise FeatureError(
                f"the student was trained on {self.coef.shape[1]} features; got {features.shape[1]}"
            )
        values = np.empty((len(self.coef), features.shape[0]))
        with np.errstate(all="ignore"):  # rows that cannot be used are named below
            for part, block in features.blocks():
                values[:, part] = self.coef @ block.T.astype(np.float64)
        if not np.isfinite(values).all():
            refuse_unfit(features)
        return values + self.intercept[:, None]


def train_head(
    features: FeatureMatrix,
    lesson: Lesson,
    head: Head,
    *,
    settings: TrainingSettings,
    delta: float,
    entropy: int,
    seeds: tuple[int, ...],
    name: str,
    validation: tuple[Any, Any] | None = None,
) -> tuple[LinearValues, float, list[dict[str, Any]]]:
    """Train the students of a lesson, one after another; return the last.

    Returns model, penalty and history. Closed forms take `RidgeProbe`'s penalty on the features as
    they are, or l2 n / 2; the others l2 / 2 |w|^2 beside the mean loss, on standardised ones.
    """
    values, model, penalty, history = lesson.values, None, np.nan, []
    rows = FeatureView(features, lesson.rows)
    weights = lesson.weights / lesson.weights.mean()
    for number, capacity in enumerate(lesson.capacities):
        own = Lesson(lesson.rows, values, weights)
        if head in CLOSED_FORM:
            probe = _closed_form(rows, own, head, capacity, settings.l2)
            coef = np.broadcast_to(probe.coef_, (len(seeds), len(probe.coef_)))
            intercept = np.broadcast_to(probe.intercept_, len(seeds))
            model, penalty = LinearValues(coef, intercept), probe.penalty_
        else:
            model, penalty, done = _by_steps(
                *(rows, own, head, capacity, settings, delta, entropy, seeds, name, validation)
            )
            history += [{**row, "link": number} for row in done]
        if number + 1 < len(lesson.capacities):
            values = model.predict(rows).mean(axis=0)
    assert model is not None
    return model, float(penalty), history


@dataclass(frozen=True)
class _Fitted:
    coef_: FloatArray
    intercept_: float
    penalty_: float


def _closed_form(
    rows: FeatureMatrix, lesson: Lesson, head: Head, capacity: float, l2: Any
) -> _Fitted | RidgeProbe:
    """Fit ridge or ridgeless regression, on the leading directions of a weaker student."""
    penalty: Any = 0.0 if head == "ridgeless" else "gcv"
    if head == "ridge" and l2 not in (None, "cv"):
        penalty = float(l2) / 2 * len(lesson.rows)
    probe = RidgeProbe(penalty).fit(rows, lesson.values, lesson.weights)
    if capacity == 1:
        return probe
    size = max(1, round(capacity * rows.shape[1]))
    basis = probe.spectrum_.directions[:, -size:]  # ascending
    inner = RidgeProbe(penalty).fit(_project(rows, basis), lesson.values, lesson.weights)
    return _Fitted(basis @ inner.coef_, inner.intercept_, inner.penalty_)


def _project(rows: FeatureMatrix, basis: FloatArray) -> FloatArray:
    return np.concatenate([block @ basis for _, block in rows.blocks()])


def _by_steps(
    rows: FeatureMatrix,
    lesson: Lesson,
    head: Head,
    capacity: float,
    settings: TrainingSettings,
    delta: float,
    entropy: int,
    seeds: tuple[int, ...],
    name: str,
    validation: tuple[Any, Any] | None,
) -> tuple[LinearValues, float, list[dict[str, Any]]]:
    """Train heads by gradient steps on standardised features and targets."""
    loss: Any = "squared" if head == "squared" else "huber"
    scale = Scale.of(lesson.values, lesson.weights, loss)
    n = len(lesson.rows)
    penalty = settings.l2
    if penalty in (None, "cv"):
        # The penalty of ridge regression on the same rows, which is lambda |w|^2 beside the sum of
        # squares: here it is l2 / 2 |w|^2 beside their mean.
        ridge = RidgeProbe(standardize=True).fit(rows, lesson.values, lesson.weights)
        penalty = 2 * ridge.penalty_ / n
    if settings.learning_rate is None:
        settings = settings.replace(learning_rate=RATE)
    resolved = settings.replace(l2=float(penalty)).resolve(n)
    pool = Pool(scale.standardise(lesson.values)[:, None, None], lesson.weights, rows)
    inputs, held_out = None, None
    if validation is not None:
        inputs, held_out = as_feature_matrix(validation[0]), check_held_out(*validation)
        held_out = scale.standardise(held_out)[:, None]
    task = HeadTask(
        *(pool, resolved, name, entropy, seeds, False, held_out), validation_features=inputs
    )
    trained = task.train(FitValues(loss, delta).objective(task), capacity=capacity)
    if not isinstance(trained, HeadModel):
        raise InputError(f"{name}: a head was expected; got {type(trained).__name__}")
    coef = scale.spread * trained.coef[..., 0].astype(np.float64) / trained.scaling.scale
    intercept = scale.restore(trained.intercept[:, 0]) - coef @ trained.scaling.mean
    return LinearValues(coef, intercept), float(penalty), list(task.history)
