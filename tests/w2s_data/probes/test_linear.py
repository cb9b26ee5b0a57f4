"""Linear probes against scikit-learn and closed forms."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.sparse import csr_array
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.utils.estimator_checks import parametrize_with_checks

from w2s_data.errors import FeatureError, InputError, ProbabilityError, SplitError
from w2s_data.probes import solvers as _solvers
from w2s_data.probes.linear import (
    L2_GRID,
    LinearProbe,
    cross_fit_proba,
    fit_together,
    stratified_folds,
)


@pytest.fixture(params=[2, 5], ids=["binary", "multiclass"])
def problem(request, rng):
    n_classes = request.param
    centres = rng.normal(size=(n_classes, 8))
    y = rng.integers(0, n_classes, 300)
    return centres[y] + 1.5 * rng.normal(size=(300, 8)), y


def objective(probe, x, targets, l2, weights=None):
    scores = x @ probe.coef_.T + probe.intercept_
    if scores.shape[1] == 1:
        scores = np.column_stack([np.zeros(len(x)), scores])
    log_proba = scores - np.logaddexp.reduce(scores, axis=1, keepdims=True)
    losses = -(targets * log_proba).sum(axis=1)
    return np.average(losses, weights=weights) + 0.5 * l2 * (probe.coef_**2).sum()


@pytest.mark.parametrize("l2", [1e-4, 1e-2, 1.0])
@pytest.mark.parametrize("fit_intercept", [True, False])
def test_reaches_the_optimum_of_scikit_learn(problem, l2, fit_intercept):
    x, y = problem
    probe = LinearProbe(l2=l2, standardize=False, fit_intercept=fit_intercept).fit(x, y)
    other = LogisticRegression(
        C=1 / (len(x) * l2), tol=1e-10, max_iter=5000, fit_intercept=fit_intercept
    ).fit(x, y)
    targets = np.eye(len(probe.classes_))[y]
    theirs = objective(other, x, targets, l2)
    assert objective(probe, x, targets, l2) <= theirs + 1e-9
    assert probe.loss_ == pytest.approx(objective(probe, x, targets, l2), abs=1e-12)
    np.testing.assert_allclose(probe.predict_proba(x), other.predict_proba(x), atol=1e-4)
    np.testing.assert_array_equal(probe.predict(x), other.predict(x))


@pytest.mark.parametrize("standardize", [True, False])
@pytest.mark.parametrize("fit_intercept", [True, False])
def test_probes_fitted_together_are_those_fitted_alone(problem, rng, standardize, fit_intercept):
    x, y = problem
    x[:250, 1] = 2.0  # constant in the rows of the first
    soft = rng.dirichlet(np.ones(len(np.unique(y))), size=len(x))
    rows = [np.arange(250), np.arange(20, 300), np.arange(300), np.arange(290)]
    labels = [y[rows[0]], soft[rows[1]], y, np.where(y == 0, 7, y)[rows[3]]]
    probe = LinearProbe(standardize=standardize, fit_intercept=fit_intercept, device="cpu")
    together = fit_together(probe, x, labels, rows)
    for found, own, part in zip(together, labels, rows, strict=True):
        alone = clone(probe).fit(x[part], own)
        assert found.classes_.tolist() == alone.classes_.tolist()
        np.testing.assert_allclose(found.predict_proba(x), alone.predict_proba(x), atol=1e-5)
        assert found.loss_ == pytest.approx(alone.loss_, abs=1e-10)


@pytest.mark.parametrize("standardize", [True, False])
def test_rows_of_probes_fitted_together_may_repeat_or_be_a_mask(problem, rng, standardize):
    x, y = problem
    repeated = rng.integers(len(x), size=len(x))
    noisy = np.where(rng.random(len(x)) < 0.2, rng.permutation(y), y)  # a row has several labels
    mask = np.arange(len(x)) < 280
    probe = LinearProbe(l2=0.1, standardize=standardize, device="cpu")
    together = fit_together(probe, x, [noisy, y[mask]], [repeated, mask])
    parts = [(x[repeated], noisy), (x[mask], y[mask])]
    for found, part in zip(together, parts, strict=True):
        alone = clone(probe).fit(*part)
        np.testing.assert_allclose(found.predict_proba(x), alone.predict_proba(x), atol=1e-5)
        assert found.loss_ == pytest.approx(alone.loss_, abs=1e-9)


@pytest.mark.parametrize("options", [{}, {"l2": "cv"}, {"loss": "ridge"}])
def test_probes_fitted_together_know_the_names_of_columns(problem, options):
    x, y = problem
    table = pd.DataFrame(x, columns=[*"abcdefgh"])
    (probe,) = fit_together(LinearProbe(**options), table, [y], [np.arange(len(x))])
    assert probe.feature_names_in_.tolist() == [*"abcdefgh"]


def test_probes_fitted_together_refuse_rows_that_are_not_there(problem):
    x, y = problem
    with pytest.raises(InputError, match=r"rows\[0\] has row -1"):
        fit_together(LinearProbe(), x, [y[:2]], [[-1, 0]])
    with pytest.raises(InputError, match="rows has 1, labels has 2"):
        fit_together(LinearProbe(), x, [y, y], [np.arange(len(x))])


def test_rows_that_pass_through_in_blocks_give_the_same_probe(problem, monkeypatch):
    """Fit on the CPU as a GPU does with features that it cannot hold."""
    x, y = problem
    whole = LinearProbe(device="cpu").fit(x, y)
    monkeypatch.setattr(_solvers.LogisticProblems, "_fits", lambda *_: False)
    monkeypatch.setattr(_solvers, "STREAMED_BYTES", 8 * 8 * 70)
    np.testing.assert_allclose(LinearProbe(device="cpu").fit(x, y).coef_, whole.coef_, atol=1e-6)


def test_standardising_is_folded_into_the_weights(problem):
    x, y = problem
    x = x * np.logspace(-2, 2, 8) + 100
    scaled = (x - x.mean(axis=0)) / x.std(axis=0)
    np.testing.assert_allclose(
        LinearProbe().fit(x, y).predict_proba(x),
        LinearProbe(standardize=False).fit(scaled, y).predict_proba(scaled),
        atol=1e-6,
    )


def test_soft_labels_equal_weighted_hard_copies(problem, rng):
    x, _ = problem
    soft = rng.dirichlet(np.ones(3), len(x))
    copies = LinearProbe(standardize=False).fit(
        np.repeat(x, 3, axis=0), np.tile(np.arange(3), len(x)), sample_weight=soft.ravel()
    )
    probe = LinearProbe(standardize=False).fit(x, soft)
    np.testing.assert_allclose(probe.predict_proba(x), copies.predict_proba(x), atol=1e-6)


def test_weights_equal_repeated_rows(problem, rng):
    x, y = problem
    counts = rng.integers(1, 4, len(x))
    for loss in ("logistic", "ridge"):
        weighted = LinearProbe(loss, l2=0.05).fit(x, y, sample_weight=counts)
        repeated = LinearProbe(loss, l2=0.05).fit(
            np.repeat(x, counts, axis=0), np.repeat(y, counts)
        )
        np.testing.assert_allclose(weighted.coef_, repeated.coef_, atol=1e-5)


@pytest.mark.parametrize("fit_intercept", [True, False])
def test_ridge_equals_scikit_learn(problem, fit_intercept):
    x, y = problem
    probe = LinearProbe("ridge", l2=0.3, standardize=False, fit_intercept=fit_intercept).fit(x, y)
    targets = np.eye(len(probe.classes_))[y]
    other = Ridge(alpha=0.3 * len(x), fit_intercept=fit_intercept).fit(x, targets)
    scores = other.predict(x)
    expected = 2 * scores[:, 1] - 1 if scores.shape[1] == 2 else scores
    if fit_intercept or scores.shape[1] > 2:
        np.testing.assert_allclose(probe.decision_function(x), expected, atol=1e-8)


def test_ridgeless_is_the_least_norm_interpolator(rng):
    x, y = rng.normal(size=(20, 50)), rng.dirichlet(np.ones(3), 20)
    probe = LinearProbe("ridge", l2=0, standardize=False, fit_intercept=False).fit(x, y)
    np.testing.assert_allclose(probe.coef_, (np.linalg.pinv(x) @ y).T, atol=1e-10)


@pytest.mark.parametrize("loss", ["logistic", "ridge"])
def test_probabilities_are_distributions(problem, loss):
    x, y = problem
    proba = LinearProbe(loss, l2=1e-3).fit(x, y).predict_proba(10 * x)
    assert ((proba >= 0) & (proba <= 1)).all()
    np.testing.assert_allclose(proba.sum(axis=1), 1)


def test_class_names_survive(problem):
    x, y = problem
    names = np.array(["ant", "bee", "cat", "dog", "eel"])[y]
    probe = LinearProbe().fit(x, names)
    assert probe.classes_.tolist() == sorted(set(names))
    assert set(probe.predict(x)) <= set(names)
    assert (probe.predict(x) == names).mean() > 0.5


def test_cross_validated_penalty_is_near_the_best(rng):
    x = rng.normal(size=(4000, 30))
    y = (x[:, 0] + 2 * rng.normal(size=4000) > 0).astype(int)
    losses = []
    for l2 in (*L2_GRID, "cv"):
        proba = LinearProbe(l2=l2, random_state=0).fit(x[:150], y[:150]).predict_proba(x[150:])
        losses.append(-np.log(proba[np.arange(3850), y[150:]]).mean())
    assert losses[-1] <= min(losses[:-1]) + 0.02


def test_chosen_penalty_is_the_best_of_the_whole_grid_at_full_precision(problem):
    x, y = problem
    folds = stratified_folds(y, 5, np.random.default_rng(3))

    def held_out(l2):
        losses = []
        for train, test in folds:
            proba = LinearProbe(l2=l2).fit(x[train], y[train]).predict_proba(x[test])
            losses.extend(-np.log(proba[np.arange(len(test)), y[test]]))
        return np.mean(losses)

    best = min(L2_GRID, key=held_out)
    assert LinearProbe(l2="cv", random_state=3).fit(x, y).l2_ == best


def test_constant_and_repeated_features_are_harmless(problem):
    x, y = problem
    wide = np.column_stack([x, np.full(len(x), 3.7), x[:, 0], np.zeros(len(x))])
    probe = LinearProbe(l2=1e-3).fit(wide, y)
    assert np.isfinite(probe.coef_).all()
    np.testing.assert_allclose(probe.coef_[:, [8, 10]], 0, atol=1e-12)


def test_more_features_than_rows(rng):
    x, y = rng.normal(size=(30, 200)), np.repeat([0, 1], 15)
    probe = LinearProbe(l2=0.1, standardize=False).fit(x, y)
    other = LogisticRegression(C=1 / 3, tol=1e-10, max_iter=5000).fit(x, y)
    np.testing.assert_allclose(probe.coef_, other.coef_, atol=1e-4)


EXPECTED_FAILURES = {
    "check_sample_weight_equivalence_on_dense_data": "L-BFGS stops at a gradient of `tol`, where "
    "probabilities agree to about 1e-6; the check asks for 1e-9",
}


@parametrize_with_checks(
    [LinearProbe(device="cpu"), LinearProbe("ridge", device="cpu")],
    expected_failed_checks=lambda probe: EXPECTED_FAILURES if probe.loss == "logistic" else {},
)
def test_scikit_learn_checks(estimator, check):
    check(estimator)


def test_interface_of_a_logistic_regression(problem):
    """Shapes and names that users of scikit-learn's LogisticRegression rely on."""
    x, y = problem
    table = pd.DataFrame(x, columns=[f"f{i}" for i in range(8)])
    probe, other = LinearProbe().fit(table, y), LogisticRegression().fit(table, y)
    for name in ("coef_", "intercept_", "classes_", "feature_names_in_"):
        assert getattr(probe, name).shape == getattr(other, name).shape
    assert probe.n_features_in_ == other.n_features_in_ == 8
    assert probe.decision_function(table).shape == other.decision_function(table).shape
    np.testing.assert_array_equal(probe.feature_names_in_, other.feature_names_in_)
    with pytest.raises(FeatureError, match="feature names should match"):
        probe.predict(table[table.columns[::-1]])
    with pytest.raises(TypeError, match="dense data is required"):
        probe.predict(csr_array(x))


def test_scikit_learn_contract(problem):
    x, y = problem
    probe = LinearProbe(l2=0.5, folds=3)
    assert clone(probe).get_params() == probe.get_params()
    assert probe.fit(x, y) is probe
    assert probe.l2 == 0.5
    assert probe.score(x, y) > 0.5
    with pytest.raises(NotFittedError):
        LinearProbe().predict(x)


class TestCrossFitting:
    def test_memorised_noise_is_not_seen(self, rng):
        """In-sample a wide probe is always right; out of fold it is at chance."""
        x, y = rng.normal(size=(80, 200)), rng.integers(0, 2, 80)
        probe = LinearProbe(l2=1e-4)
        assert probe.fit(x, y).score(x, y) == 1
        held_out = cross_fit_proba(probe, x, y, random_state=0).argmax(axis=1)
        assert (held_out == y).mean() < 0.75

    def test_a_class_seen_once_is_unknown_to_its_predictor(self, rng):
        x, y = rng.normal(size=(41, 4)), np.array([0] * 20 + [1] * 20 + [2])
        proba = cross_fit_proba(LinearProbe(), x, y, random_state=0)
        assert proba.shape == (41, 3)
        assert proba[40, 2] < 0.05

    def test_seeded(self, problem):
        x, y = problem
        one, two = (cross_fit_proba(LinearProbe(), x, y, random_state=4) for _ in range(2))
        np.testing.assert_array_equal(one, two)

    @pytest.mark.parametrize("folds", [2, 5, 100])
    def test_folds_part_the_rows_evenly(self, rng, folds):
        codes = np.repeat([0, 1, 2], [40, 19, 1])
        parts = stratified_folds(codes, folds, rng)
        held_out = np.concatenate([held for _, held in parts])
        assert sorted(held_out) == list(range(60))
        sizes = [len(held) for _, held in parts]
        assert max(sizes) - min(sizes) <= 1
        for c in (0, 1):
            share = [np.count_nonzero(codes[held] == c) for _, held in parts]
            assert max(share) - min(share) <= 1


class TestBadInput:
    x = np.arange(12.0).reshape(6, 2)
    y = np.array([0, 1] * 3)

    def test_single_class(self):
        with pytest.raises(SplitError, match="hold one class"):
            LinearProbe().fit(self.x, np.zeros(6, dtype=int))

    def test_nan_features(self):
        x = self.x.copy()
        x[2, 1] = np.nan
        with pytest.raises(FeatureError, match="row 2"):
            LinearProbe().fit(x, self.y)

    def test_nan_labels(self):
        with pytest.raises(InputError, match="row 1"):
            LinearProbe().fit(self.x, [0, np.nan, 1, 0, 1, 1])

    def test_soft_labels_that_are_no_distribution(self):
        with pytest.raises(ProbabilityError, match="sum to 1"):
            LinearProbe().fit(self.x, np.ones((6, 2)))

    def test_counts_disagree(self):
        with pytest.raises(InputError, match="X has 6, y has 5"):
            LinearProbe().fit(self.x, self.y[:5])

    def test_other_width_at_prediction(self):
        with pytest.raises(FeatureError, match="X has 3 features, but LinearProbe is expecting 2"):
            LinearProbe().fit(self.x, self.y).predict(np.zeros((1, 3)))

    @pytest.mark.parametrize("weights", [[1] * 5, [-1] * 6, [0] * 6, [np.nan] * 6])
    def test_weights(self, weights):
        with pytest.raises(InputError, match="sample_weight"):
            LinearProbe().fit(self.x, self.y, sample_weight=weights)

    @pytest.mark.parametrize("bad", [{"loss": "hinge"}, {"l2": -1}, {"l2": "auto"}, {"folds": 1}])
    def test_parameters(self, bad):
        with pytest.raises(InputError, match=next(iter(bad))):
            LinearProbe(**bad).fit(self.x, self.y)

    @pytest.mark.parametrize("y", [["a", None], [0, np.nan], pd.array(["a", pd.NA], "string")])
    def test_missing_labels(self, y):
        with pytest.raises(InputError, match=r"y has (no label|NaN labels) in row 1"):
            LinearProbe().fit(self.x[:2], y)

    def test_labels_of_several_types(self):
        with pytest.raises(InputError, match="types 'int', 'str', which have no order"):
            LinearProbe().fit(self.x[:2], np.array(["a", 1], dtype=object))

    def test_ragged_labels_and_features(self):
        with pytest.raises(InputError, match=r"y must have .* one length"):
            LinearProbe().fit(self.x[:2], [[1], [0, 1]])
        with pytest.raises(FeatureError, match=r"X must be .* all rows of one length"):
            LinearProbe().fit([[1, 2], [1]], [0, 1])

    def test_words_as_features(self):
        with pytest.raises(FeatureError, match=r"X must be numbers .*'a'; encode words"):
            LinearProbe().fit(np.array([["a", 1], ["b", 2]], dtype=object), [0, 1])

    @pytest.mark.parametrize("folds", [0, 1, 2.0])
    def test_too_few_folds(self, folds):
        with pytest.raises(InputError, match="folds must be an integer >= 2"):
            cross_fit_proba(LinearProbe(), self.x, self.y, folds=folds)

    def test_one_dimensional_features(self):
        with pytest.raises(FeatureError, match=r"shape \(n, D\)"):
            LinearProbe().fit(self.y, self.y)


@pytest.mark.filterwarnings("error")
def test_a_penalty_is_chosen_where_nothing_can_be_left_out():
    x, y = np.array([[0.0], [1.0], [2.0]]), np.array([[0.9, 0.1], [0.2, 0.8], [0.4, 0.6]])
    one = LinearProbe(l2="cv").fit(x[:1], y[:1])
    assert one.l2_ == max(L2_GRID)
    assert np.isfinite(one.predict_proba(x)).all()
    weighted = LinearProbe(l2="cv").fit(x, y, sample_weight=[0, 1, 0])
    assert np.isfinite(weighted.predict_proba(x)).all()


@pytest.mark.filterwarnings("error")
def test_two_labelled_rows_teach_without_a_warning():
    proba = cross_fit_proba(LinearProbe(l2="cv"), np.eye(2), [0, 1], random_state=0)
    assert np.isfinite(proba).all()


@pytest.mark.filterwarnings("error")
def test_features_too_large_to_square_are_refused(problem):
    x, y = problem
    with pytest.raises(FeatureError, match=r"X are too large to square in row 7 \(row 7 reaches"):
        LinearProbe().fit(np.where(np.arange(len(x))[:, None] == 7, 1e200, x), y)
