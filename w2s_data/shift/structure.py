"""Coordinates of rows that know nothing of sides: principal components, and cells of k-means."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from w2s_data.features.matrix import PIECE_BYTES, row_blocks
from w2s_data.utils.threads import for_each
from w2s_data.utils.typing import FloatArray, IntArray

MOST_COMPONENTS = 256  # beyond them a linear classifier of some thousand rows gains nothing
CELL_COMPONENTS = 20  # distances in 50 or 100 of them find foreign rows no better
# A tenth of foreign rows fills one cell of few, its parts cells of many: 4 find MPQA among reviews,
# 16 find reviews among MPQA. Which division isolates them is partly luck, so there are two of each.
SCALES = (4, 6, 10, 16, 25, 40) * 2
FEWEST_IN_CELL = 5
MOST_ROUNDS = 25  # of k-means, which changes little after them
MOST_FITTED = 4_000  # rows that components and cells are learned from
SMALL = 1_000  # columns up to which the covariance matrix is the faster way to components


class Rows(Protocol):
    """Features (N, D) of which rows can be taken."""

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        ...

    def take(self, rows: IntArray) -> FloatArray:
        """Return some rows."""
        ...


@dataclass(frozen=True)
class Placed:
    """Rows in the coordinates of a structure."""

    points: FloatArray  # (n, K), principal components of standardised columns
    cells: IntArray  # (n, S), number of the cell of each row, at S scales

    def __len__(self) -> int:
        return len(self.points)

    def take(self, rows: IntArray) -> Placed:
        """Return some of the rows."""
        return Placed(self.points[rows], self.cells[rows])


@dataclass(frozen=True)
class Structure:
    """Standardisation, principal components and cells, learned from rows of all sides together.

    Since it does not see the side of a row, a permutation test need not learn it again.
    """

    mean: FloatArray  # (D,)
    scale: FloatArray  # (D,), 1 for constant columns
    components: FloatArray  # (D, K)
    centres: tuple[FloatArray, ...]  # (k, P) of each scale

    def place(self, features: Rows, rows: IntArray) -> Placed:
        """Place some rows, of which few are in memory at once."""
        points = np.empty((len(rows), self.components.shape[1]))
        cells = np.empty((len(rows), len(self.centres)), dtype=np.intp)

        def place(part: slice) -> None:
            own = self.place_block(features.take(rows[part]))
            points[part], cells[part] = own.points, own.cells

        for_each(place, row_blocks((len(rows), features.shape[1]), PIECE_BYTES))
        return Placed(points, cells)

    def place_block(self, block: FloatArray) -> Placed:
        """Place rows (n, D) that are in memory."""
        points = (block - self.mean) @ (self.components / self.scale[:, None])
        return Placed(points, _nearest(points[:, :CELL_COMPONENTS], self.centres))


def fit_structure(rows: FloatArray, rng: np.random.Generator) -> Structure:
    """Learn components and cells from rows (n, D), at most some thousand of them."""
    from sklearn.cluster import KMeans

    if len(rows) > MOST_FITTED:
        rows = rows[rng.choice(len(rows), MOST_FITTED, replace=False)]
    rows = rows.astype(np.float64)
    mean, spread = rows.mean(axis=0), rows.std(axis=0)
    # Rounding leaves a spread to columns that are constant, or that should be 0.
    rounding = np.maximum(1e-6 * np.abs(mean), 1e-12 * spread.max(initial=0.0))
    scale = np.where(spread > rounding, spread, 1)
    standard = (rows - mean) / scale
    seed = int(rng.integers(2**31))
    components = _components(standard, seed)
    near = standard @ components[:, :CELL_COMPONENTS]
    n_distinct = len(np.unique(near, axis=0))
    centres = tuple(
        KMeans(k, n_init=1, max_iter=MOST_ROUNDS, random_state=seed + i).fit(near).cluster_centers_
        for i, k in enumerate(SCALES)
        if k <= n_distinct and k * FEWEST_IN_CELL <= len(near)
    )
    return Structure(mean, scale, components, centres)


def _components(standard: FloatArray, seed: int) -> FloatArray:
    """Return principal directions (D, K) of a table whose columns have mean 0."""
    from sklearn.utils.extmath import randomized_svd

    n_components = min(MOST_COMPONENTS, *standard.shape)
    if standard.shape[1] <= SMALL:
        vectors = np.linalg.eigh(standard.T @ standard)[1]
        return np.asarray(vectors[:, ::-1][:, :n_components])
    return np.asarray(randomized_svd(standard, n_components, random_state=seed)[2].T)


def _nearest(points: FloatArray, centres: tuple[FloatArray, ...]) -> IntArray:
    """Return the number (n, S) of the nearest centre at each scale."""
    cells = np.empty((len(points), len(centres)), dtype=np.intp)
    if centres:
        every = np.concatenate(centres)
        distance = (every**2).sum(axis=1) - points @ (2 * every.T)
        ends = np.cumsum([len(own) for own in centres])
        for cell, own, end in zip(cells.T, centres, ends, strict=True):
            distance[:, end - len(own) : end].argmin(axis=1, out=cell)
    return cells
