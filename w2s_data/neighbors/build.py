"""Build and tune a faiss index; search where its kinds differ."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from w2s_data.compute import faiss as _faiss
from w2s_data.compute.faiss import BuiltKind
from w2s_data.compute.memory import size_text
from w2s_data.errors import InputError
from w2s_data.features.matrix import DEFAULT_BLOCK_BYTES, row_blocks
from w2s_data.utils.typing import FloatArray, IntArray

logger = logging.getLogger("w2s_data")

Kind = Literal["auto", "flat", "ivf", "hnsw"]
FLAT_ROWS = 100_000  # all pairs take a minute on two cores, and four for twice as many
TRAINING_ROWS = 40  # per IVF list: just above the 39 below which faiss warns
FEWEST_TRAINING_ROWS = 10_000  # in all, however little memory there is
RECALL_TARGET = 0.97  # on a sample, so that the recall of all points is at least 0.95
# 256 queries of 20 neighbours give the sampled recall a standard error below .01: neighbours of
# one query are not independent.
RECALL_SAMPLE = 256
RECALL_K = 20
# By which scores of the same pair differ, relative to the largest: rounding of sums in float32.
# Any more is as large as the differences between neighbours that all point in one direction.
SLACK = 4 * np.finfo(np.float32).eps
MAX_IVF_SHARE = 1 / 20  # visiting more of the lists costs more than products with all rows
ALL_PAIRS_ROWS = 300_000  # all pairs take ten minutes; beyond, IVF visits a bounded number
VISITED_ROWS = 20_000  # rows visited per query at most, whatever the recall, which is reported
BY_QUERIES = 3  # parallel_mode of faiss in which threads share queries whose lists are known
ASSUMED_TRAINING_ROWS = 39  # per list: with fewer, faiss calls the k-means unreliable
PAIR_BYTES = 32 * 2**20  # of differences at a time


@dataclass(frozen=True)
class Plan:
    """Settings of an index; `max_bytes` limits the vectors that it stores."""

    kind: Kind
    similarity: bool
    n_lists: int | None = None
    n_probe: int | None = None
    max_bytes: int | None = None

    def bits(self, shape: tuple[int, int]) -> int:
        """Return the bits per stored number, 32, 16 or 8: the most that fit."""
        n, dim = shape
        possible = (32, 16, 8) if self.kind in ("auto", "ivf") else (32,)
        for bits in possible:
            if self.max_bytes is None or bits // 8 * n * dim <= self.max_bytes:
                return bits
        raise InputError(
            f"an index of {n:,} x {dim} needs {size_text(possible[-1] // 8 * n * dim)} for its "
            f"vectors, and may take {size_text(self.max_bytes or 0)}: raise max_bytes, or pass "
            "fewer dimensions"
        )


@dataclass(frozen=True)
class Built:
    """A filled index and the settings it ended with; lists and probes are None unless IVF."""

    index: Any
    kind: BuiltKind
    recall: float
    n_lists: int | None = None
    n_probe: int | None = None
    bits: int = 32


def build(
    plan: Plan,
    shape: tuple[int, int],
    blocks: Callable[[], Iterable[FloatArray]],
    take: Callable[[IntArray], FloatArray],
    rng: np.random.Generator,
) -> Built:
    """Train, fill and tune an index of N rows that come in blocks, in order, once."""
    n, dim = shape
    bits = plan.bits(shape)
    small = n <= FLAT_ROWS and bits == 32
    # "auto" never takes "hnsw": only a single thread builds the same graph every time.
    kind = plan.kind if plan.kind != "auto" else "flat" if small else "ivf"
    n_lists = _lists(plan, n) if kind == "ivf" else 0
    seed = int(rng.integers(2**31))
    index = _faiss.empty_index(kind, plan.similarity, dim, n_lists, seed, bits)
    with _faiss.threads(kind, work=n * n_lists * dim):
        if kind == "ivf":
            size = min(n, TRAINING_ROWS * n_lists)
            if plan.max_bytes is not None:  # k-means and its copies take half of what vectors may
                size = min(size, max(FEWEST_TRAINING_ROWS, plan.max_bytes // (6 * 4 * dim)))
            index.train(take(np.sort(rng.choice(n, size, replace=False))))
        if kind == "flat":
            for block in blocks():
                index.add(block)
            return Built(index, kind, recall=1.0)
        sample = np.sort(rng.choice(n, min(n, RECALL_SAMPLE), replace=False))
        k = min(RECALL_K + 1, n)  # a point finds itself
        truth = _Truth(take, sample, k) if bits < 32 else None
        for block in blocks():
            index.add(block)
            if truth is not None:
                truth.see(block, plan.similarity)
        if truth is None:
            truth = _Truth(take, sample, k)
            truth.scores = exact_search(index, truth.queries, truth.k)[0]
        recall = _tune(index, truth, plan, bits)
    if kind == "hnsw":
        return Built(index, kind, recall)
    tuned_auto = plan.kind == "auto" and plan.n_probe is None
    without_clusters = tuned_auto and index.nprobe > MAX_IVF_SHARE * n_lists
    if without_clusters and n <= ALL_PAIRS_ROWS and bits == 32:
        logger.info("features have no clusters to search by: all pairs are compared")
        flat = _faiss.empty_index("flat", plan.similarity, dim, 0, 0)
        for rows in row_blocks(shape, DEFAULT_BLOCK_BYTES):
            flat.add(index.reconstruct_n(rows.start, rows.stop - rows.start))
        return Built(flat, "flat", recall=1.0)
    return Built(index, kind, recall, int(index.nlist), int(index.nprobe), bits)


class _Truth:
    """The nearest rows of some sampled points, from which recall is measured."""

    def __init__(self, take: Callable[[IntArray], FloatArray], rows: IntArray, k: int) -> None:
        self.take = take
        self.queries = take(rows)
        self.k = k
        # (q, k), nearest first: every point finds itself.
        self.scores = np.empty((len(rows), 0), dtype=np.float32)

    def see(self, block: FloatArray, similarity: bool) -> None:
        """Update the nearest rows with a block, before an index rounds it."""
        part = _faiss.empty_index("flat", similarity, block.shape[1], 0, 0)
        part.add(block)
        found = part.search(self.queries, min(self.k, len(block)))[0]
        ordered = np.sort(np.hstack([self.scores, found]), axis=1)
        self.scores = (ordered[:, ::-1] if similarity else ordered)[:, : self.k]

    def recall(self, index: Any, bits: int) -> float:
        """Return the share of k results as near as the k-th exact one; all ties count."""
        scores, indices = index.search(self.queries, self.k)
        is_similarity = index.metric_type == _faiss.library().METRIC_INNER_PRODUCT
        if bits < 32:  # scores of the rows themselves, not of their rounded copies
            rows, place = np.unique(np.maximum(indices, 0), return_inverse=True)
            found = self.take(rows)[place.reshape(indices.shape)]
            if is_similarity:
                scores = np.einsum("qd,qkd->qk", self.queries, found)
            else:
                scores = ((self.queries[:, None] - found) ** 2).sum(axis=2)
        sign = 1 if is_similarity else -1
        last = sign * self.scores[:, -1:]
        slack = SLACK * np.abs(self.scores).max(axis=1, keepdims=True)
        return float(((indices >= 0) & (sign * scores >= last - slack)).mean())


def _lists(plan: Plan, n: int) -> int:
    most = max(1, n // ASSUMED_TRAINING_ROWS)
    n_lists = min(round(4 * math.sqrt(n)), most) if plan.n_lists is None else plan.n_lists
    if n_lists > n:
        raise InputError(f"n_lists is {n_lists}, but there are only {n} points")
    if plan.n_probe is not None and plan.n_probe > n_lists:
        raise InputError(f"n_probe is {plan.n_probe}, but there are only {n_lists} lists")
    return n_lists


def is_ivf(index: Any) -> bool:
    """Return whether an index visits lists."""
    return isinstance(index, _faiss.library().IndexIVF)


def search(index: Any, queries: FloatArray, k: int) -> tuple[FloatArray, IntArray]:
    """Find the nearest rows among those that the index visits."""
    if not is_ivf(index):
        found = index.search(queries, k)
        return found[0], found[1]
    nearness, lists = index.quantizer.search(queries, index.nprobe)
    # Queries that visit the same lists follow each other, so that these stay in the cache, which
    # is twice as fast.
    order = np.argsort(lists[:, 0], kind="stable")
    usual, index.parallel_mode = index.parallel_mode, BY_QUERIES
    try:
        found = index.search_preassigned(queries[order], k, lists[order], nearness[order])
    finally:
        index.parallel_mode = usual  # range searches know no other
    place = np.argsort(order)
    return found[0][place], found[1][place]


def search_among(
    index: Any, queries: FloatArray, k: int, rows: IntArray
) -> tuple[FloatArray, IntArray]:
    """Find the nearest of some rows in the lists that IVF visits; -1 where these hold fewer."""
    faiss = _faiss.library()
    chosen = np.zeros(index.ntotal, dtype=bool)
    chosen[rows] = True
    bits = np.packbits(chosen, bitorder="little")  # faiss keeps no reference: ours must live
    parameters = faiss.SearchParametersIVF(
        sel=faiss.IDSelectorBitmap(len(chosen), faiss.swig_ptr(bits)), nprobe=index.nprobe
    )
    found = index.search(queries, k, params=parameters)
    return found[0], found[1]


def order_of_storage(index: Any) -> IntArray:
    """Return all stored row numbers (N,); of IVF list by list, so that near ones follow."""
    if not is_ivf(index):
        return np.arange(index.ntotal)
    faiss, lists = _faiss.library(), index.invlists
    parts = [
        faiss.rev_swig_ptr(lists.get_ids(number), lists.list_size(number)).copy()
        for number in range(index.nlist)
        if lists.list_size(number)
    ]
    return np.concatenate(parts)


def exact_search(index: Any, queries: FloatArray, k: int) -> tuple[FloatArray, IntArray]:
    """Find the nearest rows among all that an index stores, whatever its kind."""
    faiss = _faiss.library()
    if is_ivf(index):
        every_list = faiss.SearchParametersIVF(nprobe=index.nlist)
        found = index.search(queries, k, params=every_list)
    elif isinstance(index, faiss.IndexHNSW):  # the flat index below the graph
        found = faiss.downcast_index(index.storage).search(queries, k)
    else:
        found = index.search(queries, k)
    return found[0], found[1]


def visited_lists(
    index: Any, queries: FloatArray, bound: float, most: int
) -> Iterator[tuple[IntArray, IntArray, FloatArray]]:
    """Yield (query rows, indices, scores) within a bound in the lists that IVF visits."""
    # A query finds at most all rows, so that a step of several queries holds at most `most` pairs.
    step = max(1, most // index.ntotal)
    for start in range(0, len(queries), step):
        indptr, scores, indices = index.range_search(queries[start : start + step], bound)
        counts = np.diff(indptr.astype(np.int64))
        yield np.repeat(np.arange(len(counts)), counts) + start, indices, scores


def _tune(index: Any, truth: _Truth, plan: Plan, bits: int) -> float:
    """Double the search effort until the sampled recall reaches the target; return the recall."""
    # Lists visited (IVF; `n_probe` fixes them), or candidates kept (HNSW).
    ivf = is_ivf(index)
    effort, most = (1, index.nlist) if ivf else (max(16, truth.k), max(16, index.ntotal))
    if ivf and plan.kind == "auto" and index.ntotal > ALL_PAIRS_ROWS:
        most = max(1, VISITED_ROWS * index.nlist // index.ntotal)
    if plan.n_probe is not None:
        effort = most = plan.n_probe
    while True:
        if ivf:
            index.nprobe = effort
        else:
            index.hnsw.efSearch = effort
        recall = truth.recall(index, bits)
        if recall >= RECALL_TARGET or effort == most:
            return recall
        effort = min(2 * effort, most)


def pair_distances(
    index: Any, queries: FloatArray, owners: IntArray, indices: IntArray
) -> FloatArray:
    """Return Euclidean distances of the pairs (queries[owners], stored rows)."""
    # From differences: faiss computes |x|² + |y|² - 2xy for large blocks, which cancels the digits
    # of near neighbours.
    result = np.empty(len(indices), dtype=np.float32)
    step = max(1, PAIR_BYTES // (4 * index.d))
    for start in range(0, len(indices), step):
        part = slice(start, start + step)
        difference = queries[owners[part]] - index.reconstruct_batch(indices[part])
        result[part] = np.sqrt(np.einsum("ij,ij->i", difference, difference))
    return result
