"""Errors on parts of the labels, and quick learners against direct formulas."""

import numpy as np
import pytest

from w2s_data.forecast.posterior import kernel_features
from w2s_data.plan.learners import STUDENT_L2, PoolStudents, gold_view
from w2s_data.plan.measuring import GOLD_SHARES, POOL_SHARES, Measured, Task, measure


def ridge(features, targets):
    """Centred targets, uncentred features, as the students have them."""
    level = targets.mean(axis=0)
    penalty = STUDENT_L2 * len(features) / features.shape[1]
    matrix = features.T @ features + penalty * np.eye(features.shape[1])
    return np.linalg.solve(matrix, features.T @ (targets - level)), level


@pytest.fixture
def rows(rng):
    return kernel_features(rng.normal(size=(12, 5)), rng.normal(size=(40, 5)))


def test_students_of_both_are_ridge_regressions_on_all_rows(rows, rng):
    gold, pool = rows
    targets, known = rng.dirichlet([1, 1, 1], 30), np.eye(3)[rng.integers(3, size=4)]
    own = np.array([0, 3, 5, 7])
    coef, level = ridge(np.vstack([pool[:30], gold[own]]), np.vstack([targets, known]))
    scores = PoolStudents(gold, pool).of_both(targets, own, known)
    assert scores == pytest.approx(gold @ coef + level)


def test_a_student_sees_pool_rows_without_their_own_label(rows, rng):
    gold, pool = rows
    wrong = rng.dirichlet([1, 1], 40)
    students = PoolStudents(gold, pool)
    before = students.of_pool(wrong)[1][7]
    wrong[7] = wrong[7][::-1]  # only its own label changes
    assert students.of_pool(wrong)[1][7] == pytest.approx(before, abs=0.03)


def test_a_class_without_gold_rows_keeps_the_share_of_chance(rows):
    gold, pool = rows
    codes = np.array([0, 1] * 6)
    left_out, on_gold, on_pool = gold_view(gold, pool, np.arange(6), codes, 4)
    assert (len(left_out), len(on_gold), len(on_pool)) == (6, 12, 40)
    assert on_pool[:, 2:] == pytest.approx(0.25)
    assert on_pool.sum(axis=1) == pytest.approx(1)


def test_every_row_is_scored_at_every_size(rng):
    codes = rng.integers(2, size=40)
    strong = rng.normal(size=(140, 6))
    proba = rng.dirichlet([1, 1], 140)[:, None]
    task = Task(strong[:40], strong[40:], proba[:40], proba[40:], codes)
    found = measure(task, 4, 1, rng, lambda _: None)
    assert found["gold"].sizes[:, 0] == pytest.approx(30 * np.array(GOLD_SHARES))
    assert found["weak"].sizes[:, 1] == pytest.approx(100 * np.array(POOL_SHARES))
    for measured in found.values():
        assert measured.sizes[0] == pytest.approx([30, 100])
        assert measured.wrong.shape == (40, len(measured.sizes))
        assert set(np.unique(measured.wrong)) <= {0.0, 1.0}


def test_labels_that_say_all_need_few_rows(rng):
    codes = np.arange(60) % 2
    strong = rng.normal(size=(160, 4)) * 0.1
    truth = np.concatenate([codes, np.arange(100) % 2])
    strong[:, 0] += truth
    proba = np.eye(2)[truth][:, None] * 0.8 + 0.1
    task = Task(strong[:60], strong[60:], proba[:60], proba[60:], codes)
    found = measure(task, 5, 1, rng, lambda _: None)
    assert all(measured.errors.max() < 0.05 for measured in found.values())


def test_a_relabelled_teacher_is_taught_the_rows_that_train(rng):
    asked = []

    def relabel(own):
        asked.append(len(own))
        return np.full((20, 2), 0.5), np.full((30, 2), 0.5)

    proba = rng.dirichlet([1, 1], 50)[:, None]
    strong, codes = rng.normal(size=(50, 3)), np.arange(20) % 2
    task = Task(strong[:20], strong[20:], proba[:20], proba[20:], codes, relabel)
    measure(task, 2, 1, rng, lambda _: None)
    assert sorted(set(asked)) == sorted({max(2, round(10 * share)) for share in GOLD_SHARES})


def test_a_falling_accuracy_is_noticed():
    sizes = np.array([(100.0, 1000.0), (50.0, 1000.0), (100.0, 500.0)])
    wrong = np.zeros((200, 3))
    wrong[:60, 0], wrong[:20, 1], wrong[:60, 2] = 1, 1, 1
    measured = Measured(sizes, wrong)
    assert measured.falls(0)
    assert not measured.falls(1)
