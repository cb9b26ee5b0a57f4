"""Forecast of errors: held-out predictions, intervals, choice of an option, bad input."""

from __future__ import annotations

import numpy as np
import pytest

from w2s_data.errors import InputError, SplitError
from w2s_data.forecast.options import Difference
from w2s_data.probes.ridge import RidgeProbe
from w2s_data.regression.forecast import ValueForecaster
from w2s_data.regression.heldout import mixed, student_map
from w2s_data.regression.options import choose
from w2s_data.utils.intervals import Estimate


def _task(rng, n, n_pool, d_s=8, d_w=8, shared=4, noise=1.0):
    """Features that share some columns; the target is a function of both sides' columns."""
    strong = rng.normal(size=(n + n_pool, d_s))
    weak = np.hstack([strong[:, :shared], rng.normal(size=(n + n_pool, d_w - shared))])
    target = strong.sum(axis=1) + noise * rng.normal(size=len(strong))
    return strong, weak, target


def _fit(strong, weak, target, n, **given):
    return ValueForecaster(random_state=0).fit(
        strong[:n], weak[:n], target[:n], strong_pool=strong[n:], weak_pool=weak[n:], **given
    )


def test_student_map_is_the_student(rng):
    strong, weak, target = _task(rng, 30, 50)
    teacher = RidgeProbe(penalty=0.7).fit(weak[:30], target[:30])
    student = RidgeProbe(penalty=1.3).fit(strong[30:], teacher.predict(weak[30:]))
    seen = student_map(weak[30:], strong[30:], strong[:30], 1.3)
    found = seen @ np.append(teacher.coef_, teacher.intercept_)
    assert found == pytest.approx(student.predict(strong[:30]), abs=1e-9)


@pytest.mark.slow
def test_intervals_hold_the_error_of_models_that_are_trained(rng):
    inside, total = 0, 0
    for _ in range(20):
        strong, weak, target = _task(rng, 60, 1200)
        found = _fit(strong[:360], weak[:360], target[:360], 60).forecast_
        labelled, test = slice(0, 60), slice(360, None)
        models = {"teacher": weak, "gold": strong}
        for name, features in models.items():
            model = RidgeProbe().fit(features[labelled], target[labelled])
            error = np.mean((model.predict(features[test]) - target[test]) ** 2)
            mse = found.mse(name)
            inside += mse.low <= error <= mse.high
            total += 1
    assert inside / total >= 0.8  # of level .95, less what chance does in 40 trials


def test_a_teacher_of_everything_is_advised(rng):
    strong, _, target = _task(rng, 80, 200)
    found = ValueForecaster(random_state=0).fit(
        strong[:80, :2], strong[:80], target[:80], strong_pool=strong[80:, :2],
        weak_pool=strong[80:],
    ).forecast_  # fmt: skip
    assert found.advised == "teacher"
    assert found.chance_w2s_helps < 0.01


def test_ready_made_values_are_judged_as_they_are(rng):
    strong, weak, target = _task(rng, 100, 300, noise=0.1)
    values = target + 2.0 + rng.normal(size=len(target))
    found = _fit(strong, weak, target, 100, weak_values=(values[:100], values[100:])).forecast_
    assert found.mse("teacher").low < 5.0 < found.mse("teacher").high  # 2 squared and 1
    assert found.advised == "gold"
    # The student averages the noise away, and keeps the offset.
    assert found.mse("weak").value == pytest.approx(4.0, rel=0.2)


def test_r2_and_rmse_follow_from_the_error(rng):
    found = _fit(*_task(rng, 60, 200), 60).forecast_
    option = found.options[1]
    assert option.rmse.value**2 == pytest.approx(option.mse.value)
    assert option.r2.value == pytest.approx(1 - option.mse.value / found.variance)
    assert option.r2.low < option.r2.value < option.r2.high


def test_same_seed_gives_the_same_forecast(rng):
    task = _task(rng, 40, 100)
    first, second = (_fit(*task, 40).forecast_.to_dict() for _ in range(2))
    assert first == second


def test_pool_rows_without_a_weak_value_are_left_out(rng):
    strong, weak, target = _task(rng, 50, 100)
    values = np.where(rng.random(150) < 0.3, np.nan, target)
    found = _fit(strong, weak, target, 50, weak_values=(values[:50], values[50:])).forecast_
    assert np.isfinite([option.mse.value for option in found.options]).all()


def test_few_effective_rows_withhold_the_advice(rng):
    task = _task(rng, 60, 100)
    weights = np.full(60, 0.01)
    weights[:5] = 10
    found = _fit(*task, 60, gold_weight=weights).forecast_
    assert found.advised == ""
    assert "comes from elsewhere" in found.reading


def test_mix_leaves_out_the_worse_half():
    y = np.array([1.0, 2.0, 4.0])
    assert mixed(y, y + 1, y, np.ones(3)) == pytest.approx(y)


def test_a_cheaper_option_is_taken_where_it_is_as_good():
    close = [Difference("gold", "teacher", Estimate(-0.01, -0.1, 0.08))]
    assert choose({"teacher": 1.0, "gold": 0.99}, close).advised == "teacher"
    clear = [Difference("gold", "teacher", Estimate(-0.01, -0.015, -0.005))]
    assert choose({"teacher": 1.0, "gold": 0.99}, clear).advised == "gold"


@pytest.mark.parametrize(
    ("n", "change", "error", "text"),
    [
        (1, None, SplitError, "1 labelled row with a value"),
        (30, lambda y: 0 * y + 3, SplitError, "have the value 3"),
        (30, lambda y: np.where(np.arange(len(y)) == 4, np.nan, y), InputError, "row 4"),
        (195, None, SplitError, "the pool holds 5 rows"),
    ],
)
def test_bad_input_is_named(rng, n, change, error, text):
    strong, weak, target = _task(rng, 100, 100)
    if change is not None:
        target = change(target)
    with pytest.raises(error, match=text):
        _fit(strong, weak, target, n)


def test_neither_features_nor_values_of_a_teacher(rng):
    strong, _, target = _task(rng, 40, 60)
    with pytest.raises(InputError, match="weak features or weak_values"):
        ValueForecaster().fit(strong[:40], None, target[:40], strong_pool=strong[40:])
