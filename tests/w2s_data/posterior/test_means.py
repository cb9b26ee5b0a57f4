"""The nearest class mean against scikit-learn's, and what it is for."""

import numpy as np
import pytest
from sklearn.neighbors import NearestCentroid
from sklearn.preprocessing import normalize

from w2s_data import LinearProbe
from w2s_data.posterior.means import ClassMeans


def classes(rng, n, n_classes=3, d=50, shift=1.0):
    """Return rows around class means, and their codes; the first row of each class comes first."""
    codes = np.arange(n) % n_classes
    means = rng.normal(size=(n_classes, d))
    return rng.normal(size=(n, d)) + shift * means[codes] + 3, codes


def test_it_calls_rows_by_the_nearest_mean_of_unit_rows(rng):
    rows, codes = classes(rng, 600)
    center = rows.mean(axis=0)
    model = ClassMeans(center).fit(rows[:300], np.eye(3)[codes[:300]])
    unit = normalize(rows - center)
    nearest = NearestCentroid().fit(unit[:300], codes[:300])
    proba = model.predict_proba(rows[300:])
    # NearestCentroid counts the length of a mean too: with 100 rows a class, the same.
    assert (proba.argmax(axis=1) == nearest.predict(unit[300:])).mean() > 0.97
    np.testing.assert_allclose(proba.sum(axis=1), 1)


@pytest.mark.slow
def test_of_ten_rows_a_class_it_learns_more_than_a_probe(rng):
    gains = []
    for _ in range(5):
        rows, codes = classes(rng, 2_000, d=300, shift=0.3)
        few, rest = slice(30), slice(30, None)
        model = ClassMeans(rows.mean(axis=0)).fit(rows[few], np.eye(3)[codes[few]])
        probe = LinearProbe(l2="cv", random_state=0, device="cpu").fit(rows[few], codes[few])
        own = (model.predict_proba(rows[rest]).argmax(axis=1) == codes[rest]).mean()
        gains.append(own - probe.score(rows[rest], codes[rest]))
    assert min(gains) > 0


def test_the_scale_of_features_and_an_offset_do_not_matter(rng):
    rows, codes = classes(rng, 60)
    targets = np.eye(3)[codes]
    first = ClassMeans(rows.mean(axis=0)).fit(rows, targets).predict_proba(rows)
    moved = 100 * rows - 7
    second = ClassMeans(moved.mean(axis=0)).fit(moved, targets).predict_proba(moved)
    np.testing.assert_allclose(first, second)


def test_the_places_of_a_pair_are_alike(rng):
    rows, codes = classes(rng, 60, n_classes=2)
    model = ClassMeans(np.zeros(50), paired=True).fit(rows, np.eye(2)[codes])
    proba = model.predict_proba(rows)
    np.testing.assert_allclose(model.predict_proba(-rows), proba[:, ::-1])


def test_a_class_without_rows_and_a_row_at_the_middle_say_nothing(rng):
    rows, codes = classes(rng, 60, n_classes=2)
    model = ClassMeans(rows.mean(axis=0)).fit(rows, np.eye(3)[codes])
    proba = model.predict_proba(rows.mean(axis=0)[None])
    np.testing.assert_allclose(proba, 1 / 3)
    assert np.isfinite(model.predict_proba(rows)).all()
