"""Curves that are known: the fit has to find them, and its intervals have to hold them."""

import numpy as np
import pytest

from w2s_data.plan.curves import Curve, covariance_of, fit_curve, shape

PRESENT = (200.0, 1000.0)
SIZES = np.array([(200, 1000), (140, 1000), (100, 1000), (50, 1000), (200, 500), (200, 250)])


def known(sizes, floor=0.4, part=0.3, gold_rate=0.5, pool_rate=0.5, error=0.2):
    return error * shape(floor, part, gold_rate, pool_rate, *(sizes / np.array(PRESENT)).T)


def test_a_curve_without_noise_is_continued():
    curve = fit_curve(
        *("both", SIZES, known(SIZES), np.eye(6) * 1e-6, PRESENT, np.random.default_rng(0))
    )
    ahead = np.array([[400.0, 1000.0], [200.0, 4000.0]])
    predicted = curve.draws(*ahead.T).mean(axis=0)
    assert predicted == pytest.approx(known(ahead), abs=0.005)


def test_more_noise_means_wider_intervals():
    widths = []
    for variance in (1e-6, 1e-3):
        curve = fit_curve(
            "gold",
            SIZES[:4],
            known(SIZES[:4], part=0.0),
            np.eye(4) * variance,
            PRESENT,
            np.random.default_rng(0),
        )
        gain = curve.gain(800, 1000, 0.9)
        assert gain.low <= gain.value <= gain.high
        widths.append(gain.high - gain.low)
    assert widths[0] < widths[1]


def test_gold_alone_does_not_depend_on_the_pool_nor_weak_alone_on_gold():
    rng = np.random.default_rng(0)
    gold = fit_curve("gold", SIZES[:4], known(SIZES[:4]), np.eye(4) * 1e-4, PRESENT, rng)
    assert gold.gain(200, 8000, 0.9).value == pytest.approx(0, abs=1e-3)


def test_a_flat_side_gains_nothing_and_draws_survive_json():
    rng = np.random.default_rng(0)
    curve = fit_curve("both", SIZES, known(SIZES), np.eye(6) * 1e-4, PRESENT, rng)
    assert curve.without([0]).gain(1600, 1000, 0.9).value == pytest.approx(0, abs=1e-3)
    assert curve.without([0]).gain(200, 8000, 0.9).value > 0
    again = Curve.from_dict(curve.to_dict())
    assert again.accuracy(400, 2000, 0.9).value == pytest.approx(
        curve.accuracy(400, 2000, 0.9).value, abs=5e-3
    )


def test_rows_that_are_always_right_leave_some_doubt():
    assert np.all(np.diag(covariance_of(np.zeros((50, 3)))) > 0)


def test_luck_lifts_no_accuracy_above_1():
    same, luck = np.ones(50), np.linspace(-2, 2, 50)
    curve = Curve(0.2 * same, 0 * same, 0 * same, 2 * same, same, luck, *PRESENT)
    found = curve.accuracy(10 * PRESENT[0], 10 * PRESENT[1], 0.9)
    assert found.value == pytest.approx(1 - 0.2 / 100)  # luck adds nothing to it
    assert found.low < found.value < found.high == 1
