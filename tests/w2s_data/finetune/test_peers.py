"""Published methods that learn from gold rows: `trust` and `prediction_powered`."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import log_softmax

from tests.w2s_data.finetune.test_gold import FAST, N_GOLD, proba, world
from w2s_data.errors import InputError
from w2s_data.finetune import fit_student, make_method, measure_gain
from w2s_data.finetune.losses import signed_cross_entropy
from w2s_data.finetune.methods.prediction_powered import POWERS, powered_labels

__all__ = ["world"]  # a fixture of this module too


def loss_of(logits, gold, weak, is_gold, power):
    """The published loss, as it is written."""
    logs = log_softmax(logits, axis=1)
    of_gold, of_weak = -(gold * logs).sum(axis=1), -(weak * logs).sum(axis=1)
    return of_gold[is_gold].mean() + power * (of_weak[~is_gold].mean() - of_weak[is_gold].mean())


def test_signed_labels_have_the_published_loss():
    import torch

    rng = np.random.default_rng(0)
    logits, weak = 2 * rng.normal(size=(60, 3)), rng.dirichlet([1, 1, 1], size=60)
    is_gold = np.arange(60) % 4 == 0
    gold = np.eye(3)[rng.integers(3, size=60)] * is_gold[:, None]
    every = np.broadcast_to(is_gold, (3, 60))
    powers = np.array([0.0, 0.3, 1.0])
    labels, rows = powered_labels(gold, weak, every, ~is_gold, np.ones(60), powers)
    for own, chosen, power in zip(labels, rows, (0.0, 0.3, 1.0), strict=True):
        losses = signed_cross_entropy(torch.tensor(logits), torch.tensor(own)).numpy()
        expected = loss_of(logits, gold, weak, is_gold, power)
        assert losses[chosen].mean() == pytest.approx(expected, abs=1e-12)
    assert rows[0].tolist() == is_gold.tolist()  # power 0: gold rows alone
    assert rows[1:].all()


def test_the_loss_is_that_of_gold_labels_on_average():
    rng = np.random.default_rng(0)
    logits, y = rng.normal(size=(400, 3)), np.eye(3)[rng.integers(3, size=400)]
    weak = rng.dirichlet([1, 5, 2], size=400)  # as biased as can be
    draws = []
    for _ in range(4000):
        is_gold = rng.permutation(400) < 80
        draws.append(loss_of(logits, y, weak, is_gold, 0.8))
    everything = -(y * log_softmax(logits, axis=1)).sum(axis=1).mean()
    error = np.std(draws) / np.sqrt(len(draws))
    assert np.mean(draws) == pytest.approx(everything, abs=4 * error)


@pytest.mark.slow
@pytest.mark.parametrize("power", [0.0, 0.6, 1.0])
def test_a_head_reaches_the_optimum(power):
    """Against an optimiser that knows only the published loss."""
    rng = np.random.default_rng(1)
    n, d, l2 = 240, 4, 0.1
    features = rng.normal(size=(n, d))
    features = (features - features.mean(axis=0)) / features.std(axis=0)
    y = (features @ rng.normal(size=(d, 3)) + rng.normal(size=(n, 3))).argmax(axis=1)
    is_gold = np.arange(n) < 60
    gold, weak = np.eye(3)[y] * is_gold[:, None], rng.dirichlet([2, 1, 1], size=n)

    def objective(at):
        coef, intercept = at[: 3 * d].reshape(d, 3), at[3 * d :]
        loss = loss_of(features @ coef + intercept, gold, weak, is_gold, power)
        return loss + l2 / 2 * (coef**2).sum()

    best = minimize(objective, np.zeros(3 * d + 3), method="L-BFGS-B").x
    logs = log_softmax(features @ best[: 3 * d].reshape(d, 3) + best[3 * d :], axis=1)
    student = fit_student(
        make_method("prediction_powered", power=power),
        *(features, weak),
        gold=np.where(is_gold, y, -1),
        l2=l2,
        learning_rate=2e-2,
        batch_size=n,  # all rows in each step: nothing is left to chance
        epochs=1500,
        controls=False,
        **{k: v for k, v in FAST.items() if k not in ("epochs", "l2")},
    )
    np.testing.assert_allclose(student.predict_proba(features), np.exp(logs), atol=2e-3)


def test_without_power_only_gold_labels_count(world):
    method = make_method("prediction_powered", power=0)
    np.testing.assert_allclose(
        proba(method, world, controls=False), proba("labelled_only", world), atol=1e-6
    )


@pytest.mark.slow
def test_power_follows_the_teacher(world):
    """A teacher that is right has some weight, one that guesses has next to none."""
    features, weak, y, _ = world
    gold = np.where(np.arange(len(y)) < 300, y, -1)
    right, guess = 0.02 + 0.94 * np.eye(3)[y], weak[np.random.default_rng(3).permutation(len(y))]
    powers = [
        fit_student(
            "prediction_powered", features, teacher, gold=gold, seeds=2, **FAST
        ).diagnostics["power"]
        for teacher in (right, guess)
    ]
    assert powers[0].shape == (2,)
    assert powers[0].min() >= 0.3
    assert powers[1].max() <= 0.1


def test_weights_of_rows_count_in_both_terms():
    rng = np.random.default_rng(2)
    gold, weak = np.eye(3)[rng.integers(3, size=20)], rng.dirichlet([1, 1, 1], size=20)
    is_gold = np.arange(20) < 8
    once, power = np.ones(20), np.array([0.4])
    twice = np.where(np.arange(20) % 5, 1.0, 2.0)
    labels, _ = powered_labels(gold, weak, is_gold[None], ~is_gold, twice, power)
    # A row of weight 2 is a row that occurs twice.
    copies = np.repeat(np.arange(20), twice.astype(int))
    own = is_gold[copies]
    expected, _ = powered_labels(gold[copies], weak[copies], own[None], ~own, once[copies], power)
    np.testing.assert_allclose(labels[0, copies], expected[0], atol=1e-12)


def test_trust_keeps_what_the_posterior_believes(world):
    features, weak, y, gold = world
    student = fit_student("trust", features, weak, gold=gold, seeds=2, **FAST)
    trust, kept = student.diagnostics["trust"], student.diagnostics["kept"]
    codes = np.where(gold < 0, weak.argmax(axis=1), -1)
    assert kept.shape == (2, len(y))
    assert not kept[:, gold >= 0].any()
    assert np.isnan(trust[:, gold >= 0]).all()
    for code in range(3):
        own = codes == code
        assert kept[0, own].sum() == round(0.6 * own.sum())
        assert trust[0, own & kept[0]].min() >= trust[0, own & ~kept[0]].max()
    right = codes == y
    assert right[kept[0]].mean() > right[gold < 0].mean() + 0.15
    assert student.diagnostics["kept_share"] == pytest.approx(0.6, abs=0.001)
    assert set(student.controls) == {"random_subset", "teacher_confidence"}


def test_trust_is_the_plain_student_of_what_it_keeps(world):
    features, weak, _, gold = world
    method = make_method("trust", with_gold=False)
    student = fit_student(method, features, weak, gold=gold, controls=False, **FAST)
    plain = fit_student(
        make_method("naive", hard=True),
        *(features, weak),
        sample_weight=student.diagnostics["kept"][0],
        **FAST,
    )
    np.testing.assert_array_equal(student.predict_proba(features), plain.predict_proba(features))


@pytest.mark.slow
def test_gold_rows_teach_beside_the_trusted_ones(world):
    features, weak, _, gold = world
    posterior = proba("stacked", world)
    with_gold = fit_student("trust", features, weak, gold=gold, posterior=posterior, **FAST)
    kept = with_gold.diagnostics["kept"][0] | (gold >= 0)
    labels = np.where(gold[:, None] >= 0, np.eye(3)[gold], np.eye(3)[weak.argmax(axis=1)])
    plain = fit_student("naive", features, labels, sample_weight=kept, **FAST)
    np.testing.assert_array_equal(with_gold.predict_proba(features), plain.predict_proba(features))


@pytest.mark.slow
def test_a_chain_ends_with_labels_of_its_students(world):
    features, weak, _, gold = world
    options = {"gold": gold, "posterior": proba("stacked", world), **FAST}
    chain = fit_student(make_method("trust", rounds=2), features, weak, **options)
    first = fit_student("trust", features, weak, controls=False, **options)
    np.testing.assert_array_equal(
        chain.controls["first_round"].proba(features), first.seed_proba(features)
    )
    own = first.predict_proba(features)  # the second round of a chain is the first of its student
    second = fit_student("trust", features, own, controls=False, **options)
    np.testing.assert_array_equal(chain.seed_proba(features), second.seed_proba(features))
    assert chain.history["stage"].unique().tolist()[:2] == ["round 1", "student"]


def test_rows_without_a_vote_are_not_trusted(world):
    features, weak, _, gold = world
    silent = weak.copy()
    silent[700:] = 1 / 3
    kept = fit_student("trust", features, silent, gold=gold, **FAST).diagnostics["kept"]
    assert not kept[:, 700:].any()
    assert kept[:, N_GOLD:700].mean() == pytest.approx(0.6, abs=0.01)


@pytest.mark.slow
def test_a_measurement_tells_the_power_and_the_kept_share_of_the_pool(world):
    features, weak, y, _ = world
    splits = np.repeat(["labelled", "pool", "test"], [N_GOLD, 840, 600])
    order = np.random.default_rng(0).permutation(len(y))  # gold rows anywhere among the others
    features, weak, y, splits = features[order], weak[order], y[order], splits[order]
    groups = np.where(features[:, 0] > 1, "high", "low")
    result = measure_gain(
        *(features, weak, y, splits),
        methods=["trust", "prediction_powered"],
        seeds=2,
        groups=groups,
        **FAST,
    )
    kept = result.diagnostics["trust"]["kept"]
    pool = splits == "pool"
    right = weak[pool].argmax(axis=1) == y[pool]
    assert kept["share"] == pytest.approx(0.6, abs=0.002)
    assert kept["by_label"] == pytest.approx([0.6] * 3, abs=0.005)
    assert kept["right_all"] == pytest.approx(right.mean())
    assert kept["right"] > right.mean() + 0.1
    sizes = {name: (groups[pool] == name).mean() for name in ("high", "low")}
    by_group = sum(kept["by_group"][name] * size for name, size in sizes.items())
    assert by_group == pytest.approx(kept["share"])
    powers = np.array(result.diagnostics["prediction_powered"]["power"])
    assert min(POWERS) <= powers <= max(POWERS)


@pytest.mark.parametrize(
    ("name", "parameters", "message"),
    [
        ("trust", {"share": 0}, r"trust: share must be a number in \(0, 1\]"),
        ("trust", {"rounds": 0}, "rounds must be an integer from 1 to 100"),
        ("trust", {"with_gold": "yes"}, "with_gold must be"),
        ("prediction_powered", {"power": 1.5}, r"power must be 'auto' or a number in \[0, 1\]"),
    ],
)
def test_bad_parameters(name, parameters, message):
    with pytest.raises(InputError, match=message):
        make_method(name, **parameters)
