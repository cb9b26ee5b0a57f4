"""The command as a user meets it: what it prints, what it writes, what it refuses."""

from __future__ import annotations

import html
import json
import shutil

import numpy as np
import pandas as pd
import pytest

from w2s_data.cli import main

CLASSES = ["neg", "pos"]


def sentences(n, rng):
    words = {"neg": ["bad", "awful", "dull", "poor"], "pos": ["good", "great", "fine", "rich"]}
    filler = ["the", "film", "was", "a", "story", "of", "people", "who", "walk", "and", "talk"]
    labels = rng.choice(CLASSES, n)
    texts = [
        " ".join([*rng.choice(filler, 5), *rng.choice(words[y], 2), str(i)])
        for i, y in enumerate(labels)
    ]
    return texts, labels


@pytest.fixture
def frame(rng):
    texts, labels = sentences(160, rng)
    p = np.clip(np.where(labels == "pos", 0.7, 0.3) + rng.normal(0, 0.15, 160), 0.01, 0.99)
    return pd.DataFrame(
        {
            "id": [f"row-{i}" for i in range(160)],
            "text": texts,
            "label": labels,
            "domain": np.repeat(["web", "crowd"], 80),
            "region": np.tile(["north", "south"], 80),
            "p_neg": 1 - p,
            "p_pos": p,
        }
    )


@pytest.fixture
def data(frame, tmp_path, rng):
    """A data file and its strong features, as the arguments that name them."""
    path = tmp_path / "data.parquet"
    frame.to_parquet(path)
    np.save(tmp_path / "strong.npy", rng.normal(size=(160, 8)).astype(np.float32))
    return path


ROLES = ("--item", "text", "--label", "label", "--id", "id")


def scoring(data, *more):
    strong = data.with_name("strong.npy")
    return ("-q", "score", data, *ROLES, "--strong-features", strong, *more)


def test_help_and_version(w2s):
    from w2s_data import __version__

    assert w2s("--version") == (0, f"w2s-data {__version__}\n", "")
    code, out, _ = w2s("--help")
    assert code == 0
    for command in ("embed", "score", "demo", "report", "doctor"):
        assert command in out


def test_score_from_text(w2s, data, tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    run = tmp_path / "run"
    code, out, err = w2s(
        *scoring(data, "--weak", "tfidf:8", "--source", "domain", "--group", "region", "-o", run)
    )
    assert (code, err) == (0, "")
    for words in ("source web", "source crowd", "group north", "hard-only: margin of the"):
        assert words in out
    assert "\u2026" not in out  # no heading is cut
    assert "change point always splits somewhere" in " ".join(out.split())
    scores = pd.read_parquet(run / "scores.parquet")
    assert scores["id"].tolist() == [f"row-{i}" for i in range(160)]
    assert set(scores["region"]) <= {"hard-only", "easy-only", "overlap"}
    assert set(scores["weak_label"]) <= set(CLASSES)
    summary = json.loads((run / "overlap.json").read_text())
    pool = scores[scores["split"] == "pool"]
    assert summary["n_scored"] == len(pool)
    assert summary["density"]["value"] == pytest.approx((pool["region"] == "overlap").mean())
    assert [row["name"] for row in summary["by_source"]] == ["crowd", "web"]
    assert summary["weak_accuracy"]["value"] == pytest.approx(pool["weak_correct"].mean())
    assert {"manifest.json", "items.parquet", "weak_proba.parquet", "report.html"} <= {
        path.name for path in run.iterdir()
    }


def test_score_from_ready_made_weak_columns(w2s, data, tmp_path):
    run = tmp_path / "run"
    code, _, err = w2s(*scoring(data, "--weak-columns", "p_neg,p_pos", "-o", run))
    assert code == 0
    assert err.splitlines() == [
        "note: weak columns p_neg, p_pos: class neg, pos by name; pass map to change it"
    ]
    scores = pd.read_parquet(run / "scores.parquet")
    frame = pd.read_parquet(data)
    np.testing.assert_allclose(scores["confidence"], (frame["p_pos"] - frame["p_neg"]).abs())


def test_weak_labels_without_confidence_leave_a_report_that_says_so(w2s, data, tmp_path):
    run = tmp_path / "run"
    table = pd.read_parquet(data)
    table.assign(said=table["label"]).to_parquet(data)
    code, out, _ = w2s(*scoring(data, "--weak-label", "said", "-o", run))
    assert code == 0
    assert "The overlap density is undefined here" in out
    assert "warning: the weak confidence is constant (1)" in out
    assert "undefined    overlap" not in out
    assert "The weak confidence is constant" in (run / "report.html").read_text("utf-8")


@pytest.mark.slow
def test_embed_then_score_in_two_steps(w2s, data, tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    assert w2s("-q", "embed", data, *ROLES, "--weak", "tfidf:8", "-o", two)[0] == 0
    strong = ("--strong-features", data.with_name("strong.npy"))
    assert w2s("-q", "score", two, *strong)[0] == 0
    assert w2s(*scoring(data, "--weak", "tfidf:8", "-o", one))[0] == 0
    pd.testing.assert_frame_equal(
        pd.read_parquet(one / "scores.parquet"), pd.read_parquet(two / "scores.parquet")
    )


@pytest.mark.slow
def test_the_same_seed_gives_the_same_bytes(w2s, data, tmp_path):
    for run in ("a", "b"):
        w2s(*scoring(data, "--weak", "tfidf:8", "--seed", 3, "-o", tmp_path / run))
    for name in ("items.parquet", "weak_proba.parquet", "scores.parquet", "overlap.json"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    w2s(*scoring(data, "--weak", "tfidf:8", "--seed", 4, "-o", tmp_path / "c"))
    assert (tmp_path / "a/items.parquet").read_bytes() != (
        tmp_path / "c/items.parquet"
    ).read_bytes()


def test_a_second_run_skips_what_is_fresh(w2s, data, tmp_path):
    arguments = scoring(data, "--weak", "tfidf:8", "-o", tmp_path / "run")[1:]
    _, first, _ = w2s(*arguments)
    code, second, err = w2s(*arguments)
    assert code == 0
    assert "score: nothing has changed since" in err
    assert first == second


@pytest.mark.slow
def test_a_new_seed_on_an_old_run_refits_the_weak_encoder(w2s, data, tmp_path):
    for seed in (0, 1):
        code, _, err = w2s(
            *scoring(data, "--weak", "tfidf:8", "--seed", seed, "-o", tmp_path / "run")
        )
        assert (code, err) == (0, "")


def test_reference_mode(w2s, data, tmp_path):
    code, _, _ = w2s(
        *scoring(data, "--weak-columns", "p_neg,p_pos", "--reference", "-o", tmp_path / "run")
    )
    summary = json.loads((tmp_path / "run/overlap.json").read_text())
    assert code == 0
    assert summary["settings"]["alignment"] == "max"


def test_split_sizes(w2s, data, tmp_path):
    w2s(
        *scoring(
            data,
            "--weak",
            "tfidf:4",
            "--split-sizes",
            "labelled=40,test=0.25",
            "-o",
            tmp_path / "run",
        )
    )
    splits = pd.read_parquet(tmp_path / "run/items.parquet")["split"].value_counts()
    assert splits.to_dict() == {"pool": 80, "labelled": 40, "test": 40}


def test_vectors_as_items(w2s, rng, tmp_path):
    p = rng.random(60)
    frame = pd.DataFrame({"vector": list(rng.normal(size=(60, 4))), "no": 1 - p, "yes": p})
    frame.to_parquet(tmp_path / "v.parquet")
    code, out, _ = w2s(
        "-q",
        "score",
        tmp_path / "v.parquet",
        "--item",
        "vector",
        "--weak-columns",
        "no,yes",
        "-o",
        tmp_path / "run",
    )
    assert code == 0
    assert "60 pool items" in out
    code, _, err = w2s("score", tmp_path / "run", "--strong", "tfidf")
    assert code == 2
    assert err.count("\n") == 1


class TestBadInput:
    """One line on standard error, exit code 2, and nothing that was there is lost."""

    @pytest.fixture
    def refused(self, w2s):
        def check(words, *arguments):
            code, out, err = w2s(*arguments)
            assert code == 2, (out, err)
            *notes, error = err.splitlines()
            assert all(note.startswith("note: ") for note in notes)
            assert error.startswith("error: ")
            for word in [words] if isinstance(words, str) else words:
                assert word in error

        return check

    def test_misspelt_column(self, refused, data):
        refused(
            ["'lable'", "did you mean 'label'", "'domain'"],
            "score",
            data,
            "--item",
            "text",
            "--label",
            "lable",
        )

    def test_missing_file(self, refused, tmp_path):
        refused("nothere.csv", "score", tmp_path / "nothere.csv")

    def test_truncated_file(self, refused, data, tmp_path):
        cut = tmp_path / "cut.parquet"
        cut.write_bytes(data.read_bytes()[:500])
        refused("cut.parquet", "score", cut)

    def test_empty_table(self, refused, tmp_path):
        (tmp_path / "empty.csv").write_text("text,label\n")
        refused("no rows", "score", tmp_path / "empty.csv")

    def test_duplicate_ids(self, refused, frame, tmp_path):
        frame.assign(id="same").to_csv(tmp_path / "d.csv", index=False)
        refused("'same'", "score", tmp_path / "d.csv", *ROLES)

    def test_labels_in_the_pool_only(self, refused, frame, tmp_path):
        split = np.where(np.arange(160) < 80, "labelled", "pool")
        half = frame.assign(split=split, label=frame["label"].where(split == "pool"))
        half.to_csv(tmp_path / "d.csv", index=False)
        refused(
            "labelled", "score", tmp_path / "d.csv", *ROLES, "--split", "split", "--weak", "tfidf:4"
        )

    def test_no_labels_and_no_weak_labels(self, refused, data):
        refused(
            "label",
            "score",
            data,
            "--item",
            "text",
            "--weak",
            "tfidf:4",
            "--strong-features",
            data.with_name("strong.npy"),
            "-o",
            data.parent / "r",
        )

    def test_single_class(self, refused, frame, tmp_path):
        frame.assign(label="pos").to_csv(tmp_path / "d.csv", index=False)
        refused("class", "score", tmp_path / "d.csv", *ROLES, "--weak", "tfidf:4")

    @pytest.mark.parametrize("bad", [np.nan, np.inf, 0.0])
    def test_bad_features(self, refused, data, bad, tmp_path):
        strong = np.load(data.with_name("strong.npy"))
        strong[17] = bad
        np.save(tmp_path / "strong.npy", strong)
        refused("in row 17", *scoring(data, "--weak-columns", "p_neg,p_pos", "-o", tmp_path / "r"))

    def test_feature_rows_disagree(self, refused, data, tmp_path):
        np.save(tmp_path / "short.npy", np.ones((3, 2)))
        refused(
            ["has 3", "160"],
            "score",
            data,
            *ROLES,
            "--strong-features",
            tmp_path / "short.npy",
            "--weak-columns",
            "p_neg,p_pos",
            "-o",
            tmp_path / "r",
        )

    @pytest.mark.parametrize("content", [b"", b"\x93NUMPY\x01\x00 cut", b"text"])
    def test_unreadable_features(self, refused, data, tmp_path, content):
        (tmp_path / "bad.npy").write_bytes(content)
        refused(
            "bad.npy",
            "score",
            data,
            *ROLES,
            "--strong-features",
            tmp_path / "bad.npy",
            "--weak-columns",
            "p_neg,p_pos",
            "-o",
            tmp_path / "r",
        )

    @pytest.mark.parametrize(("p_neg", "word"), [(1.5, "[0, 1]"), (0.9, "sum to 1")])
    def test_bad_probabilities(self, refused, frame, tmp_path, p_neg, word):
        frame.loc[5, ["p_neg", "p_pos"]] = [p_neg, 0.9]
        frame.to_csv(tmp_path / "d.csv", index=False)
        refused([word, "5"], "score", tmp_path / "d.csv", *ROLES, "--weak-columns", "p_neg,p_pos")

    @pytest.mark.slow
    def test_unknown_model(self, refused, data, tmp_path):
        refused(
            "models/nothere",
            "score",
            data,
            *ROLES,
            "--weak",
            "tfidf:4",
            "--strong",
            "models/nothere",
            "-o",
            tmp_path / "r",
        )

    def test_misspelt_encoder(self, refused, data, tmp_path):
        refused(
            "did you mean 'tfidf'", "score", data, *ROLES, "--weak", "tfdif", "-o", tmp_path / "r"
        )

    def test_nothing_strong(self, refused, data, tmp_path):
        refused(
            "strong features are missing",
            "score",
            data,
            *ROLES,
            "--weak",
            "tfidf:4",
            "-o",
            tmp_path / "r",
        )

    def test_nothing_weak(self, refused, data, tmp_path):
        refused("weak features are missing", *scoring(data, "-o", tmp_path / "r"))

    def test_undecodable_image(self, refused, w2s, tmp_path):
        from PIL import Image

        for name in ("a", "b"):
            (tmp_path / "images" / name).mkdir(parents=True)
            for i in range(6):
                Image.new("L", (8, 8), 40 * i).save(tmp_path / "images" / name / f"{i}.png")
        broken = tmp_path / "images/a/broken.png"
        broken.write_bytes(b"no image")
        arguments = ("-q", "embed", tmp_path / "images", "--weak", "pixels:2", "-o", tmp_path / "r")
        refused("broken.png", *arguments)
        code, out, err = w2s(*arguments, "--skip-unreadable")
        assert code == 0
        assert "12 x 4" in out
        assert "broken.png" in err or "1 image" in err

    def test_damaged_shard_is_recomputed(self, w2s, data, tmp_path):
        run = tmp_path / "run"
        arguments = ("embed", data, *ROLES, "--weak", "tfidf:4", "-o", run)
        w2s(*arguments)
        shard = next((run / "features/weak").glob("part-*.parquet"))
        whole = shard.read_bytes()
        shard.write_bytes(whole[:-10])
        code, _, err = w2s("-q", "score", run, "--strong-features", data.with_name("strong.npy"))
        assert code == 2
        assert shard.name in err
        code, _, err = w2s(*arguments)
        assert code == 0
        assert next((run / "features/weak").glob("part-*.parquet")).read_bytes() == whole

    def test_output_of_another_data_set(self, refused, data, frame, tmp_path):
        run = tmp_path / "run"
        arguments = ("-q", "embed", data, *ROLES, "--weak", "tfidf:4", "-o", run)
        shutil.rmtree(run, ignore_errors=True)
        main_file = tmp_path / "other.csv"
        frame.assign(id=range(160)).to_csv(main_file, index=False)
        with pytest.raises(SystemExit):
            main([str(argument) for argument in arguments])
        before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
        refused(
            "belongs to another data set",
            "embed",
            main_file,
            *ROLES,
            "--weak",
            "tfidf:4",
            "-o",
            run,
        )
        assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before

    def test_columns_of_a_settled_run(self, refused, w2s, data, tmp_path):
        w2s("-q", "embed", data, *ROLES, "--weak", "tfidf:4", "-o", tmp_path / "run")
        refused("label requires the data file", "score", tmp_path / "run", "--label", "label")

    @pytest.mark.parametrize(
        ("option", "value"),
        [("--split-sizes", "labelled"), ("--teacher-l2", "much"), ("--device", "abacus")],
    )
    def test_option_values(self, refused, data, tmp_path, option, value):
        refused(value, *scoring(data, "--weak", "tfidf:4", option, value, "-o", tmp_path / "r"))

    def test_both_ways_to_give_features(self, refused, data, tmp_path):
        refused(
            "use either strong or strong_features, not both",
            *scoring(data, "--strong", "tfidf", "-o", tmp_path / "r"),
        )

    def test_a_run_remembers_its_file_of_features(self, refused, w2s, data, tmp_path):
        run, file = tmp_path / "run", tmp_path / "mine.npy"
        strong = np.load(data.with_name("strong.npy"))
        np.save(file, strong)
        weak = ("--weak-columns", "p_neg,p_pos")
        w2s("score", data, *ROLES, *weak, "--strong-features", file, "-o", run)
        code, _, err = w2s("score", run)
        assert code == 0
        assert "score: nothing has changed since" in err
        before = (run / "manifest.json").read_bytes()
        np.save(file, strong + 1)
        refused(["mine.npy", "has changed since", "strong_features"], "score", run)
        file.unlink()
        refused(["mine.npy", "is gone", "strong_features"], "score", run)
        assert (run / "manifest.json").read_bytes() == before
        np.save(tmp_path / "moved.npy", strong)
        (tmp_path / "moved.npy").rename(file.with_name("mine.npy"))
        assert w2s("score", run, "--strong-features", file)[0] == 0

    def test_report_without_a_score(self, refused, tmp_path):
        refused("w2s score", "report", tmp_path)

    def test_debug_shows_the_traceback(self, w2s, tmp_path):
        code, _, err = w2s("--debug", "score", tmp_path / "nothere.csv")
        assert code == 2
        assert err.startswith("Traceback (most recent call last):")
        assert err.splitlines()[-1].startswith("error: file ")


class TestMeaningOfColumns:
    """Options that say what labels and weak columns mean, and where the decision is shown."""

    @pytest.fixture
    def table(self, frame, data):
        frame["weak"] = np.where(frame["p_pos"] > 0.5, 1, 0)
        frame.loc[::8, "weak"] = -1
        frame.loc[::20, "label"] = "N/A"
        frame["a"], frame["b"] = frame["p_pos"], frame["p_neg"]
        frame.to_csv(data.with_name("data.csv"), index=False)
        return data.with_name("data.csv")

    def test_weak_labels_that_are_numbers_abstain_and_are_mapped(self, w2s, table, tmp_path):
        run = tmp_path / "run"
        options = ("--weak-label", "weak", "--map", "0=neg,1=pos")
        code, _, err = w2s(*scoring(table, *options, "-o", run))
        assert code == 0
        notes = [
            "column 'label': 8 rows have no label ('N/A' 8); pass missing, a list of what stands "
            "for no label, to change it",
            "column 'weak': 20 rows abstain, with equal probabilities of all classes ('-1' 20); "
            "pass missing, a list of what stands for no label, to change it",
        ]
        assert err.splitlines() == [f"note: {note}" for note in notes]
        assert json.loads((run / "manifest.json").read_text())["data"]["notes"] == notes
        page = html.unescape((run / "report.html").read_text("utf-8"))
        provenance = page[page.index("Notes on the data") :]
        assert all(f"<li>{note}</li>" in provenance for note in notes)
        scores = pd.read_parquet(run / "scores.parquet")
        frame = pd.read_csv(table, keep_default_na=False)
        silent = frame["weak"] == -1
        assert scores["weak_label"].isna().equals(silent)
        assert (scores["confidence"][silent] == 0).all()
        right = scores["weak_correct"]
        assert right.isna().equals(silent | (frame["label"] == "N/A"))
        expected = frame["weak"].map({0: "neg", 1: "pos"}) == frame["label"]
        assert (right.dropna() == expected[right.notna()]).all()
        pool = scores["split"] == "pool"
        accuracy = json.loads((run / "overlap.json").read_text())["weak_accuracy"]["value"]
        assert accuracy == pytest.approx(right[pool].dropna().astype(float).mean())

    def test_an_order_of_columns_that_gold_contradicts(self, w2s, table, tmp_path):
        turned, right = tmp_path / "turned", tmp_path / "right"
        code, _, err = w2s(*scoring(table, "--weak-columns", "a,b", "-o", turned))
        assert code == 0
        assert err.count("warning: weak columns 'a', 'b'") == 1
        assert "if so pass class_names=['pos', 'neg']" in err
        assert "seem to be in the wrong order" in (turned / "report.html").read_text("utf-8")
        order = ("--class-names", "pos,neg")
        code, _, err = w2s(*scoring(table, "--weak-columns", "a,b", *order, "-o", right))
        assert code == 0
        assert "warning" not in err
        named = tmp_path / "named"
        assert w2s(*scoring(table, "--weak-columns", "p_pos,p_neg", "-o", named))[0] == 0
        columns = ["confidence", "weak_label", "weak_correct"]
        frames = [pd.read_parquet(run / "scores.parquet")[columns] for run in (right, named)]
        pd.testing.assert_frame_equal(*frames)

    def test_markers_and_task(self, w2s, table, tmp_path):
        strong = ("--strong-features", table.with_name("strong.npy"))
        roles = ("--item", "text", *strong, "-o", tmp_path / "run")
        assert w2s("-q", "embed", table, *roles, "--label", "label", "--missing", "")[0] == 0
        manifest = json.loads((tmp_path / "run" / "manifest.json").read_text())
        assert manifest["data"]["class_names"] == ["N/A", "neg", "pos"]
        roles = (*roles[:-1], tmp_path / "values")
        code, _, err = w2s("embed", table, *roles, "--label", "p_pos")
        assert code == 0
        assert "values to predict" in err
        manifest = json.loads((tmp_path / "values" / "manifest.json").read_text())
        assert (manifest["data"]["task"], manifest["data"]["class_names"]) == ("regression", [])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (
            ("groups", "--weak-features", "x.npy"),
            "`w2s embed RUN --weak-features ...` names others",
        ),
        (("report", "--label", "mood"), "`w2s score DATA --label ...` makes one"),
        (
            ("forecast", "--fail-on", "gain<0"),
            "`w2s forecast` has no --fail-on; `w2s report` has it",
        ),
        (("groups", "--n-group", "2"), "--n-groups"),
    ],
)
def test_an_option_of_another_command_is_named_as_such(w2s, arguments, words):
    command, *options = arguments
    code, _, err = w2s(command, "run", *options)
    assert code == 2
    assert words in err
    assert "--weak-components" not in err
