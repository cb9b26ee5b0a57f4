"""Weighted rows: their worth, and intervals for what they do not cover."""

import numpy as np
import pytest

from w2s_data.utils.intervals import Estimate
from w2s_data.utils.weighting import covered_share, effective_size, kish_size, widened, worth


def test_equal_weights_are_worth_all_rows_whatever_their_scale():
    assert kish_size(np.full(7, 0.3)) == pytest.approx(7)
    assert effective_size(np.ones(7)) == pytest.approx(7)
    assert kish_size(np.zeros(3)) == 0


def test_the_variance_of_a_weighted_mean_is_that_of_so_many_rows():
    rng = np.random.default_rng(0)
    weights = rng.gamma(1.0, size=100)
    means = rng.normal(size=(20_000, 100)) @ weights / weights.sum()
    assert kish_size(weights) == pytest.approx(1 / means.var(), rel=0.05)


def test_rows_that_cover_half_of_the_pool_are_worth_half():
    """Label one of two kinds in a pool, where the density ratio is 1/2."""
    ratio = np.full(200, 0.5)
    assert covered_share(ratio) == 0.5
    assert effective_size(ratio) == pytest.approx(100)
    assert worth(200, ratio) == "weighted: 200 gold rows are worth 100 for this pool"


@pytest.mark.parametrize("elsewhere", [0.0, 0.4, 1.0])
def test_widened_intervals_hold_whatever_the_other_rows_do(elsewhere):
    own = Estimate(0.8, 0.75, 0.85, 0.9)
    wide = widened(own, 0.3)
    assert wide.low <= 0.7 * 0.75 + 0.3 * elsewhere <= wide.high
    assert wide.low <= 0.7 * 0.85 + 0.3 * elsewhere <= wide.high
    assert (wide.value, wide.level) == (0.8, 0.9)


def test_a_difference_is_widened_on_both_sides():
    wide = widened(Estimate(0.1, 0.0, 0.2), 0.5, least=-1)
    assert (wide.low, wide.high) == (-0.5, 0.6)
