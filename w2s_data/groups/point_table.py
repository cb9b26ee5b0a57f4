"""The table of points: agreement, duplicates and distances from one search for neighbours."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import pandas as pd

from w2s_data.compute.base import Advance, Engine
from w2s_data.data.regions import Region
from w2s_data.features.matrix import row_blocks
from w2s_data.neighbors.index import NeighborIndex
from w2s_data.utils.progress import progress as progress_bar
from w2s_data.utils.typing import AnyArray, BoolArray, FloatArray, IntArray

LEAST_COSINE = 0.95  # of near-duplicates, where ten times nearer than usual is still far apart
NEARER = 10  # times than usual; chance brings few points so near, in 5 dimensions 1 in 500
ROUNDING = 1e-6  # of a cosine in float32
GATHERED_BYTES = 8 * 2**20  # of labels of neighbours at a time


def describe_points(
    index: NeighborIndex,
    *,
    pseudo: IntArray,
    splits: AnyArray,
    regions: IntArray,
    n_neighbors: int,
    duplicate_threshold: float | Literal["auto"],
    engine: Engine | None = None,
    progress: bool | None = None,
) -> tuple[pd.DataFrame, float, pd.DataFrame]:
    """Make `GroupAnalyzer.points_` without the group, the duplicate threshold, and the pairs."""
    n = len(pseudo)
    k = min(n_neighbors, n - 1)
    labelled = splits == "labelled"
    with progress_bar("groups", n * (1 + bool(labelled.any())), "items", progress) as advance:
        if k > 0:
            neighbors = index.neighbors(k, engine=engine, advance=advance)
            indices, scores = neighbors.indices, neighbors.scores
        else:
            indices, scores = np.empty((n, 0), np.int64), np.empty((n, 0), np.float32)
        distances = _distances(index, labelled, indices, scores, engine, advance)
    threshold = _usual(scores) if duplicate_threshold == "auto" else float(duplicate_threshold)
    near = scores >= threshold - ROUNDING  # a threshold of 1 still takes exact copies
    first, leaks, twins = _duplicates(indices, near, splits)
    points = pd.DataFrame(
        {
            "local_overlap_density": _share(indices, regions == Region.OVERLAP, regions >= 0),
            "agreement": _agreement(indices, pseudo),
            "distance_to_labelled": distances,
            "duplicate_of": first,
            "has_duplicate": twins,
            "leaks": leaks,
        }
    )
    return points, threshold, _pairs(indices, scores, near)


def _pairs(indices: IntArray, scores: FloatArray, near: BoolArray) -> pd.DataFrame:
    """List near-duplicates i < j among the neighbours, each pair once, the most similar first."""
    owners, columns = np.nonzero(near)
    others = indices[owners, columns]
    table = pd.DataFrame(
        {
            "i": np.minimum(owners, others),
            "j": np.maximum(owners, others),
            "similarity": np.minimum(scores[owners, columns], 1),  # float32 can exceed 1
        }
    )
    ordered = table.sort_values(
        ["similarity", "i", "j"], ascending=[False, True, True], kind="stable"
    )
    return ordered.drop_duplicates(["i", "j"], ignore_index=True)


def _usual(scores: FloatArray) -> float:
    """Compute the cosine of points `NEARER` times nearer than nearest neighbours usually are."""
    distances = 1 - scores[:, 0] if scores.shape[1] else np.empty(0)
    apart = distances[distances > ROUNDING]  # exact copies tell nothing about usual distances
    usual = float(np.median(apart)) if len(apart) else 0.0
    return max(LEAST_COSINE, 1 - usual / NEARER)


def _share(indices: IntArray, values: BoolArray, counted: BoolArray) -> FloatArray:
    """Average over each row's counted neighbours, NaN where there are none."""
    hits, total = np.empty(len(indices)), np.empty(len(indices))
    hit = values & counted
    for rows in row_blocks(indices.shape, GATHERED_BYTES, itemsize=1):
        hits[rows] = hit[indices[rows]].sum(axis=1)
        total[rows] = counted[indices[rows]].sum(axis=1)
    with np.errstate(invalid="ignore"):
        return np.asarray(hits / total)


def _agreement(indices: IntArray, pseudo: IntArray) -> FloatArray:
    """Return the share of each row's neighbours with the same label, NaN without neighbours."""
    same = np.empty(len(indices))
    for rows in row_blocks(indices.shape, GATHERED_BYTES, itemsize=8):
        same[rows] = (pseudo[indices[rows]] == pseudo[rows, None]).sum(axis=1)
    with np.errstate(invalid="ignore"):
        return np.asarray(same / indices.shape[1])


def _distances(
    index: NeighborIndex,
    labelled: BoolArray,
    indices: IntArray,
    scores: FloatArray,
    engine: Engine | None,
    advance: Advance,
) -> FloatArray:
    """Compute 1 - cosine to the nearest labelled row other than the row itself.

    Nearly every row has one among its neighbours; only the others are compared with all of them.
    """
    rows = np.flatnonzero(labelled)
    result = np.full(len(labelled), np.nan)
    if not len(rows):
        return result
    missing = np.ones(len(labelled), dtype=bool)
    for part in row_blocks(indices.shape, GATHERED_BYTES, itemsize=1):
        known = labelled[indices[part]]
        place = known.argmax(axis=1) if known.shape[1] else np.zeros(len(known), np.int64)
        missing[part] = ~known.any(axis=1)
        if known.shape[1]:  # neighbours come nearest first
            result[part] = 1 - np.take_along_axis(scores[part], place[:, None], 1)[:, 0]
    if len(rows) == 1:
        result[rows], missing[rows] = np.nan, False
    others = np.flatnonzero(missing)
    advance(len(labelled) - len(others))
    if len(others):
        result[others] = (
            1 - index.nearest_of(others, rows, engine=engine, advance=advance).scores[:, 0]
        )
    return np.asarray(np.maximum(result, 0))  # rounding can bring cosines of copies above 1


def _duplicates(
    indices: IntArray, near: BoolArray, splits: AnyArray
) -> tuple[IntArray, BoolArray, BoolArray]:
    """Find the first near-duplicate of each row (-1 if it is the first itself), leaks, has any.

    A row leaks if a near-duplicate lies in another split. Where all k neighbours are
    near-duplicates, those of another split may be crowded out; there, every row that is linked
    with it by near-duplicates counts.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    n = len(indices)
    owners, columns = np.nonzero(near)
    neighbours = indices[owners, columns]
    first = np.arange(n)
    np.minimum.at(first, owners, neighbours)
    np.minimum.at(first, neighbours, owners)
    codes: Any = pd.factorize(splits)[0]
    twins = np.zeros(n, dtype=bool)
    twins[owners] = twins[neighbours] = True
    leaks = np.zeros(n, dtype=bool)
    crossing = codes[owners] != codes[neighbours]
    leaks[owners[crossing]] = leaks[neighbours[crossing]] = True
    # Components also join near-duplicates that are not among each other's neighbours.
    links = coo_array((np.ones(len(owners), bool), (owners, neighbours)), shape=(n, n))
    component = connected_components(links, directed=False)[1]
    linked = pd.Series(codes).groupby(component)
    crowded = near.all(axis=1) & (near.shape[1] > 0)
    leaks |= crowded & (linked.transform("min") < linked.transform("max")).to_numpy()
    return np.where(first == np.arange(n), -1, first), leaks, twins
