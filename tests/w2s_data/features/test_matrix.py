"""FeatureView: rows, differences, signs and checks, alone and on top of each other."""

import numpy as np
import pytest
import scipy.sparse

from w2s_data.errors import FeatureError
from w2s_data.features.matrix import ArrayFeatures, FeatureMatrix, FeatureView, as_feature_matrix
from w2s_data.features.pairs import pair_features, turned_features

ROWS = np.array([1, 2, 7, 9])


def read(view, max_bytes=24):
    return np.concatenate([block for _, block in view.blocks(max_bytes)])


def test_views_agree_with_the_arrays_they_stand_for(rng):
    one, two = rng.normal(size=(2, 10, 3)).astype(np.float32)
    labels = rng.integers(2, size=10)
    signs = np.where(labels == 0, 1, -1)[:, None]
    views = {
        "rows": (FeatureView(ArrayFeatures(one), ROWS), one[ROWS]),
        "difference": (pair_features(one, two), one - two),
        "signs": (turned_features(ArrayFeatures(one), labels), one * signs),
    }
    nested = FeatureView(pair_features(one, two), ROWS)
    views["nested"] = nested, (one - two)[ROWS]
    whole = FeatureView(ArrayFeatures(one), ROWS, minus=ArrayFeatures(two), signs=signs[:, 0])
    views["all at once"] = whole, ((one - two) * signs)[ROWS]
    halves = np.full(10, 0.5, dtype=np.float32)
    mean = FeatureView(ArrayFeatures(one), ROWS, plus=ArrayFeatures(two), signs=halves)
    views["mean"] = mean, ((one + two) / 2)[ROWS]
    for view, expected in views.values():
        assert isinstance(view, FeatureMatrix)
        assert view.shape == expected.shape
        for max_bytes in (1, 24, 10_000):
            np.testing.assert_array_equal(read(view, max_bytes), expected)
        mask = np.arange(len(expected)) % 2 == 0
        for rows in ([3, 0, 0], [-1], [], mask, slice(1, 3)):
            np.testing.assert_array_equal(view.take(rows), expected[rows].reshape(-1, 3))


def test_bad_rows_are_named_by_their_number_in_the_base(rng):
    array = rng.normal(size=(10, 3)).astype(np.float32)
    array[7] = 0
    bad = FeatureView(ArrayFeatures(array), ROWS, name="strong features", check=True)
    for act in (lambda: read(bad), lambda: bad.take([2]), lambda: bad.take(slice(None))):
        with pytest.raises(FeatureError, match="strong features are all zero in row 7"):
            act()
    assert read(FeatureView(ArrayFeatures(array), ROWS[:2], check=True)).shape == (2, 3)


def test_progress_counts_the_rows_of_the_view(rng):
    seen = []
    base = ArrayFeatures(rng.normal(size=(10, 3)).astype(np.float32))
    read(FeatureView(base, ROWS, advance=seen.append))
    assert sum(seen) == len(ROWS)


def test_sparse_features_are_refused_by_name():
    for sparse in (scipy.sparse.csr_matrix(np.eye(2)), scipy.sparse.coo_array(np.eye(2))):
        with pytest.raises(FeatureError, match=r"strong features must be dense: sparse input"):
            as_feature_matrix(sparse, "strong features")


def test_rows_of_several_lengths_are_refused():
    with pytest.raises(FeatureError, match=r"weak features must be .* all rows of one length"):
        as_feature_matrix([[1, 2], [1]], "weak features")


def test_tensors_are_taken_with_gradients_and_in_half_precision():
    torch = pytest.importorskip("torch")
    rows = torch.tensor([[1.0, 0.5], [2.0, -3.0]])
    for tensor in (rows, rows.bfloat16(), rows.half(), rows.double().requires_grad_()):
        assert as_feature_matrix(tensor).take([0, 1]).tolist() == rows.tolist()
    with pytest.raises(FeatureError, match="must be numbers"):
        as_feature_matrix(rows > 0)
