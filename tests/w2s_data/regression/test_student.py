"""Students of values: each method, each head, files, and refusals."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import HuberRegressor, Ridge

from w2s_data import finetune, regression
from w2s_data.errors import FeatureError, InputError
from w2s_data.finetune import TrainingError
from w2s_data.regression import available_methods, fit_student, make_method
from w2s_data.regression.methods import REFUSED


@pytest.fixture
def world(rng):
    x = rng.normal(size=(500, 8))
    y = 50 + 10 * (x[:, 0] + x[:, 1]) + 3 * rng.normal(size=500)
    weak = 50 + 10 * x[:, 0] + 4 * rng.normal(size=500)
    return x, y, weak, np.where(np.arange(500) < 50, y, np.nan)


@pytest.mark.parametrize("method", available_methods())
def test_every_method_learns_something(world, method, tmp_path):
    x, y, weak, gold = world
    both = np.column_stack([weak, y + 15 * np.random.default_rng(1).normal(size=500)])
    student = fit_student(
        method, x, both if method == "vote" else weak, targets=gold, seeds=2, random_state=0
    )
    rows = np.isnan(gold)
    # The one of the leading quarter of the directions may miss the signal.
    if method != "bootstrap":
        assert np.mean((student.predict(x) - y)[rows] ** 2) < 0.9 * y.var()
    student.save(tmp_path / "student")
    again = regression.Student.load(tmp_path / "student")
    np.testing.assert_allclose(again.predict(x), student.predict(x), atol=1e-12)
    assert again.to_dict() == student.to_dict()


def test_every_registered_method_works_or_is_refused_with_a_reason():
    assert set(finetune.available_methods()) == ({*available_methods(), *REFUSED} - {"vote"})
    for name in REFUSED:
        with pytest.raises(InputError, match="has no meaning for values"):
            make_method(name)
    with pytest.raises(InputError, match="did you mean 'naive'"):
        make_method("naiv")


def test_stacked_joins_what_each_source_knows(rng):
    """The teacher knows too little of one feature, and 60 gold rows too little of forty."""
    x = rng.normal(size=(500, 40))
    y = 50 + 10 * (x[:, 0] + x[:, 1]) + 3 * rng.normal(size=500)
    weak = 50 + 10 * (x[:, 0] + 0.8 * x[:, 1]) + 4 * rng.normal(size=500)
    gold = np.where(np.arange(500) < 60, y, np.nan)
    rows = np.isnan(gold)
    errors = {
        name: np.mean((fit_student(name, x, weak, targets=gold).predict(x) - y)[rows] ** 2)
        for name in ("stacked", "naive", "labelled_only")
    }
    assert errors["stacked"] < min(errors["naive"], errors["labelled_only"])


def test_naive_weights_by_precision(world):
    x, _, weak, _ = world
    errors = np.where(np.arange(500) < 250, 1.0, 2.0)
    student = fit_student("naive", x, weak, weak_errors=errors, l2=0.02)
    weights = 1 / errors**2
    expected = Ridge(0.01 * 500).fit(x, weak, weights / weights.mean())
    np.testing.assert_allclose(student.predict(x), expected.predict(x), atol=1e-8)


def test_crossfit_drops_what_the_student_does_not_confirm(world):
    x, y, weak, _ = world
    wrong = np.arange(500) % 10 == 0
    student = fit_student("crossfit", x, np.where(wrong, weak + 500, weak))
    naive = fit_student("naive", x, np.where(wrong, weak + 500, weak))
    assert 0.7 < student.diagnostics["kept_share"] <= 0.9
    assert np.mean((student.predict(x) - y) ** 2) < 0.2 * np.mean((naive.predict(x) - y) ** 2)


@pytest.mark.parametrize("targets", [True, False])
def test_vote_trusts_the_better_teachers(world, rng, targets):
    x, y, _, gold = world
    weak = np.column_stack([y + size * rng.normal(size=500) for size in (1, 3, 30)])
    student = fit_student("vote", x, weak, targets=gold if targets else None)
    reliability = student.diagnostics["reliability"]
    assert reliability == sorted(reliability, reverse=True)
    with pytest.raises(TrainingError, match="two teachers or more"):
        fit_student("vote", x, weak[:, :1])


def test_ridgeless_interpolates_gold_rows(rng):
    x, y = rng.normal(size=(20, 60)), rng.normal(size=20)
    student = fit_student("labelled_only", x, np.zeros(20), targets=y, head="ridgeless")
    np.testing.assert_allclose(student.predict(x), y, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("head", ["squared", "huber"])
def test_trained_heads_reach_the_closed_forms(world, head):
    x, y, _, _ = world
    targets = np.where(np.arange(500) % 20 == 0, y + 200, y) if head == "huber" else y
    student = fit_student(
        "labelled_only",
        x,
        np.zeros(500),
        targets=targets,
        head=head,
        epochs=100,
        l2=1e-8,
        random_state=0,
    )
    if head == "squared":
        other = Ridge(1e-6).fit(x, y)
    else:
        # The threshold is another, on the residuals; outliers move least squares by 10.
        other = HuberRegressor(alpha=0.0, max_iter=1000).fit(x, targets)
    assert np.abs(student.predict(x) - other.predict(x)).max() < (0.3 if head == "squared" else 3)


def test_refusals(world):
    x, _, weak, _ = world
    with pytest.raises(FeatureError, match="trained on 8 features; got 7"):
        fit_student("naive", x, weak).predict(x[:, :7])
    with pytest.raises(TrainingError, match="no row has a gold value"):
        fit_student("stacked", x, weak)
    with pytest.raises(InputError, match="head must be 'ridge'"):
        fit_student("naive", x, weak, head="rigde")
    with pytest.raises(InputError, match="row counts disagree"):
        fit_student("naive", x[:10], weak)
    with pytest.raises(InputError, match="pass items"):
        fit_student("naive", None, weak, tuning="full", model="models/none")
    with pytest.raises(InputError, match="has no parameter 'widht'"):
        fit_student("crossfit", x, weak, widht=1)


@pytest.mark.parametrize("head", ["squared", "huber"])
def test_early_stopping_keeps_the_epoch_of_the_least_squared_error(world, head):
    x, _, weak, _ = world
    mirrored = 2 * weak.mean() - weak[:200]  # the more it learns, the further it is from these
    stopped, whole = (
        fit_student(
            "naive", x, weak, head=head, validation=own, random_state=0, epochs=30, patience=2
        )
        for own in ((x[:200], mirrored), None)
    )
    losses = stopped.history["validation_loss"]
    assert losses.idxmin() == 0
    assert len(losses) == 3
    assert len(whole.history) == 30
    error = np.mean((stopped.predict(x[:200]) - mirrored) ** 2)
    assert error < 0.5 * np.mean((whole.predict(x[:200]) - mirrored) ** 2)
    with pytest.raises(InputError, match=r"validation values must have shape \(200,\); got \(9,\)"):
        fit_student("naive", x, weak, head=head, validation=(x[:200], mirrored[:9]))
