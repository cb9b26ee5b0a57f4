"""`measure_gain` and `fit_student` on whole models, and on preference pairs."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from tests.w2s_data.finetune.tiny import WORDS, save_tiny_model
from w2s_data import load_dataset
from w2s_data.errors import DegenerateDataWarning, InputError, RunError
from w2s_data.finetune import Adaptation, fit_student, measure_gain
from w2s_data.finetune.gain import training as gain_training
from w2s_data.finetune.levels.convergence import LossTrend
from w2s_data.finetune.methods.registry import available_methods
from w2s_data.finetune.objectives import TrainingError

SPLITS = {"labelled": 16, "pool": 64, "validation": 16, "test": 60}
QUICK = {"l2": 1e-3, "n_resamples": 100, "progress": False, "device": "cpu", "controls": False}


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """The folder of a tiny model."""
    folder = tmp_path_factory.mktemp("tiny")
    save_tiny_model(folder, n_layers=1)
    return str(folder)


@pytest.fixture
def reviews(rng):
    """Texts, classes shown by one word, weak probabilities, splits."""
    n = sum(SPLITS.values())
    labels = rng.integers(2, size=n)
    shown = np.where(labels, rng.choice(["good", "great"], n), rng.choice(["bad", "poor"], n))
    texts = [f"{word} {' '.join(rng.choice(WORDS[4:], 3))}" for word in shown]
    said = np.where(rng.random(n) < 0.2, 1 - labels, labels)
    return texts, np.eye(2)[said], labels, np.repeat(list(SPLITS), list(SPLITS.values()))


def measure(reviews, tiny, **changes):
    texts, weak, labels, splits = reviews
    given = {"tuning": "full", "model": tiny, "epochs": 4, "learning_rate": 1e-2, "seeds": 2}
    return measure_gain(None, weak, labels, splits, items=texts, **{**QUICK, **given, **changes})


@pytest.mark.slow
def test_whole_models_gain_over_their_teacher(reviews, tiny):
    found = measure(reviews, tiny, methods=["naive", "confidence", "overlap"], seeds=1)
    assert found["naive"].gain.value > 0
    assert "strong features are needed" in found.failures["overlap"]
    assert found.tuning == "full"


class Killed(Exception):
    pass


@pytest.mark.slow
def test_a_killed_measurement_goes_on_inside_a_training(reviews, tiny, tmp_path, monkeypatch):
    tiny = Adaptation(tiny, save_every=1)
    whole = measure(reviews, tiny)
    fit, seen = gain_training.fit_student, []

    def watched(stop):
        def kill(end):
            seen.append(end.epoch)
            if len(seen) == stop:
                raise Killed

        def call(*args, **kwargs):
            return fit(*args, callbacks=[kill], **kwargs)

        call.__wrapped__ = fit
        return call

    monkeypatch.setattr(gain_training, "fit_student", watched(stop=7))
    with pytest.raises(Killed):  # in the third epoch of the ceiling's second seed
        measure(reviews, tiny, checkpoint=tmp_path)
    seen.clear()
    monkeypatch.setattr(gain_training, "fit_student", watched(stop=None))
    resumed = measure(reviews, tiny, checkpoint=tmp_path)
    # The labelled rows alone take as many steps as the pool.
    assert seen == [2, 3, *4 * list(range(4))]
    pd.testing.assert_frame_equal(whole.to_frame(), resumed.to_frame())
    assert not list((tmp_path / "trainings").rglob("*.safetensors"))


def test_another_model_is_another_configuration(reviews, tiny, tmp_path):
    measure(reviews, tiny, checkpoint=tmp_path, epochs=1, seeds=1)
    changed = Adaptation(tiny, max_length=2)
    with pytest.raises(RunError, match="another configuration: model"):
        measure(reviews, tiny, checkpoint=tmp_path, epochs=1, seeds=1, model=changed)


@pytest.mark.slow
def test_students_to_use_predict_the_pool_once(reviews, tiny, tmp_path, monkeypatch):
    given = {"methods": ["naive", "stacked", "confidence"], "epochs": 2, "checkpoint": tmp_path}
    found = measure(reviews, tiny, posterior=reviews[1], **given)
    texts, _, _, splits = reviews
    rest = splits != "test"
    table = found.predictions()
    used = {found.methods[0].name, *found.roles.values()} & set(given["methods"])
    assert "naive" in used
    for name in given["methods"]:
        known = table.loc[rest, f"{name} / label"].notna()
        assert known.all() if name in used else not known.any()
        assert table.loc[~rest, f"{name} / label"].notna().all()
    proba = found.student("naive").predict_proba(texts)  # of the first seed
    np.testing.assert_allclose(table.loc[rest, "naive / proba"], proba[rest].max(axis=1), atol=1e-5)

    def refuse(*_):
        raise AssertionError("the pool is predicted again")

    monkeypatch.setattr(gain_training.KeptStudent, "load", refuse)
    again = measure(reviews, tiny, posterior=reviews[1], **given)
    pd.testing.assert_frame_equal(again.predictions(), table)


@pytest.mark.slow
def test_an_undertrained_ceiling_is_told_of_stored_students_too(
    reviews, tiny, tmp_path, monkeypatch
):
    given = {"methods": ["naive"], "epochs": 1, "seeds": 2, "checkpoint": tmp_path}
    with monkeypatch.context() as patched:
        patched.setattr(LossTrend, "is_undertrained", property(lambda _: True))
        found = measure(reviews, tiny, **given)
    for result in (found, measure(reviews, tiny, **given)):
        assert result.undertrained == dict.fromkeys(("ceiling", "labelled_only", "naive"), 1)
        ceiling, alone, naive = result.warnings
        assert ceiling.startswith("ceiling: the training loss was still falling at the end")
        assert "flatters PGR; raise epochs or learning_rate" in ceiling
        assert alone.startswith("labelled_only: ")
        assert naive.startswith("naive: ")


@pytest.mark.slow
def test_a_pool_that_cannot_be_predicted_costs_no_result(reviews, tiny, monkeypatch):
    def fail(*_):
        raise TrainingError("the memory does not suffice for a single text")

    monkeypatch.setattr(gain_training.KeptStudent, "load", fail)
    found = measure(reviews, tiny, methods=["naive"], epochs=1, seeds=1)
    assert np.isfinite(found["naive"].gain.value)
    assert any("naive predicts the test rows alone" in warning for warning in found.warnings)


def test_less_memory_is_the_same_configuration(reviews, tiny, tmp_path):
    first = measure(reviews, tiny, checkpoint=tmp_path, epochs=1, seeds=1)
    changed = Adaptation(tiny, micro_batch=4, micro_tokens=100, save_minutes=1)
    again = measure(reviews, tiny, checkpoint=tmp_path, epochs=1, seeds=1, model=changed)
    pd.testing.assert_frame_equal(first.to_frame(), again.to_frame())


@pytest.mark.slow
def test_early_stopping_takes_texts(reviews, tiny):
    found = measure(reviews, tiny, early_stopping=True, seeds=1, patience=1)
    assert np.isfinite(found["naive"].gain.value)


def test_levels_and_what_they_need(reviews, tiny):
    texts, weak, _, _ = reviews
    with pytest.raises(InputError, match="pass items"):
        fit_student("naive", None, weak, tuning="lora", model=tiny)
    with pytest.raises(InputError, match="needs features"):
        fit_student("naive", None, weak, items=texts)
    with pytest.raises(InputError, match="items of pairs are"):
        fit_student("naive", None, weak, items=texts, model=tiny, tuning="full", paired=True)


# Preference pairs


@pytest.fixture
def pairs(rng):
    """Pairs of vectors with a known reward, and a weak ranker that errs on items."""
    reward = rng.normal(size=8)
    items = rng.normal(size=(2, 1200, 8))
    first_wins = (items[0] - items[1]) @ reward > 0
    chosen = np.where(first_wins[:, None], items[0], items[1])
    rejected = np.where(first_wins[:, None], items[1], items[0])
    noisy = (chosen - rejected) @ reward + 4 * rng.normal(size=1200)
    table = {"good": list(chosen), "bad": list(rejected), "p": 1 / (1 + np.exp(-noisy))}
    return load_dataset(
        pd.DataFrame(table), chosen="good", rejected="bad", weak_columns="p", random_state=0
    )


def measure_pairs(pairs, **changes):
    given = {**QUICK, "seeds": 2, "learning_rate": 1e-2, **changes}
    return measure_gain(
        pairs.features,
        pairs.weak_proba,
        pairs.labels,
        pairs.splits,
        class_names=pairs.class_names,
        paired=True,
        **given,
    )


def test_a_student_outdoes_its_noisy_ranker(pairs):
    found = measure_pairs(pairs)
    assert found["naive"].gain.low > 0.1
    assert found["naive"].scores["accuracy"].value > 0.9
    assert 0.5 < found["naive"].pgr.value <= 1.1


@pytest.mark.slow
def test_every_method_runs_on_pairs(pairs):
    with (
        pytest.warns(DegenerateDataWarning, match="a single teacher"),
        pytest.warns(DegenerateDataWarning, match="label model: 1 teacher votes"),
    ):
        found = measure_pairs(pairs, methods=list(available_methods()), seeds=1, epochs=20)
    assert not found.failures
    assert all(np.isfinite(student.gain.value) for student in found.students)
