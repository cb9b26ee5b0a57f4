r"""Nearest neighbours of features, from an index that is built once and used by every analysis."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Self, get_args

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from w2s_data.compute import faiss as _faiss
from w2s_data.compute.base import Advance, B, Engine, LocalEngine, Work
from w2s_data.errors import EmptyDataError, FeatureError, InputError, StoreError
from w2s_data.features.matrix import FeatureMatrix, as_feature_matrix
from w2s_data.neighbors import build as _index
from w2s_data.neighbors.build import Kind
from w2s_data.neighbors.results import Metric, NeighborRanges, Neighbors, score_name
from w2s_data.neighbors.search import (
    Searcher,
    check_pairs,
    nearest,
    nearest_of,
    nearest_others,
    prepared,
    prepared_blocks,
)
from w2s_data.neighbors.storage import read_index, start_fingerprint, write_index
from w2s_data.utils.progress import no_advance
from w2s_data.utils.reading import parsing
from w2s_data.utils.typing import AnyArray, FloatArray, IntArray, RandomState
from w2s_data.utils.validation import (
    check_generator,
    check_parameters,
    check_rows,
    one_of,
    whole,
)

MAX_PAIRS = 20_000_000  # 400 MB of row numbers and scores
SEARCH_ROWS = 4096  # queries at a time: as many as faiss multiplies at once
Found = tuple[FloatArray, IntArray]  # scores and indices of a block
LEARNED = ("kind", "shape", "fingerprint", "n_lists", "n_probe", "recall", "bits")
CONSTRAINTS = {
    "metric": one_of(*get_args(Metric)),
    "kind": one_of(*get_args(Kind)),
    "n_lists": one_of(None) | whole(1),
    "n_probe": one_of(None) | whole(1),
    "max_bytes": one_of(None) | whole(1),
}


class NeighborIndex(BaseEstimator):  # type: ignore[misc]
    r"""Find the nearest neighbours of points in feature space, with faiss.

    .. math:: s(x, y) = \frac{x^\top y}{\|x\| \|y\|} \;(\mathrm{cosine}), \quad
              x^\top y \;(\mathrm{inner\_product}), \quad \|x - y\| \;(\mathrm{l2})

    The first two are similarities: larger is nearer. The last is a distance: smaller is nearer.

    Parameters
    ----------
    metric : {"cosine", "inner_product", "l2"}
    kind : {"auto", "flat", "ivf", "hnsw"}
        "flat" compares with every point: exact, N² D for all of them. "ivf" divides the points by
        k-means and visits the nearest lists; "hnsw" walks a graph, built by a single thread so
        that it is the same every time. "auto" is flat up to 100,000 points, where all pairs of
        384 dimensions take a minute on two cores, then IVF; where IVF would have to visit
        more than a twentieth of its lists (features with hardly any clusters), matrix products
        over all pairs are as fast, and auto stays flat. Beyond 300,000 points, where those take
        ten minutes, auto visits lists of about 20,000 points at most, and `recall_` says what
        that finds.
    n_lists : int, optional
        Lists of IVF; by default 4 sqrt(N), and at most N / 39 so that each can be learned.
    n_probe : int, optional
        Lists visited. By default doubled until 97 % of the 20 nearest neighbours of a sample are
        found; the effort of HNSW always is.
    device : str
        "auto" searches on a GPU where faiss can use one, else on the CPU; "cpu", "cuda",
        "cuda:1". HNSW, range searches and more than 2,048 neighbours stay on the CPU; faiss has
        no MPS, so that "mps" is the CPU.
    max_bytes : int, optional
        Memory for the stored vectors. Where 32 bits a number do not fit, auto and IVF store 16 or
        8: scores are then right to about .0003 or .003 of the vectors' length, and `recall_` counts
        what that loses.
    random_state : int, Generator or None
        Seeds k-means, the graph and the sample.

    Attributes
    ----------
    kind_ : str
        "flat", "ivf" or "hnsw".
    fingerprint_ : str
        SHA-256 of shape and features, as they were given in float32.
    shape_ : (int, int)
        Points N and dimensions D.
    n_lists_, n_probe_ : int or None
        None unless the kind is IVF.
    bits_ : int
        Bits of each stored number: 32, 16 or 8.
    recall_ : float
        Share of the 20 nearest neighbours of sampled points that is found, in [0, 1].
    device_ : str
        Device that answers `query` and `neighbors`.

    Examples
    --------
    >>> features = np.array([[1, 0], [2, 0.1], [0, 1], [0, 3]])
    >>> index = NeighborIndex(metric="cosine").fit(features)
    >>> index.neighbors(1).indices.ravel()
    array([1, 0, 3, 2])
    >>> index.query([[1, 1]], k=2).scores.round(3)
    array([[0.742, 0.707]], dtype=float32)
    >>> index.near_duplicates(0.999)
       i  j  similarity
    0  2  3         1.0
    """

    def __init__(
        self,
        metric: Metric = "cosine",
        kind: Kind = "auto",
        n_lists: int | None = None,
        n_probe: int | None = None,
        device: str = "auto",
        max_bytes: int | None = None,
        random_state: RandomState = 0,
    ) -> None:
        self.metric = metric
        self.kind = kind
        self.n_lists = n_lists
        self.n_probe = n_probe
        self.device = device
        self.max_bytes = max_bytes
        self.random_state = random_state

    def fit(self, features: Any, *, advance: Advance = no_advance) -> Self:
        """Index the rows of some features, read block by block.

        Parameters
        ----------
        features : array (N, D), memory map or FeatureStore
        advance : function of an int, optional
            Called with the number of rows stored, block by block.

        Raises
        ------
        FeatureError, EmptyDataError
            NaN, infinite or (for cosine) zero rows, which are named; no rows.
        InputError
            A parameter out of range, a device that is not there, or vectors that do not fit into
            `max_bytes` (says what they need).
        """
        self._check_parameters()
        matrix = as_feature_matrix(features)
        n = matrix.shape[0]
        if n == 0:
            raise EmptyDataError("features have no rows: there is nothing to search")
        gpu = _faiss.resolve_gpu(self.device)
        digest = start_fingerprint(matrix.shape)
        built = _index.build(
            _index.Plan(self.kind, self.metric != "l2", self.n_lists, self.n_probe, self.max_bytes),
            matrix.shape,
            blocks=lambda: prepared_blocks(matrix, self.metric, digest, advance=advance),
            take=lambda rows: prepared(matrix.take(rows), rows, self.metric),
            rng=check_generator(self.random_state),
        )
        self.kind_, self.recall_ = built.kind, built.recall
        self.n_lists_, self.n_probe_ = built.n_lists, built.n_probe
        self.bits_ = built.bits
        self.shape_, self.fingerprint_ = matrix.shape, digest.hexdigest()
        self._search = Searcher(built.index, self.metric, self.shape_, gpu, self.device)
        self.device_ = self._search.device
        return self

    def query(
        self,
        features: Any,
        k: int,
        *,
        engine: Engine | None = None,
        advance: Advance = no_advance,
    ) -> Neighbors:
        """Find the nearest fitted points of new points.

        Parameters
        ----------
        features : array (n, D), memory map or FeatureStore
            FeatureError for another D, and for NaN, infinite or (for cosine) zero rows.
        k : int
            1 to N, else InputError.
        engine : Engine, optional
            Where blocks of queries are searched; by default in this process.
        advance : function of an int, optional
            Called with the number of queries answered, block by block.
        """
        check_is_fitted(self, "shape_")
        matrix = self._check_query(features)
        k = _check_k(k, self.shape_[0], "points")
        step = 4 * self.shape_[1] * SEARCH_ROWS
        blocks = ((block, k) for block in prepared_blocks(matrix, self.metric, max_bytes=step))
        return self._searched(nearest, blocks, np.arange(matrix.shape[0]), k, engine, advance)

    def neighbors(
        self, k: int, *, engine: Engine | None = None, advance: Advance = no_advance
    ) -> Neighbors:
        """Find the nearest neighbours of each fitted point among the others.

        A point is dropped from its own list by its row number, so that a duplicate of it stays in.
        Parameters are those of `query`, with k from 1 to N - 1.
        """
        check_is_fitted(self, "shape_")
        k = _check_k(k, self.shape_[0] - 1, "other points")
        # Points of one list follow each other, so that a block visits few lists.
        order = _index.order_of_storage(self._search.index)
        starts = range(0, len(order), SEARCH_ROWS)
        blocks = ((order[start : start + SEARCH_ROWS], k) for start in starts)
        return self._searched(nearest_others, blocks, order, k, engine, advance)

    def nearest_of(
        self,
        rows: AnyArray,
        candidates: AnyArray,
        *,
        engine: Engine | None = None,
        advance: Advance = no_advance,
    ) -> Neighbors:
        """Find the nearest of some fitted points (`candidates`, m) for others of them (`rows`, n).

        Both are row numbers, or masks (N,); the answers follow the order of `rows`.

        Exact from the stored vectors, n m D products, except that IVF visits `n_probe_` lists and
        compares all candidates only for points in whose lists there is none. No further memory.
        No point is its own neighbour; InputError where that leaves none.

        >>> index = NeighborIndex("l2").fit([[0.0], [1.0], [5.0], [9.0]])
        >>> index.nearest_of(np.array([0, 2]), np.array([2, 3])).indices.ravel()
        array([2, 3])
        """
        check_is_fitted(self, "shape_")
        rows = check_rows(rows, self.shape_[0], "rows")
        candidates = check_rows(candidates, self.shape_[0], "candidates")
        if len(np.unique(candidates)) < 1 + bool(np.isin(rows, candidates).any()):
            raise InputError("candidates must hold a point other than each of the rows")
        place = np.argsort(_index.order_of_storage(self._search.index))
        order = np.argsort(place[rows], kind="stable")
        starts = range(0, len(rows), SEARCH_ROWS)
        blocks = ((rows[order[start : start + SEARCH_ROWS]], candidates) for start in starts)
        return self._searched(nearest_of, blocks, order, 1, engine, advance)

    def within(
        self, radius: float, features: Any = None, max_pairs: int = MAX_PAIRS
    ) -> NeighborRanges:
        """Find all fitted points within a radius; exact, except that IVF visits `n_probe_` lists.

        Parameters
        ----------
        radius : float
            Least similarity, or greatest distance under "l2"; inclusive, up to 1e-6 of rounding.
        features : array (n, D), memory map or FeatureStore, optional
            Around these points; by default around each fitted point, which is itself left out.
        max_pairs : int
            InputError where there are more, so that memory stays bounded.
        """
        check_is_fitted(self, "shape_")
        matrix = None if features is None else self._check_query(features)
        n = self.shape_[0] if matrix is None else matrix.shape[0]
        counts, parts = np.zeros(n, np.int64), list[tuple[IntArray, FloatArray]]()
        for owners, indices, scores in self._search.pairs_within(radius, matrix, max_pairs):
            parts.append((indices, scores))
            counts += np.bincount(owners, minlength=n)
            check_pairs(int(counts.sum()), max_pairs, radius)
        return NeighborRanges(
            np.concatenate([[0], np.cumsum(counts)]),
            np.concatenate([np.empty(0, np.int64), *(indices for indices, _ in parts)]),
            np.concatenate([np.empty(0, np.float32), *(scores for _, scores in parts)]),
            self.metric,
        )

    def near_duplicates(self, threshold: float, max_pairs: int = MAX_PAIRS) -> pd.DataFrame:
        """Find the pairs of fitted points at least as near as a threshold, each once.

        Threshold and `max_pairs` are those of `within`.

        Returns
        -------
        DataFrame
            Sorted by i and j, with i < j, and `similarity` (or `distance` under "l2").
        """
        check_is_fitted(self, "shape_")
        parts, total = [], 0
        sides = 2 if self.kind_ == "ivf" else 1
        for owners, indices, scores in self._search.pairs_within(
            threshold, None, max_pairs, sides=2
        ):
            # IVF may find a pair from one side only, so that both are kept until the end.
            keep = slice(None) if sides == 2 else owners < indices
            first, second = owners[keep], indices[keep]
            parts.append((np.minimum(first, second), np.maximum(first, second), scores[keep]))
            total += len(first)
            check_pairs(total // sides, max_pairs, threshold)
        empty = (np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.float32))
        columns = [np.concatenate(column) for column in zip(empty, *parts, strict=True)]
        table = pd.DataFrame(dict(zip(["i", "j", score_name(self.metric)], columns, strict=True)))
        ordered = table.drop_duplicates(["i", "j"]).sort_values(["i", "j"], ignore_index=True)
        check_pairs(len(ordered), max_pairs, threshold)
        return ordered

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the index to `path`, and its metric, settings and fingerprint to a JSON beside it.

        Each of the two is whole or absent, and the JSON holds the checksum of the index.
        """
        check_is_fitted(self, "shape_")
        seed = self.random_state
        parameters = self.get_params() | {
            # A device belongs to the machine, a generator to the process that made it.
            "device": "auto",
            "random_state": int(seed) if isinstance(seed, int | np.integer) else None,
        }
        learned = {name: getattr(self, f"{name}_") for name in LEARNED}
        write_index(Path(path), self._search.index, {"parameters": parameters} | learned)

    @classmethod
    def load(
        cls,
        path: str | os.PathLike[str],
        features: Any = None,
        metric: Metric | None = None,
        device: str = "auto",
    ) -> Self:
        """Read an index that `save` wrote.

        StoreError where a file is missing or damaged, and where it belongs to other features than
        `features` (N, D) or to another metric than `metric`, if these are given.
        """
        gpu = _faiss.resolve_gpu(device)
        index, record = read_index(Path(path), features, metric)
        with parsing(os.fspath(path), "a saved index", error=StoreError, advice="fit a new one"):
            loaded = cls(**record["parameters"] | {"device": device})
            loaded._check_parameters()
            for name in LEARNED:
                setattr(loaded, f"{name}_", record[name])
            loaded.shape_ = tuple(record["shape"])
            if loaded.shape_ != (index.ntotal, index.d):
                raise ValueError(f"it holds {index.ntotal} vectors of {index.d} dimensions")
            loaded._search = Searcher(index, loaded.metric, loaded.shape_, gpu, device)
        loaded.device_ = loaded._search.device
        return loaded

    def _check_parameters(self) -> None:
        check_parameters(self, CONSTRAINTS)
        for name in ("n_lists", "n_probe"):
            if getattr(self, name) is not None and self.kind in ("flat", "hnsw"):
                raise InputError(f"{name} requires kind='ivf'; kind={self.kind!r} has no lists")

    def _check_query(self, features: Any) -> FeatureMatrix:
        matrix = as_feature_matrix(features)
        if matrix.shape[1] != self.shape_[1]:
            raise FeatureError(
                f"features have {matrix.shape[1]} columns; the index was fitted on {self.shape_[1]}"
            )
        return matrix

    def _searched(
        self,
        work: Work[Searcher, B, Found],
        blocks: Iterable[B],
        order: IntArray,
        k: int,
        engine: Engine | None,
        advance: Advance,
    ) -> Neighbors:
        """Search all queries, which come in blocks and in this order."""
        engine = engine or LocalEngine()
        place = engine.place(self.device)
        searcher = self._search
        if engine.name != "local":  # the workers' device: here the index stays on the CPU
            searcher = Searcher(searcher.index, self.metric, self.shape_, None, place)
        shape = len(order), k
        scores, indices = np.empty(shape, np.float32), np.empty(shape, np.int64)
        start = 0  # engines return blocks in order
        for _, found in engine.map_blocks(work, searcher, blocks, advance, device=place):
            rows = order[start : start + len(found[0])]
            scores[rows], indices[rows] = found
            start += len(rows)
        return Neighbors(scores, indices, self.metric)


def _check_k(k: int, most: int, what: str) -> int:
    if not whole(1, most).accepts(k):
        raise InputError(f"k must be from 1 to the {most} {what}; got {k!r}")
    return int(k)  # faiss takes no integers of numpy's
