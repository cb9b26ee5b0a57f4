"""The change point against brute force, ruptures and 2-means."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from w2s_data.errors import InputError
from w2s_data.overlap.changepoint import NO_CHANGE_POINT, binseg_change_point, change_point

numbers = st.floats(-1e6, 1e6, allow_nan=False, width=32)


def brute_force_cost(values: np.ndarray) -> float:
    """Least summed squared deviation over all splits, by definition."""
    ordered = np.sort(values)
    return min(
        ((ordered[:k] - ordered[:k].mean()) ** 2).sum()
        + ((ordered[k:] - ordered[k:].mean()) ** 2).sum()
        for k in range(1, len(ordered))
    )


def split_cost(values: np.ndarray, k: int) -> float:
    ordered = np.sort(values)
    return ((ordered[:k] - ordered[:k].mean()) ** 2).sum() + (
        (ordered[k:] - ordered[k:].mean()) ** 2
    ).sum()


@given(st.lists(numbers, min_size=2, max_size=40))
def test_split_is_the_cheapest_one(values):
    array = np.array(values, dtype=np.float64)
    found = change_point(array)
    if not found.found:
        assert np.ptp(array) == 0
        return
    assert split_cost(array, found.index) == pytest.approx(
        brute_force_cost(array), rel=1e-6, abs=1e-9 * np.ptp(array) ** 2
    )


@given(st.lists(st.sampled_from([0.0, 0.25, 0.5, 1.0]), min_size=2, max_size=30))
def test_equal_values_stay_together(values):
    found = change_point(values)
    if found.found:
        assert found.lower < found.upper
        assert np.count_nonzero(np.array(values) <= found.lower) == found.index


@given(st.lists(numbers, min_size=3, max_size=30), st.floats(0.1, 100), st.floats(-1e4, 1e4))
def test_scaling_and_shifting_move_the_threshold_along(values, scale, shift):
    array = np.round(np.array(values), 1)
    before, after = change_point(array), change_point(array * scale + shift)
    assert after.found == before.found
    if before.found:
        moved = split_cost(array, after.index)
        assert moved == pytest.approx(split_cost(array, before.index), rel=1e-6, abs=1e-6)


def test_large_offset_cancels_no_digits(rng):
    values = np.concatenate([rng.normal(0, 1, 400), rng.normal(6, 1, 600)])
    assert change_point(values + 1e9).index == change_point(values).index


def test_agrees_with_two_means(rng):
    from sklearn.cluster import KMeans

    values = np.concatenate([rng.normal(0, 1, 300), rng.normal(5, 1, 100)])
    means = KMeans(2, n_init=10, random_state=0).fit(values[:, None])
    upper = means.labels_ == means.labels_[values.argmax()]
    assert np.array_equal(values >= change_point(values).upper, upper)


def test_explained_share_of_uniform_values_is_three_quarters():
    assert change_point(np.linspace(0, 1, 10_001)).explained == pytest.approx(0.75, abs=1e-3)


@pytest.mark.parametrize("values", [[], [1.0], [2.0, 2.0, 2.0], [np.float32(0.1)] * 5])
def test_no_change_point_is_a_value(values):
    assert change_point(values) == NO_CHANGE_POINT
    assert not change_point(values).found
    assert np.isnan(change_point(values).lower)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_not_finite_values_are_named(bad):
    with pytest.raises(InputError, match="row 1"):
        change_point([0.0, bad, 1.0])


def test_two_dimensional_values_are_refused():
    with pytest.raises(InputError, match=r"one-dimensional.*\(2, 2\)"):
        change_point(np.zeros((2, 2)))


@pytest.mark.parametrize("n", [7, 8, 11, 50, 203])
@pytest.mark.parametrize("decimals", [1, 15])
def test_published_grid_equals_ruptures(rng, n, decimals):
    import ruptures

    for _ in range(20):
        values = np.round(rng.random(n), decimals)
        signal = np.sort(values).reshape(-1, 1)
        expected = ruptures.Binseg(model="l2").fit(signal).predict(n_bkps=1)[0]
        assert binseg_change_point(values).index == expected


@pytest.mark.parametrize("n", [0, 1, 6])
def test_published_grid_needs_seven_values(n):
    assert binseg_change_point(np.arange(float(n))) == NO_CHANGE_POINT
