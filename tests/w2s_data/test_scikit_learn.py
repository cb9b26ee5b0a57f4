"""Estimators in scikit-learn's machinery: parameters, clones, pipelines, searches."""

from __future__ import annotations

import importlib
import inspect

import numpy as np
import pytest
from sklearn.base import BaseEstimator, clone
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import estimator_checks

import w2s_data
from w2s_data import LinearProbe, OverlapDetector, RidgeProbe, TfidfEncoder

# Detectors are fitted on probabilities, on several splits or several models, so that the checks
# that fit (X, y) do not apply to them. Probes and encoders pass those in tests of their own.
UNFITTED = (
    estimator_checks.check_no_attributes_set_in_init,
    estimator_checks.check_get_params_invariance,
    estimator_checks.check_set_params,
    estimator_checks.check_parameters_default_constructible,
    estimator_checks.check_estimator_repr,
    estimator_checks.check_estimator_cloneable,
    estimator_checks.check_do_not_raise_errors_in_init_or_set_params,
    estimator_checks.check_mixin_order,
)
ROOMS = ("", ".posterior", ".regression", ".shift")
ESTIMATORS = {
    name: value
    for room in ROOMS
    for module in [importlib.import_module(f"w2s_data{room}")]
    for name in vars(module).get("__all__", [])
    if inspect.isclass(value := getattr(module, name)) and issubclass(value, BaseEstimator)
}


@pytest.mark.parametrize("check", UNFITTED, ids=lambda check: check.__name__)
@pytest.mark.parametrize("name", sorted(ESTIMATORS))
def test_parameters_are_handled_as_everywhere(name, check):
    kind = ESTIMATORS[name]
    needs_model = "model" in inspect.signature(kind).parameters
    check(name, kind("a-model") if needs_model else kind())


def test_all_public_estimators_are_tried():
    assert {"OverlapDetector", "LabelPosterior", "GroupAnalyzer", "ShiftDetector"} <= set(
        ESTIMATORS
    )
    assert len(ESTIMATORS) > 15
    assert w2s_data.OverlapDetector is ESTIMATORS["OverlapDetector"]


@pytest.fixture
def points(rng):
    x = rng.normal(size=(300, 5)) * [1, 10, 100, 1, 1] + 3
    return x, (x[:, 0] > 3).astype(int), rng.dirichlet(np.ones(2), 300)


def test_a_detector_ends_a_pipeline(points):
    x, _, proba = points
    steps = make_pipeline(StandardScaler(), OverlapDetector(n_resamples=20, random_state=0))
    detector = clone(steps).fit(x, proba)[-1]
    by_hand = clone(steps[-1]).fit(StandardScaler().fit_transform(x), proba)
    np.testing.assert_array_equal(detector.regions_, by_hand.regions_)
    assert detector.density_ == by_hand.density_


def test_a_probe_is_searched_over(points):
    x, y, _ = points
    search = GridSearchCV(
        make_pipeline(StandardScaler(), LinearProbe()), {"linearprobe__l2": [0.1, 1e3]}, cv=3
    )
    assert search.fit(x, y).best_params_ == {"linearprobe__l2": 0.1}
    assert search.best_estimator_.predict_proba(x).shape == (300, 2)
    assert cross_val_score(make_pipeline(StandardScaler(), RidgeProbe()), x, x[:, 1]).min() > 0.99


def test_texts_go_through_a_pipeline():
    texts = ["a good day", "a bad day", "good, very good", "bad, very bad"] * 10
    pipe = make_pipeline(TfidfEncoder(8), LinearProbe()).fit(texts, ["good", "bad"] * 20)
    assert pipe.predict(["so good", "so bad"]).tolist() == ["good", "bad"]
