r"""UMAP in numpy, of points whose nearest neighbours are known.

Every epoch moves all points at once, as the batch mode of uwot does, so that no compiled loop is
needed: numba would compile for six seconds in every process, and longer than that on its first use.
Neighbourhoods are kept as well as by umap-learn (see `benchmarks/evidence/README.md`).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from w2s_data.utils.typing import FloatArray, IntArray

N_EPOCHS = 200  # umap-learn's default above 10,000 points; fixed, so that all sizes are comparable
REPULSIONS = 5  # random points that push a point away, for each neighbour that pulls it
DRAWN = 10  # points drawn for these; each pushes with the weight of several
WIDTH, SLOPE = 1.577, 0.8951  # of 1 / (1 + a d^2b): fitted to a least distance of .1, the default
STEP = 0.5
FIRST_DECAY, SECOND_DECAY = 0.5, 0.9  # of Adam's moments, as in uwot: gradients are noisy
STEEPEST = 4.0  # components of a force, as in umap-learn
SPAN = 10.0  # of the starting positions
JITTER = 1e-4  # sets equal points apart
NEAREST = 0.001  # squared distance below which repulsion does not grow, as in umap-learn
NO_DISTANCE, NO_FORCE = 1e-12, 1e-7  # keep divisors above 0
SMALLEST = 1e-3  # bandwidth, over the mean distance to neighbours
HALVINGS = 64


def umap_positions(
    indices: IntArray, distances: FloatArray, start: FloatArray, rng: np.random.Generator
) -> FloatArray:
    r"""Place n points (n, 2) by the k nearest others of each and their distances (n, k).

    Points i, j that are near are linked by :math:`w_{ij}` in [0, 1]; positions minimise

    .. math:: -\sum_{ij} w_{ij} \log q_{ij} + (1 - w_{ij}) \log(1 - q_{ij}), \qquad
              q_{ij} = \frac{1}{1 + a \lVert y_i - y_j \rVert^{2b}}

    from `start` (n, 2) by Adam, with the second sum over random points. McInnes, Healy, Melville,
    *UMAP*, 2018; batches of all points as in Melville, *uwot*.

    >>> near = np.array([[1, 2], [0, 2], [1, 3], [2, 1]])
    >>> start = np.arange(8.0).reshape(4, 2)
    >>> umap_positions(near, np.ones((4, 2)), start, np.random.default_rng(0)).shape
    (4, 2)
    """
    graph = fuzzy_graph(indices, distances)
    graph.data = (graph.data / graph.data.max()).astype(np.float32)
    at = _spread(start, rng)
    mean, square = np.zeros_like(at), np.zeros_like(at)
    for epoch in range(N_EPOCHS):
        force = _attraction(graph, at) + _repulsion(graph, at, rng)
        mean = FIRST_DECAY * mean + (1 - FIRST_DECAY) * force
        square = SECOND_DECAY * square + (1 - SECOND_DECAY) * force**2
        # Adam's moments start from 0: the divisors make up for it.
        direction = mean / (1 - FIRST_DECAY ** (epoch + 1))
        size = np.sqrt(square / (1 - SECOND_DECAY ** (epoch + 1))) + NO_FORCE
        at = at + STEP * (1 - epoch / N_EPOCHS) * direction / size
    return at


def _attraction(graph: Any, at: FloatArray) -> FloatArray:
    """Return the force (n, 2) of all links of each point."""
    apart = np.repeat(at, np.diff(graph.indptr), axis=0) - at[graph.indices]
    squares = np.maximum(_squares(apart), NO_DISTANCE)
    powers = squares**SLOPE
    # Each link pulls both of its ends, once from either side.
    strength = -4 * WIDTH * SLOPE * graph.data * powers / squares / (WIDTH * powers + 1)
    return np.asarray(np.add.reduceat(_clipped(strength, apart), graph.indptr[:-1]))


def _repulsion(graph: Any, at: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Return the force (n, 2) of random points on each point, by the weight of its links."""
    apart = at[:, None] - at[rng.integers(len(at), size=(len(at), DRAWN))]
    squares = _squares(apart)
    weight = np.add.reduceat(graph.data, graph.indptr[:-1])[:, None] * (REPULSIONS / DRAWN)
    strength = 2 * SLOPE * weight / ((NEAREST + squares) * (WIDTH * squares**SLOPE + 1))
    return np.asarray(_clipped(strength, apart).sum(axis=1))


def fuzzy_graph(indices: IntArray, distances: FloatArray) -> Any:
    r"""Return the symmetric weights (n, n, sparse) of links, in [0, 1].

    With :math:`\rho_i` the distance of the nearest that is not the same point, and the bandwidth
    :math:`\sigma_i` at which the weights of a point sum to :math:`\log_2 (k + 1)`,

    .. math:: v_{ij} = \exp(-\max(0, d_{ij} - \rho_i) / \sigma_i), \qquad
              w_{ij} = v_{ij} + v_{ji} - v_{ij} v_{ji}
    """
    from scipy.sparse import csr_array

    n, k = indices.shape
    nearest = np.where(distances > 0, distances, np.inf).min(axis=1, keepdims=True)
    beyond = np.maximum(distances - np.where(np.isinf(nearest), 0.0, nearest), 0.0)
    low, high, width = np.zeros((n, 1)), np.full((n, 1), np.inf), np.ones((n, 1))
    for _ in range(HALVINGS):
        above = np.exp(-beyond / width).sum(axis=1, keepdims=True) > np.log2(k + 1)
        low, high = np.where(above, low, width), np.where(above, width, high)
        width = np.where(np.isinf(high), 2 * width, (low + high) / 2)
    typical = np.where(np.isinf(nearest), distances.mean(), distances.mean(axis=1, keepdims=True))
    width = np.maximum(width, np.maximum(SMALLEST * typical, np.finfo(np.float64).tiny))
    # A copy: scipy sorts the columns of a row in place.
    columns, first = indices.flatten(), np.arange(0, n * k + 1, k)
    directed = csr_array((np.exp(-beyond / width).ravel(), columns, first), (n, n))
    other = directed.T.tocsr()
    return (directed + other - directed * other).tocsr()


def _spread(start: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Scale each axis to 10, and set equal points apart."""
    span = np.ptp(start, axis=0)
    scaled = SPAN * (start - start.min(axis=0)) / np.where(span > 0, span, 1.0)
    return np.asarray(scaled + rng.normal(scale=JITTER, size=start.shape), dtype=np.float32)


def _squares(apart: FloatArray) -> FloatArray:
    return np.asarray(np.einsum("...i,...i->...", apart, apart))


def _clipped(strength: FloatArray, apart: FloatArray) -> FloatArray:
    return np.clip(strength[..., None] * apart, -STEEPEST, STEEPEST)
