"""Students that a run keeps, and their use on new rows: the same numbers, formats, refusals."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pandas as pd
import pytest
from huggingface_hub import ModelCard

from tests.w2s_data.finetune.tiny import save_tiny_model
from w2s_data import FeatureStore, Run, apply_student, audit, load_dataset
from w2s_data.compute.context import Compute
from w2s_data.errors import ColumnError, FeatureError, InputError, RunError
from w2s_data.finetune import GainResult, Student
from w2s_data.stages import newrows
from w2s_data.stages.embedding import load_features
from w2s_data.stages.forecasting import forecast_stage
from w2s_data.stages.gain_settings import GainSettings
from w2s_data.stages.graph import FORECAST, GAIN
from w2s_data.stages.inspection import inspect_run
from w2s_data.stages.keeping import load_student, student_folder
from w2s_data.stages.training import gain_stage

OFF = dict.fromkeys(("forecast", "groups", "select"), False)
GAINS = {"methods": ["stacked", "naive"], "seeds": 2, "epochs": 5, "controls": False}
FILLER = [f"word{i}" for i in range(12)]
QUICK = {"progress": False, "report": {"map": False}, **OFF, "gain": GAINS}


def texts(n=240):
    rng = np.random.default_rng(0)
    label = rng.choice(["good", "poor"], n)
    words = [f"word{i}" for i in range(12)]
    review = [
        " ".join([*rng.choice(words, 6), *rng.choice(["fine", "dull"], 3, p=p)])
        for p in np.where((label == "good")[:, None], [0.8, 0.2], [0.2, 0.8])
    ]
    return pd.DataFrame({"key": [f"r{i}" for i in range(n)], "review": review, "mood": label})


@pytest.fixture(scope="module")
def table():
    return texts()


@pytest.fixture(scope="module")
def made(tmp_path_factory, table):
    """A finished run of texts; its tests do not change it."""
    columns = {"item": "review", "label": "mood", "id": "key"}
    return audit(
        table,
        columns=columns,
        weak="tfidf:2",
        strong="tfidf:8",
        output=tmp_path_factory.mktemp("apply") / "run",
        **QUICK,
    )


@pytest.fixture
def run(made, tmp_path):
    """A copy of the run that a test may change."""
    return Run.open(shutil.copytree(made.path, tmp_path / "run"))


def applied(run, data, **settings):
    return apply_student(run, data, compute=Compute(progress=False), **settings)


def probabilities(frame):
    return frame.filter(like="proba / ").to_numpy()


@pytest.mark.parametrize("which", ["best", "naive"])
def test_own_rows_have_the_numbers_of_the_run(made, table, tmp_path, which):
    name = json.loads((made.path / "gain.json").read_text())["kept"][which]
    result = applied(made, table, student=which, to=tmp_path / "labels.parquet")
    frame = result.to_frame()
    assert frame["id"].tolist() == table["key"].tolist()
    np.testing.assert_allclose(probabilities(frame).sum(axis=1), 1, atol=1e-6)
    predictions = pd.read_parquet(made.path / "predictions.parquet")
    if f"{name} / label" in predictions:  # references are not in that table
        np.testing.assert_allclose(
            probabilities(frame).max(axis=1), predictions[f"{name} / proba"], atol=2e-6
        )
        assert (frame["label"].astype(str) == predictions[f"{name} / label"].astype(str)).all()
    assert sum(result.counts.values()) == len(table) == result.n_rows


def test_best_is_the_most_accurate_on_test_and_says_so(made, table, tmp_path):
    gain = json.loads((made.path / "gain.json").read_text())
    accuracies = {s["name"]: s["scores"]["accuracy"]["value"] for s in gain["students"]}
    accuracies["labelled_only"] = gain["labelled_only"]["scores"]["accuracy"]["value"]
    assert accuracies[gain["kept"]["best"]] == max(accuracies.values())
    lines = "\n".join(applied(made, table, to=tmp_path / "x.csv").lines())
    assert "by which it was chosen: slightly optimistic" in lines


def test_features_give_what_items_give(made, table, tmp_path):
    features = load_features(made)["strong"].take(slice(None))
    np.save(tmp_path / "new.npy", features)
    by_items = applied(made, table, to=tmp_path / "items.parquet").to_frame()
    store = FeatureStore.open(made.path / "features" / "strong").select(made.dataset().items)
    for data in (tmp_path / "new.npy", features, store, made.dataset()):
        frame = applied(made, data, to=tmp_path / "vectors.parquet").to_frame()
        assert frame.columns[0] == (
            "id" if data is not features and data is made.dataset() else "row"
        )
        np.testing.assert_allclose(probabilities(frame), probabilities(by_items), atol=1e-6)


def test_every_format_holds_the_same(made, table, tmp_path):
    frames = [
        applied(made, table.head(40), to=tmp_path / f"labels.{suffix}").to_frame()
        for suffix in ("parquet", "csv", "tsv", "jsonl")
    ]
    for frame in frames[1:]:
        assert list(frame.columns) == list(frames[0].columns)
        assert frame["label"].tolist() == frames[0]["label"].tolist()
        np.testing.assert_allclose(probabilities(frame), probabilities(frames[0]), rtol=1e-5)


def test_weak_labels_trust_and_regions_are_those_of_the_run(made, table, tmp_path):
    frame = applied(made, table, to=tmp_path / "labels.parquet").to_frame()
    scores = pd.read_parquet(made.path / "scores.parquet")
    # Test rows took no part in any fit; the run's own rows have cross-fitted or held-out scores.
    test = (scores["split"] == "test").to_numpy()
    for column in ("weak_label", "region"):
        assert (frame[column].astype(str) == scores[column].astype(str))[test].all()
    np.testing.assert_allclose(frame["trust"][test], scores["trust"][test], atol=1e-5)
    posterior = pd.read_parquet(made.path / "posterior.parquet")
    assert (frame["vote"].astype(str) == posterior["label"].astype(str))[test].all()
    plain = applied(made, table, scores=False, to=tmp_path / "plain.parquet").to_frame()
    assert set(frame.columns) - set(plain.columns) == {"weak_label", "vote", "trust", "region"}


def test_weak_labels_come_from_the_columns_that_the_run_knows(table, tmp_path):
    rng = np.random.default_rng(1)
    p = np.where(table["mood"] == "good", 0.7, 0.3) + rng.uniform(-0.3, 0.3, len(table))
    weak = table.assign(good=p, poor=1 - p)
    columns = {"item": "review", "label": "mood", "weak_columns": ["good", "poor"]}
    run = audit(weak, columns=columns, strong="tfidf:8", output=tmp_path / "run", **QUICK)
    frame = applied(run, weak, to=tmp_path / "labels.parquet").to_frame()
    right = frame["weak_label"].astype(str) == table["mood"]
    assert frame["trust"][right].mean() > frame["trust"][~right].mean()
    assert (frame["weak_label"] == "good").tolist() == (p > 0.5).tolist()
    without = applied(run, table, to=tmp_path / "without.parquet").to_frame()
    assert "trust" not in without
    with pytest.raises(InputError, match="the new rows have classes"):
        applied(run, load_dataset(table.assign(mood=["x", "y"] * 120), item="review", label="mood"))


@pytest.fixture(scope="module")
def pairs():
    rng = np.random.default_rng(0)

    def answers(words, letter, n=240):
        drawn = ([*rng.choice(FILLER, 4), *rng.choice(words, 3)] for _ in range(n))
        return [" ".join([*words, f"{letter}{i}"]) for i, words in enumerate(drawn)]

    sides = {"good": answers(["clear", "short"], "a"), "bad": answers(["vague", "long"], "b")}
    return pd.DataFrame(sides | {"key": [f"p{i}" for i in range(240)]})


@pytest.fixture(scope="module")
def judged(tmp_path_factory, pairs):
    """A finished run of pairs of texts."""
    columns = {"chosen": "good", "rejected": "bad", "id": "key"}
    output = tmp_path_factory.mktemp("pairs") / "run"
    gain = GAINS | {"epochs": 20}
    models = {"weak": "tfidf:2", "strong": "tfidf:8"}
    return audit(pairs[:200], columns=columns, **models, output=output, **QUICK | {"gain": gain})


def test_new_pairs_get_a_preference_in_the_order_of_their_columns(judged, pairs, tmp_path):
    new = pairs[200:]
    result = applied(judged, new, to=tmp_path / "new.parquet")
    assert "the first item is that of 'good', the second that of 'bad'" in result.notes[-1]
    frame = result.to_frame()
    assert frame["id"].tolist() == new["key"].tolist()
    assert (frame["label"] == "first preferred").mean() > 0.75
    assert frame["trust"].notna().all()
    other = new.rename(columns={"good": "bad", "bad": "good"})
    swapped = applied(judged, other, to=tmp_path / "swapped.parquet").to_frame()
    np.testing.assert_allclose(probabilities(swapped), probabilities(frame)[:, ::-1], atol=1e-6)
    with pytest.raises(InputError, match="item does not apply to pairs"):
        applied(judged, new, item="good")
    with pytest.raises(InputError, match="lack 'good'"):
        applied(judged, new[["key", "bad"]])


def test_the_pairs_of_a_run_have_its_numbers(judged, pairs, tmp_path):
    frame = applied(judged, pairs[:200], student="naive", to=tmp_path / "own.parquet").to_frame()
    known = pd.read_parquet(judged.path / "predictions.parquet")
    # Whichever order the run drew, its gold label is that the good item is preferred.
    np.testing.assert_allclose(
        frame["proba / first preferred"], known["naive / gold proba"], atol=2e-6
    )


def test_table_lands_in_the_run_by_default(run, table):
    path = applied(run, table).path
    assert path == run.path / "applied-data.parquet"
    assert list(run.path.glob(".*tmp*")) == []


def test_new_items_are_embedded_once(run, table):
    shutil.rmtree(run.path / "applied", ignore_errors=True)  # of a test of the original
    applied(run, table.head(100))
    store = run.path / "applied" / "strong"
    shards = {file.name for file in store.glob("*.parquet")}
    applied(run, table.head(130))
    assert shards < {file.name for file in store.glob("*.parquet")}
    assert FeatureStore.open(store).shape[0] == len(set(table["review"].head(130)))


def test_new_rows_need_no_labels_and_may_be_few(made, table, tmp_path):
    new = pd.DataFrame({"review": ["word1 word3 fine fine fine", "word1 word3 dull dull dull"]})
    frame = applied(made, new, to=tmp_path / "two.csv").to_frame()
    assert frame["id"].tolist() == [0, 1]
    assert frame["proba / good"][0] > frame["proba / good"][1]
    one = table.head(1)  # with its label
    assert applied(made, one, to=tmp_path / "one.csv").n_rows == 1


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda t: t.rename(columns={"review": "text"}), ColumnError, "lack 'review'.*'text'"),
        (lambda t: t.assign(mood="mixed"), InputError, "mixed"),
        (lambda t: t.assign(review=np.arange(len(t)) * [[1.0]] * 3), InputError, "."),
        (lambda _: np.zeros((3, 5), np.float32), FeatureError, "trained on 8 features; got 5"),
        (lambda t: t.head(0), InputError, "no rows"),
        (lambda _: np.full((3, 8), np.nan, np.float32), FeatureError, "NaN.*rows 0, 1, 2"),
    ],
    ids=["columns", "classes", "kind", "width", "empty", "nan"],
)
def test_other_data_are_refused(made, table, tmp_path, change, error, message):
    if message == ".":
        data = pd.DataFrame({"review": [[1.0, 2.0]] * 3})
        message = "must hold text"
    else:
        data = change(table)
    with pytest.raises(error, match=message):
        applied(made, data, to=tmp_path / "x.parquet")
    assert list(tmp_path.glob("*")) == []


def test_another_encoder_is_refused(made, run, table):
    manifest = json.loads((run.path / "manifest.json").read_text())
    manifest["encoders"]["strong"]["n_components"] = 7
    (run.path / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(FeatureError, match="strong encoder is not that of"):
        applied(Run.open(run.path), table)
    other = FeatureStore.open(made.path / "features" / "weak")
    with pytest.raises(FeatureError, match="n_components 8, now 2"):
        applied(made, other)


def test_runs_without_a_student_are_refused(run, table, tmp_path):
    unfinished = audit(
        table,
        columns={"item": "review", "label": "mood"},
        weak="tfidf:2",
        strong="tfidf:8",
        output=tmp_path / "new",
        **(QUICK | {"gain": False}),
    )
    with pytest.raises(RunError, match="has no student: `w2s gain"):
        applied(unfinished, table)
    with pytest.raises(InputError, match=r"to|must end in one of \.csv"):
        applied(run, table, to=tmp_path / "labels.txt")
    with pytest.raises(ColumnError, match="no column 'name'; valid: 'key', 'review', 'mood'"):
        applied(run, table, id="name")
    with pytest.raises(InputError, match="student must be one of"):
        applied(run, table, student="worst")
    with pytest.raises(InputError, match="is a run"):
        applied(run, run.path)


def test_outdated_and_changed_students_are_refused(run):
    record = run.manifest["stages"][GAIN.name]
    key = record["key"]
    record["key"] = "0" * 64
    with pytest.raises(RunError, match="older than its items or features"):
        load_student(run)
    record["key"] = key
    (run.path / "students" / "best" / "model.safetensors").write_bytes(b"")
    with pytest.raises(RunError, match="has changed since stage 'gain'"):
        load_student(run)


def test_a_later_forecast_leaves_students_as_they_are(run):
    assert FORECAST.name not in run.manifest["stages"]
    forecast_stage(run, compute=Compute(progress=False))
    load_student(run)  # which no forecast has a part in
    assert not [p for p in inspect_run(run.path) if "older than" in str(p)]
    settings = GainSettings(**GAINS)
    assert not gain_stage(run, settings, Compute(progress=False)).fresh  # it compares itself
    assert gain_stage(run, settings, Compute(progress=False)).fresh


def test_students_follow_the_measurement(run):
    def files():
        return {f.relative_to(run.path).as_posix() for f in run.path.glob("students/*/*")}

    before = files()
    assert before <= set(run.manifest["stages"][GAIN.name]["files"])
    settings = GainSettings(**GAINS | {"methods": ("stacked",)})
    gain_stage(run, settings, Compute(progress=False))
    assert {name.split("/")[1] for name in files()} == {"best"}
    with pytest.raises(RunError, match="has no naive student"):
        load_student(run, "naive")


def test_a_naive_student_that_is_the_best_is_written_once(run, table, tmp_path, monkeypatch):
    monkeypatch.setattr(GainResult, "best_student", "naive")
    settings = GainSettings(**GAINS | {"methods": ("naive",)})
    gain_stage(run, settings, Compute(progress=False))
    assert {f.parent.name for f in run.path.glob("students/*/*")} == {"best"}
    naive, best = (
        applied(run, table, student=which, to=tmp_path / f"{which}.parquet").to_frame()
        for which in ("naive", "best")
    )
    pd.testing.assert_frame_equal(naive, best)


def test_a_student_without_its_weights_is_trained_again(run):
    before = Student.load(run.path / "students" / "naive")
    lost = next(run.path.glob("gain/*/naive-*-seed1.weights.safetensors"))
    content = lost.read_bytes()
    lost.unlink()
    (run.path / "predictions.parquet").unlink()  # so that the stage runs again
    gain_stage(run, GainSettings(**GAINS), Compute(progress=False))
    assert lost.read_bytes() == content
    after = Student.load(run.path / "students" / "naive")
    np.testing.assert_array_equal(before.model.coef, after.model.coef)
    assert after.seeds == (0, 1)


def opened_card(run, which, tuning):
    """Check what a model card says, and return the labels that its own lines of Python give."""
    folder = run.path / student_folder(run, which)
    text = (folder / "README.md").read_text(encoding="utf-8")
    card, gain = ModelCard(text), json.loads((run.path / "gain.json").read_text())
    method = gain["kept"][which]
    assert {"weak-to-strong", method, tuning} <= {*card.data.tags}
    library = {"head": "w2s-data", "lora": "peft", "full": "transformers"}[tuning]
    assert (card.data.library_name, card.data.metrics) == (library, ["accuracy"])
    known = [*gain["students"], gain["labelled_only"]]
    student = next(s for s in known if s["name"] == method)
    accuracy = student["scores"]["accuracy"]
    assert card.data.eval_results[0].metric_value == round(accuracy["value"], 4)
    limits = f"{accuracy['low']:.3f} to {accuracy['high']:.3f}"
    assert f"| this student | {accuracy['value']:.3f} | {limits} |" in text
    assert str(run.path) not in text  # it may be uploaded
    code = text.partition("```python\n")[2].partition("```")[0]
    return card.data.base_model, code.replace("this/folder", str(folder))


@pytest.mark.parametrize("which", ["best", "naive"])
def test_a_card_describes_a_head_and_its_code_runs(made, table, tmp_path, which):
    base, code = opened_card(made, which, "head")
    assert base is None  # tfidf is no model of a hub
    found = {"inputs": load_features(made)["strong"].take(slice(None))}
    exec(code, found)
    frame = applied(made, table, student=which, to=tmp_path / "labels.parquet").to_frame()
    assert found["labels"].tolist() == frame["label"].tolist()


@pytest.mark.slow
@pytest.mark.parametrize("tuning", ["lora", "full"])
def test_whole_models_are_kept_and_applied(run, table, tmp_path, tuning):
    pytest.importorskip("peft")
    model = tmp_path / "model"
    save_tiny_model(model, n_layers=1)
    settings = {"methods": ("naive",), "seeds": 2, "tuning": tuning, "model": str(model)}
    gain_stage(run, GainSettings(**settings, epochs=1), Compute(progress=False, device="cpu"))
    student = load_student(run, "naive", device="cpu")
    assert student.seeds == (0,)
    frame = applied(run, table, student="naive", to=tmp_path / "labels.parquet").to_frame()
    np.testing.assert_allclose(
        probabilities(frame), student.predict_proba(table["review"].tolist()), atol=1e-5
    )
    known = pd.read_parquet(run.path / "predictions.parquet")
    pool = (known["split"] != "test").to_numpy()  # test rows have the mean over both seeds
    np.testing.assert_allclose(
        probabilities(frame).max(axis=1)[pool], known["naive / proba"][pool], atol=1e-5
    )
    test = ~pool & known["label"].notna().to_numpy()
    own = (frame["label"].to_numpy() == known["label"].astype(object))[test].mean()
    card = (run.path / student_folder(run, "naive") / "README.md").read_text(encoding="utf-8")
    assert f"this folder holds seed 0, with an accuracy of {own:.3f} (" in card
    base, code = opened_card(run, "naive", tuning)
    assert base == "model"
    size = json.loads((run.path / "gain.json").read_text())["kept_size"]
    files = [file for file in (run.path / "students").rglob("*") if file.is_file()]
    assert size["students"] == sum(file.stat().st_size for file in files)
    assert size["checkpoints"] > 0
    share = size["trained"] / size["parameters"]  # all but the pooler, which is not read
    assert share > 0.9 if tuning == "full" else share < 0.6
    found = {"inputs": table["review"].tolist()}
    exec(code, found)
    assert found["labels"].tolist() == frame["label"].tolist()
    with pytest.raises(InputError, match="which reads items"):
        applied(run, np.zeros((2, 8), np.float32))


@pytest.mark.slow
def test_a_killed_whole_model_goes_on_where_it_was(run, table, tmp_path, monkeypatch):
    save_tiny_model(tmp_path / "model", n_layers=1)
    settings = {"methods": ("naive",), "seeds": 1, "tuning": "full", "epochs": 1}
    settings |= {"model": str(tmp_path / "model"), "controls": False}
    gain_stage(run, GainSettings(**settings), Compute(progress=False, device="cpu"))
    monkeypatch.setattr(newrows, "ITEMS", 50)
    whole = applied(run, table, student="naive", to=tmp_path / "whole.csv").to_frame()
    predict, read = Student.predict_proba, []

    def watched(self, inputs):
        if len(read) == 3:
            read.append(0)
            raise KeyboardInterrupt
        read.append(len(inputs))
        return predict(self, inputs)

    monkeypatch.setattr(Student, "predict_proba", watched)
    with pytest.raises(KeyboardInterrupt):
        applied(run, table, student="naive", to=tmp_path / "labels.csv")
    assert not (tmp_path / "labels.csv").exists()
    resumed = applied(run, table, student="naive", to=tmp_path / "labels.csv").to_frame()
    assert read == [50, 50, 50, 0, 50, 40]
    pd.testing.assert_frame_equal(resumed, whole)
    assert not list((run.path / "applied").rglob("*.npy"))
