"""Scores of values: the teacher, how sure it is, the scale of weak values."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LinearRegression

from w2s_data import Run
from w2s_data.errors import NotApplicableError, SplitError
from w2s_data.stages.checks import Known, check_stages
from w2s_data.stages.graph import SCORE, check_scored, function_of
from w2s_data.stages.settings import ScoreSettings
from w2s_data.stages.values.scoring import score_values
from w2s_data.stages.values.weak import ValueLabels, weak_values_of


def test_the_stage_is_that_of_the_graph():
    assert function_of(SCORE, "regression") is score_values


def test_the_teacher_is_a_regression_whose_rows_are_left_out(run_of):
    run = run_of()
    summary = score_values(run).summary
    dataset, weak = run.dataset(), weak_values_of(run, run.dataset())
    assert (summary["task"], weak.names) == ("regression", ("teacher",))
    check_scored(run)
    features = run.dataset() and np.load(run.path / "features" / "weak.npy")
    gold, pool = dataset.rows("labelled"), dataset.rows("pool")
    # The penalty is small beside 60 rows, so that least squares says nearly the same.
    plain = LinearRegression().fit(features[gold], dataset.targets[gold])
    expected = plain.predict(features[pool])
    np.testing.assert_allclose(weak.mean[pool], expected, atol=0.1)
    first = np.delete(gold, 0)
    without = LinearRegression().fit(features[first], dataset.targets[first])
    np.testing.assert_allclose(weak.mean[gold[0]], without.predict(features[gold[:1]])[0], atol=0.1)
    wrong = dataset.targets[pool] - weak.mean[pool]
    assert summary["weak_mse"]["value"] == pytest.approx(float((wrong**2).mean()))
    assert summary["weak_mse"]["n"] == len(pool)
    # The features that it lacks, and the noise, are what it cannot know.
    assert weak.error[pool].mean() ** 2 == pytest.approx(1.0 + 0.25 + 0.25, rel=0.35)


def test_confidence_is_the_share_of_the_variance_that_the_error_leaves(run_of):
    run = run_of(weak_values="near", weak_errors="near_se", source="site")
    summary = score_values(run).summary
    scores = run.read_table("scores.parquet")
    dataset = run.dataset()
    variance = dataset.targets[dataset.rows("labelled")].var()
    expected = 1 - (1.0 + (np.arange(240) % 3)) ** 2 / variance
    np.testing.assert_allclose(scores["confidence"], np.clip(expected, 0, 1))
    np.testing.assert_allclose(scores["weak_value"], dataset.weak_values[:, 0])
    assert [record["name"] for record in summary["by_source"]] == ["a", "b"]
    parts = [record["weak_mse"] for record in summary["by_source"]]
    assert sum(part["n"] for part in parts) == summary["weak_mse"]["n"] == 120


def test_an_error_of_a_few_values_is_never_below_0(world, run_of):
    table, _ = world
    pool = np.flatnonzero(table["split"] == "pool")
    few = table.assign(y=table["y"].mask(table.index.isin(pool[5:])))
    few.loc[pool[0], "near"] += 60.0  # one large error among small ones
    run = run_of(few, weak_values="near")
    found = score_values(run).summary["weak_mse"]
    assert found["n"] == 5
    assert 0 < found["low"] < found["value"] < found["high"]
    known = run.read_summary("posterior.json")
    assert known["n_known"] == 5
    assert all(known[name]["low"] > 0 for name in ("mse", "weak_mse"))


def test_several_teachers_differ_where_they_are_unsure():
    values = np.array([[1.0, 3.0], [2.0, np.nan], [np.nan, np.nan]])
    weak = ValueLabels(values, np.array([[1.0, 2.0], [1.0, 2.0], [1.0, 2.0]]), ("a", "b"))
    # Weights are 1 and 1/4 where both answer.
    np.testing.assert_allclose(weak.mean, [(1 + 3 / 4) / (5 / 4), 2.0, np.nan])
    # A teacher of mean precision, plus the variance between the teachers where both answer.
    np.testing.assert_allclose(weak.error**2, [2 / (5 / 4) + 2.0, 1.0, np.nan])
    np.testing.assert_allclose(weak.confidence(9.0), [1 - 3.6 / 9, 1 - 1 / 9, 0.0])
    alone = ValueLabels(values[:, :1], None, ("a",))
    assert alone.confidence(9.0) is None


def test_another_scale_is_seen_and_recalibrated(run_of):
    run = run_of(weak_values="far")
    summary = score_values(run).summary
    (scale,) = summary["scales"]
    assert scale["far"]
    assert not scale["applied"]
    assert any("recalibrate applies the line" in text for text in summary["warnings"])
    # y = (far - 5) / 2, and the noise of the weak values flattens the slope a little.
    assert scale["slope"]["low"] < 0.5 < scale["slope"]["high"]
    assert scale["offset"]["low"] < -2.5 < scale["offset"]["high"]

    score_values(run, ScoreSettings(recalibrate=True))
    run = Run.open(run.path)
    weak, dataset = weak_values_of(run, run.dataset()), run.dataset()
    gold = dataset.rows("labelled")
    line = np.polyfit(dataset.weak_values[gold, 0], dataset.targets[gold], 1)
    np.testing.assert_allclose(weak.mean, np.polyval(line, dataset.weak_values[:, 0]))
    summary = run.read_summary("overlap.json")
    assert summary["weak_mse"]["r2"] > 0.9
    assert not any("line" in text for text in summary["warnings"])


def test_a_right_scale_is_left_alone(run_of):
    summary = score_values(run_of(weak_values="near")).summary
    assert not summary["scales"][0]["far"]
    assert summary["density"]["value"] is None
    assert any("without standard errors" in text for text in summary["warnings"])
    assert not any("confidence is constant" in text for text in summary["warnings"])


def test_equal_errors_are_told_in_words_of_values(world, run_of):
    run = run_of(world[0].assign(near_se=0.5), weak_values="near", weak_errors="near_se")
    summary = score_values(run).summary
    assert summary["density"]["value"] is None
    told = "give standard errors that differ from row to row (weak_errors)"
    assert [told in text for text in summary["warnings"]].count(True) == 1
    assert not any("probabilities" in text for text in summary["warnings"])


def test_targets_that_are_all_the_same_are_refused(world, run_of):
    run = run_of(world[0].assign(y=3.5), weak_values="near")
    with pytest.raises(SplitError, match=r"all 60 gold values of the labelled split are 3\.5"):
        score_values(run)


def test_equal_items_are_taught_once(world, run_of):
    table, _ = world
    table = table.copy()
    table.loc[4, "text"] = table.loc[0, "text"]  # both are in the labelled split
    run = run_of(table)
    score_values(run)
    weak = weak_values_of(run, run.dataset())
    assert weak.mean[4] == weak.mean[0]


def test_values_worse_than_their_mean_are_warned_of(world, run_of):
    table, _ = world
    summary = score_values(run_of(table.assign(near=-table["y"]), weak_values="near")).summary
    assert "weak_below_usual" in [warning["code"] for warning in summary["data_warnings"]]


@pytest.mark.parametrize(
    ("settings", "change", "message"),
    [
        ({"reference": True}, {}, "leave out reference"),
        ({"recalibrate": True}, {"near": "learned"}, "has their scale"),
        ({"recalibrate": True}, {"y": [1.5, 2.5] + [np.nan] * 238}, "needs 10 gold rows or more"),
    ],
)
def test_refuses_what_values_lack(world, run_of, settings, change, message):
    learned = change.get("near") == "learned"
    table = world[0] if learned else world[0].assign(**change)
    table.loc[table["y"].isna(), "split"] = "pool"
    run = run_of(table, **({} if learned else {"weak_values": "near"}))
    with pytest.raises(NotApplicableError, match=message):
        score_values(run, ScoreSettings(**settings))


def test_a_fresh_score_is_read(run_of):
    run = run_of()
    assert not score_values(run).fresh
    assert score_values(run).fresh
    check_stages({"score": ScoreSettings()}, Known(run.dataset(), frozenset({"weak", "strong"})))


def test_scores_hold_what_the_report_reads(run_of):
    run = run_of(weak_values="near", weak_errors="near_se")
    score_values(run)
    scores = pd.read_parquet(run.path / "scores.parquet")
    assert list(scores.columns) == [
        *("id", "split", "region", "confidence", "alignment", "weak_value", "weak_error"),
        "shift_weight",
    ]
