"""Label consistency against refitting without each point; kernel means against their definition."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import Ridge

from w2s_selectors.objectives.consistency import (
    EXACT_POINTS,
    LabelConsistency,
    Projection,
    screened_out,
)
from w2s_selectors.objectives.screen import KernelMean


def points(rng: np.random.Generator, n: int = 60, n_classes: int = 2) -> tuple[np.ndarray, ...]:
    z = rng.normal(size=(n, 5))
    proba = rng.dirichlet(np.ones(n_classes), n)
    proba[:, 0] += 2 * (z[:, 0] > 0)
    return rng.integers(0, 3, n), z, proba / proba.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("n_classes", [2, 4])
def test_left_out_predictions_are_those_of_refits(rng: np.random.Generator, n_classes: int) -> None:
    source, z, proba = points(rng, n_classes=n_classes)
    consistency = LabelConsistency(3, z.shape[1], n_classes)
    consistency.add(source, z, proba)
    consistency.update()
    t = proba - 1 / n_classes
    design = np.column_stack([z, np.ones(len(z))])
    predicted = np.empty_like(t)
    for i in range(len(z)):
        rest = np.arange(len(z)) != i
        ridge = Ridge(alpha=32, fit_intercept=False).fit(design[rest], t[rest])
        predicted[i] = ridge.predict(design[[i]])[0]
    for k in range(3):
        mine = source == k
        a, b = (v[mine] - v[mine].mean(axis=0) for v in (t, predicted))
        expected = (a * b).sum() / np.sqrt((a * a).sum() * (b * b).sum())
        assert consistency.correlation[k] == pytest.approx(expected, abs=1e-10)
        agree = (t[mine].argmax(axis=1) == predicted[mine].argmax(axis=1)).sum()
        assert consistency.agreeing[k] == agree


def test_two_classes_correlate_as_one_signed_label(rng: np.random.Generator) -> None:
    source, z, proba = points(rng)
    consistency = LabelConsistency(3, z.shape[1], 2)
    consistency.add(source, z, proba)
    consistency.update()
    design = np.column_stack([z, np.ones(len(z))])
    hat = design @ np.linalg.solve(design.T @ design + 32 * np.eye(6), design.T)
    t = 2 * proba[:, 1] - 1
    predicted = t - (t - hat @ t) / (1 - np.diag(hat))
    for k in range(3):
        expected = np.corrcoef(t[source == k], predicted[source == k])[0, 1]
        assert consistency.correlation[k] == pytest.approx(expected, abs=1e-10)


def test_parts_add_up_to_the_whole(rng: np.random.Generator) -> None:
    source, z, proba = points(rng, n=200)
    whole, parts = LabelConsistency(3, 5, 2), LabelConsistency(3, 5, 2)
    whole.add(source, z, proba)
    whole.update()
    for rows in np.split(np.arange(200), 10):
        parts.add(source[rows], z[rows], proba[rows])
        parts.update()
    np.testing.assert_allclose(whole.correlation, parts.correlation, atol=1e-12)


def test_constant_labels_have_no_consistency(rng: np.random.Generator) -> None:
    source, z, proba = points(rng)
    proba[source == 1] = [0.9, 0.1]
    consistency = LabelConsistency(3, z.shape[1], 2)
    consistency.add(source, z, proba)
    consistency.update()
    assert np.isnan(consistency.correlation).tolist() == [False, True, False]


def test_many_points_are_not_all_kept_and_seldom_judged(rng: np.random.Generator) -> None:
    consistency = LabelConsistency(2000, 5, 2)
    source, z, proba = points(rng, n=EXACT_POINTS)
    consistency.add(np.zeros(len(z), dtype=np.int64), z, proba)
    consistency.update()
    assert consistency.n_points[0] == 200
    before = consistency.correlation.copy()
    consistency.add(source[:5], z[:5], proba[:5])
    consistency.update()
    np.testing.assert_array_equal(before, consistency.correlation)
    consistency.add(source, z, proba)
    consistency.update()
    assert np.isfinite(consistency.correlation[:3]).all()


def test_projection_ignores_scale_and_constant_columns(rng: np.random.Generator) -> None:
    x = rng.normal(size=(300, 6)) @ rng.normal(size=(6, 6))
    scaled = np.column_stack([100 * x[:, ::-1], np.full(300, 7.0)])
    a, b = (Projection.fit(rows, 4)(rows) for rows in (x, scaled))
    np.testing.assert_allclose(np.abs(a), np.abs(b), atol=1e-8)
    assert a.var(axis=0).mean() == pytest.approx(1, rel=0.01)
    assert Projection.fit(np.ones((5, 3)))(np.ones((5, 3))).shape == (5, 1)


def test_kernel_mean_estimates_the_gaussian_kernel(rng: np.random.Generator) -> None:
    target, points = rng.normal(size=(400, 3)), rng.normal(0.7, 1, size=(300, 3))

    def kernel(a: np.ndarray, b: np.ndarray) -> float:
        squares = ((a[:, None] - b) ** 2).sum(axis=-1)
        return float(np.exp(-squares / (2 * width**2)).mean())

    gaps = np.sqrt(((target[:, None] - target) ** 2).sum(axis=-1))
    width = np.median(gaps[np.triu_indices(400, 1)])
    exact = kernel(target, target) + kernel(points, points) - 2 * kernel(target, points)
    found = []
    for seed in range(20):
        mean = KernelMean(target, 1, np.random.default_rng(seed))
        mean.add(np.zeros(300, dtype=np.int64), points)
        found.append(mean.distance())
        assert mean.distance() == pytest.approx(mean.distance_of(points))
    assert np.mean(found) == pytest.approx(exact, rel=0.1)


def test_matching_source_brings_the_mean_nearer(rng: np.random.Generator) -> None:
    mean = KernelMean(rng.normal(size=(400, 3)), 3, rng)
    mean.add(np.repeat([0, 1], 50), np.r_[rng.normal(size=(50, 3)), rng.normal(2, 1, (50, 3))])
    after = mean.distances_after(np.full(3, 20.0))
    assert after[0] < mean.distance() < after[1]
    assert np.isnan(after[2])
    planned = mean.distances_after(np.full(3, 20.0), np.array([1000.0, 0, 0]))
    assert planned[0] < after[0]


def test_screen_needs_points_evidence_and_a_standard() -> None:
    n = np.array([90, 90, 90, 90])
    assert screened_out(np.array([0.8, 0.7, 0.1, 0.75]), n)[0].tolist() == [
        False,
        False,
        True,
        False,
    ]
    few = np.array([90, 90, 39, 90])
    assert not screened_out(np.array([0.8, 0.7, 0.1, 0.75]), few)[0].any()
    unsure = np.array([0.8, 0.7, 0.3, 0.75])
    assert not screened_out(unsure, n)[0].any()
    assert not screened_out(np.array([-0.8, -0.1, -0.9, -0.1]), n)[0].any()
    assert not screened_out(np.full(4, np.nan), n)[0].any()
    stopped, limit = screened_out(np.array([0.8, 0.8, np.nan, 0.0]), n)
    assert stopped.tolist() == [False, False, False, True]
    assert limit == pytest.approx(0.4)
