"""`choose_rows`: unsure rows of every kind, and pools that leave little to choose."""

import numpy as np
import pytest

from w2s_data.errors import FeatureError, InputError
from w2s_data.posterior import choose_rows


def pool(n=600, n_classes=2, seed=0):
    """Return features and a posterior that is sure far from the middle of the first column."""
    rng = np.random.default_rng(seed)
    strong = rng.normal(size=(n, 5))
    score = np.zeros((n, n_classes))
    score[:, : min(5, n_classes)] = 4 * strong[:, :n_classes]
    proba = np.exp(score - score.max(axis=1, keepdims=True))
    return strong, proba / proba.sum(axis=1, keepdims=True)


def test_rows_are_unsure_and_more_so_than_random_ones():
    strong, proba = pool()
    choice = choose_rows(strong, proba, 40, random_state=0)
    doubt = 1 - proba.max(axis=1)
    assert len(set(choice.rows.tolist())) == 40
    np.testing.assert_allclose(choice.doubt, doubt[choice.rows], rtol=1e-9)
    assert choice.doubt.mean() > 2 * doubt.mean()


def test_a_dense_cloud_of_unsure_rows_does_not_take_the_whole_budget():
    rng = np.random.default_rng(1)
    centres = np.eye(4)[:, :4] * 8
    sizes = (300, 40, 40, 40)
    strong = np.concatenate(
        [c + rng.normal(0, 0.3, (n, 4)) for c, n in zip(centres, sizes, strict=True)]
    )
    cloud = np.repeat(np.arange(4), sizes)
    second = rng.uniform(0.4, 0.6, len(strong))
    choice = choose_rows(strong, np.c_[1 - second, second], 16, random_state=0)
    assert set(cloud[choice.rows]) == {0, 1, 2, 3}
    # Each row of the pool is represented by one.
    assert choice.similar.min() >= 1
    assert choice.similar.sum() == len(strong)


def test_rows_are_those_that_add_most_to_what_is_represented():
    strong, proba = pool(n=60)
    sure = proba.argmax(axis=1) == 1
    strong, proba = strong[~sure], proba[~sure]  # one class, so that there are no quotas
    unit = (strong - strong.mean(axis=0)) / strong.std(axis=0)
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    similar = np.exp(4 * (unit @ unit.T - 1))
    doubt = np.maximum(1 - proba.max(axis=1), 0.01)
    expected: list[int] = []
    for _ in range(8):
        worth = [doubt @ similar[:, [*expected, row]].max(axis=1) for row in range(len(unit))]
        expected.append(int(np.argmax(worth)))
    choice = choose_rows(strong, proba, 8)
    assert choice.rows.tolist() == expected
    nearest = similar[:, expected].argmax(axis=1)
    np.testing.assert_array_equal(choice.similar, np.bincount(nearest, minlength=8))


def test_a_small_budget_goes_to_places_of_doubt_and_not_to_the_middle_of_a_class():
    strong, proba = pool(n=1_000)
    choice = choose_rows(strong, proba, 6, random_state=0)
    assert choice.doubt.mean() > 2 * (1 - proba.max(axis=1)).mean()


def test_a_class_keeps_half_of_what_random_rows_would_give_it():
    strong, proba = pool(n=800)
    sure = proba.argmax(axis=1) == 1
    proba[sure] = [0.02, 0.98]  # the posterior doubts rows of the first class only
    choice = choose_rows(strong, proba, 50, random_state=0)
    share = sure.mean()
    assert proba[choice.rows].argmax(axis=1).sum() >= int(50 * share / 2)


def test_equal_rows_are_asked_for_once():
    strong, proba = pool(n=30)
    strong, proba = np.repeat(strong, 5, axis=0), np.repeat(proba, 5, axis=0)
    choice = choose_rows(strong, proba, 30, random_state=0)
    assert len(np.unique(choice.rows // 5)) == 30
    more = choose_rows(strong, proba, 40, random_state=0)
    assert len(set(more.rows.tolist())) == 40


def test_a_large_pool_is_sampled_and_the_whole_budget_found():
    strong, proba = pool(n=5_000, n_classes=4)
    choice = choose_rows(strong, proba, 100, max_rows=500, random_state=0)
    assert len(set(choice.rows.tolist())) == 100
    assert choice.doubt.mean() > (1 - proba.max(axis=1)).mean()
    # Each row that was read stands for ten.
    assert choice.similar.sum() == pytest.approx(5_000, rel=0.02)


@pytest.mark.parametrize("proba", [np.full((20, 3), 1 / 3), np.tile([1.0, 0, 0], (20, 1))])
def test_a_posterior_that_knows_nothing_or_all_still_has_a_choice(proba):
    strong = np.random.default_rng(0).normal(size=(20, 3))
    assert len(choose_rows(strong, proba, 5, random_state=0).rows) == 5
    everything = choose_rows(strong, proba, 20, random_state=0).rows
    assert sorted(everything.tolist()) == list(range(20))


def test_constant_features_are_no_reason_to_fail():
    proba = np.tile([0.6, 0.4], (10, 1))
    assert len(choose_rows(np.ones((10, 4)), proba, 3, random_state=0).rows) == 3


def test_the_same_seed_chooses_the_same_rows_in_blocks_or_not(tmp_path):
    strong, proba = pool()
    np.save(tmp_path / "strong.npy", strong.astype(np.float32))
    mapped = np.load(tmp_path / "strong.npy", mmap_mode="r")
    first = choose_rows(strong.astype(np.float32), proba, 25, random_state=3).rows
    np.testing.assert_array_equal(first, choose_rows(mapped, proba, 25, random_state=3).rows)


def test_more_rows_than_there_are_and_other_row_counts_are_refused():
    strong, proba = pool(n=10)
    with pytest.raises(InputError, match="n must be a whole number from 1 to the 10 rows; got 11"):
        choose_rows(strong, proba, 11)
    with pytest.raises(InputError, match="strong_features has 9 rows, proba 10"):
        choose_rows(strong[:9], proba, 2)


def test_features_that_are_not_numbers_are_refused():
    strong, proba = pool(n=10)
    strong[3] = np.nan
    with pytest.raises(FeatureError, match="strong_features have NaN or infinite values in row 3"):
        choose_rows(strong, proba, 2)
