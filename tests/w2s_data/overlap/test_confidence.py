"""Confidence measures against their definitions."""

from __future__ import annotations

import numpy as np
import pytest

from w2s_data.features.matrix import ArrayFeatures
from w2s_data.overlap.confidence import smooth_confidence, weak_confidence


@pytest.mark.parametrize("measure", ["margin", "top1"])
def test_two_classes_agree(rng, measure):
    p = rng.random(100)
    found = weak_confidence(np.column_stack([p, 1 - p]), measure)
    np.testing.assert_allclose(found, 2 * np.abs(p - 0.5), atol=1e-12)


@pytest.mark.parametrize("n_classes", [3, 7])
def test_many_classes(rng, n_classes):
    proba = rng.dirichlet(np.ones(n_classes), 50)
    ranked = np.sort(proba, axis=1)
    np.testing.assert_allclose(weak_confidence(proba, "margin"), ranked[:, -1] - ranked[:, -2])
    top1 = (n_classes * ranked[:, -1] - 1) / (n_classes - 1)
    np.testing.assert_allclose(weak_confidence(proba, "top1"), top1)


def test_range_is_reached():
    proba = np.array([[1.0, 0, 0], [1 / 3, 1 / 3, 1 / 3]])
    for measure in ("margin", "top1"):
        np.testing.assert_allclose(weak_confidence(proba, measure), [1, 0], atol=1e-12)


def test_temperature_spreads_a_saturated_model_and_keeps_the_order():
    proba = np.array([[0.999999, 1e-6], [0.99, 0.01], [0.6, 0.4], [1.0, 0.0]])
    warm = weak_confidence(proba, temperature=4.0)
    assert np.all(np.argsort(warm) == np.argsort(weak_confidence(proba)))
    assert warm[1] < 0.6
    assert warm[3] == 1.0


def test_smoothing_takes_neighbours_into_account(rng):
    """A lone sure point among unsure ones falls below sure points among sure ones."""
    left, right = rng.normal(size=(2, 40, 6)) * 0.1
    features = np.concatenate([left + np.eye(6)[0], right + np.eye(6)[1]]).astype(np.float32)
    confidence = np.repeat([0.1, 0.9], 40)
    confidence[0] = 0.9
    smooth = smooth_confidence(confidence, ArrayFeatures(features))
    assert smooth[0] < smooth[40:].min()
    assert smooth.min() == 0
    assert smooth.max() == 1


def test_smoothing_leaves_constant_confidence():
    features = ArrayFeatures(np.eye(5, dtype=np.float32))
    np.testing.assert_array_equal(smooth_confidence(np.full(5, 0.3), features), np.full(5, 0.3))
