"""A teacher that never votes changes no student, and one without votes has no say."""

import warnings

import numpy as np
import pytest

from w2s_data.errors import DegenerateDataWarning
from w2s_data.finetune import fit_student

METHODS = ("naive", "vsup", "bayes", "overlap", "raven", "stacked", "label_model")
QUICK = {"epochs": 6, "l2": 1e-3, "batch_size": 32, "device": "cpu", "random_state": 0}
N = 120


def problem():
    """Return features, and three teachers (N, 3, 3) that abstain on a third of the rows."""
    rng = np.random.default_rng(0)
    features = rng.normal(size=(N, 4))
    scores = 2 * features[:, None, :3] + rng.normal(size=(N, 3, 3))
    proba = np.exp(scores) / np.exp(scores).sum(axis=2, keepdims=True)
    proba[rng.random((N, 3)) < 1 / 3] = 1 / 3
    return features, proba


def student(method, features, proba):
    gold = np.where(np.arange(N) % 4, -1, proba.mean(axis=1).argmax(axis=1))
    return fit_student(method, features, proba, gold=gold, controls=False, **QUICK)


@pytest.mark.parametrize("method", METHODS)
def test_a_teacher_that_never_votes_changes_nothing(method):
    features, proba = problem()
    plain = student(method, features, proba)
    more = student(method, features, np.insert(proba, 1, 1 / 3, axis=1))
    np.testing.assert_array_equal(more.seed_proba(features), plain.seed_proba(features))
    if method == "raven":
        weights = more.diagnostics["weights"][0]
        assert weights[1] == 0
        np.testing.assert_array_equal(np.delete(weights, 1), plain.diagnostics["weights"][0])


def test_specialists_that_never_vote_are_passed_over():
    features, proba = problem()
    proba[:, 1:] = 1 / 3
    own = student("cosupervised", features, proba)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DegenerateDataWarning)  # of a single teacher
        single = student("cosupervised", features, proba[:, :1])
    np.testing.assert_array_equal(own.seed_proba(features), single.seed_proba(features))
