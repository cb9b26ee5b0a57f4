"""Label shift: class shares of pools with known truth, corrected posteriors, and bad input."""

import numpy as np
import pytest

from w2s_data.errors import InputError
from w2s_data.shift import LabelShift, ShiftDetector
from w2s_data.shift.labels import likeliest_shares

MEANS = np.array([[1.5, 0, 0], [0, 1.5, 0], [0, 0, 1.5]])


def drawn(n, shares, rng):
    """Return classes of Gaussians, and features."""
    codes = rng.choice(len(shares), n, p=shares)
    return codes, MEANS[codes] + rng.normal(size=(n, 3))


def bayes(features, shares, sharpness=1.0):
    """Return the probabilities of the classes, by the true densities."""
    logits = -((features[:, None] - MEANS[: len(shares)]) ** 2).sum(axis=2) / 2 + np.log(shares)
    odds = np.exp(sharpness * (logits - logits.max(axis=1, keepdims=True)))
    return odds / odds.sum(axis=1, keepdims=True)


def fitted(gold_shares, pool_shares, sharpness=1.0, n=300, n_pool=2000, seed=0):
    rng = np.random.default_rng(seed)
    codes, gold = drawn(n, gold_shares, rng)
    truth, pool = drawn(n_pool, pool_shares, rng)
    gold_proba, proba = (bayes(x, np.array(gold_shares), sharpness) for x in (gold, pool))
    shift = LabelShift(random_state=seed).fit(gold_proba, codes, proba)
    return shift, codes, gold, truth, pool, proba


@pytest.mark.parametrize("sharpness", [0.5, 1.0, 2.0])
def test_shares_of_three_gaussians_are_found_by_probabilities_of_any_sharpness(sharpness):
    shift, _, _, truth, _, _ = fitted([1 / 3, 1 / 3, 1 / 3], [0.6, 0.3, 0.1], sharpness)
    true_shares = np.bincount(truth) / len(truth)
    assert shift.shifted_
    for shares, sides in (
        (shift.shares_, shift.intervals_),
        (shift.black_box_, shift.black_box_intervals_),
    ):
        assert shares.sum() == pytest.approx(1)
        np.testing.assert_allclose(shares, true_shares, atol=0.1)
        assert ((sides[:, 0] <= shares) & (shares <= sides[:, 1])).all()
    inside = (shift.intervals_[:, 0] <= true_shares) & (true_shares <= shift.intervals_[:, 1])
    assert inside.sum() >= 2  # 95 % each
    np.testing.assert_allclose(shift.ratio_, shift.shares_ * 3, rtol=0.25)


def test_corrected_probabilities_are_those_of_the_pool():
    gold_shares, pool_shares = np.array([0.5, 0.3, 0.2]), np.array([0.1, 0.2, 0.7])
    shift, codes, _, truth, pool, proba = fitted(gold_shares, pool_shares, n=600)
    found = shift.corrected(proba)
    np.testing.assert_allclose(found, bayes(pool, pool_shares), atol=0.17)
    assert np.abs(found - bayes(pool, pool_shares)).mean() < 0.04
    assert (found.argmax(axis=1) == truth).mean() > (proba.argmax(axis=1) == truth).mean() + 0.05
    weights = shift.weights(codes)
    shares = np.bincount(codes, weights) / weights.sum()
    np.testing.assert_allclose(shares, shift.shares_, atol=0.06)


def test_without_a_shift_nothing_changes():
    rejected = 0
    for seed in range(20):
        shift, codes, _, _, _, proba = fitted([0.5, 0.3, 0.2], [0.5, 0.3, 0.2], seed=seed, n=100)
        rejected += shift.shifted_
        if not shift.shifted_:
            np.testing.assert_allclose(shift.corrected(proba), proba, atol=1e-12)
            assert (shift.weights(codes) == 1).all()
    assert rejected <= 1


def test_a_domain_classifier_sees_nothing_more_after_label_shift_and_the_rest_of_other_shifts():
    gold_shares, pool_shares = [0.5, 0.5], [0.15, 0.85]
    shift, _, gold, _, pool, proba = fitted(gold_shares, pool_shares, n=400)
    detector = ShiftDetector(random_state=0)
    sides = {"reference": np.arange(400), "pool": np.arange(400, 2400)}
    same = np.concatenate([gold, pool])
    moved = np.concatenate([gold, pool])
    moved[400:, 2] += 1.5  # which the probabilities do not show
    assert detector.fit(same, reference=sides["reference"], others={"pool": sides["pool"]}).alarm_
    assert shift.explains(detector, same, **sides, pool_proba=proba)
    assert not shift.explains(detector, moved, **sides, pool_proba=proba)
    matched = shift.matched_rows(proba, random_state=0)
    assert len(set(matched)) == len(matched)
    np.testing.assert_allclose(pool[matched].mean(axis=0), gold.mean(axis=0), atol=0.15)
    assert np.abs(pool.mean(axis=0) - gold.mean(axis=0)).max() > 0.3


def test_newton_steps_end_where_em_does():
    rng = np.random.default_rng(1)
    proba, prior = rng.dirichlet([0.5, 1, 1, 0.2], size=500), np.array([0.1, 0.4, 0.3, 0.2])
    shares = np.full(4, 0.25)
    for _ in range(3000):
        joint = proba / prior * shares
        shares = (joint / joint.sum(axis=1, keepdims=True)).mean(axis=0)
    np.testing.assert_allclose(likeliest_shares(proba, prior), shares, atol=1e-4)


def test_a_class_without_gold_rows_does_not_break_it():
    rng = np.random.default_rng(0)
    codes, gold = drawn(100, [0.5, 0.5], rng)
    _, pool = drawn(500, [0.7, 0.3], rng)
    proba = [np.column_stack([bayes(x, np.array([0.5, 0.5])) * 0.98, np.full(len(x), 0.02)])
             for x in (gold, pool)]  # fmt: skip
    shift = LabelShift(random_state=0).fit(proba[0], codes, proba[1])
    assert np.isfinite(shift.to_frame().to_numpy()).all()
    assert np.isfinite(shift.corrected(proba[1])).all()
    assert shift.labelled_shares_[2] == 0


@pytest.mark.parametrize(
    ("gold", "codes", "pool", "message"),
    [
        (np.full((30, 2), 0.5), np.zeros(30, int), np.full((30, 3), 1 / 3), "has 2 classes"),
        (np.full((30, 2), 0.5), np.zeros(29, int), np.full((30, 2), 0.5), r"shape \(30,\)"),
        (np.full((50, 2), 0.5), np.full(50, 2), np.full((30, 2), 0.5), "from 0 to 1"),
        (
            np.full((10, 2), 0.5),
            np.zeros(10, int),
            np.full((30, 2), 0.5),
            "require 40 or more gold rows of 2",
        ),
    ],
)
def test_bad_input_is_named(gold, codes, pool, message):
    with pytest.raises(InputError, match=message):
        LabelShift().fit(gold, codes, pool)


@pytest.mark.parametrize("codes", [[5], [-1], [1.0], 1])
def test_weights_of_what_is_no_class_are_refused(codes):
    shift = fitted([0.5, 0.5], [0.5, 0.5], n_pool=500)[0]
    assert shift.weights([0, 1, 1]).tolist() == [1, 1, 1]
    with pytest.raises(InputError, match="codes must be class codes"):
        shift.weights(codes)


def test_shares_are_unknown_where_probabilities_say_nothing():
    codes = np.random.default_rng(0).integers(3, size=200)
    flat = np.full((200, 3), 1 / 3)
    shift = LabelShift(random_state=0, n_bootstrap=50).fit(flat, codes, flat)
    assert shift.intervals_.tolist() == shift.black_box_intervals_.tolist() == [[0, 1]] * 3


def test_only_the_classes_that_are_confused_have_unknown_shares():
    rng = np.random.default_rng(0)
    codes = rng.integers(3, size=900)
    seen = np.where(rng.random(900) < 0.9, codes, 2)
    proba = np.array([[0.8, 0.1, 0.1], [0.1, 0.45, 0.45], [0.1, 0.45, 0.45]])[seen]
    shift = LabelShift(random_state=0, n_bootstrap=50).fit(proba[:300], codes[:300], proba[300:])
    for sides in (shift.intervals_, shift.black_box_intervals_):
        assert sides[1:].tolist() == [[0, 1]] * 2
        assert 0.2 < sides[0, 0] < 1 / 3 < sides[0, 1] < 0.5


@pytest.mark.slow
@pytest.mark.parametrize("apart", [0.2, 0.6, 2.0])  # standard deviations between the classes
def test_intervals_hold_however_little_the_probabilities_say(apart):
    held = []
    for seed in range(30):
        rng = np.random.default_rng(seed)
        codes = np.r_[rng.integers(2, size=150), rng.random(2000) < 0.75].astype(int)
        p = 1 / (1 + np.exp(-apart * (apart * (codes - 0.5) + rng.normal(size=2150))))
        proba = np.column_stack([1 - p, p])
        shift = LabelShift(random_state=0, n_bootstrap=50)
        shift.fit(proba[:150], codes[:150], proba[150:])
        sides = np.array([shift.intervals_[1], shift.black_box_intervals_[1]])
        held.append((sides[:, 0] <= 0.75) & (sides[:, 1] >= 0.75))
    assert (np.mean(held, axis=0) >= 0.75).all()  # .2 at a distance of .2 from draws alone
