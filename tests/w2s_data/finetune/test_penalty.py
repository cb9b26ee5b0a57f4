"""Tests of the choice of a penalty, against Bayes' rule and scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from w2s_data.errors import InputError
from w2s_data.finetune.levels.penalty import PENALTIES, choose_penalty


def drawn(rng, n, spread, d=40):
    """Rows of a logistic model whose weights have a normal prior: features and labels."""
    features = rng.normal(size=(n, d))
    weights = rng.normal(scale=spread, size=d)
    return features, np.eye(2)[(rng.random(n) < expit(features @ weights)).astype(int)]


@pytest.mark.slow
@pytest.mark.parametrize("spread", [0.1, 0.5])
def test_it_is_near_the_one_of_the_prior(rng, spread):
    # The mode under weights of variance s^2 has the penalty 1 / (n s^2).
    n = 600
    chosen = [
        choose_penalty(*drawn(rng, n, spread), folds=5, random_state=0, device="cpu")
        for _ in range(4)
    ]
    best = np.log10(1 / (n * spread**2))
    # Above it by the rule of one standard error, by less than a decade and a half.
    assert best - 0.25 <= np.log10(chosen).mean() <= best + 1.5


def test_labels_without_a_signal_get_the_strongest(rng):
    features = rng.normal(size=(300, 30))
    noise = np.eye(3)[rng.integers(3, size=300)]
    assert choose_penalty(features, noise, random_state=0) == max(PENALTIES) == 1


def test_gold_rows_judge_as_scikit_learn_does(rng):
    truth = rng.integers(2, size=500)
    features = rng.normal(size=(500, 60)) + 0.8 * truth[:, None] * np.eye(60)[0]
    weak = np.where(rng.random(500) < 0.75, truth, 1 - truth)
    pool, gold = slice(0, 200), slice(200, 500)
    scaler = StandardScaler().fit(features[pool])
    x = scaler.transform(features)
    wrong = {}
    for l2 in PENALTIES:
        model = LogisticRegression(C=1 / (200 * l2), max_iter=2000).fit(x[pool], weak[pool])
        wrong[l2] = (model.predict(x[gold]) != truth[gold]).astype(float)
    best = min(wrong.values(), key=np.mean)
    expected = max(
        l2
        for l2, own in wrong.items()
        if (own - best).mean() <= (own - best).std(ddof=1) / np.sqrt(300)
    )
    targets = np.eye(2)[weak[pool]]
    judges = features[gold], truth[gold]
    assert choose_penalty(features[pool], targets, gold=judges, device="cpu") == expected


def test_rows_on_which_the_teacher_abstains_do_not_count(rng):
    features, targets = drawn(rng, 200, 0.5)
    mute = np.full((50, 2), 0.5)
    more = np.concatenate([features, 100 * rng.normal(size=(50, 40))])
    alone = choose_penalty(features, targets, random_state=1)
    assert choose_penalty(more, np.concatenate([targets, mute]), random_state=1) == alone
    assert choose_penalty(more, np.full((250, 2), 0.5)) == 1


def test_the_order_of_a_pair_does_not_matter(rng):
    features, targets = drawn(rng, 150, 0.3)
    judges, truth = drawn(rng, 150, 0.3)
    swapped = np.where(rng.random(150) < 0.9, -1, 1)  # most of them, so that an intercept shows
    other = np.where(swapped[:, None] < 0, targets[:, ::-1], targets)
    gold = judges, truth.argmax(axis=1)
    as_found = choose_penalty(features, targets, gold=gold, paired=True)
    moved = choose_penalty(features * swapped[:, None], other, gold=gold, paired=True)
    assert moved == as_found


def test_rows_that_disagree_are_refused(rng):
    with pytest.raises(InputError, match="targets"):
        choose_penalty(rng.normal(size=(5, 2)), np.full((4, 2), 0.5))
    with pytest.raises(InputError, match="targets"):
        choose_penalty(rng.normal(size=(4, 2)), np.full((4, 2), 0.7))
