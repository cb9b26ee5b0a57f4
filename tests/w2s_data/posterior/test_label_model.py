"""`LabelModel`: simulations whose confusion matrices are known, silence, and too few teachers."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from w2s_data.errors import DegenerateDataWarning, InputError, ProbabilityError
from w2s_data.posterior import LabelModel
from w2s_data.utils.votes import mean_label

SHARES = np.array([0.5, 0.3, 0.2])


def simulate(confusions, shares, coverage, n=20_000, seed=0):
    """Return probabilities (N, M, C) of votes, and the classes (N,)."""
    rng = np.random.default_rng(seed)
    n_classes = len(shares)
    classes = rng.choice(n_classes, p=shares, size=n)
    proba = np.full((n, len(confusions), n_classes), 1 / n_classes)
    for teacher, (confusion, share) in enumerate(zip(confusions, coverage, strict=True)):
        below = np.cumsum(confusion, axis=1)[classes]
        said = (rng.random(n)[:, None] > below).sum(axis=1)
        spoken = rng.random(n) < share
        proba[spoken, teacher] = np.eye(n_classes)[said[spoken]]
    return proba, classes


def confusion_matrices(n_teachers, n_classes, seed):
    rng = np.random.default_rng(seed)
    noise = rng.dirichlet(np.ones(n_classes), size=(n_teachers, n_classes))
    return 0.4 * noise + 0.6 * np.eye(n_classes)


@pytest.mark.parametrize("seed", range(4))
def test_recovers_confusion_matrices(seed):
    truth = confusion_matrices(5, 3, seed)
    coverage = np.linspace(0.5, 1, 5)
    proba, classes = simulate(truth, SHARES, coverage, seed=seed)
    model = LabelModel().fit(proba)
    votes = coverage[:, None] * np.bincount(classes)
    error = np.sqrt(truth * (1 - truth) / votes[:, :, None])
    # Hidden classes cost precision: up to 1.5 times the standard error of known ones.
    assert np.abs((model.confusions_ - truth) / (1.5 * error)).max() < 3
    np.testing.assert_allclose(model.class_shares_, SHARES, atol=0.02)
    right = model.proba_.argmax(axis=1) == classes
    assert right.mean() > (mean_label(proba).argmax(axis=1) == classes).mean()
    assert abs(model.proba_.max(axis=1).mean() - right.mean()) < 0.01


def test_gets_close_to_bayes():
    """Nothing beats the product of the true matrices; estimated ones come within half a point."""
    truth = confusion_matrices(4, 3, seed=9)
    proba, classes = simulate(truth, SHARES, np.ones(4), seed=9)
    said = proba.argmax(axis=2)
    logs = np.log(SHARES) + sum(np.log(truth[m][:, said[:, m]]).T for m in range(4))
    best = (logs.argmax(axis=1) == classes).mean()
    assert (LabelModel().fit(proba).proba_.argmax(axis=1) == classes).mean() > best - 0.005


def rules(n=20_000, seed=0):
    """Eight rules for one class each, which fire more often on their class."""
    rng = np.random.default_rng(seed)
    classes = rng.integers(2, size=n)
    proba, accuracies = np.full((n, 8, 2), 0.5), []
    for rule in range(8):
        often, seldom = rng.uniform(0.05, 0.15), rng.uniform(0.005, 0.05)
        fires = rng.random(n) < np.where(classes == rule % 2, often, seldom)
        proba[fires, rule] = np.eye(2)[rule % 2]
        accuracies.append(often / (often + seldom))
    return proba, classes, np.array(accuracies)


def test_rules_of_one_class():
    proba, classes, accuracies = rules()
    model = LabelModel().fit(proba)
    spoken = (proba != 0.5).any(axis=(1, 2))
    right = (model.proba_.argmax(axis=1) == classes)[spoken].mean()
    assert right > (mean_label(proba).argmax(axis=1) == classes)[spoken].mean()
    assert np.corrcoef(model.accuracy_, accuracies)[0, 1] > 0.7
    assert (model.proba_[~spoken] == 0.5).all()


def test_a_silent_teacher_changes_nothing():
    proba, _ = simulate(confusion_matrices(3, 3, 1), SHARES, [0.5, 0.7, 1], n=500)
    silent = np.full((500, 1, 3), 1 / 3)
    with_silent = LabelModel().fit(np.concatenate([proba[:, :1], silent, proba[:, 1:]], axis=1))
    np.testing.assert_array_equal(with_silent.proba_, LabelModel().fit(proba).proba_)
    assert np.isnan(with_silent.accuracy_[1])
    assert np.isnan(with_silent.confusions_[1]).all()


def test_order_of_rows_classes_and_teachers():
    proba, _ = simulate(confusion_matrices(4, 3, 2), SHARES, [1, 0.8, 0.8, 0.5], n=2000)
    model = LabelModel().fit(proba)
    rows = np.random.default_rng(0).permutation(len(proba))
    np.testing.assert_allclose(LabelModel().fit(proba[rows]).proba_, model.proba_[rows], atol=1e-9)
    turned = LabelModel().fit(proba[:, ::-1][:, :, [2, 0, 1]])
    np.testing.assert_allclose(turned.proba_, model.proba_[:, [2, 0, 1]], atol=1e-6)
    np.testing.assert_allclose(model.predict_proba(proba[:9]), model.proba_[:9])


@pytest.mark.parametrize("n_teachers", [1, 2])
def test_few_teachers_are_averaged(n_teachers):
    proba, _ = simulate(confusion_matrices(n_teachers, 3, 3), SHARES, [0.5] * n_teachers, n=200)
    with pytest.warns(DegenerateDataWarning, match=f"{n_teachers} teachers? votes?, and fewer"):
        model = LabelModel().fit(proba)
    np.testing.assert_array_equal(model.proba_, mean_label(proba))


def test_degenerate_votes():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        alike = LabelModel().fit(np.tile(np.eye(2)[[0, 1, 0, 1, 1]][:, None], (1, 3, 1)))
    assert alike.proba_.argmax(axis=1).tolist() == [0, 1, 0, 1, 1]
    with pytest.warns(DegenerateDataWarning, match="0 teachers vote"):
        silent = LabelModel().fit(np.full((4, 3, 2), 0.5))
    assert (silent.proba_ == 0.5).all()
    one_class = LabelModel().fit(np.tile([1.0, 0.0], (6, 3, 1)))
    assert (one_class.proba_[:, 0] > 0.5).all()


def test_bad_input():
    with pytest.raises(ProbabilityError, match=r"must have shape \(N, C\)"):
        LabelModel().fit(np.zeros(4))
    with pytest.raises(ProbabilityError, match=r"must have shape \(N, C\).*got \(5, 0, 3\)"):
        LabelModel().fit(np.zeros((5, 0, 3)))
    with pytest.raises(ProbabilityError, match="its rows have several lengths"):
        LabelModel().fit([[0.5, 0.5], [1.0]])
    with pytest.raises(InputError, match="strength must be a number >= 0"):
        LabelModel(strength=-1).fit(np.full((4, 3, 2), 0.5))
    with pytest.warns(DegenerateDataWarning, match="did not converge in max_iter=1"):
        model = LabelModel(max_iter=1).fit(rules(500)[0])
    with pytest.raises(ProbabilityError, match=r"3 teachers and 2 classes.*8 and 2"):
        model.predict_proba(np.full((4, 3, 2), 0.5))
