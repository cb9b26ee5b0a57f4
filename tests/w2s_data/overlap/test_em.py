"""EM in two products, against densities of scipy and against steps that do not jump."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.special import logsumexp
from scipy.stats import multivariate_normal

from w2s_data.overlap import em
from w2s_data.overlap.em import fit_mixture, start_from_regions
from w2s_data.overlap.mixture import N_BINS, TYPES, Points, evidence, log_odds, root

KINDS = ["additive", "separate"]


def some_points(rng, n=600, n_classes=2, d=5, n_gold=0):
    """Points of three types and some classes, whose patterns overlap."""
    types, classes = rng.integers(TYPES, size=n), rng.integers(n_classes, size=n)
    easy, hard = rng.normal(size=(2, n_classes, d)) * 1.5
    shows = np.stack([types != 0, types != 1])[..., None]
    # Far from 0 and in several units, as principal components are.
    values = rng.normal(size=(n, d)) + shows[0] * easy[classes] + shows[1] * hard[classes]
    values = values * np.logspace(0, -2, d) + 3
    logits = 2.0 * np.eye(n_classes)[classes] * shows[0] + rng.normal(size=(n, n_classes))
    proba = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    gold = np.full(n, -1)
    gold[:n_gold] = classes[:n_gold]
    ranks = np.argsort(np.argsort(proba.max(axis=1))) * N_BINS // n
    points = Points(
        values.astype(np.float32),
        log_odds(proba).astype(np.float32),
        proba.argmax(axis=1),
        ranks,
        gold,
        n_classes,
    )
    return points, types


def log_joint(mixture, points):
    """Log density (3, C, n) of points in each component, with its weight, by scipy."""
    additive = mixture.kind == "additive"
    values = points.coordinates if additive else points.reduced
    said = evidence(mixture.log_hard, mixture.log_shown, points.n_classes)
    result = np.empty((TYPES, points.n_classes, len(points)))
    for which in np.ndindex(result.shape[:2]):
        root = mixture.roots if additive else mixture.roots[which]
        normal = multivariate_normal(mixture.means[which], np.linalg.inv(root @ root.T))
        result[which] = normal.logpdf(values) + np.log(mixture.weights[which])
        if not additive:
            result[which] += said[which][points.said]
    return result


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("n_classes", [2, 3])
def test_densities_and_responsibilities_are_those_of_scipy(rng, kind, n_classes):
    points, types = some_points(rng, n_classes=n_classes)
    mixture = fit_mixture(points, kind, start_from_regions(points, types))
    joint = log_joint(mixture, points)
    total = logsumexp(joint, axis=(0, 1))
    assert mixture.log_likelihood == pytest.approx(total.mean(), abs=1e-4)
    expected = np.exp(joint - total).transpose(2, 0, 1)
    np.testing.assert_allclose(mixture.share, expected, atol=1e-3)
    found = mixture.log_density(points) + np.log(mixture.weights)[..., None]
    np.testing.assert_allclose(found, joint, atol=1e-2)


@pytest.mark.parametrize("kind", KINDS)
def test_jumps_lead_to_where_many_plain_steps_end(rng, kind, monkeypatch):
    points, types = some_points(rng)
    start = start_from_regions(points, types)
    fast = fit_mixture(points, kind, start, steps=80)
    monkeypatch.setattr(em, "LONGEST_JUMP", 0.0)
    plain = fit_mixture(points, kind, start, steps=80)
    exact = fit_mixture(points, kind, start, steps=3000, tolerance=1e-8)
    assert fast.log_likelihood > plain.log_likelihood - 2e-4
    found = [m.share.sum(axis=2).argmax(axis=1) for m in (fast, exact)]
    assert (found[0] == found[1]).mean() > 0.97


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("steps", range(1, 9))
def test_the_likelihood_is_that_of_what_is_returned(rng, kind, steps):
    points, types = some_points(rng, n=300)
    mixture = fit_mixture(points, kind, start_from_regions(points, types), steps=steps)
    total = logsumexp(log_joint(mixture, points), axis=(0, 1))
    assert mixture.log_likelihood == pytest.approx(total.mean(), abs=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_points_with_a_gold_label_belong_to_their_class(rng, kind):
    points, types = some_points(rng, n_gold=50)
    share = fit_mixture(points, kind, start_from_regions(points, types)).share
    classes = share[:50].sum(axis=1)
    np.testing.assert_allclose(classes[np.arange(50), points.gold[:50]], 1, atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_few_distinct_points_leave_a_density(rng, kind):
    """Rows of a few texts only: components without variance in most directions."""
    points, types = some_points(rng, n=800, d=12)
    known = rng.integers(6, size=(800, 2))
    values = rng.normal(size=(6, 12))[known[:, 0]] + rng.normal(size=(6, 12))[known[:, 1]]
    points = replace(points, reduced=values.astype(np.float32))
    mixture = fit_mixture(points, kind, start_from_regions(points, types))
    assert np.isfinite(mixture.log_likelihood)
    np.testing.assert_allclose(mixture.share.sum(axis=(1, 2)), 1, atol=1e-5)


def test_a_covariance_that_rounding_left_without_a_root_gets_one():
    found = root(np.diag([4.0, 1e-3, -1e-9]))
    np.testing.assert_allclose(found.T @ np.diag([4.0, 1e-3, 4e-5]) @ found, np.eye(3), atol=1e-9)
