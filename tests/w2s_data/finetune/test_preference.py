"""Reward heads on pairs: antisymmetry, the Bayes ranking, every method."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from tests.w2s_data.finetune.tiny import accuracy
from w2s_data.errors import InputError
from w2s_data.features.matrix import ArrayFeatures
from w2s_data.finetune.methods.registry import available_methods, make_method
from w2s_data.finetune.pool import Pool
from w2s_data.finetune.preference import PairTask
from w2s_data.finetune.settings import ResolvedSettings

D = 16


def bradley_terry(rng, n, reward):
    """Features of pairs, P(first is preferred), and drawn labels: 0 where the first is."""
    first, second = rng.normal(size=(2, n, D))
    features = (first - second).astype(np.float32)
    p = 1 / (1 + np.exp(-features @ reward))
    return features, p, (rng.random(n) > p).astype(int)


def two_orders(p):
    return np.column_stack([p, 1 - p])


def task_of(features, teachers, seeds=(0,), **changes):
    settings = ResolvedSettings(**{"epochs": 10, "device": "cpu", **changes})
    pool = Pool(teachers, np.ones(len(features)), ArrayFeatures(features))
    return PairTask(pool, settings, "test", seeds=seeds)


@pytest.fixture
def reward(rng):
    return rng.normal(size=D) / np.sqrt(D)


@pytest.mark.slow
def test_reaches_the_ranking_of_the_true_reward(rng, reward):
    features, _, labels = bradley_terry(rng, 20_000, reward)
    task = task_of(features, np.eye(2)[labels][:, None], seeds=(0, 1, 2))
    model = make_method("naive").fit(task).model
    test, p, drawn = bradley_terry(rng, 20_000, reward)
    best = accuracy(two_orders(p), drawn)
    assert (accuracy(model.proba(test), drawn) > best - 0.01).all()
    # The weights are those of the true reward, up to the penalty.
    found = (model.coef[0, :, 0] - model.coef[0, :, 1]) / model.scaling.scale
    assert np.corrcoef(found, reward)[0, 1] > 0.99


def test_agrees_with_logistic_regression_without_intercept(rng, reward):
    features, _, labels = bradley_terry(rng, 2_000, reward)
    task = task_of(features, np.eye(2)[labels][:, None], epochs=60, learning_rate=1e-2)
    model = make_method("naive").fit(task).model
    scale = np.sqrt((features**2).mean(axis=0))
    exact = LogisticRegression(C=1 / (2_000 * 1e-3), fit_intercept=False)
    exact.fit(features / scale, labels)
    expected = exact.predict_proba(features / scale)
    np.testing.assert_allclose(model.proba(features)[0], expected, atol=0.01)


def test_a_noisy_ranker_is_outdone_by_its_student(rng, reward):
    features, p, _ = bradley_terry(rng, 4_000, reward)
    noisy = 1 / (1 + np.exp(-np.log(p / (1 - p)) - 1.5 * rng.normal(size=len(p))))
    task = task_of(features[:3_000], two_orders(noisy[:3_000])[:, None], seeds=(0, 1))
    model = make_method("naive").fit(task).model
    truth = (p[3_000:] < 0.5).astype(int)
    student, teacher = model.proba(features[3_000:]), two_orders(noisy[3_000:])
    assert (accuracy(student, truth) > accuracy(teacher, truth) + 0.1).all()


@pytest.mark.parametrize("name", available_methods())
def test_every_method_swaps_probabilities_with_the_items(rng, reward, name):
    features, p, _ = bradley_terry(rng, 600, reward)
    noise = rng.normal(size=(600, 3))
    weak = 1 / (1 + np.exp(-np.log(p / (1 - p))[:, None] - noise))
    task = task_of(features, np.stack([weak, 1 - weak], axis=2), learning_rate=1e-2, epochs=40)
    gold = np.where(np.arange(600) < 150, p < 0.5, -1)
    task.pool = dataclasses.replace(task.pool, gold=gold.astype(int))
    model = make_method(name).fit(task).model
    proba = model.proba(features)
    np.testing.assert_allclose(proba[..., ::-1], model.proba(-features), atol=1e-6)
    # Directions of isotropic features are no better the earlier they come: chains start blind.
    enough = 0.5 if name == "bootstrap" else 0.8
    assert accuracy(proba, (p < 0.5).astype(int))[0] > enough


def test_validation_stops_a_reward_early(rng, reward):
    features, _, labels = bradley_terry(rng, 400, reward)
    chance = np.eye(2)[rng.integers(2, size=300)][:, None]  # the longer trained on, the worse
    task = task_of(features[:300], chance, learning_rate=0.1, patience=1)
    task.validation_labels = np.eye(2)[labels[300:]]
    task.validation_features = ArrayFeatures(features[300:])
    model = make_method("naive").fit(task).model
    ends = max(row["epoch"] for row in task.history)
    assert ends < 9
    assert np.isfinite(model.proba(features)).all()


def test_more_orders_than_two_are_refused(rng):
    features = rng.normal(size=(20, D)).astype(np.float32)
    with pytest.raises(InputError, match="the weak labels have 3 classes"):
        task_of(features, np.full((20, 1, 3), 1 / 3))


@pytest.mark.slow
def test_steps_come_close_to_the_optimum_of_a_reward(rng, reward):
    features, _, labels = bradley_terry(rng, 400, reward)
    weak = np.eye(2)[labels][:, None]
    solved, stepped = (
        make_method("naive").fit(task_of(features, weak, l2=1e-2, **settings)).model.proba(features)
        for settings in ({"solver": "lbfgs"}, {"epochs": 200, "learning_rate": 1e-2})
    )
    np.testing.assert_allclose(solved, stepped, atol=0.02)
