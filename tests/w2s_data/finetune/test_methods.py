"""One contract for every method, and what each of them is in its limits."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import pkgutil
import warnings

import numpy as np
import pytest

from w2s_data.errors import DegenerateDataWarning, InputError
from w2s_data.finetune import (
    available_methods,
    fit_student,
    make_method,
    methods,
    register_method,
)
from w2s_data.finetune.methods import registry
from w2s_data.finetune.methods.base import Method
from w2s_data.finetune.methods.cosupervised import (
    consistent_rows,
    nearest_teacher,
    with_floor,
)
from w2s_data.finetune.methods.crossfit import log_odds, scaled

METHODS = (
    "naive",
    "confidence",
    "bootstrap",
    "vsup",
    "bayes",
    "overlap",
    "crossfit",
    "enhanced",
    "cosupervised",
    "raven",
    "stacked",
    "labelled_only",
    "trust",
    "prediction_powered",
    "label_model",
)
N, D = 160, 6
QUICK = {"l2": 1e-3, "epochs": 4, "batch_size": 32, "device": "cpu"}


def problem(n_classes: int = 2, n_teachers: int = 1, n: int = N, seed: int = 0):
    """Features, noisy soft teachers (N, M, C), and the true classes."""
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(n, D))
    scores = features @ rng.normal(size=(D, n_classes))
    noisy = 2 * scores[:, None] + rng.normal(size=(n, n_teachers, n_classes))
    proba = np.exp(noisy - noisy.max(axis=2, keepdims=True))
    return features, proba / proba.sum(axis=2, keepdims=True), scores.argmax(axis=1)


def fit(name, features, teachers, **options):
    """A student; that some methods warn of a single teacher is tested on its own."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DegenerateDataWarning)
        if make_method(name).uses_gold:  # of every fourth row
            label = teachers.mean(axis=1).argmax(axis=1)
            options["gold"] = np.where(np.arange(len(teachers)) % 4, -1, label)
        return fit_student(name, features, teachers, **{**QUICK, "random_state": 0, **options})


def test_every_method_is_listed():
    """A method whose file exists is registered, and this file tests it."""
    written = set()
    for module in pkgutil.iter_modules(methods.__path__):
        if module.name in {"base", "registry"}:
            continue
        members = vars(importlib.import_module(f"{methods.__name__}.{module.name}")).values()
        found = [
            member
            for member in members
            if inspect.isclass(member) and issubclass(member, Method) and member is not Method
        ]
        assert [method.name for method in found] == [module.name]
        written.add(module.name)
    assert written == set(available_methods()) == set(METHODS)


@pytest.mark.parametrize("n_classes", [2, 5])
@pytest.mark.parametrize("n_teachers", [1, 3])
@pytest.mark.parametrize("name", METHODS)
def test_shapes_seeds_and_determinism(name, n_teachers, n_classes):
    features, teachers, _ = problem(n_classes, n_teachers)
    student = fit(name, features, teachers, seeds=2)
    proba = student.seed_proba(features[:7])
    assert proba.shape == (2, 7, n_classes)
    np.testing.assert_allclose(proba.sum(axis=2), 1, atol=1e-5)
    np.testing.assert_array_equal(
        proba, fit(name, features, teachers, seeds=2).seed_proba(features[:7])
    )
    alone = fit(name, features, teachers, seeds=[1]).seed_proba(features[:7])
    np.testing.assert_allclose(alone[0], proba[1], atol=1e-5)
    assert np.abs(proba[0] - proba[1]).max() > 1e-4  # seeds do differ
    for control in student.controls.values():
        assert control.proba(features[:7]).shape == (2, 7, n_classes)
    assert {"stage", "epoch", "seed", "loss"} <= set(student.history.columns)


@pytest.mark.slow
@pytest.mark.parametrize("name", METHODS)
def test_learns(name):
    features, teachers, truth = problem(3, 3, n=400)
    options = {"strengths": (0.9, 1.0)} if name == "bootstrap" else {}  # 6 even directions
    student = fit(name, features, teachers, epochs=20, learning_rate=3e-2, **options)
    assert (student.predict(features) == truth).mean() > 0.8


@pytest.mark.slow
@pytest.mark.parametrize("name", METHODS)
def test_a_class_that_no_teacher_predicts_keeps_its_column(name):
    features, teachers, _ = problem(2, 3)
    wide = np.concatenate([teachers, np.zeros((N, 3, 1))], axis=2)
    student = fit(name, features, wide, epochs=40, learning_rate=1e-2)
    proba = student.predict_proba(features)
    assert proba.shape == (N, 3)
    assert (proba.argmax(axis=1) == 2).mean() < 0.05


@pytest.mark.parametrize("name", METHODS)
def test_saturated_teachers(name):
    features, teachers, _ = problem(2, 3)
    saturated = np.eye(2)[teachers.argmax(axis=2)]
    assert np.isfinite(fit(name, features, saturated).seed_proba(features)).all()


@pytest.mark.parametrize("name", METHODS)
def test_all_pseudo_labels_equal(name):
    features, _, _ = problem()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        student = fit_student(
            *(name, features, np.tile([0.9, 0.1], (N, 1))),
            gold=np.where(np.arange(N) < 8, np.arange(N) % 2, -1),
            random_state=0,
            **{**QUICK, "epochs": 30},
        )
    assert any("can only repeat it" in str(warning.message) for warning in caught)
    assert np.isfinite(student.seed_proba(features)).all()


@pytest.mark.parametrize("name", METHODS)
def test_rows_of_weight_zero_do_not_matter(name):
    if name in ("overlap", "crossfit", "enhanced", "cosupervised", "stacked", "trust"):
        pytest.skip("looks at all points when it chooses among them")
    features, teachers, _ = problem(2, 3)
    weight = np.ones(N)
    weight[: N // 2] = 0
    wrong = teachers.copy()
    wrong[: N // 2] = wrong[: N // 2, :, ::-1]
    options = {"sample_weight": weight}
    np.testing.assert_allclose(
        fit(name, features, teachers, **options).seed_proba(features),
        fit(name, features, wrong, **options).seed_proba(features),
        atol=1e-6,
    )


@pytest.mark.parametrize("name", METHODS)
def test_sample_weights_scale_out(name):
    features, teachers, _ = problem(2, 3)
    weight = np.random.default_rng(0).uniform(0.5, 2, N)
    np.testing.assert_allclose(
        fit(name, features, teachers, sample_weight=weight).seed_proba(features),
        fit(name, features, teachers, sample_weight=8 * weight).seed_proba(features),
        atol=1e-6,
    )


@pytest.mark.parametrize("name", ["enhanced", "overlap"])
def test_a_single_row_kept_of_each_class(name):
    features, teachers, _ = problem()
    options = {"by": "confidence"} if name == "overlap" else {}
    student = fit(name, features, teachers, share=1e-9, **options)
    assert student.diagnostics["kept"].sum(axis=1).tolist() == [2]
    assert np.isfinite(student.seed_proba(features)).all()


@pytest.mark.parametrize("name", ["bootstrap", "overlap", "crossfit", "cosupervised", "raven"])
def test_controls_can_be_left_out(name):
    features, teachers, _ = problem(2, 3)
    assert fit(name, features, teachers).controls
    assert not fit(name, features, teachers, controls=False).controls


def test_a_pool_of_one_row():
    student = fit("naive", np.ones((1, 2)), [[0.2, 0.8]])
    assert student.seed_proba(np.ones((3, 2))).shape == (1, 3, 2)


def test_group_shares_of_the_kept_points():
    features, teachers, _ = problem()
    groups = np.where(features[:, 0] > 0, "a", "b")
    found = fit("enhanced", features, teachers, groups=groups, share=0.25).diagnostics
    assert found["kept_share"] == pytest.approx([0.25], abs=1 / N)
    assert found["pool_group_share"]["a"] == (groups == "a").mean()
    in_a = found["kept"][0][groups == "a"].sum() / found["kept"][0].sum()
    assert found["group_share"]["a"] == pytest.approx([in_a])


# Limits in which a method is another one. Two trainings of a seed share weights and batches.


def test_confidence_without_own_weight_is_naive():
    features, teachers, _ = problem(5)
    np.testing.assert_allclose(
        fit("confidence", features, teachers, largest=0.0).seed_proba(features),
        fit("naive", features, teachers).seed_proba(features),
        atol=1e-6,
    )


def test_confidence_ramp_is_recorded():
    features, teachers, _ = problem()
    history = fit("confidence", features, teachers, epochs=10).history
    assert history["own_weight"].tolist() == pytest.approx([0.3, 0.675, *[0.75] * 8])


def test_cosupervised_with_one_stage_is_naive():
    features, teachers, _ = problem(5)
    with pytest.warns(DegenerateDataWarning, match="a single teacher leaves one stage"):
        student = fit_student("cosupervised", features, teachers, random_state=0, **QUICK)
    naive = fit("naive", features, teachers)
    np.testing.assert_array_equal(student.seed_proba(features), naive.seed_proba(features))


def test_enhanced_that_keeps_all_with_q_zero_is_naive():
    features, teachers, _ = problem(5)
    naive = fit("naive", features, teachers).seed_proba(features)
    for q in (0, 1e-6):
        enhanced = fit("enhanced", features, teachers, share=1.0, q=q).seed_proba(features)
        np.testing.assert_allclose(enhanced, naive, atol=1e-5)


def test_enhanced_keeps_the_lowest_entropy_of_each_class():
    features, teachers, _ = problem(3)
    found = fit("enhanced", features, teachers, share=0.4).diagnostics
    kept, entropy = found["kept"][0], found["entropy"][0]
    codes = teachers[:, 0].argmax(axis=1)
    for code in range(3):
        own = codes == code
        assert kept[own].sum() == round(0.4 * own.sum())
        assert entropy[own & kept].max() <= entropy[own & ~kept].min()


def overlap_problem():
    """A pool of ten classes, of which the teacher is sure of the first few only."""
    features, teachers, truth = problem(10, n=800)
    sharp = teachers ** np.linspace(2, 0.2, 10)[truth, None, None]
    return features, sharp / sharp.sum(axis=2, keepdims=True)


@pytest.mark.parametrize("floor", [0.0, 0.3])
def test_overlap_fills_classes_up_to_the_floor(floor):
    features, teachers = overlap_problem()
    codes = teachers[:, 0].argmax(axis=1)
    sizes = np.bincount(codes, minlength=10)
    region = fit("overlap", features, teachers, floor=0.0).diagnostics["kept"][0]
    kept = fit("overlap", features, teachers, floor=floor).diagnostics["kept"][0]
    of_region, of_kept = (np.bincount(codes[rows], minlength=10) for rows in (region, kept))
    expected = np.maximum(of_region, np.rint(floor * sizes))
    assert of_kept.tolist() == expected.tolist()
    assert kept[region].all()
    assert (of_region < 0.3 * sizes).any()  # else the floor would have nothing to do


@pytest.mark.parametrize("by", ["confidence", "alignment"])
def test_overlap_takes_its_share_of_every_class(by):
    features, teachers = overlap_problem()
    codes = teachers[:, 0].argmax(axis=1)
    kept = fit("overlap", features, teachers, by=by, share=0.4).diagnostics["kept"][0]
    sizes = np.bincount(codes, minlength=10)
    assert np.bincount(codes[kept], minlength=10).tolist() == np.rint(0.4 * sizes).tolist()


@pytest.mark.parametrize("name", ["enhanced", "overlap", "crossfit"])
def test_rows_without_a_label_take_no_place_of_others(name):
    features, teachers, _ = problem(3, n=300)
    teachers[:100] = 1 / 3  # all abstain
    options = {"by": "confidence"} if name == "overlap" else {}
    kept = fit(name, features, teachers, **options).diagnostics["kept"][0]
    assert not kept[:100].any()
    codes = teachers[100:, 0].argmax(axis=1)
    if name != "crossfit":  # whose share depends on agreement
        sizes = np.rint(0.5 * np.bincount(codes, minlength=3))
        assert np.bincount(codes[kept[100:]], minlength=3).tolist() == sizes.tolist()


def test_abstaining_teachers_do_not_blur_the_others():
    """A row is labelled by the teachers that vote on it."""
    features, teachers, _ = problem(3, 3)
    silent = teachers.copy()
    silent[::2, 1:] = 1 / 3
    alone = np.where((np.arange(N) % 2 == 0)[:, None], teachers[:, 0], teachers.mean(axis=1))
    np.testing.assert_allclose(
        fit("naive", features, silent).seed_proba(features),
        fit("naive", features, alone[:, None]).seed_proba(features),
        atol=1e-6,
    )


def test_overlap_that_weighs_all_points_alike_is_naive():
    features, teachers, _ = problem()
    np.testing.assert_allclose(
        fit("overlap", features, teachers, rest=1.0).seed_proba(features),
        fit("naive", features, teachers).seed_proba(features),
        atol=1e-6,
    )


def test_overlap_without_overlap_points_keeps_all_and_says_so():
    features, teachers, _ = problem()
    hard = np.eye(2)[teachers.argmax(axis=2)]
    with pytest.warns(DegenerateDataWarning) as caught:
        student = fit_student("overlap", features, hard, random_state=0, **QUICK)
    assert any("training on all points" in str(warning.message) for warning in caught)
    assert student.diagnostics["kept"].all()


def test_raven_with_frozen_weights_is_the_mean_ensemble():
    features, teachers, _ = problem(3, 3)
    student = fit("raven", features, teachers, weight_rate=0.0, easy=0.0)
    np.testing.assert_allclose(
        student.seed_proba(features),
        student.controls["mean_ensemble"].proba(features),
        atol=1e-6,
    )


def test_raven_with_one_teacher_is_naive():
    features, teachers, _ = problem(3)
    with pytest.warns(DegenerateDataWarning, match="nothing to weight"):
        student = fit_student("raven", features, teachers, easy=0.0, random_state=0, **QUICK)
    naive = fit("naive", features, teachers, hard=True)
    np.testing.assert_allclose(student.seed_proba(features), naive.seed_proba(features), atol=1e-6)
    assert student.diagnostics["weights"].tolist() == [[1.0]]


@pytest.mark.slow
def test_raven_weights_stay_on_the_simplex_and_find_the_good_teacher():
    rng = np.random.default_rng(0)
    features, _, truth = problem(2, n=600)
    right = np.eye(2)[truth]
    flips = [rng.random(600) < share for share in (0.4, 0.05, 0.3)]
    teachers = np.stack([np.where(flip[:, None], 1 - right, right) for flip in flips], axis=1)
    student = fit(
        "raven", features, teachers, epochs=30, learning_rate=1e-2, weight_rate=0.03, seeds=2
    )
    path = student.diagnostics["weight_path"]
    assert path.shape == (2, 30 * 19 + 1, 3)
    np.testing.assert_allclose(path.sum(axis=2), 1, atol=1e-6)
    assert path.min() >= 1e-6 * (1 - 1e-2)  # clamped, then renormalised
    assert (path[:, : round(0.3 * 30 * 19)] == path[:, :1]).all()  # frozen at first
    assert (student.diagnostics["weights"].argmax(axis=1) == 1).all()
    assert {"weight_0", "weight_1", "weight_2"} <= set(student.history.columns)


def test_raven_follows_the_gradient_of_the_renormalised_mixture():
    import torch

    from w2s_data.finetune.losses import cross_entropy
    from w2s_data.finetune.methods.raven import _MixtureObjective
    from w2s_data.finetune.objectives import Batch

    generator = torch.Generator().manual_seed(0)
    labels = torch.rand(1, 8, 3, 4, generator=generator).softmax(-1)
    logits = torch.randn(1, 8, 4, generator=generator)
    weights = torch.full((1, 1, 3), 1 / 3)
    objective = _MixtureObjective(
        labels, torch.ones(1, 8, 3), torch.ones(1, 8), weights, rate=0.0, easy=0.0
    )
    batch = Batch(torch.arange(8)[None], torch.ones(1, 8), step=0, n_steps=1, size=8)
    objective.loss(logits, batch)
    weights = torch.full((3,), 1 / 3, requires_grad=True)
    mixture = (labels[0] * (weights / weights.sum())[None, :, None]).sum(1)
    cross_entropy(logits[0], mixture).mean().backward()
    torch.testing.assert_close(objective.gradient[0, 0], weights.grad, rtol=1e-4, atol=1e-6)


def test_cosupervised_assigns_the_nearest_teacher():
    student = np.array([[[0.9, 0.1, 0.0], [0.0, 0.2, 0.8]]])
    teachers = np.array([[[0.8, 0.2, 0.0], [0.0, 0.1, 0.9]], [[0.5, 0.5, 0.0], [0.0, 0.3, 0.7]]])
    assert nearest_teacher(student, with_floor(teachers, 1e-3)).tolist() == [[0, 1]]


def test_cosupervised_floor_is_left_in_total():
    specialist = np.zeros((4, 1, 5))
    specialist[:, 0, :2] = 0.5
    floored = with_floor(specialist, 1e-3)
    np.testing.assert_allclose(floored[:, 0, 2:].sum(axis=1), 1e-3)
    np.testing.assert_allclose(floored.sum(axis=2), 1)


def test_cosupervised_keeps_as_many_points_as_agree():
    student = np.array([[[0.9, 0.1], [0.6, 0.4], [0.2, 0.8], [0.3, 0.7]]])
    labels = np.array([[[1, 0], [0, 1], [0, 1], [1, 0]]], dtype=float)
    kept, rate = consistent_rows(student, labels)
    assert rate.tolist() == [0.5]
    assert kept.tolist() == [[True, False, True, False]]


def test_cosupervised_stages_must_use_all_teachers():
    features, teachers, _ = problem(2, 3)
    with pytest.raises(InputError, match=r"stages \(1, 3\) need 4 teachers; got 3"):
        fit("cosupervised", features, teachers, stages=(1, 3))
    diagnostics = fit("cosupervised", features, teachers).diagnostics  # by default 1 and 2
    assert np.unique(diagnostics["assignment"][0]).tolist() == [0]
    assert set(np.unique(diagnostics["assignment"][1])) <= {1, 2}


def test_crossfit_log_odds_and_scale():
    proba = np.array([[[0.2, 0.3, 0.5], [0.1, 0.8, 0.1]]])
    found = log_odds(proba, np.array([2, 1]))
    np.testing.assert_allclose(found, [[0.0, np.log(4)]], atol=1e-12)
    np.testing.assert_allclose((scaled(found) ** 2).mean(), 1)
    assert scaled(np.zeros((1, 3))).tolist() == [[0, 0, 0]]


def test_crossfit_tells_how_far_its_control_differs():
    features, teachers, _ = problem(3)
    student = fit("crossfit", features, teachers, seeds=2)
    own = student.seed_proba(features).argmax(axis=2)
    other = student.controls["l2_x10"].proba(features).argmax(axis=2)
    np.testing.assert_array_equal(student.diagnostics["beyond_l2_x10"], (own != other).mean(axis=1))


def test_crossfit_keeps_its_share_of_each_class():
    features, teachers, _ = problem(3, n=300)
    student = fit("crossfit", features, teachers, epochs=8, learning_rate=1e-2)
    found = student.diagnostics
    codes = teachers[:, 0].argmax(axis=1)
    share = np.clip(2 * found["agreement"][0] - 1, 0.4, 0.9)
    sizes = np.bincount(codes)
    kept = np.bincount(codes[found["kept"][0]], minlength=3)
    assert kept.tolist() == np.rint(share * sizes).tolist()
    for code in range(3):
        score, chosen = found["score"][0][codes == code], found["kept"][0][codes == code]
        assert score[chosen].min() >= score[~chosen].max()


@pytest.mark.parametrize("name", ["naive", "bootstrap", "overlap", "crossfit", "cosupervised"])
def test_lbfgs_reaches_the_optimum_for_label_objectives(name):
    features, teachers, _ = problem(3, 3)
    student = fit(name, features, teachers, solver="lbfgs", seeds=2)
    assert student.seed_proba(features).shape == (2, N, 3)
    assert len(student.history) == 0


@pytest.mark.parametrize(
    "name", ["confidence", "vsup", "bayes", "enhanced", "raven", "prediction_powered"]
)
def test_lbfgs_is_refused_where_more_is_minimised(name):
    features, teachers, _ = problem(3, 3)
    with pytest.raises(InputError, match=f"{name} minimises more .* use solver='auto'"):
        fit(name, features, teachers, solver="lbfgs")


def test_solver_auto_takes_steps_only_where_more_is_minimised():
    features, teachers, _ = problem(3, 3)
    of_naive, of_confidence = (
        fit(name, features, teachers, solver="auto").history for name in ("naive", "confidence")
    )
    assert len(of_naive) == 0 < len(of_confidence)


def test_solver_auto_takes_steps_where_validation_rows_may_stop_it():
    features, teachers, labels = problem(3, 3)
    student = fit(
        "naive", features, teachers, solver="auto", epochs=2, validation=(features, labels)
    )
    assert student.history["validation_loss"].notna().all()


@pytest.mark.parametrize(
    ("name", "parameters", "message"),
    [
        ("confidence", {"largest": 1.5}, r"confidence: largest must be a number in \[0, 1\]; got"),
        ("confidence", {"ramp": -1}, r"ramp must be a number in \[0, 1\]"),
        ("bayes", {"divergence": -1}, r"divergence must be a number >= 0"),
        ("enhanced", {"share": 0}, r"share must be a number in \(0, 1\]"),
        ("enhanced", {"q": 3}, r"q must be a number in \[0, 2\]"),
        ("overlap", {"by": "regoin"}, "did you mean 'region'"),
        ("overlap", {"rest": 2}, r"rest must be a number in \[0, 1\]"),
        ("crossfit", {"folds": 1}, r"folds must be an integer from 2 to 100"),
        ("crossfit", {"lowest_share": 0.95}, r"lowest_share must be in \(0, highest_share\]"),
        ("bootstrap", {"strengths": (1.0, 0.5)}, "must rise from above 0 to 1"),
        ("cosupervised", {"stages": ()}, "stages must be counts >= 1"),
        ("cosupervised", {"floor": 0}, r"floor must be a number in \(0, 0.1\]"),
        ("raven", {"weight_rate": -1}, r"weight_rate must be a number >= 0"),
        ("naive", {"hrad": True}, "naive has no parameter 'hrad'; it has 'hard'"),
        ("navie", {}, "no method 'navie'; did you mean 'naive'"),
    ],
)
def test_bad_parameters(name, parameters, message):
    with pytest.raises(InputError, match=message):
        make_method(name, **parameters)


def test_a_method_of_another_package_has_a_name(monkeypatch):
    monkeypatch.setattr(registry, "_METHODS", dict(registry._METHODS))

    @register_method
    @dataclasses.dataclass(frozen=True)
    class Mine(Method):
        name = "mine"
        hard: bool = True

        def fit(self, task):
            return make_method("naive", hard=self.hard).fit(task)

    assert "mine" in available_methods()
    features, teachers, _ = problem()
    mine, naive = fit("mine", features, teachers), fit("naive", features, teachers, hard=True)
    np.testing.assert_array_equal(mine.seed_proba(features), naive.seed_proba(features))
    with pytest.raises(InputError, match="there is a method 'mine' already"):
        register_method(Mine)
    with pytest.raises(InputError, match="is not a method"):
        register_method(dict)


def test_methods_are_immutable_records():
    method = make_method("enhanced", share=0.3)
    assert repr(method) == "Enhanced(share=0.3, q=0.7, hard=False)"
    assert make_method(method, q=1.0) == make_method("enhanced", share=0.3, q=1.0)
    with pytest.raises(AttributeError):
        method.share = 0.5
