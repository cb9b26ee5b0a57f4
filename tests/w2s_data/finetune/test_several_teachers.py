"""Methods with several teachers: abstention, losses per teacher, weights, assignments."""

from __future__ import annotations

import numpy as np
import pytest

from tests.w2s_data.finetune.test_methods import fit, problem
from w2s_data.errors import InputError
from w2s_data.finetune import make_method, measure_gain
from w2s_data.finetune.methods.cosupervised import consistent_rows, nearest_teacher, with_floor
from w2s_data.finetune.methods.raven import easy_weights, inverse_entropy

N = 160  # rows of `problem`


def silent(teachers: np.ndarray, rows: slice, teacher: int) -> np.ndarray:
    """A copy in which a teacher abstains on some rows."""
    changed = teachers.copy()
    changed[rows, teacher] = 1 / teachers.shape[2]
    return changed


# A loss per teacher.


@pytest.mark.parametrize("name", ["vsup", "bayes"])
def test_one_teacher_is_its_own_mean(name):
    features, teachers, _ = problem(3)
    np.testing.assert_allclose(
        fit(name, features, teachers, per_teacher=True).seed_proba(features),
        fit(name, features, teachers).seed_proba(features),
        atol=1e-6,
    )


@pytest.mark.parametrize("name", ["vsup", "bayes"])
def test_a_teacher_that_never_votes_changes_nothing(name):
    features, teachers, _ = problem(3, 3)
    with_a_silent_one = silent(teachers, slice(None), 2)
    np.testing.assert_allclose(
        fit(name, features, with_a_silent_one, per_teacher=True).seed_proba(features),
        fit(name, features, teachers[:, :2], per_teacher=True).seed_proba(features),
        atol=1e-5,
    )
    options = {"learning_rate": 3e-2, "epochs": 10}
    per_mean = fit(name, features, teachers, **options).seed_proba(features)
    per_teacher = fit(name, features, teachers, per_teacher=True, **options).seed_proba(features)
    assert np.abs(per_mean - per_teacher).max() > 1e-3


# raven


def test_raven_leaves_a_teacher_that_never_votes_out_of_the_mixture():
    features, teachers, _ = problem(3, 3)
    np.testing.assert_allclose(
        fit("raven", features, silent(teachers, slice(None), 0), weight_rate=0.0).seed_proba(
            features
        ),
        fit("raven", features, teachers[:, 1:], weight_rate=0.0).seed_proba(features),
        atol=1e-5,
    )


@pytest.mark.parametrize("per_sample", [False, True])
def test_raven_moves_no_weight_by_an_abstention(per_sample):
    """The mixture of those that vote is renormalised, by autograd as by its own gradient."""
    import torch

    from w2s_data.finetune.losses import cross_entropy
    from w2s_data.finetune.methods.raven import _MixtureObjective
    from w2s_data.finetune.objectives import Batch

    generator = torch.Generator().manual_seed(0)
    labels = torch.rand(1, 8, 3, 4, generator=generator).softmax(-1)
    logits = torch.randn(1, 8, 4, generator=generator)
    voted = torch.ones(1, 8, 3)
    voted[0, :5, 1] = 0
    first = torch.full((1, 8 if per_sample else 1, 3), 1 / 3)
    objective = _MixtureObjective(labels, voted, torch.ones(1, 8), first.clone(), 0.0, 0.0)
    objective.loss(logits, Batch(torch.arange(8)[None], torch.ones(1, 8), 0, 1, 8))
    weights = first[0].clone().requires_grad_()
    own = voted[0] * weights
    mixture = (labels[0] * (own / own.sum(1, keepdim=True))[..., None]).sum(1)
    losses = cross_entropy(logits[0], mixture)
    (losses.sum() if per_sample else losses.mean()).backward()
    torch.testing.assert_close(objective.gradient[0], weights.grad, rtol=1e-4, atol=1e-6)
    if per_sample:
        assert (objective.gradient[0, :5, 1] == 0).all()


def test_raven_with_weights_per_sample_follows_the_teacher_that_is_right_there():
    rng = np.random.default_rng(0)
    features, _, truth = problem(2, n=400)
    right, place = np.eye(2)[truth], features[:, 0] > 0
    flips = [rng.random(400) < np.where(place == side, 0.05, 0.4) for side in (True, False)]
    teachers = np.stack([np.where(flip[:, None], 1 - right, right) for flip in flips], axis=1)
    options = {"epochs": 20, "learning_rate": 1e-2, "per_sample": True, "seeds": 2}
    found = fit("raven", features, teachers, **options).diagnostics
    weights = found["sample_weights"]
    assert weights.shape == (2, 400, 2)
    np.testing.assert_allclose(weights.sum(axis=2), 1, atol=1e-5)
    np.testing.assert_allclose(weights.mean(axis=1), found["weights"], atol=1e-5)
    differ = flips[0] != flips[1]
    assert (weights[:, differ & place, 0].mean()) > 0.6
    assert (weights[:, differ & ~place, 1].mean()) > 0.6
    np.testing.assert_allclose(weights[:, ~differ], 0.5, atol=1e-4)  # nothing to choose


def test_raven_starts_from_the_entropy_of_the_teachers():
    features, teachers, _ = problem(3, 2)
    found = fit("raven", features, teachers, start="entropy").diagnostics["weight_path"][0, 0]
    entropy = -(teachers * np.log(teachers)).sum(axis=2).mean(axis=0)
    np.testing.assert_allclose(found, (1 / entropy) / (1 / entropy).sum(), rtol=1e-5)
    # Rows on which a teacher abstains say nothing about how sure it is.
    votes = inverse_entropy(silent(teachers, slice(0, 80), 0), per_row=False)
    own = -(teachers * np.log(teachers)).sum(axis=2)
    expected = 1 / np.array([own[80:, 0].mean(), own[:, 1].mean()])
    np.testing.assert_allclose(votes[0], expected / expected.sum())
    one_hot = np.eye(2)[[[0, 1], [1, 1]]]
    assert inverse_entropy(one_hot, per_row=True).tolist() == [[0.5, 0.5], [0.5, 0.5]]


def test_the_easy_start_of_each_group_keeps_its_share():
    rng = np.random.default_rng(0)
    groups = rng.choice(["a", "b", "c"], size=300)
    agreed = rng.random(300) < np.select([groups == "a", groups == "b"], [0.9, 0.1], 0.0)
    weight = rng.uniform(0.5, 2, 300)
    found = easy_weights(agreed, weight, groups)
    for group in "abc":
        own = groups == group
        assert np.average(found[own], weights=weight[own]) == pytest.approx(1)
    assert (found[~agreed & (groups != "c")] == 0).all()


@pytest.mark.parametrize("part", ["group", "source"])
def test_raven_needs_parts_to_start_by_them(part):
    features, teachers, _ = problem(2, 3)
    with pytest.raises(InputError, match=f"easy_by='{part}' needs the {part} of each row"):
        fit("raven", features, teachers, easy_by=part)
    parts = np.where(features[:, 0] > 0, "a", "b")
    own = fit("raven", features, teachers, easy_by=part, **{f"{part}s": parts})
    plain = fit("raven", features, teachers)
    assert np.abs(own.predict_proba(features) - plain.predict_proba(features)).max() > 1e-5


# cosupervised


def test_no_point_is_assigned_to_a_teacher_that_abstains():
    features, teachers, _ = problem(3, 3)
    found = fit("cosupervised", features, silent(teachers, slice(0, 60), 2)).diagnostics
    last = found["assignment"][1][0]
    assert (last[:60] == 1).all()
    assert set(last[60:]) == {1, 2}
    generalist = fit("cosupervised", features, silent(teachers, slice(0, 60), 0)).diagnostics
    assert not generalist["kept"][0][0, :60].any()
    assert generalist["kept"][0][0, 60:].all()


def test_the_floor_is_for_classes_that_a_teacher_never_mentions_when_it_votes():
    specialist = np.full((4, 1, 4), 0.25)
    specialist[1:, 0] = [0.5, 0.3, 0.2, 0]
    found = with_floor(specialist, 0.1)
    np.testing.assert_allclose(found[0, 0], 0.25)
    np.testing.assert_allclose(found[1:, 0], [[0.45, 0.27, 0.18, 0.1]] * 3)


def test_a_larger_top_keeps_more_and_teachers_may_rank():
    student = np.array([[[0.5, 0.3, 0.2], [0.6, 0.1, 0.3], [0.7, 0.2, 0.1], [0.5, 0.4, 0.1]]])
    labels = np.array([[[0.6, 0.2, 0.2], [0.1, 0.8, 0.1], [0.1, 0.7, 0.2], [0.2, 0.5, 0.3]]])
    assert consistent_rows(student, labels, 1)[1].tolist() == [0.25]
    kept, rate = consistent_rows(student, labels, 2)
    assert rate.tolist() == [0.75]
    assert kept.tolist() == [[True, False, True, True]]
    # Two of three of the second class, by the confidence of the teacher.
    assert consistent_rows(student, labels, 2, labels)[0].tolist() == [[True, True, True, False]]
    assert consistent_rows(student, labels, 3)[0].all()


@pytest.mark.parametrize(
    ("name", "parameters", "message"),
    [
        ("cosupervised", {"top": 0}, "top must be an integer from 1"),
        ("cosupervised", {"rank_by": "teachers"}, "did you mean 'teacher'"),
        ("raven", {"start": "entrpy"}, "did you mean 'entropy'"),
    ],
)
def test_bad_options(name, parameters, message):
    with pytest.raises(InputError, match=message):
        make_method(name, **parameters)


def test_the_oracle_assigns_by_the_gold_label():
    rng = np.random.default_rng(0)
    teachers = rng.dirichlet(np.ones(3), size=(50, 3))
    gold = rng.integers(-1, 3, size=50)
    found = make_method("cosupervised").oracle_labels(teachers, gold)
    known = gold >= 0
    own = teachers[np.arange(50), :, gold][:, 1:]
    np.testing.assert_allclose(found[known, gold[known]], own.max(axis=1)[known])
    np.testing.assert_allclose(found[~known], teachers[~known, 1:].mean(axis=1))
    truth = np.eye(3)[gold[known]][None]
    best = nearest_teacher(truth, teachers[known, 1:])[0]
    np.testing.assert_array_equal(best, own[known].argmax(axis=1))


def test_the_oracle_is_a_reference_and_no_control():
    rng = np.random.default_rng(0)
    features, _, truth = problem(4, n=500)
    teachers = np.zeros((500, 3, 4))
    for m, classes in enumerate(([0, 1, 2, 3], [0, 1], [2, 3])):
        noisy = np.eye(4)[truth][:, classes] + rng.dirichlet(np.ones(len(classes)), 500)
        teachers[:, m, classes] = noisy / noisy.sum(axis=1, keepdims=True)
    teachers = with_floor(teachers, 1e-3)  # as trained specialists have it
    splits = np.repeat(["pool", "test"], 250)
    options = {"methods": ["cosupervised", "naive"], "seeds": 2, "l2": 1e-3, "epochs": 20}
    found = measure_gain(features, teachers, truth, splits, device="cpu", **options)
    assert {s.name for s in found.students if s.control_of == "cosupervised"} == {
        *("single", "self_training", "mean_ensemble", "oracle")
    }
    assert found.best_control("cosupervised").name != "oracle"
    table = found.to_frame()
    assert set(table.loc[table["student"] == "oracle", "role"]) == {"oracle"}
    assert [s.name for s in found.methods if s.name == "oracle"] == []
    stage = found.diagnostics["cosupervised"]["stages"][0]
    assert stage["knows"] == [[True, True, False, False], [False, False, True, True]]
    by_hand = np.where(truth[:250] < 2, 1, 2)
    expected = (teachers[np.arange(250), by_hand].argmax(axis=1) == truth[:250]).mean()
    assert stage["right_by_oracle"] == pytest.approx(expected)
    assert stage["right"] < stage["right_by_oracle"]
    # Without gold labels in the pool nobody could tell.
    hidden = np.where(splits == "pool", -1, truth)
    blind = measure_gain(features, teachers, hidden, splits, device="cpu", **options)
    assert "oracle" not in {s.name for s in blind.students}
    assert blind.diagnostics["cosupervised"]["stages"][0]["right_by_oracle"] is None
