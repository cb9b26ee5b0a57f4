"""Whole models that predict values: they learn, are opened by other libraries, and resume."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from tests.kinds import make_images, make_texts, save_model
from tests.w2s_data.finetune.test_kinds import logits_elsewhere
from w2s_data.errors import InputError, RunError
from w2s_data.finetune import Adaptation, TrainingSettings, fit_student
from w2s_data.regression import Student, measure_gain
from w2s_data.regression import fit_student as fit_values
from w2s_data.regression.whole import Scale, WholeValues, train_values

MAKE = {"bert": make_texts, "vit": make_images}


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Make the folders of two tiny models."""
    root = tmp_path_factory.mktemp("values")
    return {name: str(save_model(root / name, name)) for name in MAKE}


def make(name, rng, n):
    """Items, and values above 100 that they show: by words and their number, or by bright parts."""
    items, classes = MAKE[name](rng, n)
    words = [len(item.split()) for item in items] if name == "bert" else 0
    return items, 100 + 30.0 * classes + 5.0 * np.asarray(words)


def train(model, items, values, weight=None, *, tuning="full", rate=2e-2, **changes):
    own = {key: changes.pop(key) for key in ("loss", "validation", "seeds") if key in changes}
    adaptation = Adaptation(model, rank=4, **changes.pop("adaptation", {}))
    usual = {"epochs": 4, "batch_size": 8, "device": "cpu", "learning_rate": rate}
    settings = TrainingSettings(tuning=tuning, model=adaptation, **{**usual, **changes})
    return train_values(items, values, weight, settings=settings, **own)


def share_left(predicted, values):
    """Squared error (S,) as a share of the variance."""
    return ((predicted - values) ** 2).mean(axis=-1) / values.var()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:student, student. undertrained")
@pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing. is deprecated")  # in peft
@pytest.mark.parametrize(
    ("name", "tuning", "rate"),
    [("bert", "lora", 1e-2), ("bert", "full", 2e-2), ("vit", "full", 3e-3)],
)
def test_it_learns_is_saved_and_opened_elsewhere(models, rng, tmp_path, name, tuning, rate):
    items, values = make(name, rng, 96)
    student = train(models[name], items, values, tuning=tuning, rate=rate, epochs=6)
    fresh, truth = make(name, rng, 40)
    predicted = student.predict(fresh)
    assert predicted.shape == (1, 40)
    assert share_left(predicted, truth)[0] < 0.5
    student.save(tmp_path / "student", {"method": "naive"})
    loaded, record = WholeValues.load(tmp_path / "student", device="cpu")
    np.testing.assert_allclose(loaded.predict(fresh), predicted, rtol=1e-5)
    assert record["method"] == "naive"
    kind = "text" if name == "bert" else "image"
    folder = tmp_path / "student"
    logits = logits_elsewhere(folder, models[name], kind, fresh[:6], tuning)[:, 0].numpy()
    scale = record["scale"]
    elsewhere = scale["centre"] + scale["spread"] * logits.astype(float)
    np.testing.assert_allclose(elsewhere, predicted[0, :6], rtol=1e-5)


def test_the_first_prediction_is_the_mean(models, rng):
    items, values = make("bert", rng, 32)
    weight = rng.uniform(0, 2, 32)
    student = train(models["bert"], items, values, weight, rate=1e-30, epochs=1)
    mean = np.average(values, weights=weight)
    np.testing.assert_allclose(student.predict(items), mean, rtol=1e-9)


def test_the_unit_of_the_target_changes_nothing_else(models, rng):
    items, values = make("bert", rng, 48)
    usual, other = (
        train(models["bert"], items, own, epochs=2) for own in (values, 1e9 - 1e6 * values)
    )
    mirrored = 1e9 - 1e6 * usual.predict(items)
    spread = 1e6 * values.std()
    np.testing.assert_allclose(other.predict(items), mirrored, atol=1e-3 * spread)


def test_rows_count_by_their_weight(models, rng):
    items, values = make("bert", rng, 64)
    wrong = np.arange(64) % 2 == 0
    noisy = np.where(wrong, values[::-1], values)
    light = train(models["bert"], items, noisy, np.where(wrong, 1e-3, 1.0))
    equal = train(models["bert"], items, noisy)
    left = [share_left(student.predict(items), values)[0] for student in (light, equal)]
    assert left[0] < 0.5 * left[1]


def test_rows_of_weight_0_may_have_no_value(models, rng):
    items, values = make("bert", rng, 16)
    known = np.arange(16) % 4 > 0
    without, other = (
        train(models["bert"], items, np.where(known, values, own), 1.0 * known, epochs=1)
        for own in (np.nan, 1e6)
    )
    np.testing.assert_array_equal(without.predict(items), other.predict(items))


@pytest.mark.filterwarnings("ignore:student, student. undertrained")
def test_huber_resists_outliers(models, rng):
    items, values = make("bert", rng, 64)
    struck = np.where(np.arange(64) % 12 == 0, 10_000.0, values)
    squared, huber = (
        train(models["bert"], items, struck, loss=loss) for loss in ("squared", "huber")
    )
    left = [share_left(student.predict(items), values)[0] for student in (squared, huber)]
    assert left[1] < 1 < 10 < left[0]
    assert huber.scale.spread < 2 * values.std() < squared.scale.spread


def test_early_stopping_keeps_the_epoch_of_the_least_squared_error(models, rng):
    items, values = make("bert", rng, 48)
    mirrored = 2 * values.mean() - values  # the more it learns, the further it is from these
    student = train(models["bert"], items, values, validation=(items, mirrored), patience=2)
    losses = [row["validation_loss"] for row in student.history]
    assert losses[0] == min(losses)
    assert len(losses) == 3
    found = ((student.predict(items) - mirrored) ** 2).mean() / student.scale.spread**2
    assert losses[0] == pytest.approx(found, rel=1e-4)


class Killed(Exception):
    pass


def test_a_killed_training_resumes_to_the_same_bytes(models, rng, tmp_path):
    items, values = make("bert", rng, 32)
    adaptation = {"save_every": 4, "evaluate_every": 1, "dropout": 0.1}
    changes = {
        "loss": "huber",
        "epochs": 2,
        "tuning": "lora",
        "adaptation": adaptation,
        "seeds": (2,),
    }
    whole = train(models["bert"], items, values, **changes)

    def kill(end):
        if end.epoch == 5:
            raise Killed

    with pytest.raises(Killed):
        train(models["bert"], items, values, checkpoint=tmp_path, callbacks=(kill,), **changes)
    taken = []
    resumed = train(
        models["bert"],
        items,
        values,
        checkpoint=tmp_path,
        callbacks=(lambda end: taken.append(end.epoch),),
        **changes,
    )
    assert taken[0] == 4
    assert resumed.history == whole.history
    for student, name in ((whole, "whole"), (resumed, "resumed")):
        student.save(tmp_path / name)
    for file in ("adapter_model.safetensors", "student.safetensors", "student.json"):
        once, again = ((tmp_path / name / file).read_bytes() for name in ("whole", "resumed"))
        assert once == again
    with pytest.raises(RunError, match="another configuration"):
        train(models["bert"], items, values**2, checkpoint=tmp_path, **changes)


def test_seeds_are_trained_one_by_one(models, rng, tmp_path):
    items, values = make("bert", rng, 32)
    both = train(models["bert"], items, values, epochs=1, seeds=(0, 3))
    alone = train(models["bert"], items, values, epochs=1, seeds=(3,))
    np.testing.assert_array_equal(both.predict(items)[1], alone.predict(items)[0])
    np.testing.assert_array_equal(both.only(1).predict(items), alone.predict(items))
    assert {row["seed"] for row in both.history} == {0, 3}
    with pytest.raises(InputError, match="saved for one seed; this one has 2"):
        both.save(tmp_path)


def test_scales():
    values, weight = np.array([1.0, 2.0, 3.0, 1e6]), np.array([1.0, 1.0, 2.0, 0.0])
    scale = Scale.of(values[:3], weight[:3], "squared")
    assert scale == Scale(2.25, np.sqrt(0.6875))
    np.testing.assert_allclose(scale.restore(scale.standardise(values)), values)
    robust = Scale.of(values, np.ones(4), "huber")
    assert robust == Scale(2.5, 1.4826)
    # Half of the values are the same: the median says nothing of their spread.
    assert Scale.of(np.array([0.0, 0, 0, 1]), np.ones(4), "huber") == Scale(0.25, np.sqrt(0.1875))


def test_what_does_not_fit(models, rng, tmp_path):
    items, values = make("bert", rng, 8)
    model = models["bert"]
    bad = {
        "a pair has an order and no value": lambda: train(model, items, values, paired=True),
        "all values to learn are 5": lambda: train(model, items, np.full(8, 5.0)),
        "items has 7, values has 8": lambda: train(model, items[:7], values),
        "finite where they count; they are not in row 2": lambda: train(
            model, items, np.where(np.arange(8) == 2, np.inf, values)
        ),
        "validation values must be finite": lambda: train(
            model, items, values, validation=(items, np.full(8, np.nan))
        ),
        "delta must be": lambda: train_values(
            *(items, values), settings=TrainingSettings(tuning="full", model=model), delta=-1
        ),
        "need tuning 'lora' or 'full'": lambda: train_values(
            *(items, values), settings=TrainingSettings()
        ),
    }
    for message, call in bad.items():
        with pytest.raises(InputError, match=message) as caught:
            call()
        assert "\n" not in str(caught.value)
    classes = fit_student(
        *("naive", None, np.eye(2)[np.arange(8) % 2]),
        items=items,
        tuning="full",
        model=model,
        epochs=1,
        device="cpu",
    )
    classes.save(tmp_path)
    with pytest.raises(RunError, match="holds a student of classes, not of values"):
        WholeValues.load(tmp_path, device="cpu")


@pytest.mark.filterwarnings("ignore:(naive|stacked), student. undertrained")
@pytest.mark.parametrize("method", ["naive", "stacked"])
def test_methods_train_whole_models(models, rng, tmp_path, method):
    items, values = make("bert", rng, 64)
    weak = values + rng.normal(scale=0.2 * values.std(), size=64)
    weak[5] = np.nan  # the teacher abstains
    gold = np.where(np.arange(64) < 8, values, np.nan)
    settings = TrainingSettings(
        tuning="full",
        model=models["bert"],
        epochs=4,
        batch_size=8,
        learning_rate=2e-2,
        device="cpu",
    )
    joined = (weak, np.ones(64)) if method == "stacked" else None
    student = fit_values(
        *(method, None, weak),
        targets=gold,
        posterior=joined,
        items=items,
        settings=settings,
        random_state=0,
    )
    fresh, truth = make("bert", rng, 40)
    predicted = student.predict(fresh)
    assert share_left(predicted, truth) < 0.6
    assert list(student.history["epoch"]) == [0, 1, 2, 3]
    student.save(tmp_path / "student")
    again = Student.load(tmp_path / "student", device="cpu")
    np.testing.assert_allclose(again.predict(fresh), predicted, rtol=1e-5)
    assert "full" in repr(again)
    assert again.to_dict() == student.to_dict()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*undertrained")
def test_the_gain_of_whole_models_is_measured_and_resumed(models, rng, tmp_path):
    items, values = make("bert", rng, 48)
    weak = values + rng.normal(scale=0.5 * values.std(), size=48)
    splits = np.resize(["labelled", "pool", "pool", "test"], 48)
    settings = TrainingSettings(
        tuning="full",
        model=models["bert"],
        epochs=2,
        batch_size=8,
        learning_rate=2e-2,
        device="cpu",
        checkpoint=tmp_path / "gain",
    )
    taken = []

    def measure(*callbacks):
        return measure_gain(
            *(None, weak, values, splits),
            methods=["naive"],
            seeds=2,
            items=items,
            settings=settings.replace(callbacks=callbacks),
            n_resamples=100,
        )

    result = measure(lambda end: taken.append(end.epoch))
    assert len(taken) == 12  # two epochs of two seeds, of naive, gold values alone and the ceiling
    again = measure(lambda end: taken.append(end.epoch))
    assert len(taken) == 12  # finished ones are taken as they were left
    pd.testing.assert_frame_equal(again.predictions(), result.predictions())
    assert not result.failures
    table = result.predictions()
    error = ((table["naive"] - table["target"]) ** 2).mean()
    assert result["naive"].measures["mse"].value > error  # the mean over seeds, not of their mean
    # Whole models are kept for the first seed; the measured values are the mean of two.
    student = result.students["naive"]
    assert student.seeds == (0,)
    student.save(tmp_path / "kept")
    fresh, _ = make("bert", rng, 8)
    loaded = Student.load(tmp_path / "kept", device="cpu")
    np.testing.assert_allclose(loaded.predict(fresh), student.predict(fresh), rtol=1e-5)
