"""Intervals against scipy and against their definitions."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binomtest, poisson, t

from w2s_data.utils.intervals import (
    Estimate,
    fieller_interval,
    poisson_counts,
    share_interval,
    student_quantile,
    welch_quantile,
    wilson_interval,
)


def test_wilson_is_scipys():
    part, total = np.array([0, 3, 88, 1]), np.array([88, 7, 88, 1])
    lows, highs = wilson_interval(part, total, 0.9)
    for k, n, low, high in zip(part, total, lows, highs, strict=True):
        exact = binomtest(int(k), int(n)).proportion_ci(0.9, method="wilson")
        assert (low, high) == pytest.approx((exact.low, exact.high))
    assert np.isnan(wilson_interval(0, 0, 0.9)).all()


def test_a_share_that_no_replicate_moves_gets_wilsons_interval():
    low, high = share_interval(np.zeros(50), 0.0, 88, 0.95)
    assert low == 0
    assert high == pytest.approx(binomtest(0, 88).proportion_ci(0.95, method="wilson").high)


def test_welch_with_one_variance_is_students():
    assert welch_quantile((0.3, 0.0), (9, 4), 0.9) == pytest.approx(t.ppf(0.95, 9))
    assert welch_quantile((0.3, 0.1), (9, 0), 0.9) < t.ppf(0.95, 9)
    assert student_quantile(np.inf, 0.95) == pytest.approx(1.959964)


def test_poisson_counts_have_scipys_probabilities(rng):
    drawn = np.bincount(poisson_counts(rng, 1_000_000), minlength=12)[:12] / 1_000_000
    assert drawn == pytest.approx(poisson.pmf(range(12), 1), abs=0.002)


def test_fieller_limits_solve_the_quadratic():
    a, b, (aa, ab, bb), q = 0.3, 0.8, (0.01, 0.002, 0.02), 2.1
    for r in fieller_interval(a, b, (aa, ab, bb), q):
        assert abs(a - r * b) == pytest.approx(q * np.sqrt(aa - 2 * r * ab + r**2 * bb))


def test_an_estimate_has_one_shape():
    found = Estimate(0.5, 0.4, 0.6, 0.9)
    assert found.to_dict() == {"value": 0.5, "low": 0.4, "high": 0.6, "level": 0.9}
    assert found.columns("gain") == {"gain": 0.5, "gain_low": 0.4, "gain_high": 0.6}
    assert found.differs_from_zero
    assert float(found) == 0.5
