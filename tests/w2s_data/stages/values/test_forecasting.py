"""Forecast of values: what options are expected to err, from features or ready-made values."""

from __future__ import annotations

import numpy as np
import pytest

from w2s_data.compute.context import Compute
from w2s_data.errors import NotApplicableError, SplitError
from w2s_data.stages.checks import Known
from w2s_data.stages.graph import FORECAST, check_of, function_of
from w2s_data.stages.settings import ForecastSettings, ScoreSettings
from w2s_data.stages.values.forecasting import check_value_forecast, forecast_values
from w2s_data.stages.values.scoring import score_values


def _errors(summary):
    return {option["name"]: option["mse"] for option in summary["options"]}


def test_the_stage_is_that_of_the_graph():
    assert function_of(FORECAST, "regression") is forecast_values
    assert check_of(FORECAST, "regression") is check_value_forecast


def test_errors_are_those_of_the_world(run_of):
    run = run_of()
    summary = forecast_values(run).summary
    errors = _errors(summary)
    # The teacher lacks two columns with coefficients 1 and 1/2, the noise has variance 1/4.
    assert errors["teacher"]["low"] < 1.5 < errors["teacher"]["high"]
    assert errors["gold"]["low"] < 0.25 * 60 / 55 < errors["gold"]["high"]
    assert summary["advised"] == "gold"
    assert summary["discrepancy"]["risks"]["noise"] == pytest.approx(0.25, rel=0.5)
    assert not summary["warnings"]
    measured = summary["discrepancy"]["measured"]
    teacher, student, gold, ceiling = measured["models"]
    # Both see the same two columns: the student inherits all of its teacher's variance.
    assert measured["inherited"] == pytest.approx(1.0, abs=0.02)
    assert student["mse"]["value"] == pytest.approx(teacher["mse"]["value"], rel=0.05)
    assert gold["mse"]["low"] < 0.25 * 60 / 55 < gold["mse"]["high"]
    assert ceiling["noise"] == pytest.approx(0.25, rel=0.3)
    assert forecast_values(run).fresh


def test_ready_made_values_take_the_place_of_a_teacher(run_of):
    summary = forecast_values(run_of(weak_values="near", weak=False)).summary
    errors = _errors(summary)
    assert errors["teacher"]["low"] < 1.0 < errors["teacher"]["high"]
    # The student averages the noise of 120 weak values of four columns.
    assert errors["weak"]["value"] < 0.6
    assert any("came with the data" in text for text in summary["warnings"])


def test_recalibrated_values_are_forecast_as_such(run_of):
    run = run_of(weak_values="far")
    assert _errors(forecast_values(run).summary)["teacher"]["value"] > 50
    score_values(run, ScoreSettings(recalibrate=True), Compute(seed=0))
    assert _errors(forecast_values(run).summary)["teacher"]["value"] < 1


def test_what_cannot_be_forecast_is_said(run_of, world):
    table, _ = world
    known = Known(run_of().dataset(), frozenset({"strong", "weak"}))
    with pytest.raises(NotApplicableError, match="student_l2 is of classes"):
        check_value_forecast(ForecastSettings(student_l2=0.5), known)
    few = table.assign(split=np.where(np.arange(len(table)) < 3, "labelled", "pool"))
    with pytest.raises(SplitError, match="3 labelled rows with a value"):
        forecast_values(run_of(few))
