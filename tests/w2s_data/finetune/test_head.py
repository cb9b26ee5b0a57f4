"""Heads: the loop, its early stop, memory, large features, and the exact solver."""

from __future__ import annotations

import logging

import numpy as np
import pytest
import torch
from scipy.special import softmax
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits

from w2s_data.errors import FeatureError, InputError
from w2s_data.features.matrix import as_feature_matrix
from w2s_data.finetune import TrainingError, fit_student
from w2s_data.finetune.levels.head import HeadNetwork, HeadTask
from w2s_data.finetune.levels.inputs import feature_scaling
from w2s_data.finetune.levels.linear import HeadModel, Scaling
from w2s_data.finetune.loop import Adam, EarlyStop, Schedule, Trainer, row_stream
from w2s_data.finetune.objectives import Batch, LabelObjective
from w2s_data.finetune.pool import Pool
from w2s_data.finetune.settings import ResolvedSettings

N, D, C = 300, 5, 3
QUICK = {"l2": 1e-3, "epochs": 5, "batch_size": 64, "random_state": 0, "device": "cpu"}


@pytest.fixture
def data():
    rng = np.random.default_rng(0)
    features = 3 * rng.normal(size=(N, D)) + 7
    proba = rng.dirichlet(np.ones(C), size=N)
    return features, proba


def make_task(features, proba, **settings):
    pool = Pool(proba[:, None], np.ones(len(proba)), as_feature_matrix(features))
    return HeadTask(pool, ResolvedSettings(**settings, device="cpu"), "test")


def test_lbfgs_finds_scikit_learn_s_optimum(data):
    features, proba = data
    codes = proba.argmax(axis=1)
    ours = fit_student("naive", features, codes, solver="lbfgs", l2=1e-2, random_state=0)
    scaled = (features - features.mean(axis=0)) / features.std(axis=0)
    theirs = LogisticRegression(C=1 / (N * 1e-2), tol=1e-10, max_iter=1000).fit(scaled, codes)
    np.testing.assert_allclose(
        ours.predict_proba(features), theirs.predict_proba(scaled), atol=1e-4
    )


def test_gold_labels_are_learned_to_the_optimum_even_of_a_rare_class(rng):
    codes = np.repeat([0, 1], [270, 30])
    features = rng.normal(size=(300, 5)) + 2 * np.eye(5)[codes]
    silent = np.full((300, 2), 0.5)
    ours = fit_student("labelled_only", features, silent, gold=codes, random_state=0)
    scaled = (features - features.mean(axis=0)) / features.std(axis=0)
    theirs = LogisticRegression(C=1 / (300 * ours.l2), tol=1e-10, max_iter=1000)
    expected = theirs.fit(scaled, codes).predict_proba(scaled)
    np.testing.assert_allclose(ours.predict_proba(features), expected, atol=1e-3)


@pytest.mark.parametrize(("trusted", "solver"), [(False, "adam"), (True, "auto")])
def test_targets_are_not_computed_where_nothing_hangs_on_them(data, trusted, solver):
    task = make_task(*data, l2=0.1, solver=None)
    settled = task.settle(lambda: pytest.fail("targets were computed"), trusted)
    assert (settled.l2, settled.solver) == (0.1, solver)


def test_adam_comes_close_to_the_optimum(data):
    features, proba = data
    exact = fit_student("naive", features, proba, solver="lbfgs", l2=1e-3, random_state=0)
    adam = fit_student("naive", features, proba, **{**QUICK, "epochs": 200}, learning_rate=1e-2)
    np.testing.assert_allclose(
        adam.predict_proba(features), exact.predict_proba(features), atol=0.02
    )


def test_small_pools_get_enough_epochs(data):
    features, proba = data
    student = fit_student("naive", features, proba, random_state=0)
    assert student.history["epoch"].max() + 1 == 267  # 3 steps an epoch, 800 steps


def test_steps_do_not_depend_on_the_rows_kept(data):
    task = make_task(*data, epochs=2, batch_size=50)
    seen = []

    class Recorder(LabelObjective):
        def arguments(self, batch):
            seen.append(batch)
            return super().arguments(batch)

    rows = np.arange(N) < 7
    task.train(Recorder(task.tensor(task.labels())), rows=rows)
    assert len(seen) == task.n_steps == 12
    assert all(batch.rows.shape == (1, 50) and batch.rows.max() < 7 for batch in seen)


def test_no_row_left_is_an_error(data):
    task = make_task(*data)
    with pytest.raises(InputError, match="no pool row with a positive weight is kept for seed 0"):
        task.train(LabelObjective(task.tensor(task.labels())), rows=np.zeros(N, dtype=bool))


def test_row_stream_goes_through_every_row_before_it_repeats():
    stream = row_stream(np.arange(10), 4, np.random.default_rng(0))
    drawn = np.concatenate([next(stream) for _ in range(10)])
    assert [sorted(part) for part in drawn.reshape(4, 10).tolist()] == [list(range(10))] * 4


def test_cross_fit_never_judges_a_row_that_it_was_trained_on(data):
    features, proba = data
    task = make_task(features, proba, epochs=3)
    before = task.cross_fit(LabelObjective(task.tensor(task.labels())), folds=3)
    assert before.shape == (1, N, C)
    changed = proba.copy()
    changed[0] = np.roll(changed[0], 1) * 0.5 + proba[0] * 0.5  # another label of row 0
    if changed[0].argmax() != proba[0].argmax():
        changed[0] = 0.9 * np.eye(C)[proba[0].argmax()] + 0.1 / C  # the same folds
    other = make_task(features, changed, epochs=3)
    after = other.cross_fit(LabelObjective(other.tensor(other.labels())), folds=3)
    np.testing.assert_array_equal(before[0, 0], after[0, 0])
    assert np.abs(before - after).max() > 0


@pytest.mark.parametrize("most_bytes", [0, 2**12, 2**23], ids=["alone", "some", "all"])
def test_students_side_by_side_are_those_of_one_after_another(data, rng, monkeypatch, most_bytes):
    monkeypatch.setattr("w2s_data.finetune.levels.head.SIDE_BY_SIDE_BYTES", most_bytes)
    features, proba = data
    alone, together = (make_task(features, proba, epochs=3, batch_size=32) for _ in range(2))
    choices = {name: rng.random((2, N)) < 0.5 for name in ("one", "other", "third")}
    alone.seeds = together.seeds = (0, 5)
    of_seed = LabelObjective(alone.seed_tensor(rng.dirichlet(np.ones(C), size=(2, N))))
    models = {
        stage: alone.train(of_seed, stage=stage, rows=rows) for stage, rows in choices.items()
    }
    for stage, model in together.train_each(of_seed, choices):
        np.testing.assert_array_equal(model.coef, models[stage].coef)
        np.testing.assert_array_equal(model.intercept, models[stage].intercept)
    assert together.history == alone.history


def test_the_one_of_many_choices_without_a_row_is_named(data):
    task = make_task(*data)
    choices = {"full": np.ones(N, dtype=bool), "empty": np.zeros(N, dtype=bool)}
    with pytest.raises(InputError, match="test, empty: no pool row"):
        dict(task.train_each(LabelObjective(task.tensor(task.labels())), choices))


def test_large_features_are_gathered_with_the_same_result(data):
    features, proba = data
    resident = fit_student("naive", features, proba, **QUICK).seed_proba(features)
    gathered = fit_student("naive", features, proba, resident_bytes=0, **QUICK)
    np.testing.assert_array_equal(gathered.seed_proba(features), resident)


def test_a_memory_map_will_do(data, tmp_path):
    features, proba = data
    np.save(tmp_path / "features.npy", features)
    mapped = np.load(tmp_path / "features.npy", mmap_mode="r")
    np.testing.assert_array_equal(
        fit_student("naive", mapped, proba, **QUICK).seed_proba(mapped),
        fit_student("naive", features, proba, **QUICK).seed_proba(features),
    )


def test_scale_and_offset_of_features_do_not_matter(data):
    features, proba = data
    moved = 100 * features + 1e4
    np.testing.assert_allclose(
        fit_student("naive", moved, proba, **QUICK).seed_proba(moved),
        fit_student("naive", features, proba, **QUICK).seed_proba(features),
        atol=1e-3,
    )


def test_a_constant_feature_counts_for_nothing(data):
    features, proba = data
    widened = np.column_stack([features, np.full(N, 5.0)])
    student = fit_student("naive", widened, proba, **QUICK)
    other = widened.copy()
    other[:, -1] = -3
    np.testing.assert_array_equal(student.seed_proba(other), student.seed_proba(widened))


def test_scaling_over_blocks_is_that_of_the_whole():
    features = np.random.default_rng(0).normal(1000, 0.01, size=(500, 3)).astype(np.float32)
    scaling = feature_scaling(as_feature_matrix(features))
    np.testing.assert_allclose(scaling.mean, features.mean(axis=0, dtype=np.float64), rtol=1e-9)
    np.testing.assert_allclose(scaling.scale, features.std(axis=0, dtype=np.float64), rtol=1e-3)


def test_bad_features(data):
    features, proba = data
    broken = features.copy()
    broken[3, 1] = np.nan
    with pytest.raises(FeatureError, match="NaN or infinite values in row 3"):
        fit_student("naive", broken, proba, **QUICK)
    student = fit_student("naive", features, proba, **QUICK)
    with pytest.raises(FeatureError, match="NaN or infinite values in row 3"):
        student.predict(broken)
    with pytest.raises(FeatureError, match="trained on 5 features; got 4"):
        student.predict(features[:, :4])


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("signs", [(1, 1), (-1, -1), (1, -1), (0, 1), (0, -1)])
def test_values_that_are_not_finite_are_found_whatever_the_weights(value, signs):
    coef = np.array([[[1.0, 1.0], signs]], dtype=np.float32)
    model = HeadModel(coef, np.zeros((1, 2), np.float32), Scaling(np.zeros(2), np.ones(2)))
    rows = np.ones((200_000, 2), np.float32)
    rows[[150_000, 190_000], 1] = value
    for predict in (model.proba, model.mean_proba):
        with pytest.raises(FeatureError, match="row"):
            predict(rows)
    with pytest.raises(FeatureError, match="row 150007"):
        model.mean_proba(rows[:180_000], 7)


@pytest.mark.parametrize("threads", [1, 3])
def test_heads_predict_by_the_softmax_of_their_logits(threads):
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(3_001, 700)).astype(np.float32)  # of several parts, the last uneven
    coef, intercept = rng.normal(0, 0.1, (3, 700, 4)), rng.normal(size=(3, 4))
    mean, scale = rng.normal(size=700), rng.uniform(0.5, 2, 700)
    model = HeadModel(coef.astype(np.float32), intercept.astype(np.float32), Scaling(mean, scale))
    with threadpool_limits(threads, user_api="blas"):
        proba, average = model.proba(rows), model.mean_proba(rows)
    logits = np.einsum("nd,sdc->snc", (rows - mean) / scale, coef) + intercept[:, None]
    np.testing.assert_allclose(proba, softmax(logits, axis=2), atol=1e-5)
    np.testing.assert_allclose(average, proba.mean(axis=0), atol=2e-6)


def test_early_stop_keeps_each_seed_s_best_epoch():
    class Weights:
        def __init__(self):
            self.kept = []

        def keep(self, seeds):
            self.kept.append(seeds.tolist())

    weights = Weights()
    early = EarlyStop(weights, n_seeds=2, patience=2)
    losses = [(3.0, 1.0), (2.0, 2.0), (2.5, 3.0), (2.5, 0.5), (1.0, 0.1)]
    stops = [early.update(np.array(loss)) for loss in losses]
    assert stops == [False, False, False, True, True]
    assert weights.kept[:4] == [[True, True], [True, False], [False, False], [False, False]]
    assert early.best.tolist() == [2.0, 1.0]  # what came after a seed had stopped is not its own


def test_validation_stops_the_training_and_picks_an_epoch(data):
    features, proba = data
    truth = (features[:, 0] > 7).astype(int)
    noisy = np.where(np.random.default_rng(1).random(N) < 0.4, 1 - truth, truth)
    student = fit_student(
        "naive", features[:60], noisy[:60], class_names=[0, 1], epochs=300, learning_rate=0.05,
        l2=0, validation=(features[60:], truth[60:]), patience=3, random_state=0, batch_size=16,
    )  # fmt: skip
    losses = student.history["validation_loss"]
    assert len(losses) < 300
    assert losses.argmin() == len(losses) - 1 - 3
    proba = np.clip(student.predict_proba(features[60:]), 1e-12, 1)
    found = -np.log(proba[np.arange(N - 60), truth[60:]]).mean()
    assert found == pytest.approx(losses.min(), rel=1e-4)


def test_a_callback_sees_every_epoch_and_can_stop(data):
    features, proba = data
    seen = []

    def stop_after_two(end):
        seen.append((end.stage, end.epoch, end.n_epochs, end.loss.shape))
        return end.epoch == 1

    fit_student("naive", features, proba, **QUICK, seeds=2, callbacks=[stop_after_two])
    assert seen == [("naive, student", 0, 5, (2,)), ("naive, student", 1, 5, (2,))]


def test_a_diverging_loss_names_method_and_step(data, monkeypatch):
    # A rate that diverges for certain is refused with the settings.
    monkeypatch.setattr("w2s_data.finetune.settings.check_parameters", lambda *_: None)
    features, proba = data
    with pytest.raises(TrainingError, match=r"confidence, student: .* not finite from step \d+ on"):
        fit_student("confidence", features, proba, **QUICK, learning_rate=1e30)


class ShortOfMemory(HeadNetwork):
    """A network that takes at most `limit` rows a seed at a time."""

    limit = 20

    def gather(self, rows):
        if rows.shape[1] > self.limit:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return super().gather(rows)


def one_training(task, network_class):
    network = network_class(task.inputs, None, np.zeros((1, D + 1, C)), 1e-3)
    rows = torch.arange(50)[None]
    batches = (Batch(rows, torch.ones(1, 50), step, 4, 50) for step in range(4))
    objective = LabelObjective(task.tensor(task.labels()))
    Trainer(network, objective, Schedule(2, 2, 1e-2)).run(batches, 1)
    return network.weights.numpy()


def test_a_lost_device_names_the_method_and_the_stage(data, monkeypatch):
    def lost(*_):
        raise RuntimeError("CUDA error: unspecified launch failure\nCompile with ...")

    monkeypatch.setattr(HeadNetwork, "logits", lost)
    message = r"^naive, student: cpu failed \(CUDA error: unspecified launch failure\); `w2s gain`"
    with pytest.raises(TrainingError, match=message):
        fit_student("naive", *data, **QUICK)


def test_out_of_memory_goes_on_with_smaller_pieces(data, caplog):
    task = make_task(*data)
    with caplog.at_level(logging.WARNING, logger="w2s_data"):
        pieces = one_training(task, ShortOfMemory)
    assert "out of memory; continuing with 12 rows at a time of each batch of 50" in caplog.text
    np.testing.assert_allclose(pieces, one_training(task, HeadNetwork), atol=1e-6)


def test_steps_are_those_of_torch_s_adam():
    rng = np.random.default_rng(0)
    start = torch.from_numpy(rng.normal(size=(2, 3, 4)).astype(np.float32))
    ours, theirs = start.clone(), start.clone().requires_grad_()
    adam, reference = Adam(ours), torch.optim.Adam([theirs])
    for rate in (1e-2, 5e-3, 1e-3):
        theirs.grad = torch.from_numpy(rng.normal(size=start.shape).astype(np.float32))
        reference.param_groups[0]["lr"] = rate
        reference.step()
        adam.step(theirs.grad, rate)
    torch.testing.assert_close(ours, theirs.detach())


def test_out_of_memory_for_a_single_row_is_said(data, monkeypatch):
    monkeypatch.setattr(ShortOfMemory, "limit", 0)
    with pytest.raises(TrainingError, match="does not suffice for a single row"):
        one_training(make_task(*data), ShortOfMemory)


@pytest.mark.slow
def test_a_student_of_less_capacity_sees_the_leading_directions():
    rng = np.random.default_rng(0)
    strong = rng.normal(size=(N, 1))
    features = np.column_stack([strong + 0.1 * rng.normal(size=(N, 3)), rng.normal(size=(N, 1))])
    labels = np.eye(2)[(features[:, 3] > 0).astype(int)]  # known to the weak direction only
    task = make_task(features, labels, epochs=200)
    objective = LabelObjective(task.tensor(task.labels()))
    accuracy = {
        capacity: (
            task.pool_proba(task.train(objective, capacity=capacity))[0].argmax(axis=1)
            == labels.argmax(axis=1)
        ).mean()
        for capacity in (0.25, 1.0)
    }
    assert accuracy[0.25] < 0.65 < 0.9 < accuracy[1.0]


def test_global_state_is_untouched(data):
    features, proba = data
    threads = torch.get_num_threads()
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    fit_student("crossfit", features, proba, **QUICK)
    assert torch.equal(torch.rand(3), expected)
    assert torch.get_num_threads() == threads
