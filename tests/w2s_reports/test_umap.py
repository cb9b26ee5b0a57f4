"""UMAP against umap-learn's weights of links, and against scikit-learn's measure of a map."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.datasets import load_digits, load_iris
from sklearn.decomposition import PCA
from sklearn.manifold import trustworthiness
from sklearn.neighbors import NearestNeighbors

from w2s_reports.umap import fuzzy_graph, umap_positions

# `umap.umap_.fuzzy_simplicial_set` of umap-learn 0.5.12, for every 15th iris and 5 neighbours with
# the point itself; the upper triangle by rows.
LINKS = [
    *(1.0, 1.0, 0.9806, 0.0254, 0, 0, 0, 0, 0),
    *(0.75, 0.7252, 0.1239, 0, 0, 0, 0, 0),
    *(1.0, 0.5334, 0, 0, 0, 0, 0),
    *(0.5163, 0, 0, 0, 0, 0),
    *(0.6821, 1.0, 0, 0, 0),
    *(1.0, 0.3549, 0.7819, 0.5562),
    *(0.248, 0.3858, 0.2785),
    *(0.9227, 1.0),
    1.0,
]


def neighbours(
    points: np.ndarray, k: int, metric: str = "euclidean"
) -> tuple[np.ndarray, np.ndarray]:
    """Return the k nearest others of each point, and their distances."""
    distances, indices = NearestNeighbors(n_neighbors=k, metric=metric).fit(points).kneighbors()
    return indices, distances


def test_links_are_those_of_umap_learn() -> None:
    graph = fuzzy_graph(*neighbours(load_iris().data[::15], 4)).toarray()
    np.testing.assert_allclose(graph[np.triu_indices(10, 1)], LINKS, atol=1e-4)
    np.testing.assert_array_equal(graph, graph.T)


def test_equal_points_have_links_of_one() -> None:
    graph = fuzzy_graph(np.array([[1, 2], [0, 2], [1, 0]]), np.zeros((3, 2)))
    np.testing.assert_array_equal(graph.toarray(), 1 - np.eye(3))


@pytest.mark.parametrize("scale", [1e-6, 1e6])
def test_links_do_not_depend_on_the_unit(scale: float) -> None:
    indices, distances = neighbours(load_iris().data[::15], 4)
    one, other = (fuzzy_graph(indices, unit * distances).toarray() for unit in (1.0, scale))
    np.testing.assert_allclose(one, other, atol=1e-9)


def test_a_map_keeps_more_neighbours_than_principal_components() -> None:
    digits = load_digits().data[::3]
    start = PCA(2).fit_transform(digits)
    placed = umap_positions(*neighbours(digits, 14, "cosine"), start, np.random.default_rng(0))
    kept = [trustworthiness(digits, xy, n_neighbors=15, metric="cosine") for xy in (placed, start)]
    assert kept[0] > 0.95 > kept[1] + 0.1
