"""Searches in one faiss index: scores in terms of the metric, order of ties, radii, blocks."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from w2s_data.compute import faiss as _faiss
from w2s_data.compute.base import Advance
from w2s_data.errors import FeatureError, InputError, first_line
from w2s_data.features.matrix import DEFAULT_BLOCK_BYTES, FeatureMatrix, row_blocks
from w2s_data.neighbors import build as _index
from w2s_data.neighbors.results import Metric, score_name
from w2s_data.utils.progress import no_advance
from w2s_data.utils.typing import AnyArray, FloatArray, IntArray
from w2s_data.utils.validation import check_feature_block

logger = logging.getLogger("w2s_data")

# Tiles of a range search: their products take 32 MB, however many points there are.
RANGE_ROWS, RANGE_COLUMNS = 4096, 2048
NEAREST_COLUMNS = 512  # at a time: 8 MB of products with the 4,096 rows of a block
ROUNDING = 1e-6  # relative, of a product in float32 over a few hundred dimensions


def prepared(block: FloatArray, numbers: IntArray, metric: Metric) -> FloatArray:
    """Check rows, and scale them to length one under cosine."""
    check_feature_block(block, numbers, "features", nonzero=metric == "cosine")
    if metric == "cosine":  # by the largest first: squares of extreme numbers are not finite
        block = block / np.abs(block).max(axis=1, keepdims=True)
        block /= np.linalg.norm(block, axis=1, keepdims=True)
    return np.ascontiguousarray(block, dtype=np.float32)


def prepared_blocks(
    matrix: FeatureMatrix,
    metric: Metric,
    digest: Any = None,
    *,
    max_bytes: int = DEFAULT_BLOCK_BYTES,
    advance: Advance = no_advance,
) -> Iterator[FloatArray]:
    """Yield blocks as an index stores them; update a digest with the blocks as they were given."""
    for rows, block in matrix.blocks(max_bytes):
        if digest is not None:
            digest.update(np.ascontiguousarray(block))
        yield prepared(block, np.arange(rows.start, rows.stop), metric)
        advance(len(block))


def _received(content: AnyArray, metric: Metric, shape: tuple[int, int], device: str) -> Searcher:
    index = _faiss.index_of(content)
    return Searcher(index, metric, shape, _faiss.resolve_gpu(device), device)


class Searcher:
    """A filled index with its metric, on the CPU and, where wanted and possible, on a GPU."""

    def __init__(
        self, index: Any, metric: Metric, shape: tuple[int, int], gpu: int | None, device: str
    ) -> None:
        self.index = index
        self.device = "cpu"
        self.wanted = device
        self._metric = metric
        self._shape = shape
        self._sign = 1 if metric == "l2" else -1  # sign * score is least for the nearest
        self._fast = index
        if gpu is None or not _faiss.has_gpu_form(index):
            return
        try:  # the CPU keeps its own for range searches and saving
            self._fast, self.device = _faiss.to_gpu(index, gpu), f"cuda:{gpu}"
        except RuntimeError as error:
            reason = first_line(error)
            if device != "auto":
                raise InputError(
                    f"the index does not fit on {device!r} ({reason}): use 'auto' or 'cpu'"
                ) from error
            logger.warning("the index stays on the CPU: %s", reason)

    def _search(self, queries: FloatArray, k: int) -> tuple[FloatArray, IntArray]:
        """Search with faiss, on the GPU until that fails for the first time."""
        if self._fast is not self.index and k <= _faiss.GPU_MAX_K:
            try:
                scores, indices = self._fast.search(queries, k)
            except RuntimeError as error:
                reason, lost = first_line(error), self.device
                if self.wanted != "auto":
                    raise InputError(
                        f"the search on {lost!r} failed ({reason}): use 'auto' or 'cpu'"
                    ) from error
                logger.warning("searching on the CPU instead, since %s fails: %s", lost, reason)
                self._fast, self.device = self.index, "cpu"
            else:
                return scores, indices
        return _index.search(self.index, queries, k)

    def stored(self, max_bytes: int = DEFAULT_BLOCK_BYTES) -> Iterator[tuple[slice, FloatArray]]:
        """Yield the rows that the index stores, block by block."""
        for rows in row_blocks(self._shape, max_bytes):
            yield rows, self.index.reconstruct_n(rows.start, rows.stop - rows.start)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the index as faiss writes it."""
        content = _faiss.index_bytes(self.index)
        return _received, (content, self._metric, self._shape, self.wanted)

    def nearest(self, queries: FloatArray, k: int) -> tuple[FloatArray, IntArray]:
        """Return scores and indices of the k nearest, nearest first, ties by index."""
        scores, indices = self._search(queries, k)
        short = np.flatnonzero((indices < 0).any(axis=1))
        if len(short):  # too few points in the lists visited, or a graph in several parts
            scores[short], indices[short] = _index.exact_search(self.index, queries[short], k)
        if (indices < 0).any():
            raise FeatureError("features are so large that their products overflow: rescale them")
        owners = np.repeat(np.arange(len(queries)), k)
        scores = self._as_scores(queries, owners, indices.ravel(), scores.ravel())
        scores = scores.reshape(indices.shape)
        # Ties by row number: faiss returns them in the order of its heap.
        order = np.lexsort((indices, self._sign * scores), axis=1)
        return np.take_along_axis(scores, order, 1), np.take_along_axis(indices, order, 1)

    def nearest_of(self, rows: IntArray, candidates: IntArray) -> tuple[FloatArray, IntArray]:
        """Return score and index, (n, 1) each, of the nearest other row among some."""
        queries = self.index.reconstruct_batch(rows)
        found, nearest = np.empty(len(rows), np.float32), np.full(len(rows), -1)
        if _index.is_ivf(self.index):
            # The second nearest as well, since a row that is a candidate finds itself.
            both = without(rows, *_index.search_among(self.index, queries, 2, candidates))
            found, nearest = both[0][:, 0], both[1][:, 0]
        unknown = np.flatnonzero(nearest < 0)
        if len(unknown):
            found[unknown], nearest[unknown] = self._nearest_of(
                queries[unknown], rows[unknown], candidates
            )
        scores = self._as_scores(queries, np.arange(len(rows)), nearest, found)
        return scores[:, None], nearest[:, None]

    def _nearest_of(
        self, queries: FloatArray, rows: IntArray, candidates: IntArray
    ) -> tuple[FloatArray, IntArray]:
        """Compare the queries, which are these rows, with all candidates: numbers as of faiss."""
        best, nearest = np.full(len(rows), np.inf, np.float32), np.full(len(rows), -1)
        for start in range(0, len(candidates), NEAREST_COLUMNS):
            tile = candidates[start : start + NEAREST_COLUMNS]
            stored = self.index.reconstruct_batch(tile)
            far = queries @ stored.T
            far *= self._sign
            if self._metric == "l2":  # up to |query|², which is the same for all
                far *= -2
                far += np.einsum("ij,ij->i", stored, stored)
            far[rows[:, None] == tile] = np.inf
            place = far.argmin(axis=1)
            found = far[np.arange(len(rows)), place]
            nearer = found < best
            best[nearer], nearest[nearer] = found[nearer], tile[place[nearer]]
        return self._sign * best, nearest

    def _as_scores(
        self, queries: FloatArray, owners: IntArray, indices: IntArray, found: FloatArray
    ) -> FloatArray:
        """Turn the numbers of faiss into scores: within [-1, 1], and distances not squared."""
        if self._metric == "cosine":
            return np.clip(found, -1, 1)
        if self._metric == "inner_product":
            return found
        return _index.pair_distances(self.index, queries, owners, indices)

    def pairs_within(
        self, radius: float, matrix: FeatureMatrix | None, max_pairs: int, sides: int = 1
    ) -> Iterator[tuple[IntArray, IntArray, FloatArray]]:
        """Yield (rows of the query, indices, scores) within a radius, by row and nearness."""
        limit = self._check_radius(radius)
        step = 4 * self._shape[1] * RANGE_ROWS
        start = 0
        stored = (block for _, block in self.stored(step))
        blocks = stored if matrix is None else prepared_blocks(matrix, self._metric, max_bytes=step)
        for queries in blocks:
            found, total = [], 0
            for owners, indices, scores in self._hits(queries, limit, max_pairs):
                scores = self._as_scores(queries, owners, indices, scores)
                keep = self._sign * scores <= self._sign * limit
                if matrix is None:
                    keep &= indices != owners + start
                found.append((owners[keep], indices[keep], scores[keep]))
                total += int(keep.sum())
                check_pairs(total // sides, max_pairs, radius)  # before more of them are gathered
            owners, indices, scores = (np.concatenate(part) for part in zip(*found, strict=True))
            order = np.lexsort((indices, self._sign * scores, owners))
            yield owners[order] + start, indices[order], scores[order]
            start += len(queries)

    def _hits(
        self, queries: FloatArray, limit: float, max_pairs: int
    ) -> Iterator[tuple[IntArray, IntArray, FloatArray]]:
        """Yield (rows of the query, indices, inner products or squared distances)."""
        bound = limit
        if self._metric == "l2":  # squares, with the rounding of |x|² + |y|²
            longest = float(np.sqrt(np.einsum("ij,ij->i", queries, queries).max()))
            bound = limit**2 + ROUNDING * (longest**2 + (longest + limit) ** 2) + 1e-30
        if _index.is_ivf(self.index):
            yield from _index.visited_lists(self.index, queries, bound, max_pairs)
            return
        # Tile by tile: faiss would gather all pairs before they can be counted, and is no faster.
        for rows, block in self.stored(4 * self._shape[1] * RANGE_COLUMNS):
            scores = queries @ block.T
            if self._metric == "l2":
                scores *= -2
                scores += np.einsum("ij,ij->i", queries, queries)[:, None]
                scores += np.einsum("ij,ij->i", block, block)
            owners, columns = np.nonzero(scores <= bound if self._sign > 0 else scores >= bound)
            yield owners, columns + rows.start, scores[owners, columns]

    def _check_radius(self, radius: float) -> float:
        """Widen the radius a little, so that rounding never loses a pair on the boundary."""
        if not math.isfinite(radius) or (self._metric == "l2" and radius < 0):
            raise InputError(
                f"radius and threshold are a finite {score_name(self._metric)}; got {radius!r}"
            )
        if self._metric == "cosine" and not -1 <= radius <= 1:
            raise InputError(f"radius and threshold are a cosine in [-1, 1]; got {radius!r}")
        return radius + self._sign * ROUNDING * max(1.0 if self._sign < 0 else 0.0, abs(radius))


def nearest(
    searcher: Searcher,
    block: tuple[FloatArray, int],
    advance: Advance,
) -> tuple[FloatArray, IntArray]:
    """Return scores and indices of the k nearest of some queries."""
    queries, k = block
    found = searcher.nearest(queries, k)
    advance(len(queries))
    return found


def nearest_others(
    searcher: Searcher,
    block: tuple[IntArray, int],
    advance: Advance,
) -> tuple[FloatArray, IntArray]:
    """Return scores and indices of the k nearest others of some stored rows."""
    rows, k = block
    queries = np.asarray(searcher.index.reconstruct_batch(rows))
    found = without(rows, *searcher.nearest(queries, k + 1))
    advance(len(rows))
    return found


def nearest_of(
    searcher: Searcher,
    block: tuple[IntArray, IntArray],
    advance: Advance,
) -> tuple[FloatArray, IntArray]:
    """Return score and index, (n, 1) each, of the nearest among given stored rows, of some rows."""
    rows, candidates = block
    found = searcher.nearest_of(rows, candidates)
    advance(len(rows))
    return found


def without(own: IntArray, scores: FloatArray, indices: IntArray) -> tuple[FloatArray, IntArray]:
    """Drop each row's own number, or the farthest where it is not among the k + 1."""
    drop = indices == own[:, None]
    drop[~drop.any(axis=1), -1] = True
    shape = len(indices), indices.shape[1] - 1
    return scores[~drop].reshape(shape), indices[~drop].reshape(shape)


def check_pairs(n_pairs: int, max_pairs: int, radius: float) -> None:
    """Raise if there are more pairs than allowed."""
    if n_pairs > max_pairs:
        raise InputError(
            f"more than {max_pairs:,} pairs lie within {radius}: ask for nearer ones, or raise "
            f"max_pairs"
        )
