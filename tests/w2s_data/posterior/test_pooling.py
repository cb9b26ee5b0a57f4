"""The log-linear pool against Bayes' rule and against its own definition."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from w2s_data.posterior.pooling import LogLinearPool, fit_equal_pool, fit_pool, join_views


def noisy_view(codes, n_classes, accuracy, rng):
    """Return the calibrated probabilities of a labeller who is right with this probability."""
    wrong = (codes + rng.integers(1, n_classes, len(codes))) % n_classes
    said = np.where(rng.random(len(codes)) < accuracy, codes, wrong)
    rest = (1 - accuracy) / (n_classes - 1)
    return np.where(np.eye(n_classes)[said] > 0, accuracy, rest)


@pytest.mark.parametrize("n_classes", [2, 5])
def test_independent_calibrated_views_get_the_weights_of_bayes_rule(n_classes):
    rng = np.random.default_rng(0)
    codes = rng.integers(n_classes, size=40_000)
    views = np.stack([noisy_view(codes, n_classes, a, rng) for a in (0.6, 0.75, 0.9)])
    pool = fit_pool(views, codes)
    np.testing.assert_allclose(pool.weights, 1, atol=0.06)
    np.testing.assert_allclose(pool.offsets, 0, atol=0.06)
    product = views.prod(axis=0)
    bayes = product / product.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(pool.proba(views), bayes, atol=0.02)


def test_a_repeated_view_counts_once():
    rng = np.random.default_rng(1)
    codes = rng.integers(2, size=20_000)
    view = noisy_view(codes, 2, 0.8, rng)
    once, thrice = fit_pool(view[None], codes), fit_pool(np.stack([view] * 3), codes)
    assert thrice.weights.sum() == pytest.approx(once.weights.sum(), abs=0.02)
    np.testing.assert_allclose(
        thrice.proba(np.stack([view] * 3)), once.proba(view[None]), atol=0.005
    )


def test_a_view_that_is_always_wrong_is_ignored_and_never_reversed():
    rng = np.random.default_rng(2)
    codes = rng.integers(2, size=2_000)
    right, wrong = noisy_view(codes, 2, 0.8, rng), noisy_view(1 - codes, 2, 0.9, rng)
    assert fit_pool(np.stack([right, wrong]), codes).weights[1] == 0


def test_without_gold_evidence_the_weights_stay_equal():
    uniform = np.full((3, 30, 4), 0.25)
    codes = np.arange(30) % 4
    np.testing.assert_allclose(fit_pool(uniform, codes).weights, 1 / 3, atol=1e-4)


def test_offsets_follow_class_shares_that_the_views_do_not_know():
    codes = np.repeat([0, 1], [9_000, 1_000])
    pool = fit_pool(np.full((1, 10_000, 2), 0.5), codes)
    np.testing.assert_allclose(pool.proba(np.full((1, 1, 2), 0.5)), [[0.9, 0.1]], atol=0.005)


def test_equal_weights_learn_how_sure_to_be():
    rng = np.random.default_rng(3)
    codes = rng.integers(2, size=20_000)
    views = np.stack([noisy_view(codes, 2, a, rng) for a in (0.7, 0.7)])
    pool = fit_equal_pool(views, codes)
    np.testing.assert_allclose(pool.weights, [1, 1], atol=0.06)  # independent: each counts in full
    assert (pool.offsets == 0).all()


def test_few_gold_rows_have_equal_weights_unless_told_otherwise():
    rng = np.random.default_rng(4)
    codes = np.arange(20) % 2
    views = np.stack([noisy_view(codes, 2, a, rng) for a in (0.6, 0.95)])

    def spread(rows, equal=None):
        return np.ptp(join_views(views[:, rows], codes[rows], equal=equal).weights)

    assert spread(slice(19)) == 0 < spread(slice(20))
    assert spread(slice(0, 20, 2)) == 0  # one class
    assert spread(slice(20), True) == 0 < spread(slice(19), False)


def test_hard_labels_do_not_make_the_loss_infinite():
    codes = np.arange(40) % 2
    certain = np.eye(2)[codes]
    certain[0] = certain[0, ::-1]  # and one of them is wrong
    pool = fit_pool(certain[None], codes)
    assert np.isfinite(pool.weights).all()
    assert 0.9 < pool.proba(certain[None])[1].max() < 1


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 10_000), st.integers(2, 6), st.integers(1, 4))
def test_rows_are_distributions_and_follow_renamed_classes(seed, n_classes, n_views):
    rng = np.random.default_rng(seed)
    views = rng.dirichlet(np.ones(n_classes), size=(n_views, 25))
    codes = np.arange(25) % n_classes
    renamed = rng.permutation(n_classes)
    pool, other = fit_pool(views, codes), fit_pool(views[..., renamed], np.argsort(renamed)[codes])
    proba = pool.proba(views)
    np.testing.assert_allclose(proba.sum(axis=1), 1)
    np.testing.assert_allclose(other.proba(views[..., renamed]), proba[:, renamed], atol=2e-4)


def test_a_uniform_row_of_a_view_drops_out():
    pool = LogLinearPool(np.array([0.7, 1.4]), np.zeros(3))
    said = np.array([[0.2, 0.3, 0.5]])
    with_abstention = pool.proba(np.stack([said, np.full((1, 3), 1 / 3)]))
    alone = LogLinearPool(np.array([0.7]), np.zeros(3)).proba(said[None])
    np.testing.assert_allclose(with_abstention, alone)
