"""Accuracies that gold rows correct, and calibration, on data with known truth."""

import numpy as np
import pytest

from w2s_data.posterior.calibration import calibration_error, corrected_mean, reliability


@pytest.mark.slow
@pytest.mark.parametrize("bias", [-0.1, 0.0, 0.15])
def test_the_interval_covers_the_truth_whatever_the_chances_say(bias):
    rng, covered, values = np.random.default_rng(0), [], []
    for _ in range(400):
        chance = rng.beta(6, 2, 2_100)  # mean .75
        right = rng.random(2_100) < chance
        told = np.clip(chance + bias, 0, 1)
        estimate = corrected_mean(told[100:], told[:100], right[:100], 0.9)
        covered.append(estimate.low <= 0.75 <= estimate.high)
        values.append(estimate.value)
    assert np.mean(values) == pytest.approx(0.75, abs=0.01)
    assert np.mean(covered) > 0.86


def test_good_chances_shorten_the_interval():
    rng = np.random.default_rng(1)
    chance = rng.choice([0.05, 0.95], 5_000)
    right = rng.random(5_000) < chance
    informed = corrected_mean(chance[200:], chance[:200], right[:200], 0.95)
    flat = corrected_mean(np.full(4_800, 0.5), np.full(200, 0.5), right[:200], 0.95)
    assert informed.high - informed.low < 0.6 * (flat.high - flat.low)


@pytest.mark.slow
def test_weights_make_the_interval_hold_for_a_pool_from_elsewhere():
    """A fifth of the gold rows and four fifths of the pool are hard, and nobody says which."""
    rng, covered, plain = np.random.default_rng(0), [], []
    for _ in range(300):
        hard = rng.random(200) < 0.2
        right = rng.random(200) < np.where(hard, 0.6, 0.9)
        weight = np.where(hard, 4.0, 0.25)
        chances = np.full(3_000, 0.7), np.full(200, 0.7)
        estimate = corrected_mean(*chances, right, 0.9, gold_weight=weight)
        covered.append(estimate.low <= 0.66 <= estimate.high)
        unweighted = corrected_mean(*chances, right, 0.9)
        plain.append(unweighted.low <= 0.66 <= unweighted.high)
    assert np.mean(covered) > 0.86
    assert np.mean(plain) < 0.05


def test_without_weights_the_correction_is_the_plain_mean():
    rng = np.random.default_rng(3)
    chance, right = rng.random(300), rng.random(100) < 0.6
    estimate = corrected_mean(chance[100:], chance[:100], right, 0.95)
    assert estimate.value == pytest.approx(chance[100:].mean() + (right - chance[:100]).mean())


def test_the_part_that_gold_rows_do_not_cover_may_be_right_or_wrong():
    right = np.arange(400) % 10 < 8
    chances = np.full(1_000, 0.8), np.full(400, 0.8)
    estimate = corrected_mean(*chances, right, 0.9, gold_weight=np.full(400, 0.6))
    assert estimate.value == pytest.approx(0.8)
    assert estimate.low <= 0.6 * 0.8 < 0.6 * 0.8 + 0.4 <= estimate.high


def test_a_single_gold_row_gives_no_interval():
    estimate = corrected_mean(np.full(10, 0.7), np.array([0.7]), np.array([True]), 0.95)
    assert estimate.value == pytest.approx(0.7)
    assert np.isnan(estimate.low)


def test_reliability_bins_hold_every_row_once():
    rng = np.random.default_rng(2)
    confidence = rng.uniform(0.5, 1, 1_003)
    table = reliability(confidence, rng.random(1_003) < confidence, 0.95)
    assert table["n"].sum() == 1_003
    assert table["confidence"].is_monotonic_increasing
    inside = (table["accuracy_low"] <= table["confidence"]) & (
        table["confidence"] <= table["accuracy_high"]
    )
    assert inside.mean() >= 0.8


def test_calibration_error_is_the_distance_of_confidence_and_accuracy():
    right = np.arange(1_000) % 10 < 7
    assert calibration_error(np.full(1_000, 0.7), right) == pytest.approx(0)
    assert calibration_error(np.full(1_000, 0.95), right) == pytest.approx(0.25)
