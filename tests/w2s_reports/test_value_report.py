"""The report of runs whose labels are values: numbers, sentences, formats, gate."""

from __future__ import annotations

import json

import pytest

from tests.w2s_reports.conftest import HOSTILE
from tests.w2s_reports.value_runs import forecast_summary, gain_summary, make_value_run
from w2s_data.stages.rounds import accuracies_at_test, accuracies_of_pool
from w2s_reports import build_report, summarize
from w2s_reports.render import render, render_stage, stage_line


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return make_value_run(tmp_path_factory.mktemp("values") / "run")


@pytest.fixture(scope="module")
def summary(run):
    return summarize(run)


def test_the_advised_option_stands_first(summary):
    headline = summary["verdict"]["headline"]
    assert headline["words"] == "Train on both"
    assert "MSE 0.400 (R² 0.800) against 0.600 with the gold labels alone" in headline["evidence"]
    assert "33.3% lower" in headline["evidence"]


def test_the_forecast_is_compared_with_the_measurement(summary):
    # 1.05, 0.55, 0.75 and 0.45 with 0.1 on both sides hold 1.0, 0.6, 0.7 and 0.4.
    text = "The forecast had advised the same; 4 of its 4 intervals hold what was measured."
    assert text in summary["verdict"]["sentences"]


def test_predictions_are_judged_on_test_items(summary):
    teacher, student = summary["fit"]["models"]
    assert summary["fit"]["n"] == 80
    # Noise of the predictions makes them lie too far apart: slopes of var / (var + noise).
    assert teacher["slope"]["low"] < 2 / 3 < teacher["slope"]["high"]
    assert student["slope"]["low"] < 2 / 2.36 < student["slope"]["high"]
    assert student["rmse"] == pytest.approx(0.6, abs=0.12)
    assert "too far apart" in summary["fit"]["reading"]


def test_worst_items_come_first(summary):
    items = summary["examples"]["worst"]["kinds"][0]["items"]
    errors = [abs(item["target"] - item["student_value"]) for item in items]
    assert errors == sorted(errors, reverse=True)
    assert all(item["split"] == "test" for item in items)


def test_the_page_opens_with_the_worst_items(run):
    page = build_report(run).to_html()
    assert page.index('id="tab-worst"') < page.index('id="tab-telling"')
    assert page.index('id="panel-worst"') < page.index('id="panel-telling"')


def test_stated_errors_are_checked_on_labelled_items(summary):
    # Drawn with standard deviation .6, and stated as .5 to .7.
    assert summary["posterior"]["within"]["value"] > 0.85
    assert summary["posterior"]["n_checked"] == 80


@pytest.mark.parametrize("kind", ["markdown", "terminal", "json"])
def test_text_formats_have_the_errors(summary, kind):
    text = render(summary, kind)
    assert "0.400" in text or '"value": 0.4' in text
    assert "accuracy" not in text.casefold() or kind == "json"


def test_page_is_whole_and_escapes_names(tmp_path):
    run = make_value_run(tmp_path / "run", hostile=True)
    page = build_report(run).to_html()
    assert HOSTILE not in page
    assert "Predicted and gold values" in page
    assert "Mean squared error" in page or "mean squared error" in page


def test_page_of_a_run_without_later_stages(tmp_path):
    summary = summarize(make_value_run(tmp_path / "run", stages=()))
    assert summary["gain"]["hint"]
    assert "w2s forecast" in summary["verdict"]["hint"]
    # Labelled items remain to judge the teacher by.
    assert [m["key"] for m in summary["fit"]["models"]] == ["teacher"]


def test_a_stage_is_told_in_the_terminal():
    text = render_stage("gain", gain_summary())
    assert "+0.600" in text
    assert "failed: confidence" in text


@pytest.mark.parametrize(
    ("condition", "failed"),
    [
        ("gain<0.5", False),
        ("gain_low<0.55", True),
        ("mse.gold>0.5", True),
        ("relative_gain<10%", False),
    ],
)
def test_gate_reads_errors(run, condition, failed):
    (outcome,) = summarize(run, fail_on=[condition])["gate"]
    assert outcome["failed"] is failed


def test_gate_says_why_accuracies_are_unknown(run):
    (outcome,) = summarize(run, fail_on=["accuracy.gold<0.5"])["gate"]
    assert outcome["failed"] is None
    assert "labels are values" in outcome["reason"]


def test_summary_is_plain_json(summary):
    assert json.loads(json.dumps(summary, allow_nan=False)) == summary


def test_two_runs_are_compared_by_their_errors(run, tmp_path):
    other = make_value_run(tmp_path / "other", seed=1)
    compared = summarize(run, baseline=other)["comparison"]
    sections = {section["key"]: section["rows"] for section in compared["sections"]}
    names = [row["name"] for row in sections["gain"]]
    assert names[:5] == ["MSE, teacher", "MSE, gold", "MSE, weak", "MSE, both", "ceiling's MSE"]
    assert {row["unit"] for row in sections["gain"]} == {"value", "change"}
    page = build_report(run, tmp_path / "page.html", baseline=other).to_html()
    assert "Errors of both runs" in page


@pytest.mark.parametrize(
    ("stage", "result"), [("gain", gain_summary()), ("forecast", forecast_summary())]
)
def test_a_stage_has_a_line(stage, result):
    assert "both" in stage_line(stage, result)


def test_rounds_of_values_have_errors():
    assert accuracies_at_test(gain_summary())["students"]["stacked"]["value"] == 0.4
    written = {"task": "regression", "mse": {"value": 0.3}, "weak_mse": {"value": 1.0}}
    assert accuracies_of_pool(written)["posterior"] == {"value": 0.3}


def test_the_line_of_scores_needs_no_count_of_wrong_labels():
    density = {"value": 0.25, "low": 0.2, "high": 0.3, "level": 0.95}
    summary = {"density": density, "n_scored": 80, "posterior": {"unknown": ""}}
    assert stage_line("score", summary) == (
        "overlap density 25.0% (20.0–30.0%, sampling only) of 80 pool items"
    )


def test_scores_have_a_line_without_classes(run):
    overlap = json.loads((run / "overlap.json").read_text())
    line = stage_line("score", overlap | {"posterior": {"unknown": "", "error": 1.5}})
    assert line.endswith("values of the posterior are off by 1.50")
