"""Shares of what teachers say for the right class."""

import numpy as np
import pytest

from w2s_data.teachers.evidence import evidence_shares, like_pool


def said(rng, classes, *accuracies, sure=0.8):
    """Probabilities (n, M, 2) of teachers that are right as often as they are sure, or less."""
    right = rng.random((len(classes), len(accuracies))) < accuracies
    votes = np.where(right, classes[:, None], 1 - classes[:, None])
    return (1 - sure) + (2 * sure - 1) * np.eye(2)[votes]


def test_shares_of_independent_teachers_are_those_of_their_log_odds(rng):
    classes = rng.integers(2, size=40_000)
    accuracies = np.array([0.9, 0.7, 0.5])
    found = evidence_shares(said(rng, classes, *accuracies), classes)
    # As in a naive Bayes judge, the vote is worth log(a / (1 - a)), and right in a more than 1 - a.
    evidence = (2 * accuracies - 1) * np.log(accuracies / (1 - accuracies))
    np.testing.assert_allclose(found, evidence / evidence.sum(), atol=0.01)


def test_a_duller_teacher_of_the_same_votes_has_the_same_share(rng):
    classes = rng.integers(2, size=5_000)
    first, second = said(rng, classes, 0.8, sure=0.9), said(rng, classes, 0.8, sure=0.6)
    found = evidence_shares(np.concatenate([first, second], axis=1), classes)
    np.testing.assert_allclose(found, 0.5, atol=0.05)


def test_an_abstention_says_nothing_and_few_gold_rows_are_no_evidence(rng):
    classes = rng.integers(2, size=400)
    silent = np.full((400, 1, 2), 0.5)
    found = evidence_shares(np.concatenate([said(rng, classes, 0.7), silent], axis=1), classes)
    np.testing.assert_allclose(found, [1, 0])
    assert np.isnan(evidence_shares(said(rng, classes, 0.7)[:10], classes[:10])).all()


def test_rows_count_as_often_as_their_source_does_in_the_pool(rng):
    classes = rng.integers(2, size=4_000)
    here = np.arange(4_000) < 3_000  # where most gold rows are, and no row of the pool
    proba = np.where(
        here[:, None, None], said(rng, classes, 0.9, 0.5), said(rng, classes, 0.5, 0.9)
    )
    sources = np.where(np.append(here, np.zeros(100, bool)), "here", "there")
    weight = like_pool(sources, np.arange(4_000, 4_100), np.arange(4_000))
    assert evidence_shares(proba, classes)[0] > 0.6
    assert evidence_shares(proba, classes, weight)[1] > 0.9


@pytest.mark.parametrize("n_gold", [19, 20])
def test_a_source_of_the_pool_needs_twenty_gold_rows(n_gold):
    sources = np.array(["a"] * 100 + ["b"] * n_gold + ["b"] * 30)
    weights = like_pool(sources, np.arange(100 + n_gold, len(sources)), np.arange(100 + n_gold))
    assert (weights is None) == (n_gold < 20)
    assert like_pool(None, np.arange(3), np.arange(3)) is None
