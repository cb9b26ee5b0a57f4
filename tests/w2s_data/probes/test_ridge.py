"""Ridge probes against scikit-learn, least squares by numpy, and rows left out one by one."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import BayesianRidge, Ridge, RidgeCV
from sklearn.utils.estimator_checks import parametrize_with_checks

from w2s_data.errors import DegenerateDataWarning, FeatureError, InputError
from w2s_data.features.matrix import as_feature_matrix
from w2s_data.probes import spectrum
from w2s_data.probes.ridge import RidgeProbe

SHAPES = [(60, 10), (40, 100), (30, 30)]


def problem(rng, n, d):
    x = rng.normal(size=(n, d)) * np.logspace(0, -1, d) + 3
    return x, x @ rng.normal(size=d) + rng.normal(size=n), rng.uniform(0.2, 3, n)


@pytest.fixture(params=SHAPES, ids=["tall", "wide", "square"])
def data(request, rng):
    return problem(rng, *request.param)


@pytest.mark.parametrize("intercept", [True, False])
@pytest.mark.parametrize("weighted", [True, False])
def test_equals_scikit_learn(data, intercept, weighted):
    x, y, weights = data
    weights = weights if weighted else None
    penalties = np.logspace(-3, 3, 13)
    ours = RidgeProbe(penalties, fit_intercept=intercept).fit(x, y, weights)
    theirs = RidgeCV(penalties, fit_intercept=intercept, store_cv_results=True).fit(x, y, weights)
    assert ours.penalty_ == theirs.alpha_
    scores = theirs.cv_results_.reshape(len(y), -1).mean(axis=0)
    np.testing.assert_allclose(ours.scores_, scores, rtol=1e-7)
    other = Ridge(2.0, fit_intercept=intercept).fit(x, y, weights)
    probe = RidgeProbe(2.0, fit_intercept=intercept).fit(x, y, weights)
    np.testing.assert_allclose(probe.coef_, other.coef_, atol=1e-9)
    assert probe.intercept_ == pytest.approx(other.intercept_, abs=1e-9)


@pytest.mark.parametrize("penalty", [0.5, 0.0])
@pytest.mark.parametrize("intercept", [True, False])
def test_leaves_out_rows_as_refitting_does(data, intercept, penalty):
    x, y, weights = data
    probe = RidgeProbe(penalty, fit_intercept=intercept).fit(x, y, weights)
    for row in range(4):
        rest = np.arange(len(y)) != row
        again = RidgeProbe(penalty, fit_intercept=intercept).fit(x[rest], y[rest], weights[rest])
        assert probe.leave_one_out_[row] == pytest.approx(again.predict(x[[row]])[0], abs=1e-7)


def test_ridgeless_is_the_least_norm_solution(data):
    x, y, _ = data
    probe = RidgeProbe(0.0).fit(x, y)
    expected = np.linalg.pinv(x - x.mean(axis=0), rcond=1e-9) @ (y - y.mean())
    np.testing.assert_allclose(probe.coef_, expected, atol=1e-7)
    free = RidgeProbe(0.0, fit_intercept=False).fit(x, y)
    np.testing.assert_allclose(free.coef_, np.linalg.lstsq(x, y, rcond=1e-9)[0], atol=1e-6)


def test_predictive_errors_are_those_of_bayesian_ridge(rng):
    """Given its noise, and the penalty that its two precisions make."""
    x, y, _ = problem(rng, 80, 6)
    other = BayesianRidge(tol=1e-10).fit(x, y)
    probe = RidgeProbe(other.lambda_ / other.alpha_).fit(x, y)
    new = rng.normal(size=(5, 6)) + 3
    _, theirs = other.predict(new, return_std=True)
    noise = 1 / other.alpha_
    # It knows its intercept exactly; the probe learned it from 80 rows.
    expected = (probe.noise_**2 / noise) * (theirs**2 + noise / 80)
    np.testing.assert_allclose(probe.predict_errors(new) ** 2, expected, rtol=1e-9)


def test_wide_predictive_errors_are_those_of_a_gaussian_process(rng):
    x, y, _ = problem(rng, 12, 40)
    probe = RidgeProbe(3.0, fit_intercept=False).fit(x, y)
    new = rng.normal(size=(4, 40))
    inner = np.linalg.inv(x.T @ x + 3.0 * np.eye(40))
    expected = probe.noise_ * np.sqrt(1 + np.einsum("ij,jk,ik->i", new, inner, new))
    np.testing.assert_allclose(probe.predict_errors(new), expected, rtol=1e-9)


@pytest.mark.parametrize("shape", [(150, 20), (60, 200)])
def test_errors_cover_new_targets(rng, shape):
    n, d = shape
    covered, alone = [], []
    for _ in range(20):
        w = rng.normal(size=d) / np.sqrt(d)
        x, new = rng.normal(size=(n, d)), rng.normal(size=(200, d))
        y, truth = (part @ w + 0.5 * rng.normal(size=len(part)) for part in (x, new))
        probe = RidgeProbe().fit(x, y)
        covered.append(np.abs(probe.predict(new) - truth) < 1.645 * probe.predict_errors(new))
        left_out = np.abs(probe.leave_one_out_ - y) / probe.leave_one_out_errors_
        alone.append(left_out < 1.645)
    assert 0.85 < np.mean(covered) < 0.94  # choosing the penalty costs some
    assert 0.87 < np.mean(alone) < 0.93


def test_noise_and_freedom_of_least_squares(rng):
    x, y, _ = problem(rng, 2000, 4)
    probe = RidgeProbe(0.0).fit(x, y)
    assert probe.degrees_of_freedom_ == pytest.approx(5)
    assert probe.noise_ == pytest.approx(1, abs=0.05)


def test_standardising_is_folded_into_the_weights(rng):
    x, y, weights = problem(rng, 50, 5)
    x = np.column_stack([x * np.logspace(-2, 3, 5), np.full(50, 7.0)])
    mean = np.average(x, axis=0, weights=weights)
    deviation = np.sqrt(np.average((x - mean) ** 2, axis=0, weights=weights))
    scaled = (x[:, :5] - mean[:5]) / deviation[:5]
    other = RidgeProbe(3.0).fit(scaled, y, weights)
    probe = RidgeProbe(3.0, standardize=True).fit(x, y, weights)
    np.testing.assert_allclose(probe.predict(x), other.predict(scaled), atol=1e-8)
    assert probe.coef_[5] == 0


def test_many_rows_take_one_reading(rng, monkeypatch):
    x, y, weights = problem(rng, 900, 8)
    x = x.astype(np.float32)
    exact = RidgeProbe().fit(x, y, weights)
    monkeypatch.setattr(spectrum, "LARGE_WORK", 0)
    probe = RidgeProbe().fit(as_feature_matrix(x), y, weights)
    np.testing.assert_allclose(probe.scores_, exact.scores_, rtol=0.05)
    np.testing.assert_allclose(probe.predict(x), exact.predict(x), atol=0.05)
    np.testing.assert_allclose(probe.leave_one_out_, exact.leave_one_out_, atol=0.05)
    single = RidgeProbe(exact.penalty_).fit(as_feature_matrix(x), y, weights)
    np.testing.assert_allclose(single.predict(x), exact.predict(x), atol=1e-5)


def test_collinear_features_share_their_weight(rng):
    x, y, _ = problem(rng, 40, 3)
    twice = RidgeProbe(1e-6).fit(np.hstack([x, x]), y)
    np.testing.assert_allclose(
        twice.predict(np.hstack([x, x])), Ridge(0.0).fit(x, y).predict(x), atol=1e-5
    )
    np.testing.assert_allclose(twice.coef_[:3], twice.coef_[3:], atol=1e-9)


def test_constant_features_leave_the_mean(rng):
    y = rng.normal(size=9)
    probe = RidgeProbe().fit(np.full((9, 4), 2.5), y)
    np.testing.assert_allclose(probe.predict(np.zeros((2, 4))), y.mean())
    assert probe.noise_ == pytest.approx(y.std(ddof=1))


def test_one_row_warns():
    with pytest.warns(DegenerateDataWarning, match="one row"):
        probe = RidgeProbe().fit([[1.0, 2.0]], [3.0])
    assert probe.predict([[5.0, 5.0]]).tolist() == [3.0]
    assert np.isnan(probe.noise_)


def test_rows_of_weight_zero_teach_nothing(rng):
    x, y, _ = problem(rng, 30, 4)
    weights = np.r_[np.ones(20), np.zeros(10)]
    probe, alone = RidgeProbe().fit(x, y, weights), RidgeProbe().fit(x[:20], y[:20])
    np.testing.assert_allclose(probe.coef_, alone.coef_)
    assert probe.noise_ == pytest.approx(alone.noise_)
    np.testing.assert_allclose(probe.leave_one_out_[20:], alone.predict(x[20:]))


def test_refusals(rng):
    x = rng.normal(size=(5, 2))
    with pytest.raises(InputError, match=r"NaN or infinite values in rows 1, 3"):
        RidgeProbe().fit(x, [0, np.nan, 1, np.inf, 2])
    with pytest.raises(InputError, match="must be numbers"):
        RidgeProbe().fit(x, ["a", "b", "a", "b", "a"])
    with pytest.raises(InputError, match="penalty must be"):
        RidgeProbe(penalty=-1).fit(x, np.arange(5))
    for penalty in (["a"], [[1.0], [1.0, 2.0]], [True], np.ones((2, 2)), np.array(1.0)):
        with pytest.raises(InputError, match=r"penalty must be .* choose from; got [^\n]+$"):
            RidgeProbe(penalty).fit(x, np.arange(5))
    for y in (np.arange(5) + 1j, pd.date_range("2020", periods=5), [[1], [1, 2], [1], [1], [1]]):
        with pytest.raises(InputError, match="targets must be numbers, one per row; got"):
            RidgeProbe().fit(x, y)
    with pytest.raises(FeatureError, match="NaN or infinite values in row 2"):
        RidgeProbe().fit(np.where(np.arange(5)[:, None] == 2, np.nan, x), np.arange(5))


# A row of weight 2 is left out at once, its two copies one by one: so it is with RidgeCV.
EXPECTED_FAILURES = {
    "check_sample_weight_equivalence_on_dense_data": "scores of rows left out differ"
}


@parametrize_with_checks(
    [RidgeProbe(), RidgeProbe(1.0, standardize=True)],
    expected_failed_checks=lambda probe: EXPECTED_FAILURES if probe.penalty == "gcv" else {},
)
def test_scikit_learn_checks(estimator, check):
    check(estimator)


def test_frames_keep_their_columns(rng):
    table = pd.DataFrame(rng.normal(size=(20, 2)), columns=["a", "b"])
    probe = RidgeProbe().fit(table, np.arange(20))
    with pytest.raises(FeatureError, match="feature names"):
        probe.predict(table[["b", "a"]])
