"""Posterior values against known truths: weights, abstentions, calibrated errors, few rows."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from w2s_data.errors import DegenerateDataWarning, InputError, SplitError
from w2s_data.regression import ValuePosterior
from w2s_data.regression.inputs import mean_value
from w2s_data.regression.pooling import LinearPool


def world(rng, n=600, n_gold=60, noise=0.5):
    """Targets on two directions, a teacher that knows one, and gold values of some rows."""
    x = rng.normal(size=(n, 6))
    y = 10 + 2 * x[:, 0] + x[:, 1] + noise * rng.normal(size=n)
    weak = 10 + 2 * x[:, 0] + 0.8 * rng.normal(size=n)
    return x, y, weak, np.where(np.arange(n) < n_gold, y, np.nan)


def error(values, y, rows):
    return float(np.mean((values - y)[rows] ** 2))


def test_it_is_better_than_each_view(rng):
    x, y, weak, gold = world(rng)
    posterior = ValuePosterior(random_state=0).fit(x, weak, targets=gold)
    pool = np.isnan(gold)
    own = error(posterior.values_, y, pool)
    for view in posterior.views_.T:
        assert own < error(view, y, pool)
    assert (posterior.weights_ >= 0).all()
    assert posterior.weights_.index.tolist() == ["teacher", "gold values", "student"]
    fresh, truth, taught, _ = world(rng)
    assert error(posterior.predict(fresh, taught), truth, slice(None)) < 1.2 * own


def test_errors_hold_nine_targets_in_ten():
    covered = []
    for seed in range(8):
        rng = np.random.default_rng(seed)
        x, y, weak, gold = world(rng)
        posterior = ValuePosterior(random_state=seed).fit(x, weak, targets=gold)
        covered.append(np.abs(posterior.values_ - y) < 1.645 * posterior.errors_)
    assert 0.86 < np.mean(covered) < 0.95


def test_a_teacher_that_abstains_has_no_weight_there(rng):
    x, y, weak, gold = world(rng)
    silent = rng.random(len(y)) < 0.3
    other = y + rng.normal(size=len(y))
    both = np.column_stack([np.where(silent, np.nan, other), weak])
    posterior = ValuePosterior(random_state=0).fit(x, both, targets=gold)
    assert np.isfinite(posterior.values_).all()
    pool = np.isnan(gold)
    without = ValuePosterior(random_state=0).fit(x, weak, targets=gold)
    apart = posterior.values_ - without.values_
    assert np.abs(apart[silent & pool]).mean() < 0.5 * np.abs(apart[~silent & pool]).mean()
    assert error(posterior.values_, y, pool) < error(without.values_, y, pool)


def test_a_worthless_teacher_gets_next_to_no_weight(rng):
    x, _, _, gold = world(rng)
    posterior = ValuePosterior(random_state=0).fit(x, rng.normal(size=len(x)), targets=gold)
    assert posterior.weights_["teacher"] < 0.15
    assert posterior.weights_["gold values"] > 0.8


def test_teachers_that_learned_from_gold_rows_are_retrained(rng):
    """Thirty features that fit 40 gold rows nearly perfectly look trustworthy if they are not."""
    n, n_gold = 400, 40
    x = rng.normal(size=(n, 60))
    y = x[:, :2].sum(axis=1) + rng.normal(size=n)
    gold = np.where(np.arange(n) < n_gold, y, np.nan)
    weak = x[:, 30:]

    def learn(rows):
        coef = np.linalg.lstsq(weak[rows], y[rows], rcond=None)[0]
        return weak @ coef

    values = learn(np.arange(n_gold))
    honest = ValuePosterior(random_state=0).fit(x, values, targets=gold, relabel=learn)
    fooled = ValuePosterior(random_state=0).fit(x, values, targets=gold)
    assert honest.view_errors_["student"] > 1.5 * fooled.view_errors_["student"]


def test_one_gold_row_warns_and_stays_near_the_views(rng):
    x, y, weak, _ = world(rng)
    gold = np.where(np.arange(len(y)) == 3, y, np.nan)
    with pytest.warns(DegenerateDataWarning, match="one gold row"):
        posterior = ValuePosterior(random_state=0).fit(x, weak, targets=gold)
    assert error(posterior.values_, y, np.isnan(gold)) < y.var()
    assert np.isnan(posterior.errors_).all()


def test_wide_and_collinear_features(rng):
    x, y, weak, gold = world(rng, n=200, n_gold=20)
    wide = np.hstack([x, x, rng.normal(size=(200, 500))])
    posterior = ValuePosterior(random_state=0).fit(wide, weak, targets=gold)
    assert error(posterior.values_, y, np.isnan(gold)) < error(weak, y, np.isnan(gold))


def test_the_pool_minimises_the_squared_error_with_its_prior(rng):
    views = rng.normal(size=(300, 3))
    targets = views @ [0.7, 0.2, 0.0] + 5 + 0.1 * rng.normal(size=300)
    pool = LinearPool(views, targets)
    np.testing.assert_allclose(pool.weights, [0.7, 0.2, 0.0], atol=0.03)
    assert pool.offset == pytest.approx(5, abs=0.1)
    assert (LinearPool(views, -targets).weights >= 0).all()


def test_errors_that_are_all_unknown_are_none():
    weak = np.array([[1.0, 3.0], [2.0, np.nan]])
    values, errors = mean_value(weak, np.full((2, 2), np.nan))
    np.testing.assert_array_equal(values, [2.0, 2.0])
    assert errors is None


def test_mean_of_teachers_by_their_errors():
    values, errors = mean_value(np.array([[1.0, 4.0], [np.nan, 2.0]]), np.array([[1.0, 2.0]] * 2))
    np.testing.assert_allclose(values, [(1 + 4 / 4) / 1.25, 2.0])
    np.testing.assert_allclose(errors, [np.sqrt(2 / 1.25), 2.0])


def test_refusals(rng):
    x, _, weak, gold = world(rng)
    with pytest.raises(SplitError, match="no row has a gold value"):
        ValuePosterior().fit(x, weak, targets=np.full(len(x), np.nan))
    with pytest.raises(InputError, match="targets are infinite in row 5"):
        ValuePosterior().fit(x, weak, targets=np.where(np.arange(600) == 5, np.inf, gold))
    with pytest.raises(InputError, match="weak_values must be numbers"):
        ValuePosterior().fit(x, np.full(600, "high"), targets=gold)
    with pytest.raises(InputError, match="NaN everywhere"):
        ValuePosterior().fit(x, np.full(600, np.nan), targets=gold)


def test_the_same_seed_gives_the_same_values(rng):
    x, _, weak, gold = world(rng)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        one, two = (ValuePosterior(random_state=1).fit(x, weak, targets=gold) for _ in range(2))
    np.testing.assert_array_equal(one.errors_, two.errors_)


def test_exact_weak_values_count_alike(rng):
    x, _, weak, gold = world(rng, n=200)
    plain, exact = (
        ValuePosterior(random_state=0).fit(x, weak, targets=gold, weak_errors=errors)
        for errors in (None, np.zeros(200))
    )
    assert exact.student_ is not None
    np.testing.assert_allclose(exact.values_, plain.values_)
    values, errors = mean_value(np.array([[1.0, 3.0]]), np.zeros((1, 2)))
    np.testing.assert_allclose(values, 2.0)
    assert 0 < errors[0] < 1e-70


def test_teachers_that_are_not_those_of_the_fit_are_refused(rng):
    x, _, weak, gold = world(rng, n=200)
    posterior = ValuePosterior(random_state=0).fit(x, weak, targets=gold)
    with pytest.raises(InputError, match="weak_values have 2 teachers, the rows of the fit 1"):
        posterior.predict(x[:5], np.stack([weak[:5]] * 2, axis=1))
    with pytest.raises(InputError, match=r"one name for each teacher \(1 here\); got 2"):
        ValuePosterior().fit(x, weak, targets=gold, weak_names=("a", "b"))


@pytest.mark.parametrize(
    ("said", "message"),
    [
        (None, r"values of relabel must be numbers of shape \(200,\)"),
        (np.ones(10), r"values of relabel must be numbers of shape \(200,\)"),
        (np.ones((200, 2)), "values of relabel have 2 teachers, weak_values 1"),
    ],
)
def test_a_teacher_that_relabels_other_rows_is_refused(rng, said, message):
    x, _, weak, gold = world(rng, n=200)
    with pytest.raises(InputError, match=message):
        ValuePosterior().fit(x, weak, targets=gold, relabel=lambda _: said)
