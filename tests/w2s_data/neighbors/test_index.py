"""NeighborIndex against brute force, scikit-learn and its own files."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import clone
from sklearn.neighbors import NearestNeighbors

from w2s_data import NeighborIndex
from w2s_data.compute import faiss as _faiss
from w2s_data.errors import EmptyDataError, FeatureError, InputError, StoreError
from w2s_data.features.matrix import ArrayFeatures
from w2s_data.neighbors import build as _index
from w2s_data.neighbors import search as _search
from w2s_data.neighbors.storage import fingerprint

METRICS = ["cosine", "inner_product", "l2"]
KINDS = ["flat", "ivf", "hnsw"]


@pytest.fixture
def points(rng):
    """900 points in clusters, of different lengths, every tenth one there twice."""
    centres = rng.normal(size=(12, 24))
    rows = centres[rng.integers(12, size=900)] + 0.6 * rng.normal(size=(900, 24))
    rows[1::10] = rows[::10]
    return rows.astype(np.float32)


@pytest.fixture(autouse=True)
def no_device_remembered():
    _faiss.gpu_works.cache_clear()
    yield
    _faiss.gpu_works.cache_clear()


def table(metric, queries, stored):
    """All scores, in float64."""
    queries, stored = queries.astype(np.float64), stored.astype(np.float64)
    if metric == "l2":
        return np.sqrt(((queries[:, None] - stored[None]) ** 2).sum(axis=2))
    if metric == "cosine":
        queries = queries / np.linalg.norm(queries, axis=1, keepdims=True)
        stored = stored / np.linalg.norm(stored, axis=1, keepdims=True)
    return queries @ stored.T


def best(metric, scores, k):
    """The k best scores of each row, the nearest first."""
    ordered = np.sort(scores, axis=1)
    return ordered[:, :k] if metric == "l2" else ordered[:, ::-1][:, :k]


def others(metric, points):
    scores = table(metric, points, points)
    np.fill_diagonal(scores, np.inf if metric == "l2" else -np.inf)
    return scores


# ---------------------------------------------------------------------------------------- truth


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("k", [1, 10])
def test_neighbors_are_those_of_brute_force(points, metric, kind, k):
    index = NeighborIndex(metric, kind).fit(points)
    found = index.neighbors(k)
    truth = others(metric, points)
    wanted = best(metric, truth, k)
    assert index.kind_ == kind
    assert found.indices.shape == found.scores.shape == (900, k)
    assert found.indices.dtype == np.int64
    assert not (found.indices == np.arange(900)[:, None]).any()
    assert all(len(set(row)) == k for row in found.indices.tolist())
    # Whatever was found has the score that it is said to have, in the order promised.
    np.testing.assert_allclose(
        found.scores, np.take_along_axis(truth, found.indices, 1), rtol=2e-5, atol=2e-5
    )
    steps = np.diff(found.scores, axis=1)
    assert (steps <= 0).all() if metric != "l2" else (steps >= 0).all()
    hit = np.isclose(found.scores, wanted, rtol=2e-5, atol=2e-5)
    if kind == "flat":
        assert hit.all()
    else:
        sign = -1 if metric == "l2" else 1
        as_near = sign * found.scores >= sign * wanted[:, -1:] - 1e-4
        assert as_near.mean() >= 0.95
        assert index.recall_ >= 0.95


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("kind", KINDS)
def test_query_finds_new_points(points, rng, metric, kind):
    queries = points[:50] + 0.1 * rng.normal(size=(50, 24)).astype(np.float32)
    found = NeighborIndex(metric, kind).fit(points).query(queries, 5)
    wanted = best(metric, table(metric, queries, points), 5)
    assert np.isclose(found.scores, wanted, rtol=2e-5, atol=2e-5).mean() >= 0.95


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("step", [3, 300])  # lists of IVF with candidates, and most without
def test_nearest_of_some_points(points, rng, metric, kind, step, monkeypatch):
    monkeypatch.setattr(_search, "NEAREST_COLUMNS", 64)
    rows, candidates = rng.permutation(len(points))[:200], np.arange(0, len(points), step)
    index = NeighborIndex(metric, kind).fit(points)
    found = index.nearest_of(rows, candidates)
    scores = others(metric, points)[rows]
    expected = best(metric, scores[:, candidates], 1)
    right = np.isclose(found.scores, expected, rtol=1e-4, atol=1e-4)
    assert right.mean() >= (0.95 if kind == "ivf" else 1)
    assert np.isin(found.indices, candidates).all()
    assert (found.indices[:, 0] != rows).all()
    of_found = np.take_along_axis(scores, found.indices, 1)
    np.testing.assert_allclose(of_found, found.scores, rtol=1e-4, atol=1e-4)
    with pytest.raises(InputError, match="candidates must hold a point other than"):
        index.nearest_of(rows[:1], rows[:1])


def test_nearest_of_takes_lists_and_masks_and_refuses_rows_that_are_not_there(points):
    index = NeighborIndex().fit(points)
    numbers, every = np.arange(900), np.arange(900) % 3 == 0
    expected = index.nearest_of(numbers[:2], numbers[every]).indices.tolist()
    for rows in ([0, 1], numbers < 2):
        assert index.nearest_of(rows, every).indices.tolist() == expected
    for rows in ([-1], [900]):
        with pytest.raises(InputError, match=f"rows has row {rows[0]}, .* 900 rows"):
            index.nearest_of(rows, every)
        with pytest.raises(InputError, match=f"candidates has row {rows[0]}, .* 900 rows"):
            index.nearest_of([0], rows)


@pytest.mark.parametrize(("metric", "name"), [("cosine", "cosine"), ("l2", "euclidean")])
def test_scikit_learn_agrees(rng, metric, name):
    points = rng.normal(size=(400, 7)).astype(np.float32)  # no ties: the indices are unique
    near = NearestNeighbors(n_neighbors=6, algorithm="brute", metric=name).fit(points)
    distances, indices = near.kneighbors()
    found = NeighborIndex(metric).fit(points).neighbors(6)
    np.testing.assert_array_equal(found.indices, indices)
    scores = 1 - distances if metric == "cosine" else distances
    np.testing.assert_allclose(found.scores, scores, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_euclidean_distances_of_near_points_far_from_the_origin_are_right(rng, kind):
    points = (100 + 1e-2 * rng.normal(size=(80, 16))).astype(np.float32)
    points[1] = points[0]
    index = NeighborIndex("l2", kind).fit(points)
    truth = others("l2", points)
    found = index.neighbors(3)
    assert found.scores[0, 0] == found.scores[1, 0] == 0
    np.testing.assert_allclose(
        found.scores, np.take_along_axis(truth, found.indices, 1), rtol=1e-3, atol=1e-6
    )
    if kind != "ivf":
        assert index.near_duplicates(0.0)[["i", "j"]].values.tolist() == [[0, 1]]


def test_own_row_is_left_out_also_among_duplicates():
    points = np.repeat(np.eye(2, dtype=np.float32), 30, axis=0)
    for kind in KINDS:
        found = NeighborIndex("cosine", kind).fit(points).neighbors(29)
        for row in range(60):
            first = 30 * (row // 30)
            same = set(range(first, first + 30)) - {row}
            assert set(found.indices[row].tolist()) == same, (kind, row)
        np.testing.assert_allclose(found.scores, 1)


def test_every_other_point_can_be_asked_for(points):
    for kind in KINDS:
        found = NeighborIndex("l2", kind).fit(points[:40]).neighbors(39)
        assert all(sorted([*row, i]) == list(range(40)) for i, row in enumerate(found.indices))


# ---------------------------------------------------------------------------------------- ranges


def radius_between(scores, share):
    """A radius that no pair touches."""
    ordered = np.unique(np.round(scores[np.isfinite(scores)], 4))
    at = int(share * len(ordered))
    return float((ordered[at] + ordered[at + 1]) / 2)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("kind", KINDS)
def test_within_finds_all_and_nothing_else(points, metric, kind, monkeypatch):
    monkeypatch.setattr(_search, "RANGE_ROWS", 70)  # several blocks
    monkeypatch.setattr(_search, "RANGE_COLUMNS", 400)
    truth = others(metric, points)
    radius = radius_between(truth, 0.1 if metric == "l2" else 0.9)
    inside = truth <= radius if metric == "l2" else truth >= radius
    index = NeighborIndex(metric, kind).fit(points)
    found = index.within(radius)
    assert found.indptr[0] == 0
    assert found.indptr[-1] == len(found.indices) == len(found.scores)
    rows = np.repeat(np.arange(900), found.counts)
    assert inside[rows, found.indices].all()
    np.testing.assert_allclose(found.scores, truth[rows, found.indices], rtol=2e-5, atol=2e-5)
    if kind == "ivf":
        assert len(rows) >= 0.9 * inside.sum()
    else:
        np.testing.assert_array_equal(found.counts, inside.sum(axis=1))
    scores = (1 if metric == "l2" else -1) * found.scores
    same_row = np.diff(rows) == 0
    assert (np.diff(scores)[same_row] >= 0).all()
    new = index.within(radius, points[:3])
    assert (new.counts >= found.counts[:3]).all()  # a new point has no row of its own to leave out


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("kind", KINDS)
def test_near_duplicates_are_pairs_once(points, metric, kind):
    name = "distance" if metric == "l2" else "similarity"
    truth = others(metric, points)
    threshold = radius_between(truth, 0.02 if metric == "l2" else 0.98)
    inside = truth <= threshold if metric == "l2" else truth >= threshold
    pairs = NeighborIndex(metric, kind).fit(points).near_duplicates(threshold)
    assert list(pairs.columns) == ["i", "j", name]
    assert (pairs["i"] < pairs["j"]).all()
    assert not pairs.duplicated(["i", "j"]).any()
    assert pairs[["i", "j"]].apply(tuple, axis=1).is_monotonic_increasing
    wanted = set(zip(*map(np.ndarray.tolist, np.nonzero(np.triu(inside))), strict=True))
    found = set(zip(pairs["i"], pairs["j"], strict=True))
    assert found <= wanted
    assert len(found) >= (0.95 if kind == "ivf" else 1) * len(wanted) > 0


@pytest.mark.parametrize(("metric", "same"), [("cosine", 1.0), ("l2", 0.0)])
@pytest.mark.parametrize("kind", KINDS)
def test_equal_rows_lie_within_the_tightest_threshold(points, metric, same, kind):
    pairs = NeighborIndex(metric, kind).fit(points).near_duplicates(same)
    assert pairs[["i", "j"]].values.tolist() == [[i, i + 1] for i in range(0, 900, 10)]


def test_no_pairs_are_an_empty_table_and_empty_ranges():
    index = NeighborIndex().fit(np.eye(4))
    pairs = index.near_duplicates(0.9)
    assert pairs.shape == (0, 3)
    assert str(pairs.dtypes["i"]) == "int64"
    assert index.within(0.9).indptr.tolist() == [0] * 5


@pytest.mark.parametrize("kind", KINDS)
def test_too_many_pairs_are_refused_before_memory_is_full(kind, monkeypatch):
    monkeypatch.setattr(_search, "RANGE_ROWS", 50)
    index = NeighborIndex("cosine", kind).fit(np.ones((200, 3)))
    for search in (index.within, index.near_duplicates):
        with pytest.raises(InputError, match=r"more than 1,000 pairs lie within 0\.5"):
            search(0.5, max_pairs=1000)
    assert len(index.near_duplicates(0.5, max_pairs=19_900)) == 19_900


# ---------------------------------------------------------------------------- same again, blocks


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("metric", METRICS)
def test_same_seed_same_answer(points, kind, metric):
    first, again = (NeighborIndex(metric, kind, random_state=3).fit(points) for _ in range(2))
    left, right = first.neighbors(8), again.neighbors(8)
    np.testing.assert_array_equal(left.indices, right.indices)
    np.testing.assert_array_equal(left.scores, right.scores)
    assert first.recall_ == again.recall_
    generator = NeighborIndex(metric, kind, random_state=np.random.default_rng(3)).fit(points)
    np.testing.assert_array_equal(generator.neighbors(8).indices, left.indices)


class SmallBlocks(ArrayFeatures):
    """Features that come 7 rows at a time and never as a whole."""

    def blocks(self, max_bytes=0):  # noqa: ARG002
        return super().blocks(7 * 4 * self.shape[1])


@pytest.mark.parametrize("kind", KINDS)
def test_blocks_and_memory_maps_are_the_whole(points, kind, tmp_path):
    np.save(tmp_path / "points.npy", points)
    memmap = np.load(tmp_path / "points.npy", mmap_mode="r")
    whole = NeighborIndex(kind=kind).fit(points)
    for other in (
        SmallBlocks(points),
        memmap,
        points.astype(np.float64),
        np.asfortranarray(points),
    ):
        index = NeighborIndex(kind=kind).fit(other)
        assert index.fingerprint_ == whole.fingerprint_ == fingerprint(other)
        # Matrix products of other sizes round otherwise, so that ties may fall otherwise.
        left, right = index.neighbors(4), whole.neighbors(4)
        np.testing.assert_allclose(left.scores, right.scores, atol=1e-5)
        assert (left.indices == right.indices).mean() > 0.98
        np.testing.assert_allclose(
            index.query(other, 4).scores, whole.query(points, 4).scores, atol=1e-5
        )


def test_feature_store_is_indexed(tmp_path):
    from PIL import Image

    from w2s_data import PixelEncoder, embed

    images = [Image.new("L", (8, 8), grey) for grey in (10, 200, 12)]
    store = embed(images, PixelEncoder(size=2), tmp_path / "store", shard_rows=2)
    index = NeighborIndex("l2").fit(store)
    assert index.neighbors(1).indices.ravel().tolist() == [2, 2, 0]
    assert index.fingerprint_ == fingerprint(store.array())


def test_lists_are_searched_one_after_another_to_the_same_result(points):
    index = NeighborIndex("l2", kind="ivf", n_lists=12, n_probe=3).fit(points)._search.index
    scores, indices = index.search(points, 5)
    found = _index.search(index, points, 5)
    np.testing.assert_array_equal(found[1], indices)
    np.testing.assert_array_equal(found[0], scores)
    order = _index.order_of_storage(index)
    np.testing.assert_array_equal(np.sort(order), np.arange(len(points)))
    lists = index.quantizer.search(points, 1)[1][order, 0]
    assert (np.diff(lists) >= 0).all()


def test_a_search_leaves_the_index_as_it_was(points):
    index = NeighborIndex(kind="ivf", n_lists=12, n_probe=3).fit(points)
    before = index.near_duplicates(0.99)
    index.neighbors(3)
    assert index.near_duplicates(0.99).equals(before)


def test_nothing_shared_in_faiss_is_changed(points):
    import faiss

    before = (faiss.omp_get_max_threads(), faiss.cvar.distance_compute_blas_threshold)
    state = np.random.get_state()[1].copy()  # noqa: NPY002 - that it is left alone is the point
    for kind in KINDS:
        NeighborIndex(kind=kind).fit(points).neighbors(3)
    after = (faiss.omp_get_max_threads(), faiss.cvar.distance_compute_blas_threshold)
    assert before == after
    np.testing.assert_array_equal(state, np.random.get_state()[1])  # noqa: NPY002


@pytest.mark.slow
def test_faiss_computes_with_the_kernels_of_this_processor():
    """An OpenBLAS that does not know it would take those of 2004, four times slower."""
    code = (
        "import os, numpy\n"
        "from threadpoolctl import threadpool_info\n"
        "from w2s_data.compute import faiss as _faiss\n"
        "known = [_faiss.KERNELS.get(b.get('architecture')) for b in threadpool_info()]\n"
        "_faiss.library()\n"
        "for blas in threadpool_info():\n"
        "    if 'faiss' in blas['filepath'] and 'architecture' in blas and any(known):\n"
        "        print(blas['architecture'] == next(filter(None, known)))\n"
        "print('OPENBLAS_CORETYPE' in os.environ)\n"
    )
    env = {name: value for name, value in os.environ.items() if name != "OPENBLAS_CORETYPE"}
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env)
    assert said.returncode == 0, said.stderr
    assert said.stdout.split() in (["True", "False"], ["False"])


def test_kernels_that_the_user_chose_are_left_alone(monkeypatch):
    found = [{"architecture": None}, {"architecture": "SapphireRapids"}]
    monkeypatch.setattr("threadpoolctl.threadpool_info", lambda: found)
    monkeypatch.delenv("OPENBLAS_CORETYPE", raising=False)
    with _faiss.kernels_of_numpy():
        assert os.environ["OPENBLAS_CORETYPE"] == "SkylakeX"
    assert "OPENBLAS_CORETYPE" not in os.environ
    monkeypatch.setenv("OPENBLAS_CORETYPE", "Nehalem")
    with _faiss.kernels_of_numpy():
        assert os.environ["OPENBLAS_CORETYPE"] == "Nehalem"
    assert os.environ["OPENBLAS_CORETYPE"] == "Nehalem"


# ------------------------------------------------------------------------------------------ auto


def test_auto_is_flat_for_few_points(points):
    index = NeighborIndex().fit(points)
    assert (index.kind_, index.n_lists_, index.n_probe_, index.recall_) == ("flat", None, None, 1)


def test_auto_is_ivf_for_many_clustered_points_and_flat_without_clusters(rng, monkeypatch):
    monkeypatch.setattr(_index, "FLAT_ROWS", 2000)
    centres = 3 * rng.normal(size=(40, 32))
    clustered = centres[rng.integers(40, size=4000)] + rng.normal(size=(4000, 32))
    index = NeighborIndex().fit(clustered)
    assert (index.kind_, index.n_lists_) == ("ivf", 102)  # N / 39, fewer than 4 sqrt(N)
    assert index.recall_ >= 0.97
    assert index.n_probe_ <= 5
    index = NeighborIndex().fit(rng.normal(size=(4000, 32)))
    assert (index.kind_, index.recall_, index.n_probe_) == ("flat", 1, None)
    assert len(index.neighbors(2).indices) == 4000


def test_recall_counts_neighbors_that_all_point_in_one_direction(rng):
    points = (rng.normal(size=(2000, 10)) + 100).astype(np.float32)
    index = NeighborIndex(kind="ivf", n_probe=1).fit(points)
    pairs = zip(
        index.neighbors(20).indices, NeighborIndex().fit(points).neighbors(20).indices, strict=True
    )
    true = np.mean([len(np.intersect1d(*pair)) for pair in pairs]) / 20
    assert true < 0.5
    # Neighbours whose similarities are equal in float32 count, and each finds itself.
    assert index.recall_ == pytest.approx(true, abs=0.15)


def test_probes_can_be_fixed(points):
    index = NeighborIndex(kind="ivf", n_lists=20, n_probe=1).fit(points)
    assert (index.n_lists_, index.n_probe_) == (20, 1)
    whole = NeighborIndex(kind="ivf", n_lists=20, n_probe=20).fit(points)
    assert index.recall_ < whole.recall_ == 1
    # One list does not hold 300 points: the others are looked through.
    assert (index.neighbors(300).indices >= 0).all()


# ------------------------------------------------------------------------------------------ files


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("metric", METRICS)
def test_saved_index_answers_alike(points, tmp_path, metric, kind):
    index = NeighborIndex(metric, kind, random_state=1).fit(points)
    index.save(tmp_path / "neighbors.faiss")
    assert sorted(file.name for file in tmp_path.iterdir()) == [
        "neighbors.faiss",
        "neighbors.faiss.json",
    ]
    loaded = NeighborIndex.load(tmp_path / "neighbors.faiss", features=points, metric=metric)
    assert loaded.get_params() == index.get_params()
    for name in ("kind_", "shape_", "fingerprint_", "recall_", "n_lists_", "n_probe_"):
        assert getattr(loaded, name) == getattr(index, name)
    np.testing.assert_array_equal(loaded.neighbors(5).indices, index.neighbors(5).indices)
    np.testing.assert_array_equal(loaded.query(points, 5).scores, index.query(points, 5).scores)
    radius = 1.5 if metric == "l2" else 0.9
    np.testing.assert_array_equal(loaded.within(radius).indices, index.within(radius).indices)


def test_other_features_or_metric_are_refused(points, tmp_path):
    path = tmp_path / "neighbors.faiss"
    NeighborIndex().fit(points).save(path)
    changed = points.copy()
    changed[5, 5] += 1
    with pytest.raises(StoreError, match="other features"):
        NeighborIndex.load(path, features=changed)
    with pytest.raises(StoreError, match=r"shape \(900, 24\).*shape \(899, 24\)"):
        NeighborIndex.load(path, features=points[:-1])
    with pytest.raises(StoreError, match="metric 'cosine', not 'l2'"):
        NeighborIndex.load(path, metric="l2")


def test_damaged_files_are_refused(points, tmp_path):
    path, record = tmp_path / "neighbors.faiss", tmp_path / "neighbors.faiss.json"
    NeighborIndex().fit(points).save(path)
    whole, content = path.read_bytes(), json.loads(record.read_text())
    path.write_bytes(whole[:-100])
    with pytest.raises(StoreError, match="checksum"):
        NeighborIndex.load(path)
    path.write_bytes(whole)
    for damage, message in [
        ("{", "cannot read"),
        ("[]", "cannot read"),
        (json.dumps({**content, "schema": 99}), "version 99"),
    ]:
        record.write_text(damage)
        with pytest.raises(StoreError, match=message):
            NeighborIndex.load(path)
    record.unlink()
    with pytest.raises(StoreError, match=r"neighbors\.faiss\.json' is missing"):
        NeighborIndex.load(path)


def test_failed_save_keeps_what_was_there(points, tmp_path, monkeypatch):
    path = tmp_path / "neighbors.faiss"
    index = NeighborIndex().fit(points)
    index.save(path)
    monkeypatch.setattr(_faiss, "write_index", lambda *_: (_ for _ in ()).throw(RuntimeError))
    with pytest.raises(RuntimeError):
        index.save(path)
    assert NeighborIndex.load(path).fingerprint_ == index.fingerprint_


# -------------------------------------------------------------------------------------- bad input


def test_bad_rows_are_named(points):
    broken = points.copy()
    broken[[3, 700]] = np.nan
    zero = points.copy()
    zero[[5, 6]] = 0
    for metric in METRICS:
        for kind in KINDS:
            with pytest.raises(FeatureError, match="NaN or infinite values in rows 3, 700"):
                NeighborIndex(metric, kind).fit(broken)
    for kind in KINDS:
        with pytest.raises(FeatureError, match="all zero in rows 5, 6"):
            NeighborIndex("cosine", kind).fit(zero)
        NeighborIndex("l2", kind).fit(zero)
    index = NeighborIndex().fit(points)
    with pytest.raises(FeatureError, match="all zero in row 0"):
        index.query(np.zeros((1, 24)), 1)
    with pytest.raises(FeatureError, match="NaN or infinite values in row 3"):
        index.within(0.5, broken[:10])


def test_products_that_overflow_are_an_error_not_a_neighbour():
    points = np.array([[1e30, 0], [0, 1e30], [-1e30, 0]], dtype=np.float32)
    with pytest.raises(FeatureError, match="another scale"):
        NeighborIndex("l2").fit(points).neighbors(1)
    assert NeighborIndex("cosine").fit(points * 1e-13).neighbors(2).scores.shape == (3, 2)


def test_tiny_rows_have_a_direction():
    points = np.array([[1e-18, 0], [2e-18, 0], [0, 1e-18]], dtype=np.float32)
    found = NeighborIndex("cosine").fit(points).neighbors(1)
    assert found.indices[:2].ravel().tolist() == [1, 0]
    np.testing.assert_allclose(found.scores.ravel(), [1, 1, 0], atol=1e-6)
    with pytest.raises(FeatureError, match="too small to square"):
        NeighborIndex("cosine").fit(points * np.float32(1e-12))


@pytest.mark.parametrize("kind", KINDS)
def test_few_points(kind):
    one = NeighborIndex(kind=kind).fit([[1.0, 2.0]])
    assert one.query([[2.0, 4.0]], 1).indices.tolist() == [[0]]
    assert one.near_duplicates(0.5).empty
    with pytest.raises(InputError, match="k must be from 1 to the 0 other points"):
        one.neighbors(1)
    two = NeighborIndex(kind=kind).fit([[1.0, 2.0], [3.0, 1.0]])
    assert two.neighbors(1).indices.tolist() == [[1], [0]]
    same = NeighborIndex("l2", kind).fit(np.ones((5, 2)))
    assert sorted(same.neighbors(4).indices[2]) == [0, 1, 3, 4]


@pytest.mark.parametrize("k", [0, -1, 900, 1.5, "3", True])
def test_k_out_of_range(points, k):
    index = NeighborIndex().fit(points)
    with pytest.raises(InputError, match="k must be from 1 to the 899 other points"):
        index.neighbors(k)


def test_query_of_more_than_there_are(points):
    index = NeighborIndex().fit(points)
    assert index.query(points[:2], 900).indices.shape == (2, 900)
    assert index.query(np.empty((0, 24)), 3).indices.shape == (0, 3)
    with pytest.raises(InputError, match="k must be from 1 to the 900 points"):
        index.query(points, 901)
    with pytest.raises(FeatureError, match="5 columns; the index was fitted on 24"):
        index.query(points[:, :5], 1)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"metric": "euclid"}, "metric must be 'cosine'"),
        ({"metric": "cosin"}, "did you mean 'cosine'"),
        ({"kind": "ivff"}, "did you mean 'ivf'"),
        ({"kind": "ivf", "n_lists": 0}, "n_lists must be"),
        ({"kind": "ivf", "n_probe": 1.5}, "n_probe must be"),
        ({"kind": "ivf", "n_lists": 901}, "only 900 points"),
        ({"kind": "ivf", "n_lists": 5, "n_probe": 6}, "only 5 lists"),
        ({"kind": "flat", "n_lists": 5}, "has no lists"),
        ({"kind": "hnsw", "n_probe": 5}, "has no lists"),
        ({"device": "gpu"}, "unknown device 'gpu'"),
        ({"device": "cuda:x"}, "unknown device 'cuda:x'"),
        ({"random_state": "seed"}, "random_state"),
    ],
)
def test_parameters_out_of_range(points, parameters, message):
    with pytest.raises(InputError, match=message):
        NeighborIndex(**parameters).fit(points)


@pytest.mark.parametrize(
    ("metric", "radius"), [("cosine", 1.2), ("cosine", np.nan), ("l2", -1), ("l2", np.inf)]
)
def test_radius_out_of_range(points, metric, radius):
    index = NeighborIndex(metric).fit(points)
    for search in (index.within, index.near_duplicates):
        with pytest.raises(InputError, match="radius and threshold are"):
            search(radius)


def test_no_rows_and_no_table():
    with pytest.raises(EmptyDataError, match="no rows"):
        NeighborIndex().fit(np.empty((0, 3)))
    with pytest.raises(FeatureError, match="shape"):
        NeighborIndex().fit(np.ones(3))


# ------------------------------------------------------------------------------- contract, device


def test_estimator_contract(points):
    index = NeighborIndex("l2", "ivf", n_lists=4)
    assert clone(index.fit(points)).get_params() == index.get_params()
    with pytest.raises(ValueError, match="not fitted"):
        NeighborIndex().neighbors(1)


def test_results_are_tables_and_plain_types(points):
    index = NeighborIndex().fit(points)
    near, ranges = index.neighbors(2), index.within(0.99)
    frame = near.to_frame()
    assert list(frame.columns) == ["row", "rank", "neighbor", "similarity"]
    assert frame.loc[3].tolist()[:3] == [1, 2, near.indices[1, 1]]
    assert list(ranges.to_frame().columns) == ["row", "neighbor", "similarity"]
    assert len(ranges.to_frame()) == len(ranges.indices)
    assert json.loads(json.dumps(near.to_dict()))["indices"] == near.indices.tolist()
    assert json.loads(json.dumps(ranges.to_dict()))["indptr"] == ranges.indptr.tolist()
    assert repr(near) == "Neighbors(900 points, 2 nearest each, cosine)"
    assert repr(ranges).startswith("NeighborRanges(900 points")


@settings(max_examples=40)
@given(st.integers(2, 30), st.integers(1, 5), st.sampled_from(METRICS), st.integers(0, 2**31 - 1))
def test_a_permutation_of_the_rows_permutes_the_answer(n, dim, metric, seed):
    rng = np.random.default_rng(seed)
    points = rng.normal(size=(n, dim))
    order = rng.permutation(n)
    k = int(rng.integers(1, n))
    plain = NeighborIndex(metric).fit(points).neighbors(k)
    mixed = NeighborIndex(metric).fit(points[order]).neighbors(k)
    np.testing.assert_allclose(mixed.scores, plain.scores[order], rtol=1e-4, atol=1e-5)


@pytest.fixture
def broken_gpu(monkeypatch):
    """A faiss that names a GPU on which the first search ends its process, as faiss does."""
    import faiss

    monkeypatch.setattr(faiss, "get_num_gpus", lambda: 1)
    said = "Faiss assertion 'err__ == cudaSuccess' failed in f() at f.cu:1; details: CUDA error 209"
    code = f"import os, sys; print({said!r}, file=sys.stderr, flush=True); os.abort()"
    monkeypatch.setattr(_faiss, "FIRST_SEARCH", code)

    def fail(*_):
        raise RuntimeError("Error in StandardGpuResourcesImpl: CUDA error 2\nmore")

    monkeypatch.setattr(_faiss, "to_gpu", fail)


@pytest.mark.usefixtures("broken_gpu")
def test_gpu_that_fails_is_said_once_and_the_cpu_searches(points, caplog):
    with caplog.at_level(logging.WARNING, logger="w2s_data"):
        for _ in range(3):
            index = NeighborIndex().fit(points)
    assert index.device_ == "cpu"
    assert [record.message for record in caplog.records] == [
        "the CPU searches, since GPU 0 fails: CUDA error 209"
    ]
    with pytest.raises(InputError, match="first search on this one failed"):
        NeighborIndex(device="cuda").fit(points)


@pytest.mark.slow
def test_the_first_search_itself(caplog):
    assert not _faiss.gpu_works(99)  # of faiss, in a process of its own
    (record,) = caplog.records
    assert record.message.startswith("the CPU searches, since GPU 99 fails: RuntimeError: Error in")


@pytest.mark.usefixtures("broken_gpu")
def test_index_that_does_not_fit_on_the_gpu_stays_on_the_cpu(points, caplog, monkeypatch):
    monkeypatch.setattr(_faiss, "gpu_works", lambda _: True)
    monkeypatch.setattr(_faiss.gpu_works, "cache_clear", lambda: None, raising=False)
    with caplog.at_level(logging.WARNING, logger="w2s_data"):
        assert NeighborIndex().fit(points).device_ == "cpu"
    assert "the index stays on the CPU" in caplog.text
    with pytest.raises(InputError, match="does not fit on 'cuda:0'"):
        NeighborIndex(device="cuda:0").fit(points)


def test_memory_that_torch_only_keeps_is_left_to_faiss(monkeypatch):
    import faiss
    import torch  # noqa: F401 - only where torch is in use does it keep any

    calls = []

    def scarce(*_):
        calls.append("move")
        if len(calls) == 1:
            raise RuntimeError("Error in StandardGpuResourcesImpl: cudaMalloc error out of memory")
        return "on the GPU"

    monkeypatch.setattr(faiss, "index_cpu_to_gpu", scarce)
    monkeypatch.setattr(_faiss, "_gpu_resources", lambda _: None)
    monkeypatch.setattr(_faiss, "release_memory", lambda _: calls.append("release"))
    assert _faiss.to_gpu(None, 0) == "on the GPU"
    assert calls == ["move", "release", "move"]


def test_a_search_that_fails_on_the_gpu_goes_on_on_the_cpu(points, caplog):
    expected = NeighborIndex(device="cpu").fit(points).neighbors(5)
    index = NeighborIndex(device="auto").fit(points)
    calls = []

    class LostGpu:
        def search(self, *asked):
            calls.append(asked)
            raise RuntimeError("Error in faiss::gpu: CUDA error 719 unspecified launch failure")

    index._search._fast, index._search.device = LostGpu(), "cuda:0"
    with caplog.at_level(logging.WARNING, logger="w2s_data"):
        found = index.neighbors(5)
    assert len(calls) == 1
    np.testing.assert_array_equal(found.indices, expected.indices)
    assert "searching on the CPU instead, since cuda:0 fails: Error in faiss::gpu" in caplog.text
    index._search._fast, index._search.wanted = LostGpu(), "cuda"
    with pytest.raises(InputError, match="the search on 'cpu' failed"):
        index.neighbors(5)


def test_gpu_that_is_not_there(points, monkeypatch):
    import faiss

    monkeypatch.setattr(faiss, "get_num_gpus", lambda: 0)
    with pytest.raises(InputError, match="faiss can use 0 CUDA devices"):
        NeighborIndex(device="cuda").fit(points)
    for device in ("auto", "cpu", "mps"):
        assert NeighborIndex(device=device).fit(points).device_ == "cpu"


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("kind", ["flat", "ivf"])
def test_gpu_answers_as_the_cpu_does(points, metric, kind):
    if _faiss.faiss_status()[1] == 0:
        pytest.skip("faiss can use no GPU here")
    on_cpu = NeighborIndex(metric, kind, device="cpu").fit(points).neighbors(10)
    index = NeighborIndex(metric, kind, device="cuda").fit(points)
    assert index.device_ == "cuda:0"
    np.testing.assert_allclose(index.neighbors(10).scores, on_cpu.scores, rtol=1e-3, atol=1e-3)


@pytest.mark.slow
def test_import_with_warnings_as_errors_and_only_when_needed():
    code = (
        "import sys, w2s_data, w2s_data.neighbors, w2s_data.cli.doctor\n"
        "assert 'faiss' not in sys.modules\n"
        "w2s_data.NeighborIndex().fit([[1.0, 0.0], [0.0, 1.0]]).neighbors(1)\n"
        "assert 'faiss' in sys.modules\n"
    )
    swig = "ignore:builtin type:DeprecationWarning"
    subprocess.run([sys.executable, "-W", "error", "-W", swig, "-c", code], check=True)


def clustered(rng, n, dim=32, n_clusters=50):
    centres = rng.normal(size=(n_clusters, dim))
    return (centres[rng.integers(n_clusters, size=n)] + 0.3 * rng.normal(size=(n, dim))).astype(
        "f4"
    )


@pytest.mark.parametrize(("bits", "error"), [(16, 0.0005), (8, 0.003)])
@pytest.mark.parametrize("metric", METRICS)
def test_vectors_that_do_not_fit_are_rounded_and_recall_says_so(rng, metric, bits, error, tmp_path):
    points = clustered(rng, 2000)
    exact = NeighborIndex(metric, "flat").fit(points).neighbors(20)
    index = NeighborIndex(metric, max_bytes=bits // 8 * points.size).fit(points)
    assert (index.kind_, index.bits_) == ("ivf", bits)
    found = index.neighbors(20)
    near = [len(np.intersect1d(a, b)) for a, b in zip(found.indices, exact.indices, strict=True)]
    assert index.recall_ == pytest.approx(np.mean(near) / 20, abs=0.05)
    assert index.recall_ > 0.8
    if metric == "cosine":
        units = points / np.linalg.norm(points, axis=1, keepdims=True)
        true = np.einsum("nd,nkd->nk", units, units[found.indices])
        assert np.abs(found.scores - true).mean() < error
    index.save(tmp_path / "index")
    again = NeighborIndex.load(tmp_path / "index", points)
    assert again.bits_ == bits
    assert np.array_equal(again.neighbors(20).indices, found.indices)


def test_vectors_that_do_not_even_fit_rounded_are_refused(points):
    with pytest.raises(InputError, match="needs 21,600 bytes for its vectors, and may take 100"):
        NeighborIndex(max_bytes=100).fit(points)
    with pytest.raises(InputError, match="max_bytes must be None or an integer"):
        NeighborIndex(max_bytes=0).fit(points)


def test_among_very_many_points_a_bounded_number_is_visited(rng, monkeypatch):
    monkeypatch.setattr(_index, "FLAT_ROWS", 1000)
    monkeypatch.setattr(_index, "ALL_PAIRS_ROWS", 2000)
    monkeypatch.setattr(_index, "VISITED_ROWS", 300)
    index = NeighborIndex().fit(rng.normal(size=(4000, 64)))
    assert index.kind_ == "ivf"
    assert index.n_probe_ * 4000 / index.n_lists_ <= 300
    assert index.recall_ < 0.9


# ------------------------------------------------------------------------------------- progress


@pytest.mark.parametrize("kind", KINDS)
def test_progress_counts_every_row_once(points, kind):
    counted = []
    index = NeighborIndex(kind=kind).fit(points, advance=counted.append)
    assert sum(counted) == len(points)
    index.neighbors(3, advance=counted.append)
    assert sum(counted) == 2 * len(points)
    index.query(points[:70], 2, advance=counted.append)
    assert sum(counted) == 2 * len(points) + 70
