"""Forecasts that came true leave the prior alone; those that did not correct it."""

import numpy as np
import pytest

from w2s_data.plan.curves import Curve
from w2s_data.plan.history import compare_plans, pace_of
from w2s_data.utils.intervals import Estimate


def plan(n, accuracy, half=0.005, rate=0.5):
    """A plan at n gold rows whose curve is sure: error falls with this power of n."""
    same = np.ones(50)
    parts = (1 - accuracy) * same, 0 * same, 0 * same, rate * same, same, 0 * same
    curve = Curve(*parts, n, 1000)
    estimate = Estimate(accuracy, accuracy - half, accuracy + half, 0.9)
    return {
        "n": n,
        "N": 1000,
        "option": "gold",
        "accuracies": {"gold": estimate.to_dict()},
        "curves": {"gold": curve.to_dict()},
    }


def test_a_forecast_is_compared_with_what_came():
    (outcome,) = compare_plans([plan(100, 0.6)], plan(400, 0.8), 0.9)
    assert (outcome.before, outcome.after) == ((100, 1000), (400, 1000))
    assert outcome.forecast.value == pytest.approx(0.8)  # .4 / 2 is the error at 4 n
    assert outcome.came.value == 0.8
    assert outcome.gain.value == pytest.approx(0.2)
    assert pace_of([outcome], 0.9).value == pytest.approx(1.0)


def test_less_than_forecast_slows_the_pace_and_more_hastens_it():
    slow, fast = (
        pace_of(compare_plans([plan(100, 0.6)], plan(400, came), 0.9), 0.9) for came in (0.7, 0.9)
    )
    assert slow.value == pytest.approx(0.5, abs=0.05)  # half of the gain, measured surely
    assert fast.value == pytest.approx(1.5, abs=0.05)


def test_what_is_measured_badly_corrects_little():
    outcome = compare_plans([plan(100, 0.6, half=0.3)], plan(400, 0.7, half=0.3), 0.9)
    assert pace_of(outcome, 0.9).value == pytest.approx(1.0, abs=0.1)


def test_equal_sizes_are_no_history():
    assert compare_plans([plan(100, 0.6)], plan(100, 0.7), 0.9) == ()
    assert pace_of((), 0.9).value == 1.0
