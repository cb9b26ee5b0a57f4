"""Gains in squared error against direct computation: paired intervals, ratios, parts, advice."""

from __future__ import annotations

import json

import numpy as np
import pytest
from sklearn.linear_model import RidgeCV
from sklearn.metrics import mean_absolute_error, mean_squared_error, r2_score

from tests.kinds import make_texts, save_model
from w2s_data.errors import DegenerateDataWarning, EmptyDataError, InputError, SplitError
from w2s_data.finetune.gain.intervals import Score
from w2s_data.regression import measure_gain
from w2s_data.regression.scores import ErrorScorer
from w2s_data.utils.io import jsonable

N = 900


@pytest.fixture
def world(rng):
    x = rng.normal(size=(N, 20))
    y = 0.5 + 0.01 * (x[:, :3] @ [2, 1, 0.5] + 0.5 * rng.normal(size=N))  # small units
    weak = 0.5 + 0.02 * x[:, 0] + 0.01 * rng.normal(size=N)
    splits = np.repeat(["labelled", "pool", "test"], [40, 560, 300])
    return x, weak, y, splits


def test_errors_are_those_of_scikit_learn(world):
    x, weak, y, splits = world
    result = measure_gain(x, weak, y, splits, seeds=1)
    test = splits == "test"
    own = result.references["teacher"]
    assert own["mse"].value == pytest.approx(mean_squared_error(y[test], weak[test]))
    assert own["mae"].value == pytest.approx(mean_absolute_error(y[test], weak[test]))
    assert own["r2"].value == pytest.approx(r2_score(y[test], weak[test]))
    assert own["rmse"].value == pytest.approx(own["mse"].value ** 0.5)
    known = splits == "labelled"
    gold = RidgeCV(np.logspace(-4, 4, 200)).fit(x[known], y[known])
    expected = mean_squared_error(y[test], gold.predict(x[test]))
    assert result.references["labelled_only"]["mse"].value == pytest.approx(expected, rel=0.02)
    table = result.predictions()
    apart = (table["stacked"] - table["target"]) ** 2 - (table["teacher"] - table["target"]) ** 2
    assert result["stacked"].gain.value == pytest.approx(-apart.mean())
    # Paired: the standard error of the mean difference.
    half = 1.97 * apart.std() / np.sqrt(300)
    assert result["stacked"].gain.high - result["stacked"].gain.value == pytest.approx(
        half, rel=0.1
    )


def test_ratios_follow_from_the_errors(world):
    result = measure_gain(*world, seeds=1)
    teacher, ceiling, gold = (
        result.references[name]["mse"].value for name in ("teacher", "ceiling", "labelled_only")
    )
    method = result["stacked"]
    own = method.measures["mse"].value
    assert method.pgr.value == pytest.approx((teacher - own) / (teacher - ceiling))
    assert method.opr.value == pytest.approx(gold / own)
    assert method.relative_gain.value == pytest.approx(1 - own / teacher)
    assert method.over_labelled.value == pytest.approx(gold - own)


def test_the_summary_is_json_and_names_what_is_undefined(world):
    x, _, y, splits = world
    result = measure_gain(x, y, y, splits, methods=["naive", "vote"], seeds=1)
    found = json.loads(json.dumps(jsonable(result.to_dict())))
    assert found["task"] == "regression"
    assert found["advised"] == "teacher"
    (method,) = found["methods"]
    assert method["pgr"] is None
    assert "teacher's MSE minus the ceiling's" in method["pgr_reason"]
    assert "two teachers or more" in found["failures"]["vote"]
    assert "stacked" in found["options"][3]["reason"]
    assert "use the teacher" in repr(result)


def test_units_of_the_target_change_nothing_but_the_units(world):
    x, weak, y, splits = world
    one = measure_gain(x, weak, y, splits, seeds=1)
    two = measure_gain(x, 1000 * weak, 1000 * y, splits, seeds=1)
    for name in ("value", "low", "high"):
        small, large = (getattr(r["stacked"].gain, name) for r in (one, two))
        assert large == pytest.approx(1e6 * small, rel=1e-6)
    assert one.advised == two.advised


def test_groups_and_splits(world, rng):
    x, weak, y, splits = world
    groups = np.where(x[:, 3] > 0, "a", "b")
    named = np.where((splits == "test") & (rng.random(N) < 0.4), "test_ood", splits)
    shifted = np.where(named == "test_ood", y + 0.1, y)
    result = measure_gain(x, weak, shifted, named, groups=groups, seeds=1)
    assert [split["name"] for split in result.splits] == ["test", "test_ood"]
    assert result.n_test == (named == "test").sum()
    inside = named == "test_ood"
    expected = mean_squared_error(shifted[inside], weak[inside])
    assert result.splits[1]["teacher"]["mse"]["value"] == pytest.approx(expected)
    group = next(own for own in result.groups if own["name"] == "a")
    rows = (named == "test") & (groups == "a")
    assert group["n"] == rows.sum()
    assert group["teacher"]["value"] == pytest.approx(mean_squared_error(y[rows], weak[rows]))
    worst = max(own["student"]["value"] for own in result.groups)
    assert result.worst_group[result.methods[0].name].value == pytest.approx(worst)


def test_copies_of_rows_do_not_narrow_the_intervals(world):
    x, weak, y, splits = world
    units = np.arange(N)
    once = measure_gain(x, weak, y, splits, seeds=1)
    test = splits == "test"
    many = [np.concatenate([part, *[part[test]] * 3]) for part in (x, weak, y, splits, units)]
    copied = measure_gain(*many[:4], units=many[4], seeds=1)
    ignored = measure_gain(*many[:4], seeds=1)
    spread = [r["stacked"].gain.high - r["stacked"].gain.low for r in (once, copied, ignored)]
    assert spread[1] == pytest.approx(spread[0], rel=0.1)
    assert spread[2] == pytest.approx(spread[0] / 2, rel=0.15)


def test_intervals_cover_the_true_difference():
    """Compare the squared errors of two fixed models over fresh test rows."""
    covered = []
    for seed in range(150):
        rng = np.random.default_rng(seed)
        y = rng.normal(size=80)
        models = {name: (y + s * rng.normal(size=80))[None] for name, s in (("a", 1), ("b", 0.7))}
        scorer = ErrorScorer(
            y, {"": np.ones(80, bool)}, np.arange(80), n_resamples=200, level=0.9, seed=seed
        )
        errors = scorer.score(models)
        found = scorer.difference(errors["a"][""] - errors["b"][""])
        covered.append(found.low < 1 - 0.49 < found.high)
    assert 0.82 < np.mean(covered) < 0.97


def test_resamples_are_shared_by_models_and_parts(rng):
    y = rng.normal(size=50)
    parts = {"": np.ones(50, bool), "half": np.arange(50) < 25}
    scorer = ErrorScorer(y, parts, np.arange(50), n_resamples=100, level=0.95, seed=0)
    errors = scorer.score({"a": y[None] + 1, "b": y[None] + 1})
    apart: Score = errors["a"]["half"] - errors["b"]["half"]
    assert not apart.replicates.any()


def test_whole_models_need_items(world):
    x, weak, y, splits = world
    with pytest.raises(InputError, match="pass items"):
        measure_gain(x, weak, y, splits, tuning="full", model="models/none", seeds=1)


def test_refusals(world):
    x, weak, y, splits = world
    with pytest.raises(InputError, match="method 'raven' has no meaning for values"):
        measure_gain(x, weak, y, splits, methods=["raven"])
    with pytest.raises(SplitError, match="row 899 of the test split have no gold value"):
        measure_gain(x, weak, np.where(np.arange(N) == 899, np.nan, y), splits)
    with pytest.raises(EmptyDataError, match="no row is in the pool split"):
        measure_gain(x, weak, y, np.where(splits == "pool", "labelled", splits))
    with pytest.raises(InputError, match="named twice"):
        measure_gain(x, weak, y, splits, methods=["naive", "naive"])
    with pytest.raises(InputError, match="names a reference"):
        measure_gain(x, weak, y, splits, methods={"teacher": "naive"})


def test_a_pool_without_gold_values_has_no_ceiling(world):
    x, weak, y, splits = world
    known = np.where(splits == "pool", np.nan, y)
    result = measure_gain(x, weak, known, splits, seeds=1)
    assert "560 of 560 pool rows have no gold value" in result.reasons["ceiling"]
    assert np.isnan(result["stacked"].pgr.value)
    assert result["stacked"].gain.low > 0


def test_constant_gold_values_are_reported(world):
    x, weak, y, splits = world
    same = np.where(splits == "labelled", 3.0, y)
    with pytest.warns(DegenerateDataWarning, match="all 40 gold values are 3"):
        result = measure_gain(x, weak, same, splits, seeds=1)
    assert result.advised == "weak"
    with pytest.warns(DegenerateDataWarning):
        result = measure_gain(x, weak, np.full(N, 3.0), splits, seeds=1)
    assert "all test targets are 3" in " ".join(result.warnings)
    assert np.isnan(result.references["teacher"]["r2"].value)


def test_one_gold_row_is_enough(world):
    x, weak, y, splits = world
    one = np.where((splits == "labelled") & (np.arange(N) > 0), "validation", splits)
    with pytest.warns(DegenerateDataWarning) as caught:
        result = measure_gain(x, weak, y, one, seeds=1)
    assert any("one gold row" in str(each.message) for each in caught)
    assert np.isfinite(result["stacked"].gain.value)
    assert result["stacked"].measures["mse"].value < 1.2 * result.references["teacher"]["mse"].value


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*undertrained")
def test_whole_models_take_part(rng, tmp_path):
    items, classes = make_texts(rng, 36)
    values = 100 + 30.0 * classes
    weak = values + 10 * rng.normal(size=36)
    splits = np.repeat(["labelled", "pool", "test"], 12)
    result = measure_gain(
        rng.normal(size=(36, 4)),
        weak,
        values,
        splits,
        methods=["naive", "bootstrap"],
        items=items,
        tuning="full",
        model=str(save_model(tmp_path / "model", "bert")),
        epochs=1,
        learning_rate=2e-2,
        device="cpu",
        seeds=[0],
    )
    assert result.tuning == "full"
    assert "tuning 'head'" in result.failures["bootstrap"]
    assert result.students["naive"].predict(items[:3]).shape == (3,)


def test_validation_rows_stop_students_that_are_trained_by_steps(world):
    x, weak, y, splits = world
    splits = splits.astype("<U10")
    splits[400:600] = "validation"
    mirrored = np.where(splits == "validation", 2 * weak.mean() - weak, y)
    how = {"methods": ["naive"], "seeds": 1, "head": "squared", "epochs": 20, "patience": 2}
    stopped, whole = (
        measure_gain(x, weak, mirrored, splits, early_stopping=on, **how) for on in (True, False)
    )
    # The more it learns, the further it is from the values of the validation rows.
    losses = stopped.students["naive"].history["validation_loss"]
    assert losses.idxmin() == 0
    assert len(losses) == 3
    assert stopped["naive"].measures["mse"].value > whole["naive"].measures["mse"].value
    with pytest.raises(InputError, match="head 'ridge' is in closed form, and early_stopping"):
        measure_gain(x, weak, y, splits, early_stopping=True)
    with pytest.raises(InputError, match="needs rows with gold values in the validation split"):
        measure_gain(*world, early_stopping=True, head="huber")
