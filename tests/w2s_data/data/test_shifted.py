from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from w2s_data.data.shifted import shifted_gaussian

SIZES = {"n_labelled": 6000, "n_pool": 6000, "n_test": 6000}


def teacher_accuracy(data, split: str) -> float:
    rows = data.test_splits == split if split.startswith("test") else data.splits == split
    return float((data.weak_proba.argmax(axis=1) == data.labels)[rows].mean())


@pytest.mark.parametrize(("flip", "away"), [(False, norm.cdf(1.8)), (True, norm.cdf(-1.8))])
def test_the_teacher_is_as_right_as_the_formula_says(flip, away):
    data = shifted_gaussian(flip=flip, **SIZES).dataset
    for split, expected in (
        ("labelled", norm.cdf(1.8)),
        ("test", norm.cdf(1.8)),
        ("pool", away),
        ("test_shifted", away),
    ):
        assert teacher_accuracy(data, split) == pytest.approx(expected, abs=0.012), split


@pytest.mark.parametrize("shift", [0.0, 1.0, 2.0])
def test_strong_features_show_the_shift_and_weak_ones_do_not(shift):
    example = shifted_gaussian(shift=shift, **SIZES)
    shifted = example.dataset.truth["shifted"].to_numpy()
    half = np.arange(len(shifted)) % 2 == 0
    areas = []
    for features in (example.strong_features, example.weak_features):
        model = LogisticRegression().fit(features[half], shifted[half])
        areas.append(roc_auc_score(shifted[~half], model.decision_function(features[~half])))
    # Two normals of variance 1 that lie `shift` apart.
    assert areas == pytest.approx([norm.cdf(shift / np.sqrt(2)), 0.5], abs=0.02)


@pytest.mark.parametrize(
    "options",
    [
        {"shift": 1.0},
        {"shift": 0.5, "prior": 0.2},
        {"shift": 0.8, "along": "label"},
        {"shift": 0.5, "flip": True, "mu": 0.8},
        {"shift": 0.5, "flip": True, "along": "label", "mu": 1.0},
    ],
)
def test_truth_is_the_chance_of_the_label_and_the_density_ratio(options):
    data = shifted_gaussian(**SIZES, **options).dataset
    truth, positive = data.truth, data.labels == 1
    proba, shifted = truth["proba"].to_numpy(), truth["shifted"].to_numpy()
    for place in (shifted, ~shifted):
        for low, high in ((0, 0.2), (0.2, 0.5), (0.5, 0.8), (0.8, 1)):
            rows = place & (proba >= low) & (proba <= high)
            error = np.sqrt((proba[rows] * (1 - proba[rows])).sum())
            assert positive[rows].sum() == pytest.approx(proba[rows].sum(), abs=3 * error)
    # Weighted by the ratio, rows from home have the means of those from away.
    ratio = np.exp(truth["log_ratio"].to_numpy())
    assert ratio[~shifted].mean() == pytest.approx(1, abs=0.08)
    assert (1 / ratio[shifted]).mean() == pytest.approx(1, abs=0.08)
    weighted = np.average(data.features[~shifted], axis=0, weights=ratio[~shifted])
    assert weighted == pytest.approx(data.features[shifted].mean(axis=0), abs=0.12)


def test_a_prior_moves_the_classes_away_from_home_alone():
    data = shifted_gaussian(prior=0.2, shift=0.0, **SIZES).dataset
    away = data.sources == "away"
    assert (data.labels[away] == 1).mean() == pytest.approx(0.2, abs=0.015)
    assert (data.labels[~away] == 1).mean() == pytest.approx(0.5, abs=0.015)
    # Within a class the features are those of home.
    for code in (0, 1):
        means = [
            data.features[(data.labels == code) & place].mean(axis=0) for place in (away, ~away)
        ]
        assert means[0] == pytest.approx(means[1], abs=0.08)


def test_a_covariate_shift_keeps_the_chance_of_a_label_where_it_was():
    """A model of P(y | x) from home is as well calibrated away, where other points lie."""
    data = shifted_gaussian(along="label", shift=1.5, mu=1.0, **SIZES).dataset
    home = data.sources == "home"
    model = LogisticRegression().fit(data.features[home], data.labels[home])
    proba = model.predict_proba(data.features[~home])[:, 1]
    assert proba.mean() == pytest.approx((data.labels[~home] == 1).mean(), abs=0.02)
    assert (data.labels[~home] == 1).mean() > 0.7
    assert proba == pytest.approx(data.truth["proba"][~home], abs=0.15)


def test_splits_and_sources():
    data = shifted_gaussian(n_labelled=40, n_pool=90, n_validation=20, n_test=30).dataset
    sizes = {"labelled": 40, "pool": 90, "validation": 20, "test": 60, "test_shifted": 30}
    assert {split: len(data.rows(split)) for split in sizes} == sizes
    away = (data.splits == "pool") | (data.test_splits == "test_shifted")
    assert np.array_equal(data.sources == "away", away)
    assert np.array_equal(data.truth["shifted"], away)
