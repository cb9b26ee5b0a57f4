"""Alignment against plain numpy: every row, any block size, any share."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from w2s_data.compute import device as _device
from w2s_data.errors import FeatureError, InputError
from w2s_data.features.matrix import ArrayFeatures, FeatureView
from w2s_data.overlap import alignment
from w2s_data.overlap.alignment import align, unit_rows


def plain(features, anchors, share):
    cosines = np.abs(
        features
        / np.linalg.norm(features, axis=1, keepdims=True)
        @ (anchors / np.linalg.norm(anchors, axis=1, keepdims=True)).T
    )
    if share is None:
        return cosines.max(axis=1)
    k = math.ceil(share * len(anchors))
    return np.sort(cosines, axis=1)[:, -k:].mean(axis=1)


def aligned(features, anchors, share, **options):
    source = ArrayFeatures(features.astype(np.float32))
    bank = unit_rows(ArrayFeatures(anchors.astype(np.float32)), np.arange(len(anchors)))
    wanted = np.ones(len(features), dtype=bool)
    return align(source, wanted, bank, top_share=share, **{"device": "cpu"} | options)


@pytest.mark.parametrize("n_anchors", [1, 3, 511, 512, 1500])
@pytest.mark.parametrize("share", [None, 0.01, 0.2, 0.5, 1.0])
def test_equals_a_plain_sort(rng, n_anchors, share):
    features = rng.normal(size=(60, 12)) + 0.3
    anchors = rng.normal(size=(n_anchors, 12)) + 0.3
    found = aligned(features, anchors, share)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, plain(features, anchors, share), atol=3e-4)


def test_quantile_search_error_is_far_below_the_spread(rng):
    """On average far below a hundredth of the spread between points, heavy tails included."""
    features = rng.normal(size=(500, 24)) * np.logspace(0, -1, 24)
    anchors = rng.standard_t(3, size=(4096, 24)) * np.logspace(0, -1, 24) + 0.2
    exact = plain(features, anchors, 0.2)
    error = np.abs(aligned(features, anchors, 0.2) - exact)
    assert error.max() < 0.05 * exact.std()
    assert error.mean() < 0.005 * exact.std()


def test_ties_and_repeated_anchors_are_exact(rng):
    anchors = np.repeat(rng.normal(size=(3, 5)), 400, axis=0)[rng.permutation(1200)]
    features = rng.normal(size=(20, 5))
    np.testing.assert_allclose(
        aligned(features, anchors, 0.2), plain(features, anchors, 0.2), atol=1e-5
    )


def test_block_size_does_not_matter(rng, monkeypatch):
    features, anchors = rng.normal(size=(97, 8)), rng.normal(size=(600, 8))
    whole = aligned(features, anchors, 0.2)
    monkeypatch.setitem(alignment.SIMILARITY_BYTES, "cpu", 600 * 4 * 7)
    np.testing.assert_allclose(aligned(features, anchors, 0.2), whole, atol=1e-6)


@pytest.fixture
def read_ahead(monkeypatch):
    """The way of a GPU, on the CPU: blocks are read and moved by a thread of their own."""
    monkeypatch.setattr(alignment, "READ_AHEAD", frozenset({"cpu"}))
    monkeypatch.setattr(alignment, "DEFAULT_BLOCK_BYTES", 4 * 8 * 10)


@pytest.mark.usefixtures("read_ahead")
def test_reading_ahead_gives_the_same_alignment(rng):
    features, anchors = rng.normal(size=(97, 8)), rng.normal(size=(600, 8))
    np.testing.assert_allclose(
        aligned(features, anchors, 0.2), plain(features, anchors, 0.2), atol=3e-4
    )
    features[38] = np.nan
    with pytest.raises(FeatureError, match="NaN or infinite values in row 38"):
        aligned(features, anchors, 0.2)


@pytest.mark.usefixtures("read_ahead")
def test_out_of_memory_goes_on_with_fewer_points(rng, monkeypatch, caplog):
    features, anchors = rng.normal(size=(50, 8)), rng.normal(size=(600, 8))
    whole = alignment._Aligner._aligned

    def scarce(self, points):
        if len(points) > 4:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")
        return whole(self, points)

    monkeypatch.setattr(alignment._Aligner, "_aligned", scarce)
    found = aligned(features, anchors, None)
    np.testing.assert_allclose(found, plain(features, anchors, None), atol=1e-5)
    assert [record.message for record in caplog.records] == [
        "out of memory: aligning 5 points at a time",
        "out of memory: aligning 2 points at a time",
    ]


@pytest.fixture
def failing_gpu(monkeypatch):
    """A GPU that is lost after three blocks; what it computes, the CPU computes."""
    monkeypatch.setattr(_device, "resolve_device", lambda _: torch.device("cuda"))
    monkeypatch.setattr(alignment, "resolve_device", lambda _: torch.device("cpu"))
    whole, calls = alignment._Aligner._aligned, []

    def lost(self, points):
        calls.append(len(points))
        if len(calls) == 4:
            raise RuntimeError("CUDA error: unspecified launch failure\nCompile with ...")
        return whole(self, points)

    monkeypatch.setattr(alignment._Aligner, "_aligned", lost)
    return calls


@pytest.mark.usefixtures("read_ahead")
def test_a_lost_gpu_leaves_the_remaining_blocks_to_the_cpu(rng, failing_gpu, caplog):
    features, anchors = rng.normal(size=(50, 8)), rng.normal(size=(600, 8))
    found = aligned(features, anchors, None, device="auto")
    np.testing.assert_allclose(found, plain(features, anchors, None), atol=1e-5)
    assert failing_gpu == [10, 10, 10, 10, 10, 10]  # three, the one that failed, and two again
    (record,) = caplog.records
    assert record.message == (
        "the alignment continues on the CPU, since cuda fails: "
        "CUDA error: unspecified launch failure"
    )


@pytest.mark.usefixtures("read_ahead", "failing_gpu")
def test_a_lost_gpu_that_was_asked_for_is_one_line(rng):
    features, anchors = rng.normal(size=(50, 8)), rng.normal(size=(600, 8))
    message = r"the alignment failed on 'cuda' \(CUDA error: [a-z ]+\): use 'cpu' or 'auto'"
    with pytest.raises(InputError, match=message):
        aligned(features, anchors, None, device="cuda")


def test_only_wanted_rows_are_aligned(rng):
    features = ArrayFeatures(rng.normal(size=(10, 4)).astype(np.float32))
    wanted = np.arange(10) % 3 == 0
    found = align(features, wanted, unit_rows(features, np.arange(5)), top_share=0.5, device="cpu")
    assert np.array_equal(np.isfinite(found), wanted)


def test_bad_rows_are_named_even_where_not_wanted(rng):
    array = rng.normal(size=(6, 4)).astype(np.float32)
    array[4] = 0
    features = ArrayFeatures(array)
    with pytest.raises(FeatureError, match="all zero in row 4"):
        align(features, np.zeros(6, dtype=bool), unit_rows(features, np.array([0])), top_share=None)


def test_row_subset_reads_the_same_rows(rng):
    base = ArrayFeatures(rng.normal(size=(50, 3)).astype(np.float32))
    rows = np.array([0, 3, 17, 18, 49])
    subset = FeatureView(base, rows)
    assert subset.shape == (5, 3)
    for max_bytes in (12, 60, 10_000):
        blocks = list(subset.blocks(max_bytes))
        assert np.array_equal(np.concatenate([block for _, block in blocks]), base.array[rows])
        assert [s.start for s, _ in blocks] == [0, *[s.stop for s, _ in blocks[:-1]]]
    assert np.array_equal(subset.take(np.array([4, 1])), base.array[[49, 3]])
