"""Preference data: roles, order, weak labels, duplicates, and features of pairs."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from w2s_data import load_dataset
from w2s_data.data.pairs import PAIR_CLASSES
from w2s_data.encoders import TfidfEncoder
from w2s_data.errors import EmptyDataError, FeatureError, InputError
from w2s_data.features.pairs import embed_pairs, pair_features
from w2s_data.run import Run

N = 60


@pytest.fixture
def table(rng):
    return pd.DataFrame(
        {
            "prompt": [f"question {i}" for i in range(N)],
            "good": [f"good answer {i}" for i in range(N)],
            "bad": [f"bad answer {i}" for i in range(N)],
            "p": rng.uniform(size=N),
        }
    )


def load(table, **changes):
    return load_dataset(table, **{"chosen": "good", "rejected": "bad", **changes})


def test_labels_say_where_the_chosen_item_stands(table):
    data = load(table)
    assert data.is_paired
    assert data.class_names == PAIR_CLASSES
    first, second = data.pairs
    for label, one, two in zip(data.labels, first, second, strict=True):
        assert (one, two)[label].startswith("good")
        assert (one, two)[1 - label].startswith("bad")
    assert np.bincount(data.labels).tolist() == [N // 2, N // 2]


def test_order_follows_the_seed(table):
    same = load(table, random_state=1).labels
    np.testing.assert_array_equal(same, load(table, random_state=1).labels)
    assert (same != load(table, random_state=2).labels).any()


def test_vectors_become_differences(rng):
    good, bad = rng.normal(size=(2, N, 3))
    data = load(pd.DataFrame({"good": list(good), "bad": list(bad)}))
    assert data.kind == "features"
    assert data.is_paired
    sign = np.where(data.labels == 0, 1, -1)[:, None]
    np.testing.assert_allclose(data.features, sign * (good - bad), rtol=1e-5, atol=1e-6)
    columns = pd.DataFrame(np.hstack([good, bad]), columns=["g0", "g1", "g2", "b0", "b1", "b2"])
    again = load(columns, chosen=["g0", "g1", "g2"], rejected=["b0", "b1", "b2"])
    np.testing.assert_allclose(again.features, data.features, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("columns", ["p", ["p"], {"ranker": "p"}, {"ranker": ["p"]}])
def test_a_weak_column_is_the_probability_of_the_chosen_item(table, columns):
    data = load(table, weak_columns=columns)
    right = data.weak_proba.reshape(N, 2)[np.arange(N), data.labels]
    np.testing.assert_allclose(right, table["p"])
    np.testing.assert_allclose(data.weak_proba.sum(axis=-1), 1)


def test_two_weak_columns_and_several_models(table):
    table["q"] = 1 - table["p"]
    data = load(table, weak_columns={"one": ["p", "q"], "two": ["q", "p"]})
    assert data.weak_names == ("one", "two")
    right = data.weak_proba[np.arange(N), :, data.labels]
    np.testing.assert_allclose(right, np.column_stack([table["p"], table["q"]]))


def test_weak_labels_name_the_column(table):
    table["weak"] = np.where(table["p"] > 0.4, "chosen", "rejected")
    data = load(table, weak_label="weak")
    right = data.weak_proba.argmax(axis=1) == data.labels
    np.testing.assert_array_equal(right, table["p"] > 0.4)


def test_a_pair_and_its_mirror_stay_in_one_split(table, rng):
    mirror = table.rename(columns={"good": "bad", "bad": "good"})
    data = load(pd.concat([table, mirror], ignore_index=True))
    np.testing.assert_array_equal(data.splits[:N], data.splits[N:])
    good, bad = rng.normal(size=(2, N, 3))
    vectors = pd.DataFrame({"good": [*good, *bad], "bad": [*bad, *good]})
    data = load(vectors)
    np.testing.assert_array_equal(data.splits[:N], data.splits[N:])


def test_pairs_survive_a_run(table, tmp_path):
    data = load(table, weak_columns="p")
    Run.create(tmp_path / "run", data)
    again = Run.open(tmp_path / "run").dataset()
    assert again.is_paired
    assert again.pairs == data.pairs
    assert again.fingerprint == data.fingerprint
    assert "60 pairs" in repr(again)


def test_the_order_is_part_of_the_fingerprint(table):
    splits = np.resize(["labelled", "pool", "test"], N)
    one, two = (load(table.assign(split=splits), split="split", random_state=s) for s in (1, 2))
    assert one.fingerprint != two.fingerprint


def test_embedded_pairs_are_differences_and_each_item_is_encoded_once(table, tmp_path):
    data = load(table)
    first, second = data.pairs
    encoder = TfidfEncoder(4, random_state=0).fit(first + second)
    found = embed_pairs(first, second, encoder, tmp_path / "store")
    expected = encoder.encode(first) - encoder.encode(second)
    np.testing.assert_allclose(found.take(np.arange(N)), expected, atol=1e-6)
    blocks = np.vstack([block for _, block in found.blocks(max_bytes=7 * 16)])
    np.testing.assert_allclose(blocks, expected, atol=1e-6)
    assert found.shape == (N, expected.shape[1])


def test_an_encoder_refuses_pairs(table):
    with pytest.raises(InputError, match="not str but Pair"):
        TfidfEncoder(4).fit(load(table).items)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rejected": None}, "rejected is missing"),
        ({"chosen": None, "item": "good"}, "chosen is missing"),
        ({"item": "prompt"}, "leave out item"),
        ({"label": "prompt"}, "leave out label"),
        ({"class_names": ["a", "b"]}, "leave out class_names"),
        ({"features": np.zeros((N, 2))}, "leave out features"),
        ({"rejected": "bed"}, "did you mean 'bad'"),
        ({"kind": "image"}, "pairs of images are not supported"),
        ({"weak_label": "prompt"}, "there is no class 'question 0'"),
        ({"weak_columns": ["p", "prompt", "id"]}, "2 classes: 'chosen', 'rejected'"),
    ],
)
def test_what_pairs_cannot_be(table, changes, message):
    with pytest.raises(InputError, match=message):
        load(table, **changes)


def test_equal_items_have_no_order_and_are_left_out(table):
    kept = np.setdiff1d(np.arange(N), [3, 7])
    table.loc[[3, 7], "bad"] = table.loc[[3, 7], "good"]
    table["split"] = np.resize(["labelled", "pool", "test"], N)
    data = load(table, weak_columns="p", split="split")
    warning = "warning: skipped 2 pairs of the same item twice: rows 3, 7"
    assert warning in data.notes
    assert data.ids.tolist() == [str(row) for row in kept]
    assert data.splits.tolist() == table["split"][kept].tolist()
    np.testing.assert_allclose(data.weak_proba[np.arange(N - 2), data.labels], table["p"][kept])
    good = np.arange(2.0 * N).reshape(N, 2)
    bad = good[::-1].copy()
    bad[5] = good[5]
    assert "5" not in load(pd.DataFrame({"good": list(good), "bad": list(bad)})).ids
    with pytest.raises(EmptyDataError, match="all 60 pairs of 'data' hold the same item twice"):
        load(table.assign(bad=table["good"]))


def test_vectors_of_two_lengths_and_features_of_two_shapes():
    with pytest.raises(FeatureError, match="one length; got 2 and 1"):
        load(pd.DataFrame({"good": [[1.0, 2.0]] * 3, "bad": [[1.0]] * 3}))
    with pytest.raises(FeatureError, match="one shape"):
        pair_features(np.zeros((3, 2)), np.zeros((3, 1)))


def test_other_data_have_no_pairs(table):
    data = load_dataset(table, item="prompt")
    assert not data.is_paired
    with pytest.raises(InputError, match="not pairs of texts"):
        _ = data.pairs
