from __future__ import annotations

import io
import logging
import os
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from w2s_data import W2SDataset, load_dataset
from w2s_data.compute.memory import MemoryLimit
from w2s_data.data.load import SPLITS, load_new
from w2s_data.errors import (
    ColumnError,
    DuplicateIdError,
    EmptyDataError,
    FeatureError,
    FileFormatError,
    InputError,
    ProbabilityError,
    SplitError,
)


def frame(n: int = 60) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    p = rng.uniform(0, 1, size=n)
    return pd.DataFrame(
        {
            "key": [f"k{i}" for i in range(n)],
            "text": [f"text {i}" for i in range(n)],
            "label": np.array(["neg", "pos"])[np.arange(n) % 2],
            "domain": np.array(["a", "b", "c"])[np.arange(n) % 3],
            "team": np.array(["x", "y"])[np.arange(n) // 5 % 2],
            "p_neg": 1 - p,
            "p_pos": p,
        }
    )


ROLES = {"id": "key", "label": "label", "source": "domain", "group": "team"}


def load(table: pd.DataFrame | None = None, **more) -> W2SDataset:
    return load_dataset(frame() if table is None else table, **{**ROLES, **more})


# ------------------------------------------------------------------------------------ the data set


def test_parts():
    data = load(weak_columns=["p_neg", "p_pos"])
    assert len(data) == 60
    assert list(data.table.columns) == ["id", "item", "label", "split", "source", "group"]
    assert isinstance(data.table.index, pd.RangeIndex)
    assert data.ids[3] == "k3"
    assert data.items[3] == "text 3"
    assert data.class_names == ("neg", "pos")
    assert data.labels.dtype == np.int64
    assert data.labels[:4].tolist() == [0, 1, 0, 1]
    assert data.sources[:4].tolist() == ["a", "b", "c", "a"]
    assert data.groups[4:6].tolist() == ["x", "y"]
    assert [len(data.rows(split)) for split in SPLITS] == [12, 30, 6, 12]
    assert np.array_equal(data.weak_proba[:, 1], frame()["p_pos"])
    assert data.notes == (
        "weak columns p_neg, p_pos: class neg, pos by name; pass map to change it",
    )


def test_roles_not_given_leave_no_column():
    data = load_dataset(frame(), label="label")
    assert list(data.table.columns) == ["id", "item", "label", "split"]
    assert data.sources is None
    assert data.groups is None
    assert data.ids[:2].tolist() == ["0", "1"]


def test_columns_named_like_a_role_are_mentioned():
    data = load_dataset(frame())
    assert data.notes[0] == ("column 'label' is ignored; pass label='label' to use it")
    assert (data.labels == -1).all()
    assert set(data.splits) == {"pool"}


def test_the_user_s_table_is_left_alone():
    table = frame()
    before = table.copy()
    load(table, weak_columns="p_pos")
    pd.testing.assert_frame_equal(table, before)


def test_an_odd_index_does_not_matter():
    table = frame().set_index(np.arange(60)[::-1] * 7)
    assert load(table).fingerprint == load().fingerprint


def test_subset():
    data = load(weak_columns="p_pos")
    rows = np.array([5, 2, 40])
    part = data.subset(rows)
    assert part.ids.tolist() == ["k5", "k2", "k40"]
    assert isinstance(part.table.index, pd.RangeIndex)
    assert np.array_equal(part.weak_proba, data.weak_proba[rows])
    assert part.class_names == data.class_names
    mask = data.splits == "pool"
    assert data.subset(mask).ids.tolist() == data.ids[mask].tolist()


def test_with_splits():
    data = load()
    again = data.with_splits({"labelled": 0.5, "test": 10}, random_state=3)
    assert [len(again.rows(split)) for split in SPLITS] == [30, 20, 0, 10]
    assert again.with_splits(None, 3).fingerprint == data.with_splits(None, 3).fingerprint
    assert data.with_splits(None, 4).fingerprint != data.with_splits(None, 3).fingerprint


def test_rows_of_an_unknown_split():
    with pytest.raises(SplitError, match="did you mean 'labelled'"):
        load().rows("labeled")


def test_repr_fits_a_screen():
    table = frame().assign(label=[f"class {i}" for i in range(60)])
    text = repr(load(table, weak_columns=None, split_sizes={"labelled": 0.5}))
    assert len(text.splitlines()) <= 24
    assert "49 more" in text
    assert "sources: a 20, b 20, c 20" in text
    assert "(no label)" in repr(load_dataset(frame(), item="text"))


def test_to_frame_round_trip():
    data = load(weak_columns={"m1": "p_pos", "m2": ["p_neg", "p_pos"]})
    table = data.to_frame()
    again = load_dataset(
        table,
        item="item",
        id="id",
        label="label",
        split="split",
        source="source",
        group="group",
        weak_columns={m: [f"{m}_neg", f"{m}_pos"] for m in ("m1", "m2")},
    )
    assert again.fingerprint == data.fingerprint
    assert again.weak_names == ("m1", "m2")
    assert again.weak_proba.shape == (60, 2, 2)


def test_parts_that_do_not_fit_are_refused():
    table = load().table
    with pytest.raises(InputError, match="table has 60, weak_proba has 3"):
        W2SDataset(table, "text", ("neg", "pos"), weak_proba=np.full((3, 2), 0.5))
    with pytest.raises(ColumnError, match="lacks 'item'"):
        W2SDataset(table.drop(columns="item"), "text", ("neg", "pos"))
    with pytest.raises(FeatureError, match="needs features"):
        W2SDataset(table, "features", ("neg", "pos"))


# ------------------------------------------------------------------------------------- fingerprint


@pytest.mark.parametrize(
    "change",
    [
        {"text": "other"},
        {"key": "other"},
        {"label": "pos"},
        {"domain": "b"},
        {"team": "y"},
        {"p_pos": 0.123},
    ],
)
def test_fingerprint_sees_every_role(change):
    table = frame()
    ((name, value),) = change.items()
    table.loc[0, name] = value
    table["p_neg"] = 1 - table["p_pos"]
    table["fold"] = "labelled"
    whole = frame().assign(fold="labelled")
    more = {"weak_columns": ["p_neg", "p_pos"], "split": "fold"}
    assert load(table, **more).fingerprint != load(whole, **more).fingerprint


def test_fingerprint_sees_where_strings_end():
    first, second = (pd.DataFrame({"text": t}) for t in (["ab", "c"], ["a", "bc"]))
    assert load_dataset(first).fingerprint != load_dataset(second).fingerprint


def test_fingerprint_sees_features():
    x = np.eye(4, dtype=np.float32)
    table = pd.DataFrame({"n": range(4)})
    first = load_dataset(table, features=x)
    assert first.fingerprint == load_dataset(table, features=x.copy(order="F")).fingerprint
    x[0, 1] = 1e-6
    assert first.fingerprint != load_dataset(table, features=x).fingerprint


@pytest.mark.slow
def test_fingerprint_is_stable_between_processes():
    code = (
        "import pandas as pd; from w2s_data import load_dataset;"
        "t = pd.DataFrame({'text': [f't{i}' for i in range(30)], 'y': [0, 1] * 15});"
        "print(load_dataset(t, label='y', random_state=5).fingerprint)"
    )
    seen = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(seen) == 1


# ------------------------------------------------------------------------------- items and kinds


@pytest.mark.parametrize("name", ["text", "Sentence", "content", "review"])
def test_item_column_is_guessed(name):
    assert load_dataset(pd.DataFrame({name: ["a", "b"], "n": [1, 2]})).items == ["a", "b"]


def test_item_column_that_cannot_be_guessed():
    with pytest.raises(ColumnError, match="no name suggests it"):
        load_dataset(pd.DataFrame({"x": ["a"], "y": ["b"]}))
    with pytest.raises(ColumnError, match="'text', 'path' all could"):
        load_dataset(pd.DataFrame({"text": ["a"], "path": ["b"]}))


def test_a_column_with_another_role_is_not_guessed():
    table = pd.DataFrame({"text": ["a", "b"], "path": ["p", "q"]})
    assert load_dataset(table, id="path").items == ["a", "b"]


@pytest.mark.parametrize("role", ["item", "id", "label", "split", "source", "group"])
def test_misspelt_column(role):
    with pytest.raises(ColumnError, match=r"no column 'lable'; did you mean 'label'\? Valid: 'key"):
        load_dataset(frame(), **{"item": "text", role: "lable"})


@pytest.mark.parametrize("role", ["weak_columns", "weak_label"])
def test_misspelt_weak_column(role):
    with pytest.raises(ColumnError, match="did you mean 'p_pos'"):
        load(**{role: "p_poss"})


def test_column_twice():
    table = pd.concat([frame(), frame()[["text"]]], axis=1)
    with pytest.raises(ColumnError, match="more than one column 'text'"):
        load_dataset(table, item="text")


def test_missing_text_is_named():
    table = frame()
    table.loc[[3, 9], "text"] = None
    with pytest.raises(ColumnError, match="'text' has no text in rows 3, 9"):
        load(table)


def test_things_that_are_no_text():
    with pytest.raises(ColumnError, match="must hold text; row 1 hold list"):
        load_dataset(pd.DataFrame({"text": ["a", [1]]}), kind="text")
    assert load_dataset(pd.DataFrame({"text": [1, 2]}), kind="text").items == ["1", "2"]


def test_vectors():
    table = pd.DataFrame({"embedding": [[1.0, 2.0], [3.0, 4.0], [1.0, 2.0]], "y": [0, 1, 0]})
    data = load_dataset(table, label="y", split_sizes={"labelled": 1.0})
    assert data.kind == "features"
    assert data.features.dtype == np.float32
    assert data.features.tolist() == [[1, 2], [3, 4], [1, 2]]
    assert "item" not in data.table.columns
    assert np.array_equal(data.items[1], [3, 4])
    assert data.notes == (
        "2 items recur in 1 groups of exact duplicates; each group stays in one split "
        "(items that are nearly the same may not)",
    )


def test_columns_of_numbers_make_vectors(tmp_path):
    path = tmp_path / "t.csv"
    frame().to_csv(path, index=False)
    data = load_dataset(path, item=["p_neg", "p_pos"], label="label")
    assert data.features.shape == (60, 2)
    assert data.features.sum(axis=1) == pytest.approx(np.ones(60))


def test_ready_made_features(tmp_path):
    x = np.random.default_rng(0).normal(size=(60, 4))
    np.save(tmp_path / "x.npy", x)
    direct = load(features=x)
    stored = load(features=tmp_path / "x.npy")
    assert direct.fingerprint == stored.fingerprint
    assert stored.features.shape == (60, 4)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"features": np.ones((3, 2))}, InputError, "table has 60, features has 3"),
        ({"features": np.ones(60)}, FeatureError, r"shape \(N, D\)"),
        ({"features": [["a"]] * 60}, FeatureError, "must be numbers"),
        ({"features": np.full((60, 2), np.nan)}, FeatureError, "rows 0, 1, 2"),
        ({"features": np.ones((60, 2)), "item": "text"}, InputError, "use either features"),
        ({"item": ["p_neg", "text"]}, ColumnError, "'text' must hold numbers; rows 0"),
        ({"item": ["p_neg"], "kind": "text"}, InputError, "kind='features'"),
        ({"kind": "features", "item": "text"}, FeatureError, "vectors of one length"),
        ({"kind": "txt"}, InputError, "did you mean 'text'"),
        ({"unreadable": "ignore"}, InputError, "'error' or 'skip'"),
        ({"split": "domain", "split_sizes": {}}, InputError, "not both"),
        ({"random_state": "seed"}, InputError, "random_state"),
    ],
)
def test_arguments_that_cannot_be_used(arguments, error, message):
    with pytest.raises(error, match=message):
        load(**arguments)


def test_vectors_of_several_lengths():
    table = pd.DataFrame({"vector": [[1.0, 2.0], [1.0], [2.0, 3.0]]})
    with pytest.raises(FeatureError, match=r"one length \(2\); row 1 do not"):
        load_dataset(table)


def test_features_that_are_no_npy(tmp_path):
    (tmp_path / "x.npy").write_bytes(b"\x93NUMPY")
    with pytest.raises(FileFormatError, match=r"as a \.npy file"):
        load(features=tmp_path / "x.npy")


@pytest.mark.parametrize(
    "table", [pd.DataFrame(), pd.DataFrame({"text": []}), pd.DataFrame({"text": ["a"]})[:0]]
)
def test_empty_table(table):
    with pytest.raises(EmptyDataError, match="holds no rows"):
        load_dataset(table, item="text")


# ----------------------------------------------------------------------------------------- images


def png(value: int) -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.full((8, 8), value, dtype=np.uint8)).save(file, "PNG")
    return file.getvalue()


def noisy(format: str, seed: int) -> bytes:
    file = io.BytesIO()
    noise = np.random.default_rng(seed).integers(0, 255, size=(64, 64, 3), dtype=np.uint8)
    Image.fromarray(noise).save(file, format)
    return file.getvalue()


def image_table(folder, n=20) -> pd.DataFrame:
    (folder / "scans").mkdir()
    for i in range(n):
        (folder / "scans" / f"{i}.png").write_bytes(png(i))
    paths = [f"scans/{i}.png" for i in range(n)]
    return pd.DataFrame({"path": paths, "y": [0, 1] * (n // 2)})


def test_paths_start_at_the_table(tmp_path):
    image_table(tmp_path).to_csv(tmp_path / "t.csv", index=False)
    data = load_dataset(tmp_path / "t.csv", label="y")
    assert data.kind == "image"
    assert data.items[4] == str(tmp_path / "scans" / "4.png")


def test_bytes_and_paths_of_the_same_images_have_the_same_fingerprint(tmp_path):
    table = image_table(tmp_path)
    table.to_csv(tmp_path / "t.csv", index=False)
    stored = table.assign(path=[(tmp_path / p).read_bytes() for p in table["path"]])
    by_path = load_dataset(tmp_path / "t.csv", label="y")
    by_bytes = load_dataset(stored, item="path", label="y")
    assert by_path.fingerprint == by_bytes.fingerprint


@pytest.mark.parametrize(
    "damaged",
    [b"no image", b"", png(1)[:40], noisy("JPEG", 0)[:2000], noisy("PNG", 0)[:5000]],
    ids=["noise", "empty", "png head", "jpeg cut", "png cut"],
)
def test_undecodable_image(damaged, caplog):
    images = [png(i) for i in range(10)] + [noisy("JPEG", i) for i in range(9)] + [damaged]
    table = pd.DataFrame({"image": images, "y": [0, 1] * 10})
    with pytest.raises(FileFormatError, match=r"1 image cannot be decoded: '19' .*'skip'"):
        load_dataset(table, label="y")
    with caplog.at_level(logging.WARNING, logger="w2s_data"):
        data = load_dataset(table, label="y", unreadable="skip")
    assert len(data) == 19
    assert "19" not in data.ids
    assert any("skipped 1 image that cannot be decoded: '19'" in n for n in data.notes)
    assert "skipped" in caplog.text


def test_missing_image_file(tmp_path):
    table = image_table(tmp_path)
    (tmp_path / "scans" / "7.png").unlink()
    table.to_csv(tmp_path / "t.csv", index=False)
    with pytest.raises(
        FileFormatError, match=r"1 image cannot be decoded: '.*7\.png' \(no such file"
    ):
        load_dataset(tmp_path / "t.csv", label="y")
    table.assign(fold=["train", "test"] * 10).to_csv(tmp_path / "t.csv", index=False)
    data = load_dataset(tmp_path / "t.csv", split="fold", unreadable="skip")
    assert data.splits[6:8].tolist() == ["labelled", "labelled"]  # row 7 was skipped


def test_new_images_that_cannot_be_decoded_are_skipped_where_that_is_asked_for(tmp_path):
    table = image_table(tmp_path)
    table.to_csv(tmp_path / "t.csv", index=False)
    data = load_dataset(tmp_path / "t.csv", label="y")
    (tmp_path / "scans" / "7.png").write_bytes(b"no image")
    known = data.columns, data.class_names, data.kind, MemoryLimit.parse(None)
    with pytest.raises(FileFormatError, match=r"1 image .*7\.png' .*skip_unreadable"):
        load_new(tmp_path / "t.csv", *known)
    new = load_new(tmp_path / "t.csv", *known, unreadable="skip")
    assert len(new) == 19
    assert new.notes[-1] == "warning: skipped 1 image that cannot be decoded: '7'"


def test_no_readable_image_at_all():
    table = pd.DataFrame({"image": [b"a", b"b"]})
    with pytest.raises(EmptyDataError, match=r"all 2 images of .* cannot be decoded"):
        load_dataset(table, unreadable="skip")


def test_row_without_image():
    table = pd.DataFrame({"image": [png(1), None]})
    with pytest.raises(ColumnError, match="no image in row 1"):
        load_dataset(table)


# ------------------------------------------------------------------------- ids, labels and splits


def test_duplicate_ids_are_named_with_their_rows():
    table = frame()
    table.loc[[5, 7], "key"] = "k0"
    with pytest.raises(DuplicateIdError, match=r"'key' must be unique; it repeats 'k0' \(rows 0"):
        load(table)
    with pytest.raises(DuplicateIdError, match=r"\(rows 2, 8, 14, 20 and 6 more\) and 3 more"):
        load(frame().assign(key=np.arange(60) % 6))


def test_missing_id():
    table = frame()
    table.loc[8, "key"] = None
    with pytest.raises(ColumnError, match="'key' is empty in row 8"):
        load(table)


@pytest.mark.parametrize(
    ("labels", "names"),
    [
        ([10, 9, 2], ("2", "9", "10")),
        (["10", "9", "2"], ("2", "9", "10")),
        ([1.0, 0.0, None], ("0", "1")),
        ([True, False, True], ("False", "True")),
        (["b", "a", ""], ("a", "b")),
        (["Ä ö", "10", "nein"], ("10", "nein", "Ä ö")),
        (pd.Categorical(["b", "a", None], categories=["b", "a", "c"]), ("a", "b")),
        (pd.array([3, 1, None], dtype="Int64"), ("1", "3")),
    ],
)
def test_class_names_survive(labels, names):
    table = pd.DataFrame({"text": list("abc") * 4, "y": pd.concat([pd.Series(labels)] * 4)[:12]})
    table["text"] = [f"{i}" for i in range(12)]
    data = load_dataset(table, label="y", split_sizes={"labelled": 1.0})
    assert data.class_names == names
    shown = ["" if code < 0 else names[code] for code in data.labels]
    assert shown == data.table["label"].fillna("").tolist()


def test_class_names_in_a_given_order():
    data = load(class_names=["pos", "neg", "neutral"])
    assert data.class_names == ("pos", "neg", "neutral")
    assert data.labels[:2].tolist() == [1, 0]
    with pytest.raises(ColumnError, match=r"column 'label', rows 0, 2.*no class 'neg'"):
        load(class_names=["pos", "negative"])
    with pytest.raises(InputError, match="repeat a name"):
        load(class_names=["pos", "pos"])


def test_labels_that_are_lists():
    with pytest.raises(ColumnError, match="must hold names or numbers"):
        load_dataset(pd.DataFrame({"text": ["a"], "y": [[1]]}), label="y")


def test_missing_source_is_a_source_of_its_own():
    table = frame()
    table.loc[0, "domain"] = None
    assert load(table).sources[0] == "(missing)"


def test_rows_without_label_go_to_the_pool():
    table = frame()
    table.loc[10:39, "label"] = None
    data = load(table)
    assert set(data.splits[10:40]) == {"pool"}
    # They fill the pool, so that more of the 30 gold rows are labelled than a fifth.
    assert [len(data.rows(s)) for s in ("labelled", "validation", "test")] == [15, 3, 6]


def test_a_given_split_is_kept():
    fold = ["train", "unlabeled", "dev", "test"] * 15
    label = np.repeat(["a", "b"], 30).astype(object)
    label[1::4] = None
    data = load(frame().assign(fold=fold, label=label), split="fold")
    assert data.splits.tolist() == ["labelled", "pool", "validation", "test"] * 15


def test_several_test_splits_are_names_below_test():
    fold = ["train", "pool", "Test", "train", "test_ood"] * 12
    data = load(frame().assign(fold=fold), split="fold")
    assert data.splits.tolist() == ["labelled", "pool", "test", "labelled", "test"] * 12
    assert data.test_splits.tolist() == ["", "", "test", "", "test_ood"] * 12
    assert len(data.rows("test")) == 24
    assert data.rows("test_ood").tolist() == list(range(4, 60, 5))
    assert "test splits: test 12, test_ood 12" in repr(data)
    with pytest.raises(SplitError, match="did you mean 'test_ood'"):
        data.rows("test_oob")
    assert data.subset(data.rows("test_ood")).test_splits.tolist() == ["test_ood"] * 12
    # With one test split of the usual name there is no more to tell.
    usual = load(frame().assign(fold=["train", "pool", "test", "train", "test"] * 12), split="fold")
    assert "test_split" not in usual.table
    assert usual.test_splits.tolist() == ["", "", "test", "", "test"] * 12
    assert usual.fingerprint != data.fingerprint
    assert data.with_given_splits(data.splits).fingerprint == usual.fingerprint


def test_duplicates_in_two_test_splits_are_no_leakage():
    table = frame().assign(fold=["train", "test", "test_ood"] * 20)
    table.loc[[1, 2], "text"] = "twice"
    assert "each group stays in one split" in load(table, split="fold").notes[0]


def test_unknown_split_values():
    with pytest.raises(SplitError, match=r"'domain' holds 'a', 'b', 'c'; valid: 'labelled'"):
        load(split="domain")


def test_duplicates_across_given_splits_are_told_as_leaks(caplog):
    table = frame().assign(fold=np.repeat(["train", "test"], 30))
    table.loc[[30, 31], "text"] = "text 0"
    with caplog.at_level(logging.WARNING, logger="w2s_data"):
        data = load(table, split="fold")
    assert data.splits.tolist() == ["labelled"] * 30 + ["test"] * 30
    assert "warning: 3 items in 1 groups of exact duplicates lie in more than one" in data.notes[0]
    assert "they leak" in caplog.text
    healed = data.with_splits()
    assert len(healed.notes) == 1
    assert "each group stays in one split" in healed.notes[0]


def test_duplicate_texts_do_not_straddle():
    table = pd.concat([frame(), frame()[:20], frame()[:20]], ignore_index=True)
    data = load(table, id=None)
    assert data.notes[-1].startswith("60 items recur in 20 groups")
    by_text = pd.Series(data.splits).groupby(data.items).nunique()
    assert by_text.max() == 1


def test_rows_with_a_label_that_stay_in_the_pool_are_counted():
    table = pd.concat([frame(), frame()[:20].assign(label=None)], ignore_index=True)
    data = load(table, id=None)
    told = "rows with a label that stay in the pool, since exact duplicates of them have none: 20"
    assert data.notes[-1] == told
    assert set(data.splits[:20]) == {"pool"}
    assert data.with_splits().notes == data.notes
    assert not [note for note in load(frame()).notes if "stay in the pool" in note]


def test_labels_in_the_pool_only():
    table = frame().assign(fold=["train", "pool"] * 30)
    table.loc[::2, "label"] = None
    with pytest.raises(SplitError, match="none of the 30 rows of the labelled split has a label"):
        load(table, split="fold")


def test_a_labelled_row_without_label():
    table = frame().assign(fold=["labelled"] * 60)
    table.loc[4, "label"] = None
    with pytest.raises(SplitError, match="row 4 of the labelled split have no label"):
        load(table, split="fold")


def test_a_single_class_in_the_labelled_split():
    table = frame().assign(fold=np.where(frame()["label"] == "pos", "train", "pool"))
    with pytest.raises(SplitError, match=r"single class 'pos' \(30 rows\).*: put some of the"):
        load(table, split="fold")
    with pytest.raises(SplitError, match=r"single class 'only'.*: label rows that differ"):
        load(table.assign(label="only"))
    ready_made = load(table, split="fold", weak_columns="p_pos")  # no teacher is trained
    with pytest.raises(SplitError, match="single class"):
        ready_made.check_teacher_data()


def test_no_labelled_split():
    with pytest.raises(SplitError, match=r"no row is in the labelled split \(labelled 0, pool 60"):
        load(frame().assign(fold="pool"), split="fold")
    unknown = frame().assign(label=None, fold="pool")
    with pytest.raises(SplitError, match="or ready-made weak labels with weak_columns="):
        load(unknown, split="fold").check_teacher_data()
    ready_made = load(unknown, split="fold", weak_columns=["p_pos", "p_neg"])
    with pytest.raises(SplitError, match=r"label some rows, or name a column .* label=$"):
        ready_made.check_teacher_data()


def test_labelled_rows_asked_for_without_labels():
    with pytest.raises(SplitError, match="no row has one"):
        load_dataset(frame(), item="text", split_sizes={"labelled": 10})
    with pytest.raises(SplitError, match="no row has one"):
        load(frame().assign(label=None), split_sizes={"labelled": 0.1})


# --------------------------------------------------------------------------------------- examples


def test_example_names():
    data = load_dataset("example:gaussian_overlap?n=200&overlap=0.5", random_state=1)
    assert len(data) == 200
    assert (
        len(load_dataset("example:gaussian_overlap?n=50", split_sizes={"test": 7}).rows("test"))
        == 7
    )
    with pytest.raises(InputError, match="no example 'digit'; did you mean 'digits'"):
        load_dataset("example:digit")
    with pytest.raises(InputError, match="leave out 'label'"):
        load_dataset("example:digits", label="label")


def test_weak_inputs_that_contradict():
    with pytest.raises(InputError, match="not both"):
        load(weak_columns="p_pos", weak_label="label")
    with pytest.raises(InputError, match="requires weak_label"):
        load(weak_confidence="p_pos")
    with pytest.raises(ProbabilityError, match="'p_pos' are 1, but there are 3 classes"):
        load(weak_columns=["p_pos"], class_names=["neg", "pos", "other"])
