"""Preference data from the command line: from a table of pairs to the gain of reward heads."""

from __future__ import annotations

import functools
import json
import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from tests.w2s_data.finetune.tiny import save_tiny_model
from w2s_data import LinearProbe, load_dataset
from w2s_data.cli import main
from w2s_data.data.pairs import PAIR_CLASSES
from w2s_data.encoders import TfidfEncoder
from w2s_data.errors import EncoderError, InputError
from w2s_data.features import store as feature_store
from w2s_data.features.matrix import ArrayFeatures
from w2s_data.features.pairs import embed_pairs
from w2s_data.features.shards import Shards
from w2s_data.finetune import available_methods
from w2s_data.run import Run
from w2s_data.stages import gain_stage, load_features
from w2s_data.stages.gain_settings import GainSettings
from w2s_data.stages.weak_labels import teach

N = 240
GOOD, BAD = ([f"{word}{i}" for i in range(6)] for word in ("clear", "vague"))
FILLER = [f"word{i}" for i in range(20)]
PAIRS = ("--chosen", "better", "--rejected", "worse", "--id", "id")


def answers(words, name, rng):
    return [
        " ".join([*rng.choice(FILLER, 5), *rng.choice(words, 2), f"{name}{i}"]) for i in range(N)
    ]


@pytest.fixture(scope="module")
def table():
    """Answers of which the better one is clear and the worse one vague, by two annotators."""
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "id": [f"pair-{i}" for i in range(N)],
            "better": answers(GOOD, "a", rng),
            "worse": answers(BAD, "b", rng),
            "annotator": np.tile(["in-house", "crowd"], N // 2),
            "split": np.tile(["labelled", "pool", "pool", "test"], N // 4),
            "p": rng.uniform(0.3, 1, N),
        }
    )


@pytest.fixture(scope="module")
def scored(table, tmp_path_factory):
    folder = tmp_path_factory.mktemp("pairs")
    table.to_parquet(folder / "prefs.parquet")
    arguments = ["-q", "score", folder / "prefs.parquet", *PAIRS, "--source", "annotator"]
    arguments += ["--split", "split", "--weak", "tfidf:4", "--strong", "tfidf:16"]
    with pytest.raises(SystemExit) as stop:
        main([str(argument) for argument in [*arguments, "-o", folder / "run"]])
    assert stop.value.code == 0
    return folder


@pytest.fixture
def run(scored, tmp_path):
    """A copy of the scored run."""
    shutil.copytree(scored / "run", tmp_path / "run")
    return tmp_path / "run"


@pytest.fixture
def prefs(scored):
    """The table, as a file."""
    return scored / "prefs.parquet"


def pairs_of(table, **roles):
    return load_dataset(table, chosen="better", rejected="worse", split="split", **roles)


class TestScore:
    def test_a_run_of_pairs(self, scored, table):
        opened = Run.open(scored / "run")
        data = opened.dataset()
        assert data.is_paired
        for label, first, second in zip(data.labels, *data.pairs, strict=True):
            assert "clear" in (first, second)[label]
        scores = opened.read_table("scores.parquet")
        assert scores["id"].tolist() == table["id"].tolist()
        assert set(scores["weak_label"]) == set(PAIR_CLASSES)
        assert scores["weak_correct"].mean() > 0.9
        summary = opened.read_summary("overlap.json")
        assert [row["name"] for row in summary["by_source"]] == ["crowd", "in-house"]
        assert (scored / "run/report.html").stat().st_size > 1_000_000

    def test_features_are_differences(self, scored):
        opened = Run.open(scored / "run")
        data = opened.dataset()
        first, second = data.pairs
        seen = np.isin(data.splits, ["labelled", "pool"])
        learnt_from = [text for texts in (first, second) for text in np.array(texts)[seen]]
        features = load_features(opened)
        for role, size in (("weak", 4), ("strong", 16)):
            encoder = TfidfEncoder(size).fit(learnt_from)
            expected = encoder.encode(first) - encoder.encode(second)
            np.testing.assert_allclose(features[role].take(np.arange(N)), expected, atol=1e-6)

    def test_in_two_steps(self, w2s, prefs, scored, tmp_path):
        arguments = ("-q", "embed", prefs, *PAIRS, "--split", "split", "--source", "annotator")
        models = ("--weak", "tfidf:4", "--strong", "tfidf:16")
        code, out, _ = w2s(*arguments, *models, "-o", tmp_path / "run")
        assert code == 0
        assert f"{N} x 16" in out
        assert w2s("-q", "score", tmp_path / "run")[0] == 0
        one, two = (pd.read_parquet(f / "run/scores.parquet") for f in (scored, tmp_path))
        pd.testing.assert_frame_equal(one, two)

    def test_ready_made_probabilities_of_the_chosen_item(self, w2s, prefs, table, tmp_path):
        arguments = ("-q", "score", prefs, *PAIRS, "--weak-columns", "p", "--strong", "tfidf:4")
        assert w2s(*arguments, "-o", tmp_path / "run")[0] == 0
        scores = pd.read_parquet(tmp_path / "run/scores.parquet")
        np.testing.assert_allclose(scores["confidence"], abs(2 * table["p"] - 1), atol=1e-12)
        np.testing.assert_array_equal(scores["weak_correct"], table["p"] > 0.5)

    def test_a_file_of_features_is_chosen_minus_rejected(self, w2s, prefs, rng, tmp_path):
        differences = rng.normal(size=(N, 3)).astype(np.float32)
        np.save(tmp_path / "strong.npy", differences)
        files = ("--strong-features", tmp_path / "strong.npy", "--weak-columns", "p")
        scores = []
        for seed in (0, 1):
            folder = tmp_path / f"run{seed}"
            settled = ("--split", "split", "--seed", seed, "-o", folder)
            assert w2s("-q", "score", prefs, *PAIRS, *files, *settled)[0] == 0
            scores.append(pd.read_parquet(folder / "scores.parquet"))
        assert (scores[0]["weak_label"] != scores[1]["weak_label"]).any()
        for column in ("confidence", "alignment"):  # blind to the order that the seed drew
            np.testing.assert_allclose(scores[0][column], scores[1][column], atol=1e-6)

    def test_pairs_of_vectors_with_features_of_a_teacher(self, w2s, rng, tmp_path):
        better, worse = rng.normal(size=(2, N, 4))
        better[:, 0] += 2
        frame = pd.DataFrame({"better": list(better), "worse": list(worse)})
        frame.to_parquet(tmp_path / "v.parquet")
        np.save(tmp_path / "weak.npy", (better - worse)[:, :2])
        roles = ("--chosen", "better", "--rejected", "worse")
        weak = ("--weak-features", tmp_path / "weak.npy")
        arguments = ("-q", "score", tmp_path / "v.parquet", *roles, *weak)
        assert w2s(*arguments, "-o", tmp_path / "run")[0] == 0
        scores = pd.read_parquet(tmp_path / "run/scores.parquet")
        assert scores["weak_correct"].mean() > 0.85

    def test_a_killed_embedding_goes_on(self, w2s, prefs, scored, tmp_path, monkeypatch):
        small = functools.partial(feature_store.embed, shard_rows=50)
        monkeypatch.setattr(feature_store, "embed", small)
        encoded, appended = [], []
        encode, append = TfidfEncoder._encode, Shards.append

        def counting(self, items, advance):
            encoded.append(len(items))
            return encode(self, items, advance)

        def dying(self, keys, vectors, **more):
            append(self, keys, vectors, **more)
            appended.append(len(vectors))
            if len(appended) == 3:
                raise MemoryError

        monkeypatch.setattr(TfidfEncoder, "_encode", counting)
        arguments = ["embed", prefs, *PAIRS, "--split", "split", "--source", "annotator"]
        arguments += ["--weak", "tfidf:4", "-o", tmp_path / "run"]
        monkeypatch.setattr(Shards, "append", dying)
        with pytest.raises(SystemExit):
            main([str(argument) for argument in arguments])
        before = sum(encoded)
        assert before in (150, 200)  # the next shard is encoded while one is written
        monkeypatch.setattr(Shards, "append", append)
        _, _, err = w2s(*arguments)
        assert "150 of 480 items are stored already" in err
        assert sum(encoded) - before == 2 * N - 150
        assert w2s(*arguments)[2].count("nothing has changed") == 1
        same = [
            load_features(Run.open(folder))["weak"].take(np.arange(N))
            for folder in (scored / "run", tmp_path / "run")
        ]
        np.testing.assert_array_equal(*same)


def test_a_table_of_pairs_is_filled_in_and_taken_in(w2s, run, table):
    # A copy of the run, so that its data file is where it was.
    code, printed = w2s("-q", "next", run, "--budget", 8)[:2]
    assert code == 0
    assert "its column label: 'first preferred', 'second preferred'" in printed
    path = run / "next-1.csv"
    asked = pd.read_csv(path)
    assert list(asked.columns[:4]) == ["id", "first", "second", "label"]
    better = table.set_index("id").loc[asked["id"], "better"].to_numpy()
    asked["label"] = np.where(asked["first"] == better, "first", "Second preferred")
    asked["label"] = asked["label"].where(asked.index < 6)
    asked.to_csv(path, index=False)
    before = Run.open(run).dataset()
    assert w2s("-q", "score", run, "--labels", path)[0] == 0
    after = Run.open(run).dataset()
    moved = np.isin(after.ids, asked["id"][:6])
    assert (before.splits[moved] == "pool").all()
    assert (after.splits[moved] == "labelled").all()
    np.testing.assert_array_equal(after.labels, before.labels)
    assert w2s("-q", "next", run, "--budget", 8)[0] == 0
    assert not set(pd.read_csv(run / "next-2.csv")["id"]) & set(asked["id"][:6])


class TestTeacher:
    def test_swapped_items_swap_its_probabilities(self, table, rng):
        data = pairs_of(table)
        features = rng.normal(size=(N, 5)) + 1
        mirror = np.array(PAIR_CLASSES, dtype=object)[1 - data.labels]
        swapped = replace(data, table=data.table.assign(label=mirror))
        probe = LinearProbe(random_state=0)
        one = teach(data, ArrayFeatures(features), probe).proba
        other = teach(swapped, ArrayFeatures(-features), probe).proba
        np.testing.assert_allclose(one, other[:, ::-1], atol=1e-12)
        assert probe.fit_intercept

    def test_equals_logistic_regression_on_differences(self, table, rng):
        from sklearn.linear_model import LogisticRegression

        data = pairs_of(table)
        features = rng.normal(size=(N, 5)) + np.where(data.labels == 0, 0.5, -0.5)[:, None]
        rows, pool = data.rows("labelled"), data.rows("pool")
        exact = LogisticRegression(C=1 / (len(rows) * 0.1), fit_intercept=False, tol=1e-8)
        exact.fit(features[rows], data.labels[rows])
        probe = LinearProbe(l2=0.1, standardize=False)
        found = teach(data, ArrayFeatures(features), probe).proba[pool]
        np.testing.assert_allclose(found, exact.predict_proba(features[pool]), atol=1e-4)

    def test_ridge_is_refused(self, table, rng):
        with pytest.raises(InputError, match="pairs needs loss='logistic'; got 'ridge'"):
            teach(pairs_of(table), ArrayFeatures(rng.normal(size=(N, 2))), LinearProbe("ridge"))


class TestAnalyses:
    @pytest.mark.slow
    def test_gain(self, w2s, run):
        arguments = ("gain", run, "--methods", "naive,confidence", "--seeds", 2)
        code, out, _ = w2s(*arguments, "--learning-rate", 0.03)
        assert code == 0
        assert "confidence" in out
        summary = json.loads((run / "gain.json").read_text())
        students = {student["name"]: student for student in summary["students"]}
        assert students["naive"]["scores"]["accuracy"]["value"] > 0.9
        recorded = json.loads((run / "manifest.json").read_text())["stages"]["gain"]["settings"]
        assert recorded["paired"] is True
        assert "gain: nothing has changed" in w2s(*arguments, "--learning-rate", 0.03)[2]

    @pytest.mark.slow
    @pytest.mark.filterwarnings("ignore::w2s_data.errors.DegenerateDataWarning")
    def test_every_method_runs(self, run):
        opened = Run.open(run)
        methods = available_methods()
        settings = GainSettings(methods=methods, seeds=1, epochs=3, controls=False)
        summary = gain_stage(opened, settings).summary
        assert not summary["failures"]
        assert {student["name"] for student in summary["students"]} >= set(available_methods())

    @pytest.mark.slow
    def test_forecast(self, w2s, run):
        code, out, _ = w2s("forecast", run)
        assert code == 0
        forecast = json.loads((run / "forecast.json").read_text())
        assert forecast["teacher"]["value"] > 0.85
        assert "student" in out

    @pytest.mark.slow
    def test_select(self, w2s, prefs, run, tmp_path):
        assert w2s("-q", "select", run, "--budget", 60, "--batch-size", 20)[0] == 0
        arguments = ("-q", "select", prefs, "--budget", 60, "--batch-size", 20, *PAIRS[:4])
        roles = ("--split", "split", "--source", "annotator")
        models = ("--weak", "tfidf:4", "--strong", "tfidf:16")
        code, out, _ = w2s(*arguments, *roles, *models, "-o", tmp_path / "new")
        assert code == 0
        assert "crowd" in out


class TestBadInput:
    @pytest.fixture
    def refused(self, w2s):
        def check(words, *arguments):
            code, out, err = w2s("-q", *arguments)
            assert code == 2, (out, err)
            error = err.splitlines()[-1]
            assert error.startswith("error: ")
            for word in [words] if isinstance(words, str) else words:
                assert word in error

        return check

    @pytest.mark.parametrize("command", ["embed", "score", "select"])
    def test_one_column_only(self, refused, prefs, command):
        budget = ("--budget", 10) if command == "select" else ()
        refused("rejected is missing", command, prefs, "--chosen", "better", *budget)
        refused("chosen is missing", command, prefs, "--rejected", "worse", *budget)

    def test_an_item_beside_the_pair(self, refused, prefs):
        refused("leave out item", "score", prefs, *PAIRS, "--item", "better")

    def test_a_misspelt_column(self, refused, prefs):
        refused("did you mean 'worse'", "score", prefs, "--chosen", "better", "--rejected", "wors")

    def test_equal_texts_are_left_out(self, w2s, table, tmp_path):
        table.assign(worse=table["better"].where(table.index == 4, table["worse"])).to_csv(
            tmp_path / "equal.csv", index=False
        )
        models = ("--weak-columns", "p", "--strong", "tfidf:4", "-o", tmp_path / "run")
        code, _, err = w2s("-q", "score", tmp_path / "equal.csv", *PAIRS, *models)
        assert code == 0
        assert "skipped 1 pair of the same item twice: row 4" in err
        assert len(Run.open(tmp_path / "run").dataset()) == N - 1

    def test_missing_texts(self, refused, table, tmp_path):
        table.assign(worse=table["worse"].mask(table.index == 7)).to_csv(
            tmp_path / "missing.csv", index=False
        )
        refused(["'worse'", "no text in row 7"], "score", tmp_path / "missing.csv", *PAIRS)

    def test_texts_that_the_encoder_cannot_tell_apart(self, refused, table, tmp_path):
        table.loc[5, ["better", "worse"]] = "word1 word2", "word1, word2"
        table.to_parquet(tmp_path / "same.parquet")
        models = ("--weak-columns", "p", "--strong", "tfidf:4", "-o", tmp_path / "run")
        words = "differences of the strong features are all zero in row 5"
        refused(words, "score", tmp_path / "same.parquet", *PAIRS, *models)

    def test_a_text_that_cannot_be_encoded_is_named_by_its_row(self, table, tmp_path):
        data = pairs_of(table)
        encoder = TfidfEncoder(2).fit(data.pairs[0])
        first, second = data.pairs
        with pytest.raises(EncoderError, match=r"cannot encode row 3 .*not valid Unicode"):
            embed_pairs(first, [*second[:3], "\ud800", *second[4:]], encoder, tmp_path / "store")

    def test_differences_have_no_groups(self, refused, prefs, rng, tmp_path):
        np.save(tmp_path / "strong.npy", rng.normal(size=(N, 3)).astype(np.float32))
        files = ("--strong-features", tmp_path / "strong.npy", "--weak-columns", "p")
        with pytest.raises(SystemExit) as stop:
            main(["-q", "score", *map(str, [prefs, *PAIRS, *files, "-o", tmp_path / "run"])])
        assert stop.value.code == 0
        refused("these features are differences", "groups", tmp_path / "run")

    def test_dpo_is_not_for_encoders(self, refused, run, tmp_path):
        save_tiny_model(tmp_path / "bert", 1)
        tuned = ("--tuning", "lora", "--model", tmp_path / "bert", "--reward", "dpo")
        refused("reads it: use reward 'head'", "gain", run, *tuned)
