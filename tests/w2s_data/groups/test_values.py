"""Groups of values: errors and offsets by group, discovery, sources, bad input."""

from __future__ import annotations

import numpy as np
import pytest

from w2s_data.errors import InputError
from w2s_data.groups import ValueGroupAnalyzer
from w2s_data.groups.error_groups import square_groups


@pytest.fixture
def data(rng):
    """A third of the points is elsewhere, and too low by 2 there."""
    old = rng.random(900) < 1 / 3
    features = rng.normal(size=(900, 5)) + np.outer(old, [9, 0, 0, 0, 0])
    target = rng.normal(size=900)
    weak = target - 2 * old + 0.5 * rng.normal(size=900)
    return features, weak, target, old


def test_given_groups_have_errors_with_intervals(data):
    features, weak, target, old = data
    names = np.where(old, "old", "new")
    found = ValueGroupAnalyzer(random_state=0).fit(features, weak, groups=names, targets=target)
    table = found.groups_.loc[["new", "old"]]
    assert table["weak_mse"].to_numpy() == pytest.approx([0.25, 4.25], rel=0.15)
    assert table["weak_offset"].to_numpy() == pytest.approx([0, 2], abs=0.12)
    assert (table["weak_mse_low"] < [0.25, 4.25]).all()
    assert (table["weak_mse_high"] > [0.25, 4.25]).all()
    assert "further off in 'old'" in found.reading_
    assert "too low on average" in found.reading_


@pytest.mark.parametrize("discovery", ["auto", "errors"])
def test_groups_are_discovered(data, discovery):
    features, weak, target, old = data
    found = ValueGroupAnalyzer(discovery=discovery, random_state=0)
    found = found.fit(
        (features - [4.5, 0, 0, 0, 0]) * [1, 0.1, 0.1, 0.1, 0.1], weak, targets=target
    )
    worst = found.groups_["weak_mse"].idxmax()
    assert np.mean((found.group_ == worst) == old) > 0.9


def test_equal_errors_are_one_group(rng):
    features, squares = rng.normal(size=(1000, 4)), rng.normal(size=1000) ** 2
    assert not square_groups(features, squares, None, "cpu", rng).any()


def test_student_and_sources_are_described(data):
    features, weak, target, old = data
    found = ValueGroupAnalyzer(random_state=0).fit(
        features, weak, groups=old.astype(str), sources=np.where(old, "a", "b"), targets=target,
        student_values=np.where(np.arange(900) < 300, np.nan, target),
    )  # fmt: skip
    assert (found.groups_["student_mse"] == 0).all()
    assert found.sources_ is not None
    assert found.sources_.loc["a", "weak_offset"] == pytest.approx(2, abs=0.12)
    names = {row["group"] for row in found.to_dict()["groups"]}
    assert names == {"False", "True"}


def test_without_gold_values_errors_are_unknown(data):
    features, weak, _, old = data
    found = ValueGroupAnalyzer(random_state=0).fit(features, weak, groups=old.astype(str))
    assert found.groups_["weak_mse"].isna().all()
    assert "errors are unknown" in found.reading_


def test_errors_need_gold_values(data):
    features, weak, *_ = data
    with pytest.raises(InputError, match="pass targets"):
        ValueGroupAnalyzer(discovery="errors").fit(features, weak)


def test_lengths_must_agree(data):
    features, weak, *_ = data
    with pytest.raises(InputError, match="targets"):
        ValueGroupAnalyzer().fit(features, weak, targets=np.ones(3))
