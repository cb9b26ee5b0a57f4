"""Whole models under training: tunings lora and full, their memory, and their resumption."""

from __future__ import annotations

import logging
import shutil

import numpy as np
import pytest
import torch

from tests.w2s_data.finetune.tiny import WORDS, accuracy, save_tiny_model
from w2s_data.errors import (
    EncoderError,
    FileFormatError,
    InputError,
    MissingExtraError,
    RunError,
)
from w2s_data.finetune import Student, fit_student
from w2s_data.finetune.levels.adapters import WholeTask, train_whole
from w2s_data.finetune.methods.registry import available_methods, make_method
from w2s_data.finetune.objectives import TrainingError
from w2s_data.finetune.pool import Pool
from w2s_data.finetune.settings import Adaptation, ResolvedSettings


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """The folder of a tiny model."""
    folder = tmp_path_factory.mktemp("tiny")
    save_tiny_model(folder, n_layers=2)
    return str(folder)


def reviews(rng, n):
    """Texts whose class is shown by one word, and the classes."""
    labels = rng.integers(2, size=n)
    shown = np.where(labels, rng.choice(["good", "great"], n), rng.choice(["bad", "poor"], n))
    fillers = rng.choice(WORDS[4:], (n, 4))
    texts = [
        " ".join(rng.permutation([word, *rest])) for word, rest in zip(shown, fillers, strict=True)
    ]
    return texts, labels


def weak(rng, labels, error=0.2, n_teachers=1):
    flipped = rng.random((len(labels), n_teachers)) < error
    return np.eye(2)[np.where(flipped, 1 - labels[:, None], labels[:, None])]


def train(
    tiny, texts, teachers, method="naive", *, tuning="full", adaptation=(), seeds=(0,), **changes
):
    validation = changes.pop("validation", ())
    defaults = {"epochs": 6, "batch_size": 32, "learning_rate": 1e-2, "device": "cpu"}
    model = Adaptation(tiny, **dict(adaptation))
    settings = ResolvedSettings(tuning, model, **{**defaults, **changes})
    gold = np.where(np.arange(len(teachers)) < 8, teachers.mean(axis=1).argmax(axis=1), -1)
    pool = Pool(teachers, np.ones(len(teachers)), gold=gold, posterior=teachers.mean(axis=1))
    return train_whole(make_method(method), pool, settings, texts, *validation, seeds=seeds)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:naive, student. undertrained")
@pytest.mark.parametrize("tuning", ["lora", "full"])
def test_students_learn_beyond_their_teacher(tiny, rng, tuning):
    texts, labels = reviews(rng, 256)
    outcome, history = train(
        tiny, texts, weak(rng, labels), tuning=tuning, seeds=(0, 3), adaptation={"rank": 4}
    )
    fresh, truth = reviews(rng, 100)
    proba = outcome.model.proba(fresh)
    assert proba.shape == (2, 100, 2)
    np.testing.assert_allclose(proba.sum(axis=2), 1, atol=1e-5)
    assert (accuracy(proba, truth) > 0.9).all()  # the teacher is right by .8
    assert (proba[0] != proba[1]).any()
    assert {row["seed"] for row in history} == {0, 3}


def test_lora_trains_adapters_and_head_only(tiny, rng):
    texts, labels = reviews(rng, 32)
    task = whole_task(tiny, texts, weak(rng, labels), "lora")
    assert all("lora_" in name or name.startswith("head.") for name in task.network.parameters())
    before = {n: p.clone() for n, p in task.network.backbone.named_parameters()}
    make_method("naive").fit(task)
    after = dict(task.network.backbone.named_parameters())
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed
    assert all("lora_" in name for name in changed)


def whole_task(tiny, texts, teachers, tuning="full", **changes):
    model = Adaptation(tiny, **changes)
    settings = ResolvedSettings(
        tuning, model, epochs=1, batch_size=32, learning_rate=1e-2, device="cpu"
    )
    return WholeTask(Pool(teachers, np.ones(len(teachers))), settings, "test", items=texts)


def test_same_seed_same_bytes_and_nothing_global(tiny, rng):
    texts, labels = reviews(rng, 64)
    teachers = weak(rng, labels)
    torch.manual_seed(1)
    state = torch.get_rng_state()
    first = train(tiny, texts, teachers, epochs=2, adaptation={"dropout": 0.1})[0]
    assert torch.equal(state, torch.get_rng_state())
    torch.manual_seed(2)
    again = train(tiny, texts, teachers, epochs=2, adaptation={"dropout": 0.1})[0]
    np.testing.assert_array_equal(first.model.proba(texts), again.model.proba(texts))


def test_seeds_do_not_depend_on_their_company(tiny, rng):
    texts, labels = reviews(rng, 64)
    teachers = weak(rng, labels)
    both = train(tiny, texts, teachers, epochs=1, seeds=(0, 1))[0].model.proba(texts)
    alone = train(tiny, texts, teachers, epochs=1, seeds=(1,))[0].model.proba(texts)
    np.testing.assert_array_equal(both[1], alone[0])


def test_accumulated_gradients_are_those_of_the_batch(tiny, rng, monkeypatch):
    """Without dropout, pieces of 5 rows give the same student as whole batches of 32."""
    monkeypatch.setattr("torch.nn.functional.dropout", lambda x, *_, **__: x)
    monkeypatch.setattr(torch.nn.Dropout, "forward", lambda _, x: x)
    texts, labels = reviews(rng, 64)
    teachers = weak(rng, labels)
    kinds = ({"micro_batch": 5}, {"micro_batch": 32})
    pieces, whole = (
        train(tiny, texts, teachers, epochs=2, learning_rate=1e-3, adaptation=kind)[0]
        for kind in kinds
    )
    np.testing.assert_allclose(pieces.model.proba(texts), whole.model.proba(texts), atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in available_methods() if name != "overlap"])
def test_every_method_runs(tiny, rng, name):
    texts, labels = reviews(rng, 64)
    outcome, _ = train(
        tiny, texts, weak(rng, labels, n_teachers=3), name, tuning="lora", epochs=2, seeds=(0, 1)
    )
    assert np.isfinite(outcome.model.proba(texts)).all()
    for control in outcome.controls.values():
        assert control.proba(texts).shape == (2, 64, 2)
    kept = outcome.diagnostics.get("kept")
    assert kept is None or (kept.shape[0], kept.shape[-1]) == (2, 64)


def test_features_are_asked_for_by_methods_that_look_at_them(tiny, rng):
    texts, labels = reviews(rng, 32)
    with pytest.raises(InputError, match="strong features are needed"):
        train(tiny, texts, weak(rng, labels), "overlap")


class Killed(Exception):
    pass


@pytest.mark.parametrize("validated", [False, True])
def test_a_killed_training_goes_on_where_it_was(tiny, rng, tmp_path, validated):
    texts, labels = reviews(rng, 64)
    teachers = weak(rng, labels)
    adaptation = {"dropout": 0.1, "save_every": 1}
    changes = {"epochs": 4, "adaptation": adaptation, "learning_rate": 1e-3}
    if validated:
        changes["validation"] = (texts[:16], np.eye(2)[labels[:16]])
    whole, all_epochs = train(tiny, texts, teachers, "enhanced", controls=False, **changes)
    seen = []

    def kill(end):
        seen.append((end.stage, end.epoch))
        if len(seen) == 6:  # in the second epoch of the second training
            raise Killed

    stored = {**changes, "controls": False, "checkpoint": tmp_path}
    with pytest.raises(Killed):
        train(tiny, texts, teachers, "enhanced", callbacks=(kill,), **stored)
    counted = []
    resumed, epochs = train(
        tiny,
        texts,
        teachers,
        "enhanced",
        callbacks=(lambda end: counted.append(end.epoch),),
        **stored,
    )
    assert counted == [1, 2, 3]  # the first training is taken as it was left
    np.testing.assert_array_equal(whole.model.proba(texts), resumed.model.proba(texts))
    assert epochs == all_epochs


@pytest.mark.parametrize("method", ["naive", "raven"])
def test_a_training_killed_at_any_step_ends_with_the_same_bytes(tiny, rng, tmp_path, method):
    texts, labels = reviews(rng, 64)
    teachers = weak(rng, labels, n_teachers=2)
    changes = {"epochs": 4, "controls": False, "learning_rate": 1e-3, "batch_size": 8}
    adaptation = {"save_every": 3, "evaluate_every": 1}  # every step has its callback
    whole, history = train(tiny, texts, teachers, method, adaptation=adaptation, **changes)
    stored = {**changes, "adaptation": adaptation, "checkpoint": tmp_path}
    for last in (2, 10, 4, 31):  # after the step before, some are killed before anything is saved
        taken = []

        def kill(end, last=last, taken=taken):
            taken.append(end.epoch)
            if end.epoch >= last:
                raise Killed

        with pytest.raises(Killed):
            train(tiny, texts, teachers, method, callbacks=(kill,), **stored)
    resumed, again = train(tiny, texts, teachers, method, **stored)
    assert again == history
    np.testing.assert_array_equal(whole.model.proba(texts), resumed.model.proba(texts))
    for name, value in whole.diagnostics.items():
        np.testing.assert_array_equal(resumed.diagnostics[name], value)


def test_a_checkpoint_of_another_configuration_is_refused(tiny, rng, tmp_path):
    texts, labels = reviews(rng, 32)
    teachers = weak(rng, labels)
    train(tiny, texts, teachers, epochs=1, checkpoint=tmp_path)
    train(tiny, texts, teachers, epochs=1, checkpoint=tmp_path, adaptation={"micro_batch": 7})
    for changes in ({"epochs": 2}, {"learning_rate": 0.5}, {"adaptation": {"max_length": 3}}):
        with pytest.raises(RunError, match="another configuration"):
            train(tiny, texts, teachers, **{"epochs": 1, "checkpoint": tmp_path, **changes})
    with pytest.raises(RunError, match="another configuration"):
        train(tiny, texts, 1 - teachers, epochs=1, checkpoint=tmp_path)


def test_a_damaged_checkpoint_is_named(tiny, rng, tmp_path):
    texts, labels = reviews(rng, 32)
    teachers = weak(rng, labels)
    train(tiny, texts, teachers, epochs=1, checkpoint=tmp_path)
    (file,) = (tmp_path / "seed0").glob("*.safetensors")
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(RunError, match="delete it"):
        train(tiny, texts, teachers, epochs=1, checkpoint=tmp_path)


def test_out_of_memory_takes_smaller_pieces_and_says_so_once(tiny, rng, caplog, monkeypatch):
    from w2s_data.finetune.levels.whole import WholeNetwork

    forward = WholeNetwork._forward

    def small_memory(self, items, rows):
        if len(rows) > 8:
            raise torch.OutOfMemoryError("no room")
        return forward(self, items, rows)

    monkeypatch.setattr(WholeNetwork, "_forward", small_memory)
    texts, labels = reviews(rng, 64)
    with caplog.at_level(logging.WARNING, logger="w2s_data"):
        outcome, _ = train(
            tiny, texts, weak(rng, labels), "enhanced", epochs=1, adaptation={"micro_batch": 16}
        )
    assert outcome.model.proba(texts).shape == (1, 64, 2)
    said = [r.getMessage() for r in caplog.records if "continuing with" in r.getMessage()]
    assert said == ["enhanced, naive: out of memory; continuing with at most 40 tokens at a time"]


def test_a_single_row_that_does_not_fit(tiny, rng, monkeypatch):
    from w2s_data.finetune.levels.whole import WholeNetwork

    def no_memory(*_):
        raise torch.OutOfMemoryError("no room")

    monkeypatch.setattr(WholeNetwork, "_forward", no_memory)
    texts, labels = reviews(rng, 32)
    with pytest.raises(TrainingError, match="naive, student: the memory does not suffice"):
        train(tiny, texts, weak(rng, labels))


def test_a_diverging_loss_names_method_and_step(tiny, rng, monkeypatch):
    # A rate that diverges for certain is refused with the settings.
    monkeypatch.setattr("w2s_data.finetune.settings.check_parameters", lambda *_: None)
    texts, labels = reviews(rng, 64)
    with pytest.raises(TrainingError, match=r"naive, student: the loss is not finite from step \d"):
        train(tiny, texts, weak(rng, labels), learning_rate=1e30)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"max_length": 0}, "max_length must be an integer >= 1"),
        ({"rank": 0}, "rank must be an integer >= 1"),
        ({"dropout": 1.0}, "dropout must be a number in"),
    ],
)
def test_settings_out_of_range(tiny, change, message):
    with pytest.raises(InputError, match=message):
        Adaptation(tiny, **change)


def test_inputs_that_do_not_fit(tiny, rng, tmp_path):
    texts, labels = reviews(rng, 32)
    teachers = weak(rng, labels)
    with pytest.raises(InputError, match="items has 31, weak_proba has 32"):
        train(tiny, texts[:-1], teachers)
    with pytest.raises(EncoderError, match="no model folder"):
        train(str(tmp_path / "nowhere"), texts, teachers)
    with pytest.raises(EncoderError, match="not str but int"):
        train(tiny, [1] * 32, teachers)


def test_lora_without_peft_says_what_to_install(tiny, rng, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "peft", None)
    texts, labels = reviews(rng, 32)
    with pytest.raises(MissingExtraError, match=r"w2s-data\[train\]"):
        train(tiny, texts, weak(rng, labels), tuning="lora")


def test_long_texts_are_cut(tiny, rng):
    texts, labels = reviews(rng, 32)
    task = whole_task(tiny, [text + " film" * 50 for text in texts], weak(rng, labels))
    assert set(task.network.lengths) == {16}
    assert task.network.read([]).lengths.tolist() == []


def saved_student(tiny, rng, tmp_path, tuning):
    """A whole model of one seed, where it is saved, and its texts."""
    texts, labels = reviews(rng, 32)
    student = fit_student(
        "naive", None, weak(rng, labels), items=texts, tuning=tuning, model=tiny, epochs=1,
        device="cpu", random_state=0, class_names=["poor", "good"],
    )  # fmt: skip
    student.save(tmp_path / "student")
    return student, tmp_path / "student", texts


@pytest.mark.parametrize("tuning", ["lora", "full"])
def test_saved_students_say_the_same(tiny, rng, tmp_path, tuning):
    student, folder, texts = saved_student(tiny, rng, tmp_path, tuning)
    again = Student.load(folder, device="cpu")
    np.testing.assert_array_equal(again.predict_proba(texts), student.predict_proba(texts))
    assert again.predict(texts).tolist() == student.predict(texts).tolist()
    assert (again.tuning, again.method) == (tuning, student.method)
    file = folder / ("adapter_model.safetensors" if tuning == "lora" else "model.safetensors")
    file.write_bytes(file.read_bytes()[:-1] + b"x")
    with pytest.raises(FileFormatError, match="as the weights of a student"):
        Student.load(folder)
    (folder / "student.json").write_text('{"schema_version": 0}')
    with pytest.raises(RunError, match="of schema 0; this version reads 1"):
        Student.load(folder)


@pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing. is deprecated")  # in peft
@pytest.mark.parametrize("tuning", ["lora", "full"])
def test_other_libraries_open_saved_students(tiny, rng, tmp_path, tuning):
    """The hidden states of transformers or peft, and the head beside, give the probabilities."""
    from safetensors.torch import load_file
    from transformers import AutoModel, AutoTokenizer

    student, folder, texts = saved_student(tiny, rng, tmp_path, tuning)
    if tuning == "lora":
        peft = pytest.importorskip("peft")
        model = peft.PeftModel.from_pretrained(AutoModel.from_pretrained(tiny), folder)
    else:
        model = AutoModel.from_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(tiny if tuning == "lora" else folder)
    inputs = tokenizer(texts, return_tensors="pt", padding=True, truncation=True)
    inputs.pop("token_type_ids", None)
    head = load_file(folder / "student.safetensors")
    with torch.inference_mode():
        hidden = model.eval()(**inputs).last_hidden_state
        mask = inputs["attention_mask"][..., None]
        mean = (hidden * mask).sum(1) / mask.sum(1)
        proba = (mean @ head["head.weight"].T + head["head.bias"]).softmax(-1)
    np.testing.assert_allclose(proba.numpy(), student.predict_proba(texts), atol=1e-5)


def test_adapters_refuse_another_base(tiny, rng, tmp_path):
    base = tmp_path / "base"
    shutil.copytree(tiny, base)
    _, folder, _ = saved_student(str(base), rng, tmp_path, "lora")
    save_tiny_model(base, n_layers=3)
    with pytest.raises(RunError, match="it is another one now"):
        Student.load(folder)


def test_adapters_find_a_base_that_has_moved(tiny, rng, tmp_path):
    base, now = tmp_path / "base", tmp_path / "elsewhere"
    shutil.copytree(tiny, base)
    student, folder, texts = saved_student(str(base), rng, tmp_path, "lora")
    base.rename(now)
    with pytest.raises(RunError, match=r"needs model '.*base'.*pass base, the folder where it is"):
        Student.load(folder)
    proba = Student.load(folder, base=str(now)).predict_proba(texts)
    np.testing.assert_allclose(proba, student.predict_proba(texts), atol=1e-6)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("tuning", ["lora", "full"])
def test_gpu_agrees_with_cpu_to_half_precision(tiny, rng, tuning):
    texts, labels = reviews(rng, 128)
    teachers = weak(rng, labels)
    fresh, truth = reviews(rng, 100)
    for device in ("cpu", "cuda"):
        outcome, _ = train(tiny, texts, teachers, tuning=tuning, device=device)
        assert accuracy(outcome.model.proba(fresh), truth)[0] > 0.9


@pytest.mark.slow
@pytest.mark.parametrize(("tuning", "rate"), [("lora", 3e-3), ("full", 3e-4)])
def test_minilm_learns_sentiment(minilm_path, data_home, tuning, rate):
    import pandas as pd

    table = pd.read_parquet(data_home / "sst2.parquet").sample(400, random_state=0)
    texts, labels = table["text"].tolist(), pd.factorize(table["label"], sort=True)[0]
    model = Adaptation(str(minilm_path), max_length=16)
    settings = ResolvedSettings(
        tuning, model, epochs=2, batch_size=16, learning_rate=rate, device="cpu"
    )
    pool = Pool(np.eye(2)[labels[:128]][:, None], np.ones(128))
    outcome, _ = train_whole(make_method("naive"), pool, settings, texts[:128])
    assert accuracy(outcome.model.proba(texts[200:]), labels[200:])[0] > 0.62
