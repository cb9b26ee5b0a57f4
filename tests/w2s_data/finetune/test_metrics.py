"""Metrics against scikit-learn and hand counts, intervals against closed forms and coverage."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, f1_score, log_loss, roc_auc_score

from w2s_data.finetune.gain.intervals import Score, measure, measure_ratio, rank_groups, within_seed
from w2s_data.finetune.metrics import (
    ACCURACY,
    AUROC,
    CALIBRATION_ERROR,
    LOG_LOSS,
    MACRO_F1,
    WORST_GROUP,
    ItemBootstrap,
    Truth,
    group_accuracy,
)


def drawn(rng, n=300, n_classes=4, n_seeds=3, n_known=None):
    proba = rng.dirichlet(np.ones(n_classes), size=(n_seeds, n))
    return proba, rng.integers(n_known or n_classes, size=n)


@pytest.mark.parametrize("n_classes", [2, 5])
@pytest.mark.parametrize("n_known", [1, 2])
def test_accuracy_and_f1_agree_with_sklearn(rng, n_classes, n_known):
    proba, labels = drawn(rng, n_classes=n_classes, n_known=n_known)
    truth = Truth(labels, n_classes)
    for s, own in enumerate(proba):
        predicted = own.argmax(axis=1)
        expected = accuracy_score(labels, predicted)
        assert ACCURACY.measure(proba, truth)[s] == pytest.approx(expected)
        expected = f1_score(labels, predicted, average="macro")
        assert MACRO_F1.measure(proba, truth)[s] == pytest.approx(expected)
        assert MACRO_F1.measure(own[None], truth)[0] == pytest.approx(expected)


@pytest.mark.parametrize("n_classes", [2, 5])
def test_auroc_and_log_loss_agree_with_sklearn(rng, n_classes):
    proba, labels = drawn(rng, n_classes=n_classes)
    proba = proba.round(1) + 1e-3  # with ties
    proba /= proba.sum(axis=2, keepdims=True)
    truth = Truth(labels, n_classes)
    for s, own in enumerate(proba):
        ranked = own[:, 1] if n_classes == 2 else own
        expected = roc_auc_score(labels, ranked, multi_class="ovr")
        assert AUROC.measure(proba, truth)[s] == pytest.approx(expected)
        assert LOG_LOSS.measure(proba, truth)[s] == pytest.approx(log_loss(labels, own))


def test_auroc_is_about_the_classes_that_the_items_have(rng):
    proba, labels = drawn(rng, n_classes=5, n_known=3)
    expected = np.mean([roc_auc_score(labels == c, proba[0][:, c]) for c in range(3)])
    assert AUROC.measure(proba, Truth(labels, 5))[0] == pytest.approx(expected)
    assert np.isnan(AUROC.measure(proba, Truth(np.full(300, 2), 5))).all()


@pytest.mark.parametrize("n_classes", [2, 4])
def test_auroc_replicates_vary_as_those_of_resampled_items(rng, n_classes):
    proba, labels = drawn(rng, n_classes=n_classes, n_seeds=1)
    proba[0, np.arange(300), labels] += 0.5  # some information
    truth = Truth(labels, n_classes)
    ((point, found),) = ItemBootstrap(300, 400, 5).measure([AUROC], proba, truth)
    exact = []
    for b in range(400):
        rows = np.random.default_rng([5, b]).integers(300, size=300)
        exact.append(AUROC.measure(proba[:, rows], Truth(labels[rows], n_classes))[0])
    assert np.corrcoef(found[0], exact)[0, 1] > 0.98
    assert found.std() == pytest.approx(np.std(exact), rel=0.05)
    assert found.mean() == pytest.approx(point[0], abs=0.2 * np.std(exact))


def test_a_wrong_hard_label_costs_the_floor():
    proba = np.array([[[1.0, 0.0], [1.0, 0.0]]])
    found = LOG_LOSS.measure(proba, Truth(np.array([0, 1]), 2))[0]
    assert found == pytest.approx(log_loss([0, 1], proba[0].astype(np.float32), labels=[0, 1]))


def test_group_accuracies_are_those_of_the_subsets(rng):
    proba, labels = drawn(rng)
    groups = rng.choice(3, 300, p=[0.6, 0.37, 0.03])
    truth = Truth(labels, 4, groups, 3)
    found = [group_accuracy(group).measure(proba, truth) for group in range(3)]
    for group in range(3):
        inside = groups == group
        subset = ACCURACY.measure(proba[:, inside], Truth(labels[inside], 4))
        np.testing.assert_allclose(found[group], subset)
    np.testing.assert_allclose(WORST_GROUP.measure(proba, truth), np.min(found, axis=0))


def calibration_error(proba, labels):
    (value,) = CALIBRATION_ERROR.measure(proba[None], Truth(labels, 2))
    return value


def test_calibration_error_by_hand(monkeypatch):
    monkeypatch.setattr("w2s_data.finetune.metrics.CALIBRATION_BINS", 10)
    # Two bins of ten: confidence .95 with one of two right, .65 with both right.
    proba = np.array([[0.95, 0.05], [0.95, 0.05], [0.35, 0.65], [0.35, 0.65]])
    found = calibration_error(proba, np.array([0, 1, 1, 1]))
    assert found == pytest.approx(0.5 * 0.45 + 0.5 * 0.35)


def test_calibration_error_of_a_calibrated_model_vanishes(rng):
    p = rng.uniform(0.5, 1, 200_000)
    labels = (rng.random(len(p)) > p).astype(int)  # class 0 with probability p
    assert calibration_error(np.column_stack([p, 1 - p]), labels) < 0.01


def test_certain_and_uniform_predictions_fall_into_a_bin():
    proba = np.array([[1.0, 0.0], [0.5, 0.5]])
    # A row without a favourite guesses, and half of two guesses are right.
    assert calibration_error(proba, np.array([0, 0])) == pytest.approx(0.0)
    assert calibration_error(proba, np.array([1, 0])) == pytest.approx(0.5)


def test_an_abstention_is_no_vote_for_the_first_class():
    proba = np.array([[1.0, 0.0, 0.0], [1 / 3, 1 / 3, 1 / 3], [0.2, 0.3, 0.5]])[None]
    for label in range(3):
        truth = Truth(np.array([0, label, 2]), 3)
        assert ACCURACY.measure(proba, truth) == pytest.approx((2 + 1 / 3) / 3)


METRICS = [ACCURACY, MACRO_F1, LOG_LOSS, WORST_GROUP, CALIBRATION_ERROR, group_accuracy(1)]


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_a_replicate_is_the_metric_of_the_resampled_items(rng, metric):
    proba, labels = drawn(rng, n=40)
    groups = rng.integers(3, size=40)
    truth = Truth(labels, 4, groups, 3)
    bootstrap = ItemBootstrap(40, n_resamples=7, seed=3)
    ((_, found),) = bootstrap.measure([metric], proba, truth)
    for b in range(7):
        rows = np.random.default_rng([3, b]).integers(40, size=40)
        resampled = Truth(labels[rows], 4, groups[rows], 3)
        np.testing.assert_allclose(found[:, b], metric.measure(proba[:, rows], resampled))


@pytest.mark.parametrize("metric", [*METRICS, AUROC], ids=lambda metric: metric.name)
def test_metrics_do_not_depend_on_the_order_and_stay_in_range(rng, metric):
    proba, labels = drawn(rng)
    groups = rng.integers(3, size=300)
    order = rng.permutation(300)
    value = metric.measure(proba, Truth(labels, 4, groups, 3))
    again = metric.measure(proba[:, order], Truth(labels[order], 4, groups[order], 3))
    np.testing.assert_allclose(value, again)
    assert ((value >= 0) & (value <= (np.inf if metric is LOG_LOSS else 1))).all()


def test_replicates_do_not_depend_on_the_blocks(rng, monkeypatch):
    proba, labels = drawn(rng)
    truth = Truth(labels, 4, rng.integers(3, size=300), 3)
    metrics = [MACRO_F1, WORST_GROUP]
    whole = [drawn for _, drawn in ItemBootstrap(300, 50, 0).measure(metrics, proba, truth)]
    monkeypatch.setattr("w2s_data.finetune.metrics.COUNT_BYTES", 0)
    monkeypatch.setattr("w2s_data.finetune.metrics.DRAWN_BYTES", 8 * 300 * 7)
    monkeypatch.setattr("w2s_data.finetune.metrics.TABLE_BYTES", 0)
    monkeypatch.setattr("w2s_data.finetune.metrics.STATISTICS_ROWS", 70)
    in_blocks = [drawn for _, drawn in ItemBootstrap(300, 50, 0).measure(metrics, proba, truth)]
    np.testing.assert_allclose(whole, in_blocks)


def scores_of(hits, n_resamples=1000, seed=0):
    """A Score of 0/1 hits (S, n)."""
    proba = np.stack([1 - hits, hits], axis=-1).astype(float)
    truth = Truth(np.ones(hits.shape[1], int), 2)
    bootstrap = ItemBootstrap(hits.shape[1], n_resamples, seed)
    ((_, drawn_values),) = bootstrap.measure([ACCURACY], proba, truth)
    return Score(hits.mean(axis=1), drawn_values, hits.shape[1])


def test_item_error_is_binomial(rng):
    hits = (rng.random((1, 2000)) < 0.8).astype(int)
    found = measure(scores_of(hits, 4000), 0.95)
    assert found.se_items == pytest.approx(np.sqrt(0.8 * 0.2 / 2000), rel=0.06)
    assert np.isnan(found.se_seeds)
    low, high = within_seed(scores_of(hits, 4000), 0.95)[0]
    assert found.low == pytest.approx(low, abs=0.002)
    assert found.high == pytest.approx(high, abs=0.002)


def test_seed_error_is_that_of_a_mean():
    score = Score(np.array([0.78, 0.8, 0.82]), np.full((3, 500), 0.8), 10_000)
    found = measure(score, 0.95)
    assert found.value == pytest.approx(0.8)
    assert found.se_seeds == pytest.approx(0.02 / np.sqrt(3))
    # Nothing but seeds: Student's interval of three of them.
    assert found.high - found.value == pytest.approx(4.3027 * 0.02 / np.sqrt(3), rel=1e-3)


def test_paired_differences_are_narrower_than_unpaired_ones(rng):
    weak = (rng.random((1, 3000)) < 0.7).astype(int)
    strong = np.where(rng.random((2, 3000)) < 0.05, 1, weak)  # differs on few items
    one, two = scores_of(strong), scores_of(weak)
    paired = measure(one - two, 0.95)
    assert paired.se_items < 0.5 * np.hypot(
        measure(one, 0.95).se_items, measure(two, 0.95).se_items
    )


def test_models_that_agree_everywhere_are_not_equal_beyond_doubt():
    hits = np.ones((2, 50), dtype=int)
    found = measure(scores_of(hits) - scores_of(hits[:1]), 0.95)
    assert found.value == 0
    assert found.low < 0 < found.high


@pytest.mark.slow
def test_intervals_cover_fresh_items_and_seeds(rng):
    """Hits from an item effect and a seed effect: the true mean is covered as often as said."""
    covered = 0
    for _ in range(400):
        item, seed = rng.normal(size=400), 0.15 * rng.normal(size=(4, 1))
        hits = (item + seed + rng.normal(size=(4, 400)) > 0).astype(int)
        found = measure(scores_of(hits, 200), 0.9)
        covered += found.low <= 0.5 <= found.high
    assert 0.86 <= covered / 400 <= 0.97


def test_fieller_interval_of_independent_normals(rng):
    """Against a simulation of the ratio of two normals whose denominator is far from 0."""
    above = Score(np.array([0.3]), rng.normal(0.3, 0.02, (1, 4000)), 100_000)
    below = Score(np.array([0.6]), rng.normal(0.6, 0.02, (1, 4000)), 100_000)
    found = measure_ratio(above, below, 0.95)
    simulated = rng.normal(0.3, 0.02, 200_000) / rng.normal(0.6, 0.02, 200_000)
    low, high = np.quantile(simulated, [0.025, 0.975])
    assert found.value == pytest.approx(0.5)
    assert found.low == pytest.approx(low, abs=0.004)
    assert found.high == pytest.approx(high, abs=0.004)


def test_a_ratio_of_equals_is_certain(rng):
    score = Score(rng.normal(0.5, 0.01, 5), rng.normal(0.5, 0.01, (5, 500)), 1_000_000)
    found = measure_ratio(score, score, 0.95)
    assert found.value == 1
    assert found.low == pytest.approx(1, abs=1e-4)
    assert found.high == pytest.approx(1, abs=1e-4)


@given(
    st.integers(1, 7).flatmap(
        lambda m: st.lists(st.booleans(), min_size=m * m, max_size=m * m).map(
            lambda bits: np.array(bits).reshape(m, m)
        )
    )
)
def test_letters_are_shared_exactly_by_what_does_not_differ(matrix):
    apart = np.triu(matrix, 1) | np.triu(matrix, 1).T
    letters = [set(group) for group in rank_groups(apart)]
    for i in range(len(apart)):
        for j in range(len(apart)):
            if i != j:
                assert bool(letters[i] & letters[j]) == (not apart[i, j])
