"""Teachers of a run: what they learn from, what they say, and what is kept of them."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression

from w2s_data import Run, TfidfEncoder, load_dataset
from w2s_data.compute.context import Compute
from w2s_data.compute.memory import MemoryLimit
from w2s_data.errors import InputError
from w2s_data.features.store import FeatureStore
from w2s_data.stages.embedding import embed_stage
from w2s_data.stages.gold import gold_rows
from w2s_data.stages.models import EmbedSettings
from w2s_data.stages.newrows import new_items
from w2s_data.stages.posterior import posterior_of
from w2s_data.stages.scoring import score_stage
from w2s_data.stages.settings import read_settings
from w2s_data.stages.teacher_settings import TeachSettings
from w2s_data.stages.teacher_store import is_taught, read_taught, teacher_names, teacher_stages
from w2s_data.stages.teaching import teach_stage
from w2s_data.stages.weak_labels import weak_labels_of, weak_proba_by_model

CLASSES = ("art", "law", "sea", "war")
WORDS = {
    "art": "paint brush colour canvas museum",
    "law": "court judge trial verdict appeal",
    "sea": "wave ship sail harbour storm",
    "war": "army battle siege general truce",
}


def table(n=240, seed=0):
    """Texts of four classes and two sources, with a noisy column of probabilities and a label."""
    rng = np.random.default_rng(seed)
    codes = np.arange(n) % 4
    texts = []
    for code in codes:
        own = rng.choice(WORDS[CLASSES[code]].split(), 3)
        other = rng.choice(" ".join(WORDS.values()).split(), 2)
        texts.append(" ".join(rng.permutation([*own, *other])) + f" {rng.integers(1000)}")
    said = np.where(rng.random(n) < 0.7, codes, rng.integers(0, 4, n))
    proba = np.full((n, 4), 0.1)
    proba[np.arange(n), said] = 0.7
    frame = pd.DataFrame(
        {
            "text": texts,
            "label": np.array(CLASSES)[codes],
            "source": np.where(np.arange(n) % 3 == 0, "north", "south"),
            "split": np.array(["labelled", "pool", "pool", "test"])[(np.arange(n) // 4) % 4],
            "crowd": np.array([*CLASSES, None], dtype=object)[np.where(said == 3, -1, said)],
            "sure": np.where(said == 3, np.nan, 0.85),
        }
    )
    return frame.assign(**{f"p_{name}": proba[:, c] for c, name in enumerate(CLASSES)})


PROBE = {"encoder": "tfidf:8", "l2": 0.1}  # a penalty by cross-validation takes seconds
KEPT = ("crowd", "sure", *(f"p_{name}" for name in CLASSES))


@pytest.fixture(scope="module")
def frame():
    return table()


@pytest.fixture
def run(tmp_path, frame):
    return open_run(tmp_path / "run", frame)


def open_run(folder, frame, **options):
    data = load_dataset(
        frame, item="text", label="label", source="source", split="split", keep=KEPT, **options
    )
    run = Run.create(folder, data)
    run.extra = data.extra
    return run


def compute(seed=0):
    return Compute(device="cpu", progress=False, seed=seed)


def teach(run, teachers, **settings):
    own = read_settings(TeachSettings, {"teacher": teachers, **settings})
    return teach_stage(run, own, compute()).summary


def times(run):
    return {path.name: path.stat().st_mtime_ns for path in (run.path / "teachers").glob("*")}


def check_new_rows(run, frame):
    """Teachers say of rows that arrive later what they say of the same rows in the pool."""
    data = run.dataset()
    weak, pool = weak_labels_of(run, data, compute()), data.rows("pool")
    new = load_dataset(frame.iloc[pool][["text", "label"]], item="text", label="label")
    labels, notes = weak.of_new(new_items(run, new, compute()))
    assert notes == []
    np.testing.assert_allclose(labels, weak.proba[pool], atol=1e-5)


def test_a_probe_says_what_logistic_regression_says(run):
    teach(run, {"north": PROBE | {"train_on": {"source": ["north"]}}})
    data = run.dataset()
    store = next((run.path / "features").glob("teacher-*"))
    features = FeatureStore.open(store).select(data.items).take(np.arange(len(data)))
    taught = read_taught(run, "north")
    rows = gold_rows(data).rows
    rows = rows[data.sources[rows] == "north"]
    np.testing.assert_array_equal(taught.lesson.rows, rows)
    np.testing.assert_array_equal(taught.lesson.codes, data.labels[rows])
    centred = features - features[rows].mean(axis=0)
    scaled = centred / features[rows].std(axis=0)
    exact = LogisticRegression(C=1 / (len(rows) * 0.1), tol=1e-9, max_iter=2000)
    exact.fit(scaled[rows], data.labels[rows])
    others = data.rows("pool")
    expected = exact.predict_proba(scaled[others])
    np.testing.assert_allclose(taught.opinions.proba[others], expected, atol=2e-3)
    # Its own rows are cross-fitted: a model that saw them would be surer of them.
    own = taught.opinions.proba[rows, data.labels[rows]]
    assert (
        own.mean()
        < exact.predict_proba(scaled[rows])[np.arange(len(rows)), data.labels[rows]].mean()
    )


def test_noise_and_shares_are_exact_and_differ_by_teacher(run):
    noisy = PROBE | {"train_on": {"label_noise": 0.25}}
    half = PROBE | {"train_on": {"share": 0.5, "classes": ["art", "sea"]}}
    teach(run, {"noisy": noisy, "other": noisy, "half": half})
    data = run.dataset()
    labels = data.labels
    wrong = {}
    for name in ("noisy", "other"):
        lesson = read_taught(run, name).lesson
        wrong[name] = lesson.rows[lesson.codes != labels[lesson.rows]]
        assert len(wrong[name]) == round(0.25 * len(lesson.rows))
    assert {*wrong["noisy"]} != {*wrong["other"]}
    rows = read_taught(run, "half").lesson.rows
    assert len(rows) == round(0.5 * np.isin(labels[gold_rows(data).rows], [0, 2]).sum())
    assert {*labels[rows]} == {0, 2}


def test_columns_mean_what_they_are_called(run, frame):
    summary = teach(
        run,
        {
            # Named in another order than that of the classes.
            "proba": {"columns": [f"p_{name}" for name in reversed(CLASSES)]},
            "crowd": {"label": "crowd", "confidence": "sure"},
        },
    )
    proba = weak_proba_by_model(run, run.dataset())
    np.testing.assert_allclose(proba[:, 0], frame[[f"p_{name}" for name in CLASSES]])
    said = frame["crowd"].notna().to_numpy()
    assert np.ptp(proba[~said, 1]) == 0
    codes = frame.loc[said, "crowd"].map(CLASSES.index).to_numpy()
    np.testing.assert_allclose(proba[said, 1][np.arange(said.sum()), codes], 0.85)
    by_name = {one["name"]: one for one in summary["teachers"]}
    assert by_name["crowd"]["coverage"] == pytest.approx(said.mean())
    assert by_name["proba"]["coverage"] == 1


def test_teachers_share_features_and_only_a_changed_one_is_taught_again(run):
    small = PROBE
    north = PROBE | {"train_on": {"source": ["north"]}, "fit_encoder": "all"}
    teach(run, {"small": small, "north": north})
    assert len(list((run.path / "features").glob("teacher-*"))) == 1
    before = times(run)
    assert teach(run, {"small": small, "north": north})
    assert times(run) == before
    summary = teach(run, {"north": north | {"l2": 1.0}, "crowd": {"label": "crowd"}})
    assert [one["name"] for one in summary["teachers"]] == ["small", "north", "crowd"]
    after = times(run)
    assert after["small.parquet"] == before["small.parquet"]
    assert after["north.parquet"] > before["north.parquet"]
    # A teacher that fails leaves the others as they are, those taught just before it too.
    with pytest.raises(InputError, match="teacher 'bad': column 'nothing' is not among"):
        teach(run, {"more": {"columns": KEPT[2:]}, "bad": {"label": "nothing"}})
    assert (run.path / "teachers" / "more.parquet").is_file()
    assert [*teacher_names(run)] == ["small", "north", "crowd"]
    teach(run, {"more": {"columns": KEPT[2:]}}, drop=["north", "crowd"])
    assert [*teacher_names(run)] == ["small", "more"]
    teach(run, {"more": {"columns": KEPT[2:]}}, only=True)
    assert [*teacher_names(run)] == ["more"]
    teach(run, {}, only=True)
    assert teacher_names(run) == ()
    assert not is_taught(run)


def test_an_encoder_learns_from_the_rows_of_its_teacher(run, frame):
    north = PROBE | {"train_on": {"source": ["north"]}}
    noisy = PROBE | {"train_on": {"source": ["north"], "label_noise": 0.2}}
    every = north | {"fit_encoder": "all"}
    summary = teach(run, {"small": PROBE, "north": north, "noisy": noisy, "every": every})
    stores = {one["name"]: one["features"] for one in summary["teachers"]}
    assert stores["north"] == stores["noisy"] != stores["small"] == stores["every"]
    data, own = run.dataset(), read_taught(run, "north").lesson.rows
    assert {*data.sources[own]} == {"north"}
    features = FeatureStore.open(run.path / "features" / stores["north"]).select(data.items)
    exact = TfidfEncoder(8).fit([data.items[row] for row in own])
    np.testing.assert_allclose(features.array(), exact.encode(data.items), atol=1e-5)
    check_new_rows(run, frame)
    teach(run, {"small": PROBE}, only=True)
    assert {path.name for path in run.path.glob("*/teacher-*")} == {stores["small"]}


def test_an_encoder_follows_the_rows_that_memory_holds(run, frame, monkeypatch):
    with monkeypatch.context() as patched:
        patched.setattr(MemoryLimit, "rows", lambda *_: 24)
        summary = teach(run, {"south": PROBE | {"train_on": {"source": ["south"]}}})
    assert [one["n_taught"] for one in summary["teachers"]] == [24]
    check_new_rows(run, frame)


def test_specialists_know_their_part_and_hardly_speak_of_the_rest(run):
    summary = teach(run, {"own": PROBE | {"specialists": "halves"}})
    names = [one["name"] for one in summary["teachers"]]
    assert names == ["own", "own/1of2", "own/2of2"]
    assert summary["stages"] == [1, 2]
    assert [one["classes"] for one in summary["teachers"]] == [
        list(CLASSES), ["art", "law"], ["sea", "war"],
    ]  # fmt: skip
    proba = weak_proba_by_model(run, run.dataset())
    np.testing.assert_allclose(proba.sum(axis=2), 1)
    np.testing.assert_allclose(proba[:, 1, 2:].sum(axis=1), 1e-3)
    np.testing.assert_allclose(proba[:, 2, :2].sum(axis=1), 1e-3)
    by_source = teach(
        run,
        {"crowd": {"label": "crowd"}, "by": PROBE | {"specialists": "sources"}},
        only=True,
    )
    # Generalists first, so that the levels of a hierarchy are columns beside each other.
    assert [one["name"] for one in by_source["teachers"]] == ["crowd", "by", "by/north", "by/south"]
    assert teacher_stages(run) == (2, 2)


def test_teachers_learn_again_without_rows_and_fixed_ones_stay(run):
    teach(run, {"small": PROBE, "crowd": {"label": "crowd"}})
    data = run.dataset()
    weak = weak_labels_of(run, data, compute())
    gold, pool = gold_rows(data), data.rows("pool")
    relabel = weak.relabel(gold.units, gold.rows, pool)
    kept = np.arange(len(gold.rows) // 2)
    on_gold, on_pool = relabel(kept)
    np.testing.assert_array_equal(on_gold[:, 1], weak.proba[gold.rows, 1])
    np.testing.assert_array_equal(on_pool[:, 1], weak.proba[pool, 1])
    learner = weak.learners[0]
    features = learner.features.take(np.arange(len(data)))
    rows = gold.rows[kept]
    scaled = (features - features[rows].mean(axis=0)) / features[rows].std(axis=0)
    exact = LogisticRegression(C=1 / (len(rows) * 0.1), tol=1e-9, max_iter=2000)
    exact.fit(scaled[rows], data.labels[rows])
    np.testing.assert_allclose(on_pool[:, 0], exact.predict_proba(scaled[pool]), atol=2e-3)


def test_scores_join_all_teachers_and_follow_them(run):
    pixels = np.eye(4, 6)[run.dataset().labels] + np.random.default_rng(0).normal(size=(240, 6))
    embed_stage(run, EmbedSettings(strong_features=pixels.astype(np.float32)), compute())
    teach(run, {"small": PROBE, "crowd": {"label": "crowd"}})
    summary = score_stage(run, None, compute()).summary
    assert {*summary["posterior"]["weights"]} >= {"small", "crowd"}
    assert [one["name"] for one in summary["reliability"]["teachers"]] == ["small", "crowd"]
    assert posterior_of(run, run.dataset()).shape == (240, 4)
    assert score_stage(run, None, compute()).fresh
    teach(run, {"more": {"columns": KEPT[2:]}})
    assert not score_stage(run, None, compute()).fresh
    assert weak_proba_by_model(run, run.dataset()).shape == (240, 3, 4)


BAD = {
    "of no kind": ({"a": {"l2": 1.0}}, "teacher 'a' is of no kind: give one of 'encoder'"),
    "table": ({"a": {"encoder": "tfidf", "train_on": "north"}}, "train_on must be a table; got"),
    "misspelled kind": (
        {"a": {"encodr": "tfidf"}},
        "is of no kind: 'encodr', did you mean 'encoder'? Give one of",
    ),
    "two kinds": (
        {"a": {"encoder": "tfidf", "answers": "x"}},
        "teacher 'a' is of two kinds, 'encoder' and 'answers'",
    ),
    "name": ({"a/b": {"encoder": "tfidf"}}, "teacher 'a/b': a name has letters"),
    "alike": (
        {"a b": {"label": "crowd"}, "A_b": {"label": "crowd"}},
        "teachers 'a b' and 'A_b' are called alike",
    ),
    "source": (
        {"a": {"encoder": "tfidf", "train_on": {"source": ["nord"]}}},
        "there is no source 'nord'; did you mean 'north'",
    ),
    "class": (
        {"a": {"encoder": "tfidf", "train_on": {"classes": ["seas"]}}},
        "there is no class 'seas'; did you mean 'sea'",
    ),
    "key": ({"a": {"encoder": "tfidf", "train_on": {"sorce": ["x"]}}}, "did you mean 'source'"),
    "no row": (
        {"a": {"encoder": "tfidf", "train_on": {"source": ["west"]}}},
        "teacher 'a' has no training row",
    ),
    "one class": (
        {"a": {"encoder": "tfidf", "train_on": {"classes": ["sea"]}}},
        "teacher 'a' would learn from 15 rows of the single class 'sea'",
    ),
    "quarters": (
        {"a": {"encoder": "tfidf", "specialists": "quarters"}},
        "4 specialists of 4 classes would know a single class each",
    ),
    "encoder": ({"a": {"encoder": "tfdf"}}, "teacher 'a': there is no encoder 'tfdf'"),
    "few rows": (
        {"a": {"encoder": "tfidf:8", "train_on": {"share": 0.1}}},
        "teacher 'a' has 6 gold rows, too few for its encoder to learn 8 directions: choose fewer",
    ),
    "few words": (
        {"a": {"encoder": TfidfEncoder(2, min_df=50), "train_on": {"share": 0.5}}},
        "teacher 'a': its encoder cannot learn from its 30 gold rows alone (TfidfEncoder finds no",
    ),
    "nothing to learn": (
        {"a": {"encoder": "weak", "fit_encoder": "own"}},
        "teacher 'a': fit_encoder applies to encoders that learn from items, such as tfidf",
    ),
    "drop": ({}, "there is no teacher 'z'"),
}


@pytest.mark.parametrize("name", list(BAD))
def test_bad_teachers_are_refused_in_one_line(name, tmp_path, frame):
    teachers, message = BAD[name]
    if name == "no row":  # a source of the pool alone
        west = (frame["split"] == "pool") & (frame["source"] == "north")
        frame = frame.assign(source=np.where(west, "west", frame["source"]))
    run = open_run(tmp_path / "run", frame)
    with pytest.raises(InputError) as error:
        teach(run, teachers, **({"drop": ["z"]} if name == "drop" else {}))
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_weak_columns_and_teachers_exclude_each_other(tmp_path, frame):
    run = open_run(tmp_path / "run", frame, weak_label="crowd")
    with pytest.raises(InputError, match="use either ready-made weak labels or teachers"):
        teach(run, {"a": {"encoder": "tfidf:8"}})


def test_copies_are_named_and_kept(run):
    summary = teach(run, {name: {"label": "crowd"} for name in ("a", "b")})
    assert summary["warnings"] == [
        "teachers 'a', 'b' are copies of each other: they count as so many votes, and only one of "
        "them says anything"
    ]
    assert weak_proba_by_model(run, run.dataset()).shape == (240, 2, 4)
