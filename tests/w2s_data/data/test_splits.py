from __future__ import annotations

import time

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_score

from w2s_data.data import load_dataset
from w2s_data.data.splits import (
    DEFAULT_SPLIT_SIZES,
    LEAST_OF_A_KIND,
    SPLIT_ALIASES,
    SPLITS,
    apportion,
    assign_splits,
    base_splits,
    count_duplicates,
    count_straddling,
    default_split_sizes,
    feature_units,
    parse_splits,
    read_split,
    split_counts,
    text_units,
)
from w2s_data.errors import SplitError

DEALT = ("labelled", "validation", "test")


@st.composite
def tables(draw, duplicates=True, missing=True):
    n = draw(st.integers(1, 120))
    seed = draw(st.integers(0, 2**32 - 1))
    rng = np.random.default_rng(seed)
    labels = rng.integers(-1 if missing else 0, draw(st.integers(1, 4)), size=n)
    sources = rng.integers(0, draw(st.integers(1, 3)), size=n)
    n_units = draw(st.integers(1, n)) if duplicates else n
    units = rng.integers(0, n_units, size=n) if duplicates else np.arange(n)
    return labels, sources, text_units(units)


@st.composite
def shares(draw):
    parts = draw(st.lists(st.integers(0, 10), min_size=4, max_size=4).filter(any))
    return {name: part / sum(parts) for name, part in zip(DEALT, parts[:3], strict=True)}


@given(tables(), shares(), st.integers(0, 100))
@settings(max_examples=150)
def test_every_row_has_one_split_and_duplicates_stay_together(table, sizes, seed):
    labels, sources, units = table
    splits = assign_splits(labels, units, sources=sources, sizes=sizes, random_state=seed)
    assert len(splits) == len(labels)
    assert set(splits) <= set(SPLITS)
    assert count_straddling(units, splits) == (0, 0)
    assert set(splits[labels < 0]) <= {"pool"}


@given(tables(duplicates=False), shares(), st.integers(0, 100))
@settings(max_examples=150)
def test_sizes_are_exact_without_duplicates(table, sizes, seed):
    labels, sources, units = table
    splits = assign_splits(labels, units, sources=sources, sizes=sizes, random_state=seed)
    n_labels = (labels >= 0).sum()
    for name, share in sizes.items():
        assert abs((splits == name).sum() - share * n_labels) < 1 + 1e-6


@given(tables(duplicates=False, missing=False), st.sampled_from([1, 20]), st.integers(0, 100))
@settings(max_examples=150)
def test_each_label_and_each_source_of_it_gets_its_share(table, copies, seed):
    labels, sources = (np.tile(codes, copies) for codes in table[:2])
    splits = assign_splits(labels, np.arange(len(labels)), sources=sources, random_state=seed)
    total = {name: (splits == name).sum() for name in DEFAULT_SPLIT_SIZES}
    slack = {"labelled": 1, "validation": 2, "test": 2}
    kinds = {*zip(sources.tolist(), labels.tolist(), strict=True)}
    many = total["labelled"] >= LEAST_OF_A_KIND * len(kinds)
    for label in set(labels):
        of_label = labels == label
        strata = [of_label]
        if many:
            strata += [of_label & (sources == source) for source in set(sources)]
        for rows in strata:
            for name, count in total.items():
                exact = count * rows.sum() / len(labels)
                assert abs((splits[rows] == name).sum() - exact) < slack[name]


@pytest.mark.slow
def test_cross_validation_of_few_labelled_rows_finds_what_they_teach():
    """Balanced by source too, each row would be the only one of its kind."""
    rng = np.random.default_rng(0)
    label, source = rng.integers(0, 5, size=(2, 1500))
    # Rows of one source are alike: without one of its class, another class of it is nearest.
    values = 3 * np.eye(25)[5 * source + label] + 4 * np.eye(25)[source]
    values += 0.8 * rng.normal(size=values.shape)
    found = []
    for seed in range(12):
        splits = assign_splits(
            label, np.arange(1500), sources=source, sizes={"labelled": 50}, random_state=seed
        )
        labelled, pool = splits == "labelled", splits == "pool"
        model = LogisticRegression(max_iter=1000)
        folds = StratifiedKFold(8, shuffle=True, random_state=seed)
        taught = model.fit(values[labelled], label[labelled]).score(values[pool], label[pool])
        crossed = cross_val_score(model, values[labelled], label[labelled], cv=folds).mean()
        found.append(crossed - taught)
    assert np.mean(found) == pytest.approx(0, abs=0.05)


@given(tables(), st.integers(0, 100))
@settings(max_examples=50)
def test_the_same_seed_gives_the_same_splits(table, seed):
    labels, sources, units = table
    first, second = (
        assign_splits(labels, units, sources=sources, random_state=seed) for _ in range(2)
    )
    assert first.tolist() == second.tolist()


def test_another_seed_gives_other_splits():
    labels = np.arange(200) % 2
    splits = [assign_splits(labels, np.arange(200), random_state=s) for s in (0, 1)]
    assert (splits[0] != splits[1]).mean() > 0.3


def test_every_row_is_as_likely_as_its_like_to_be_labelled():
    labels = np.repeat([0, 1], [30, 10])
    drawn = np.zeros(40)
    for seed in range(2000):
        drawn += assign_splits(labels, np.arange(40), random_state=seed) == "labelled"
    # Binomial with p = .2 over 2,000 seeds: sd .009.
    assert np.abs(drawn / 2000 - 0.2).max() < 0.045


def test_tiny_strata_are_not_forgotten():
    labels = np.repeat([0, 1, 2], [985, 10, 5])
    splits = assign_splits(labels, np.arange(1000), random_state=3)
    counts = [(splits[labels == c] == "labelled").sum() for c in range(3)]
    assert counts == [197, 2, 1]


def test_single_items_make_up_for_whole_groups_of_duplicates():
    rng = np.random.default_rng(0)
    units = text_units(np.concatenate([np.repeat(np.arange(20), 7), np.arange(100, 960)]))
    labels = rng.integers(0, 2, size=len(units))
    splits = assign_splits(labels, units, random_state=0)
    counts = [(splits == name).sum() for name in DEALT]
    assert counts == [200, 100, 200]


def test_a_duplicate_of_a_row_without_label_goes_to_the_pool():
    labels = np.array([0, -1, 1, 0, 1])
    units = np.array([0, 0, 1, 2, 3])
    splits = assign_splits(labels, units, sizes={"labelled": 3}, random_state=0)
    assert splits.tolist() == ["pool", "pool", "labelled", "labelled", "labelled"]


def test_rows_that_may_leave_the_pool_are_shared_as_asked():
    # Half of the rows with a label have a copy without one.
    labels = np.concatenate([np.arange(400) % 2, np.full(200, -1)])
    units = np.concatenate([np.arange(400), np.arange(200)])
    splits = assign_splits(labels, units, random_state=0)
    assert [(splits == name).sum() for name in DEALT] == [40, 20, 40]
    assert set(splits[:200]) == {"pool"}
    counts = {"labelled": 20, "validation": 10, "test": 170}
    splits = assign_splits(labels, units, sizes=counts, random_state=0)
    assert [(splits == name).sum() for name in DEALT] == [20, 10, 170]
    with pytest.raises(SplitError) as error:
        assign_splits(labels, units, sizes={"test": 201}, random_state=0)
    assert str(error.value) == (
        "split sizes ask for 201 rows (test 201), but only 200 rows have a label to split by; 200 "
        "more must stay in the pool, since exact duplicates of them have no label: ask for fewer "
        "rows, or label the duplicates"
    )


def test_settled_rows_keep_their_split_and_take_their_duplicates_along():
    labels = np.zeros(10, dtype=int)
    units = np.array([0, 1, 2, 3, 4, 0, 5, 6, 7, 8])
    fixed = np.array([None] * 5 + ["test"] * 2 + ["validation"] * 3, dtype=object)
    splits = assign_splits(labels, units, sizes={"labelled": 1.0}, fixed=fixed, random_state=0)
    assert splits[5:].tolist() == ["test"] * 2 + ["validation"] * 3
    assert splits[0] == "test"
    assert set(splits[1:5]) == {"labelled"}


def test_no_label_at_all_means_all_pool():
    splits = assign_splits(np.full(7, -1), np.arange(7), random_state=0)
    assert set(splits) == {"pool"}


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"labeled": 0.2}, "did you mean 'labelled'"),
        ({"labelled": -3}, "share in"),
        ({"labelled": 1.5}, "share in"),
        ({"labelled": True}, "share in"),
        ({"labelled": float("nan")}, "share in"),
        ({"pool": 0.5}, "takes the remaining rows"),
        ({"labelled": 0.7, "test": 0.4}, "only 100 rows have a label"),
        ({"labelled": 101}, "ask for 101 rows"),
    ],
)
def test_sizes_that_cannot_be_met(sizes, message):
    with pytest.raises(SplitError, match=message):
        split_counts(sizes, 100)


@pytest.mark.parametrize(
    ("n_gold", "n_unlabelled", "labelled", "pool_of_all"),
    [
        (1000, 0, 0.2, 500),
        (1000, 200, 0.3, 600),  # half of all rows
        (1000, 600, 0.5, 800),
        (1000, 100_000, 0.5, 100_200),  # a fifth of the gold rows stays, to measure by
    ],
)
def test_rows_without_label_fill_the_pool_first(n_gold, n_unlabelled, labelled, pool_of_all):
    sizes = default_split_sizes(n_gold, n_unlabelled)
    assert sizes == pytest.approx({"labelled": labelled, "validation": 0.1, "test": 0.2})
    assert split_counts(sizes, n_gold)[3] + n_unlabelled == pool_of_all


@pytest.mark.parametrize(
    ("n_pool", "came", "labelled", "pool_of_all"),
    [
        (0, ["test"], 0.2, 700),  # as without the rule: all rows have a label
        (2000, ["test"], 0.7, 2200),
        (500, ["test"], 0.35, 1050),  # 70% of all rows
        (2000, ["test", "validation"], 0.6, 2400),  # 80% of all rows
        (2000, ["labelled", "test"], None, 2900),  # nobody may add to a split that came
    ],
)
def test_splits_that_came_leave_the_rest_to_labelled_rows_and_pool(
    n_pool, came, labelled, pool_of_all
):
    sizes = default_split_sizes(1000, n_pool, came)
    assert sizes.get("labelled") == (labelled and pytest.approx(labelled))
    assert not set(sizes) & set(came)
    assert split_counts(sizes, 1000)[3] + n_pool == pool_of_all


@pytest.mark.parametrize("dtype", ["str", "category", "object"])
def test_unlabelled_rows_of_a_training_split_are_the_pool(dtype):
    frame = pd.DataFrame({"text": [f"word {i}" for i in range(12)], "label": ["a", "b"] * 6})
    frame["fold"] = pd.Series(["Train"] * 6 + [None] * 2 + ["test"] * 4).astype(dtype)
    frame.loc[[2, 3, 6, 7, 11], "label"] = None
    data = load_dataset(frame, label="label", split="fold")
    assert {split: data.rows(split).tolist() for split in ("labelled", "pool", "test")} == {
        "labelled": [0, 1, 4, 5],
        "pool": [2, 3, 6, 7],
        "test": [8, 9, 10, 11],
    }
    assert "4 rows without a label, of split 'train' or of none, are in the pool" in data.notes
    frame.loc[6, "label"] = "a"
    with pytest.raises(SplitError, match="'fold' is empty in 1 rows"):
        load_dataset(frame, label="label", split="fold")


def test_shares_that_sum_to_one_leave_no_pool():
    assert split_counts({"labelled": 0.7, "validation": 0.1, "test": 0.2}, 10).tolist() == [
        7,
        1,
        2,
        0,
    ]


@given(st.integers(0, 1000), st.lists(st.floats(0, 100), min_size=1, max_size=8).filter(any))
def test_apportion_sums_up_and_stays_within_one(total, parts):
    if sum(parts) < 1e-3:
        return
    counts = apportion(total, parts)
    exact = total * np.array(parts) / sum(parts)
    assert counts.sum() == total
    assert (np.abs(counts - exact) < 1 + 1e-6).all()


@pytest.mark.parametrize("alias", [*SPLIT_ALIASES, *SPLITS])
def test_aliases(alias):
    column = pd.Series([alias, f" {alias.upper()} "])
    expected = SPLIT_ALIASES.get(alias, alias)
    assert parse_splits(column, "fold").tolist() == [expected, expected]


def test_unknown_split_values_are_named():
    with pytest.raises(SplitError, match=r"column 'fold' holds 'holdout', 7; valid: 'labelled'"):
        parse_splits(pd.Series(["train", "holdout", 7], dtype=object), "fold")
    with pytest.raises(SplitError, match="empty in 1 rows"):
        parse_splits(pd.Series(["train", None]), "fold")


def test_units_of_features_are_exact_rows():
    x = np.random.default_rng(0).normal(size=(50, 3))
    doubled = np.vstack([x, x[:10], x[:10] + 1e-12])
    units = feature_units(doubled)
    assert count_duplicates(units) == (20, 10)
    assert np.array_equal(units[50:60], units[:10])


@pytest.mark.slow
def test_a_million_rows_take_seconds():
    rng = np.random.default_rng(0)
    n = 1_000_000
    labels, sources = rng.integers(-1, 10, size=n), rng.integers(0, 20, size=n)
    units = text_units(rng.integers(0, 900_000, size=n))
    start = time.perf_counter()
    splits = assign_splits(labels, units, sources=sources, random_state=0)
    assert time.perf_counter() - start < 5
    assert count_straddling(units, splits) == (0, 0)


# ----------------------------------------------------------------------------------- test splits


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("test", "test"),
        (" TEST ", "test"),
        ("test_ood", "test_ood"),
        ("Test-News", "test-news"),
        ("test 2024", "test 2024"),
        ("test2", "test2"),
        ("testA", "testa"),
        ("train", "labelled"),
        ("valid", "validation"),
        ("testing", None),
        ("testimonials", None),
        ("latest_ood", None),
        ("validation_test", None),
        ("", None),
    ],
)
def test_the_split_that_a_name_stands_for(name, split):
    assert read_split(name) == split


def test_a_column_may_name_several_test_splits():
    values = pd.Series(["train", "Test", "test_2024", "pool", "test-news"])
    splits = parse_splits(values, "part")
    assert splits.tolist() == ["labelled", "test", "test_2024", "pool", "test-news"]
    assert base_splits(splits).tolist() == ["labelled", "test", "test", "pool", "test"]
    with pytest.raises(SplitError, match=r"holds 'tester'.*such as 'test_ood'"):
        parse_splits(pd.Series(["test", "tester"]), "part")


def test_duplicates_join_the_test_split_of_their_twin():
    units, labels = np.array([0, 0, 1, 2, 3]), np.zeros(5, dtype=int)
    fixed = np.array([None, "test_ood", "test", None, None], dtype=object)
    splits = assign_splits(labels, units, sizes={}, fixed=fixed, random_state=0)
    assert splits.tolist() == ["test_ood", "test_ood", "test", "pool", "pool"]
