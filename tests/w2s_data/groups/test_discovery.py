"""Discovered groups against groups that are known, and k-means against scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.cluster import KMeans
from sklearn.datasets import load_digits
from sklearn.metrics import adjusted_rand_score

from w2s_data.compute import faiss as _faiss
from w2s_data.data.examples import spurious_gaussian
from w2s_data.errors import FeatureError, InputError
from w2s_data.features.matrix import as_feature_matrix
from w2s_data.groups.discovery import discover_groups
from w2s_data.groups.error_groups import error_groups
from w2s_data.groups.gaps import EVENLY_SPREAD, apply_splits, find_splits, two_means
from w2s_data.groups.kmeans import kmeans


def shifted(rng, n=2000, dim=16, minority=0.2, sigmas=4.0):
    """Two classes; a group shifts one feature in both."""
    label, group = rng.integers(2, size=n), rng.random(n) < minority
    points = rng.normal(size=(n, dim)).astype(np.float32)
    points[:, 0] += sigmas * group
    points[:, 1] += 3 * label
    return points, label, group


def found(points, label, seed=0, gold=None, **settings):
    gold = np.full(len(label), -1) if gold is None else gold
    rng = np.random.default_rng(seed)
    return discover_groups(as_feature_matrix(points), label, gold, rng=rng, **settings)


def rand_index(group, label, codes):
    parts = [label == c for c in np.unique(label)]
    return np.mean([adjusted_rand_score(group[part], codes[part]) for part in parts])


def bright_digits(minority, seed):
    rng = np.random.default_rng(seed)
    digits = load_digits()
    scans, group = digits.images.copy(), rng.random(len(digits.target)) < minority
    scans[group, 5:, 5:] = 16
    return scans.reshape(len(scans), -1), (digits.target >= 5).astype(int), group


class TestKMeans:
    def test_a_gpu_that_fails_leaves_it_to_the_cpu(self, rng, monkeypatch, caplog):
        points = rng.normal(size=(400, 8))
        expected = kmeans(points, 3, device="cpu")

        def fail(*_):
            raise RuntimeError("Error in faiss::gpu: CUDA error 2 out of memory")

        monkeypatch.setattr(_faiss, "resolve_gpu", {"auto": 0, "cuda": 0}.get)
        monkeypatch.setattr(_faiss, "to_gpu", fail)
        found = kmeans(points, 3, device="auto")
        np.testing.assert_array_equal(found.codes, expected.codes)
        assert [record.message for record in caplog.records] == [
            "k-means runs on the CPU, since GPU 0 failed: "
            "Error in faiss::gpu: CUDA error 2 out of memory"
        ]
        with pytest.raises(InputError, match=r"k-means on 'cuda' failed \(Error in faiss::gpu"):
            kmeans(points, 3, device="cuda")

    @pytest.mark.parametrize("spherical", [False, True])
    def test_inertia_is_that_of_sklearn(self, rng, spherical):
        centres = 4 * rng.normal(size=(5, 8))
        points = centres[rng.integers(5, size=1500)] + rng.normal(size=(1500, 8))
        best = min(
            (kmeans(points, 5, spherical=spherical, random_state=s) for s in range(5)),
            key=lambda clusters: clusters.inertia,
        )
        if spherical:
            points = points / np.linalg.norm(points, axis=1, keepdims=True)
        fitted = KMeans(5, n_init=5, random_state=0).fit(points)
        centres = fitted.cluster_centers_
        if spherical:
            centres = centres / np.linalg.norm(centres, axis=1, keepdims=True)
        theirs = np.square(points - centres[fitted.labels_]).sum()
        assert best.inertia <= 1.01 * theirs

    def test_codes_are_the_nearest_centroids_and_inertia_their_distances(self, rng):
        points = rng.normal(size=(300, 4)).astype(np.float32)
        clusters = kmeans(points, 6)
        squares = ((points[:, None] - clusters.centroids) ** 2).sum(axis=2)
        np.testing.assert_array_equal(clusters.codes, squares.argmin(axis=1))
        assert clusters.inertia == pytest.approx(squares.min(axis=1).sum(), rel=1e-4)

    def test_spherical_ignores_lengths(self, rng):
        points = rng.normal(size=(300, 4))
        longer = points * rng.uniform(0.5, 2, size=(300, 1))
        codes = [kmeans(x, 4, spherical=True).codes for x in (points, longer)]
        np.testing.assert_array_equal(*codes)
        lengths = np.linalg.norm(kmeans(points, 4, spherical=True).centroids, axis=1)
        np.testing.assert_allclose(lengths, 1, rtol=1e-5)

    def test_seed_decides_everything(self, rng):
        points = rng.normal(size=(500, 6))
        first, second = (kmeans(points, 7, random_state=3) for _ in range(2))
        np.testing.assert_array_equal(first.centroids, second.centroids)

    def test_identical_points(self):
        clusters = kmeans(np.ones((20, 3)), 4)
        assert clusters.inertia == pytest.approx(0, abs=1e-4)

    @pytest.mark.parametrize("n_clusters", [0, 6, 2.0])
    def test_refuses_an_impossible_number(self, n_clusters):
        with pytest.raises(InputError, match="n_clusters must be from 1 to the 5 rows"):
            kmeans(np.eye(5), n_clusters)

    def test_names_bad_rows(self):
        points = np.ones((4, 2))
        points[2] = np.nan
        with pytest.raises(FeatureError, match="row 2"):
            kmeans(points, 2)


class TestSplits:
    def test_two_means_is_exact(self, rng):
        values = np.concatenate([rng.normal(size=40), rng.normal(4, 1, 25)])
        threshold, separation = two_means(values, 1)
        ordered = np.sort(values)
        cuts = (ordered[:-1] + ordered[1:]) / 2
        spread = [
            sum(part.var() * len(part) for part in (values[values <= c], values[values > c]))
            for c in cuts
        ]
        assert threshold == pytest.approx(cuts[int(np.argmin(spread))])
        low, high = values[values <= threshold], values[values > threshold]
        expected = (high.mean() - low.mean()) / np.sqrt((low.var() + high.var()) / 2)
        assert separation == pytest.approx(expected)

    def test_separation_of_known_shapes(self, rng):
        even = two_means(np.linspace(0, 1, 10_001), 1)[1]
        normal = two_means(rng.normal(size=100_000), 1)[1]
        assert even == pytest.approx(EVENLY_SPREAD, rel=1e-3)
        phi = np.sqrt(2 / np.pi)
        assert normal == pytest.approx(2 * phi / np.sqrt(1 - phi**2), rel=0.01)

    @pytest.mark.parametrize("values", [np.ones(30), np.arange(3.0), np.zeros(0)])
    def test_nothing_to_split(self, values):
        threshold, separation = two_means(values, 2)
        assert np.isnan(threshold)
        assert separation == 0

    @pytest.mark.parametrize("n", [200, 400, 2000])
    @pytest.mark.parametrize("dim", [2, 60])
    def test_one_cloud_is_not_split(self, n, dim):
        for seed in range(4):
            rng = np.random.default_rng(seed)
            assert find_splits(rng.normal(size=(n, dim)), None, rng) == []

    def test_four_well_separated_parts(self, rng):
        group = rng.integers(4, size=1200)
        points = rng.normal(size=(1200, 6))
        points[:, 0] += 12 * (group % 2)
        points[:, 1] += 12 * (group // 2)
        codes = apply_splits(points, find_splits(points, None, rng))
        assert adjusted_rand_score(group, codes) > 0.99

    def test_a_wanted_number_is_met(self, rng):
        assert len(find_splits(rng.normal(size=(1000, 5)), 4, rng)) == 3


class TestGaps:
    @pytest.mark.slow
    @pytest.mark.parametrize("minority", [0.5, 0.2])
    def test_nearly_as_good_as_knowing_the_densities(self, minority):
        scores = []
        for seed in range(5):
            points, label, group = shifted(np.random.default_rng(seed), minority=minority)
            scores.append(rand_index(group, label, found(points, label, seed).codes))
        bayes = points[:, 0] > 2 + np.log(1 / minority - 1) / 4
        assert np.mean(scores) > rand_index(group, label, bayes) - 0.06

    @pytest.mark.slow
    @pytest.mark.parametrize(("minority", "least"), [(0.5, 0.9), (0.2, 0.9), (0.1, 0.8)])
    def test_bright_digits(self, minority, least):
        scores = []
        for seed in range(5):
            points, label, group = bright_digits(minority, seed)
            scores.append(rand_index(group, label, found(points, label, seed).codes))
        assert np.mean(scores) >= least

    def test_one_group_in_all_classes(self, rng):
        points, label, group = shifted(rng, sigmas=8.0)
        discovery = found(points, label)
        assert discovery.method == "gaps"
        assert discovery.spans
        assert adjusted_rand_score(group, discovery.codes) > 0.99

    def test_groups_of_one_class_only(self, rng):
        points, label, group = shifted(rng)
        points[:, 0] = rng.normal(size=len(points)) + 9 * group * (label == 0)
        codes = found(points, label).codes
        assert adjusted_rand_score(group[label == 0], codes[label == 0]) > 0.99
        assert len(np.unique(codes[label == 1])) == 1

    def test_order_of_the_rows_does_not_matter_much(self, rng):
        points, label, _ = shifted(rng, sigmas=8.0)
        order = rng.permutation(len(points))
        first, second = found(points, label), found(points[order], label[order])
        assert adjusted_rand_score(first.codes[order], second.codes) > 0.99

    def test_seed_decides_everything(self, rng):
        points, label, _ = shifted(rng)
        np.testing.assert_array_equal(found(points, label, 3).codes, found(points, label, 3).codes)

    def test_codes_begin_with_the_largest_group(self, rng):
        points, label, _ = shifted(rng, sigmas=8.0)
        sizes = np.bincount(found(points, label).codes)
        assert (np.diff(sizes) <= 0).all()

    @pytest.mark.parametrize(
        "points", [np.ones((300, 3)), np.ones((3, 3)), np.ones((1, 3))], ids=["many", "3", "1"]
    )
    def test_constant_features_hold_one_group(self, points):
        discovery = found(points, np.arange(len(points)) % 2)
        assert discovery.method == "none"
        assert discovery.codes.max() == 0
        assert discovery.reading.startswith("no groups were discovered: ")


class TestMixture:
    @pytest.mark.slow
    def test_groups_that_scale_features(self):
        shares = dict.fromkeys(("eta_labelled", "eta_pool", "eta_test"), 0.2)
        apart = 4 / 0.789  # four standard deviations in what the student sees
        example = spurious_gaussian(n_test=0, mu=apart, **shares)
        data = example.dataset
        discovery = found(example.strong_features, data.labels)
        group = data.groups == "minority"
        assert discovery.method == "mixture"
        assert rand_index(group, data.labels, discovery.codes) >= 0.85

    def test_one_cloud_is_not_split(self, rng):
        points = rng.normal(size=(800, 5))
        assert found(points, rng.integers(2, size=800), method="mixture").method == "none"


class TestErrors:
    def test_cells_of_high_error_are_found(self, rng):
        angle = rng.uniform(0, 2 * np.pi, 3000)
        points = np.column_stack([np.cos(angle), np.sin(angle)])
        hard = angle < np.pi
        wrong = rng.random(3000) < np.where(hard, 0.6, 0.05)
        features = as_feature_matrix(points)
        known = rng.random(3000) < 0.5
        codes = error_groups(features, wrong, known, 2, "cpu", rng)
        assert adjusted_rand_score(hard, codes) > 0.8
        assert wrong[codes == 0].mean() < wrong[codes == 1].mean()
        shortest = error_groups(features, wrong, known, None, "cpu", rng)
        assert adjusted_rand_score(hard, shortest) > 0.5

    def test_even_errors_are_one_group(self, rng):
        points = as_feature_matrix(rng.normal(size=(2000, 4)))
        codes = error_groups(points, rng.random(2000) < 0.2, np.ones(2000, bool), None, "cpu", rng)
        assert len(np.unique(codes)) == 1

    def test_needs_gold_labels(self, rng):
        with pytest.raises(InputError, match="needs gold labels"):
            found(rng.normal(size=(50, 3)), np.arange(50) % 2, method="errors")
