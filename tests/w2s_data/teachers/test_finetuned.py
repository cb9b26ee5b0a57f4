"""Teachers that are fine-tuned transformers, on tiny models with random weights."""

import dataclasses

import numpy as np
import pandas as pd
import pytest

from tests.w2s_data.finetune.tiny import save_tiny_model
from w2s_data import load_dataset
from w2s_data.compute.context import Compute
from w2s_data.features.matrix import as_feature_matrix
from w2s_data.finetune.settings import Adaptation, TrainingSettings
from w2s_data.finetune.student import Student
from w2s_data.teachers.finetuned import FinetunedTeacher
from w2s_data.teachers.folds import gold_folds
from w2s_data.teachers.items import Items
from w2s_data.teachers.learner import Lesson

pytestmark = pytest.mark.slow
EPOCHS = 6


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """A model of one layer."""
    folder = tmp_path_factory.mktemp("tiny")
    save_tiny_model(folder, n_layers=1)
    return str(folder)


@pytest.fixture(scope="module")
def dataset():
    """Texts with a good or a bad word; thirty are labelled, of which two are equal."""
    rng = np.random.default_rng(0)
    words = np.array(["the", "film", "was", "a", "story", "very"])
    label = np.arange(60) % 2
    texts = [
        " ".join([*rng.choice(words, 3), ["bad", "good"][code], str(number)])
        for number, code in enumerate(label)
    ]
    texts[59] = texts[1]
    table = pd.DataFrame(
        {
            "text": texts,
            "label": [["no", "yes", "maybe"][code] for code in label],
            "split": ["labelled"] * 30 + ["pool"] * 30,
        }
    )
    return load_dataset(table, label="label", split="split", class_names=["no", "maybe", "yes"])


@pytest.fixture(scope="module")
def teacher(tiny, dataset, tmp_path_factory):
    """A teacher of 28 rows."""
    return made(tiny, dataset, tmp_path_factory.mktemp("taught"))


def made(tiny, dataset, folder, **changes):
    items = Items(dataset, pd.DataFrame(), None, Compute(device="cpu", progress=False), folder)
    training = TrainingSettings(
        tuning="full", model=Adaptation(tiny), epochs=EPOCHS, learning_rate=0.02, device="cpu"
    ).replace(**changes)
    rows = np.arange(28)
    return FinetunedTeacher(items, Lesson(rows, dataset.labels[rows]), training)


def test_folds_hold_equal_items_together_and_divide_the_classes(dataset):
    folds = gold_folds(dataset, 0)
    assert folds[59] == folds[1] >= 0
    assert (folds[30:59] == -1).all()
    assert (np.bincount(folds[:30]) == 6).all()
    by_class = [np.bincount(folds[:30][dataset.labels[:30] == code]) for code in (0, 2)]
    assert {*by_class[0], *by_class[1]} == {3}
    assert (gold_folds(dataset, 0) == folds).all()
    assert (gold_folds(dataset, 1) != folds).any()


def test_it_learns_and_labels_all_items(teacher, dataset):
    proba = teacher.opinions().proba
    assert np.allclose(proba.sum(axis=1), 1)
    assert (proba[30:].argmax(axis=1) == dataset.labels[30:]).all()
    # A class without a row is possible, if hardly.
    assert np.allclose(proba[:, 1], 1e-3)


def test_rows_that_it_learned_from_are_labelled_by_models_that_did_not(teacher):
    proba, folds = teacher.opinions().proba, teacher.folds
    for row in (0, 1, 27, 59):
        assert (proba[row] == teacher.fold_proba[folds[row], row]).all()
    assert (proba[30:59] == teacher.proba[30:59]).all()
    assert (proba[28:30] == teacher.proba[28:30]).all()


def test_without_a_fold_its_labels_are_those_of_the_model_without_it(teacher):
    at = np.array([3, 40, 59])
    kept = teacher.folds[teacher.lesson.rows] != 2
    again = teacher.relearn(at)(kept)
    assert np.allclose(again[1], teacher.fold_proba[2, 40])
    assert np.allclose(again[0], teacher.fold_proba[teacher.folds[3], 3])
    assert np.allclose(again[2], teacher.fold_proba[teacher.folds[59], 59])


def test_fold_view_has_no_row_of_a_model_that_saw_it(teacher):
    view = teacher.fold_view(np.arange(60), np.random.default_rng(0))
    taken = np.exp(view.take(np.arange(60)))
    for row in range(28):
        own = teacher.fold_proba[teacher.folds[row], row]
        assert np.allclose(taken[row], own, atol=1e-3)
    assert teacher.fold_view(np.arange(40, 50), np.random.default_rng(0)) is None


def test_it_is_kept_and_labels_new_items(teacher, tiny, dataset):
    kept = made(tiny, dataset, teacher.items.folder)
    before = {path: path.stat().st_mtime_ns for path in teacher.folder.rglob("*")}
    assert (kept.opinions().proba == teacher.opinions().proba).all()
    assert {path: path.stat().st_mtime_ns for path in teacher.folder.rglob("*")} == before
    new = dataclasses.replace(teacher.items, dataset=dataset.subset(np.arange(30, 60)))
    assert np.allclose(kept.label(new), teacher.proba[30:], atol=1e-5)
    student = Student.load(teacher.folder / "model")
    assert np.allclose(
        student.predict_proba(dataset.items[:3])[:, 0], teacher.proba[:3, 0], atol=2e-3
    )


def test_transformers_opens_its_model(teacher):
    from transformers import AutoModel

    assert AutoModel.from_pretrained(teacher.folder / "model").config.num_hidden_layers == 1


def test_training_that_is_stopped_resumes_to_the_same_labels(teacher, tiny, dataset, tmp_path):
    epochs = []

    def stop(end):
        epochs.append(end.epoch)
        if len(epochs) in (2, 4):
            raise KeyboardInterrupt

    def again():
        model = Adaptation(tiny, save_every=1)
        return made(tiny, dataset, tmp_path, model=model, callbacks=(stop,)).proba

    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            again()
    assert np.allclose(again(), teacher.proba, atol=1e-6)
    # An epoch whose callback raised may be repeated, those before it are not.
    assert len(epochs) <= EPOCHS + 2
    assert np.allclose(again(), teacher.proba, atol=1e-6)
    assert len(epochs) <= EPOCHS + 2
    assert not [*tmp_path.rglob("*.training")]


def test_head_on_features_is_trained_the_same_way(dataset):
    rng = np.random.default_rng(0)
    values = rng.normal(size=(60, 4)) + 3 * (dataset.labels[:, None] - 1)
    items = Items(dataset, pd.DataFrame(), None, Compute(device="cpu", progress=False))
    rows = np.arange(28)
    own = FinetunedTeacher(
        items,
        Lesson(rows, dataset.labels[rows]),
        TrainingSettings(device="cpu", l2=0.01, epochs=100),
        lambda _: as_feature_matrix(values),
    )
    proba = own.opinions().proba
    assert (proba.argmax(axis=1) == dataset.labels).all()
    assert np.allclose(own.label(items), own.proba)
    assert own.n_columns == 4 + 5 * 3


def test_fold_whose_rows_hold_all_of_a_class_abstains(tiny, dataset, tmp_path):
    own = made(tiny, dataset, tmp_path)
    lesson = Lesson(np.array([0, 1]), dataset.labels[:2])
    own = dataclasses.replace(own, lesson=lesson)
    fold = own.folds[0]
    assert np.allclose(own.fold_proba[fold], 1 / 3)
