"""k-means of features that are read block by block, with faiss."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from w2s_data.compute import faiss as _faiss
from w2s_data.errors import InputError, first_line
from w2s_data.features.matrix import FeatureMatrix, as_feature_matrix
from w2s_data.neighbors.results import Metric
from w2s_data.neighbors.search import prepared, prepared_blocks
from w2s_data.utils.typing import FloatArray, IntArray, RandomState
from w2s_data.utils.validation import check_generator

logger = logging.getLogger("w2s_data")

# Random starts are compared on few rows, which is cheap; only the best is refined on more.
STARTS, TRIED_ITERATIONS = 4, 12
TRIED_ROWS, FEWEST_TRIED = 128, 10_000  # rows per cluster, and in total
LEARNED_ROWS, ITERATIONS = 1024, 12  # rows per cluster


@dataclass(frozen=True)
class Clusters:
    """Centroids (K, D), the nearest of each row (N,), and the sum of squared distances to it."""

    centroids: FloatArray
    codes: IntArray
    inertia: float


def kmeans(
    features: Any,
    n_clusters: int,
    *,
    spherical: bool = False,
    device: str = "auto",
    random_state: RandomState = 0,
) -> Clusters:
    """Cluster rows (N, D) with k-means; spherical by cosine, with rows and centroids of length one.

    The best of four random starts on 128 rows per cluster (10,000 or more in total) is refined on
    at most 1,024 per cluster, then every row is assigned.
    """
    matrix = as_feature_matrix(features)
    n = matrix.shape[0]
    if not isinstance(n_clusters, int | np.integer) or not 1 <= n_clusters <= n:
        raise InputError(f"n_clusters must be from 1 to the {n} rows; got {n_clusters!r}")
    rng = check_generator(random_state)
    gpu = _faiss.resolve_gpu(device)
    metric: Metric = "cosine" if spherical else "l2"
    few = max(TRIED_ROWS * n_clusters, FEWEST_TRIED)
    learned = rng.permutation(n)[: max(LEARNED_ROWS * n_clusters, few)]
    points = prepared(matrix.take(learned), learned, metric)
    seed = int(rng.integers(2**31))
    try:
        return _clusters(matrix, points, few, int(n_clusters), metric, seed, gpu)
    except RuntimeError as error:  # faiss reports a lack of GPU memory as one
        if gpu is None:
            raise
        reason = first_line(error)
        if device != "auto":
            raise InputError(
                f"k-means on {device!r} failed ({reason}): use device='auto'"
            ) from error
        logger.warning("k-means runs on the CPU, since GPU %d failed: %s", gpu, reason)
    return _clusters(matrix, points, few, int(n_clusters), metric, seed, None)


def _clusters(
    matrix: FeatureMatrix,
    points: FloatArray,
    few: int,
    n_clusters: int,
    metric: Metric,
    seed: int,
    gpu: int | None,
) -> Clusters:
    """Choose a start on the first few points, refine it on all, and assign every row."""
    spherical = metric == "cosine"
    train = partial(_faiss.train_centroids, n_clusters=n_clusters, spherical=spherical, gpu=gpu)
    tried = points[:few]
    centroids = train(tried, n_iter=TRIED_ITERATIONS, n_init=STARTS, seed=seed)
    if len(points) > len(tried):
        centroids = train(points, n_iter=ITERATIONS, start=centroids, seed=seed)
    codes, inertia = [], 0.0
    for block in prepared_blocks(matrix, metric):
        scores, nearest = _faiss.nearest_centroids(block, centroids, spherical=spherical, gpu=gpu)
        codes.append(nearest)
        inertia += float((2 - 2 * scores if spherical else scores).sum(dtype=np.float64))
    return Clusters(centroids, np.concatenate(codes), max(0.0, inertia))
