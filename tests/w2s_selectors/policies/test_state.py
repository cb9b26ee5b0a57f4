"""The state: counts go where they belong, and nothing is written to."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from tests.w2s_selectors.policies.states import joined, without
from w2s_data.errors import InputError
from w2s_selectors.policies.state import ArmState


def test_a_query_is_pending_until_it_is_answered() -> None:
    start = ArmState.start(3, horizon=10)
    asked = start.asked(1, 20)
    assert asked.pending.tolist() == [0, 20, 0]
    assert (asked.round, asked.queries.sum()) == (1, 0)
    assert asked.untried.tolist() == [True, False, True]
    answered = asked.answered(1, 5, 18, items=20)
    assert answered.pending.sum() == 0
    assert answered.queries.tolist() == [0, 1, 0]
    assert answered.means[1] == 5 / 18
    assert np.isnan(answered.means[[0, 2]]).all()
    assert start.pending.sum() == start.round == 0


def test_outstanding_queries_are_shared_out_by_items() -> None:
    state = ArmState.start(3, horizon=10)
    for arm in (0, 0, 1, 0):
        state = state.asked(arm, 20)
    assert state.outstanding.tolist() == [3, 1, 0]
    assert state.answered(0, 4, 20).outstanding.tolist() == [2, 1, 0]


def test_arms_join_and_leave() -> None:
    state = ArmState.start(2, costs=[1, 2], horizon=10)
    for arm in (0, 1):
        state = state.asked(arm, 10).answered(arm, 5, 10)
    longer = joined(without(state, 0), 3)
    assert longer.n_arms == 3
    assert longer.active.tolist() == [False, True, True]
    assert longer.untried.tolist() == [False, False, True]
    assert longer.costs.tolist() == [1, 2, 3]
    assert longer.means[0] == 0.5
    assert state.n_arms == 2


def test_counts_are_replaced() -> None:
    state = ArmState.start(2, horizon=5).asked(0, 10).answered(0, 2, 10)
    again = state.reestimated([6, 0], [10, 0])
    assert again.means[0] == 0.6
    assert again.queries.tolist() == state.queries.tolist()


def test_arrays_cannot_be_written_to() -> None:
    state = ArmState.start(2, horizon=5)
    for name in ("successes", "trials", "queries", "pending", "costs", "active"):
        with pytest.raises(ValueError, match="read-only"):
            getattr(state, name)[0] = 1


def test_json_brings_the_state_back() -> None:
    state = ArmState.start(3, costs=[1, 0.1, 2], horizon=7).asked(2, 5).answered(2, 1 / 3, 4, 5)
    state = without(state.asked(0, 2), 1)
    back = ArmState(**json.loads(json.dumps(state.to_dict())))
    assert back.to_dict() == state.to_dict()
    assert back.queries.dtype == state.queries.dtype
    assert back.active.dtype == np.bool_


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ArmState.start(0, horizon=5), "n_arms must be at least 1; got 0"),
        (lambda: ArmState.start(2, horizon=0), "horizon >= 1; got 0 and 0"),
        (lambda: ArmState.start(2, costs=[1, -2], horizon=5), r"above 0; got \[1.0, -2.0\]"),
        (lambda: ArmState.start(2, costs=[1, np.nan], horizon=5), "costs must be finite"),
        (lambda: ArmState.start(2, costs=[1], horizon=5), "one entry per arm; got .*costs"),
        (lambda: ArmState.start(2, horizon=5).asked(2, 5), "no arm 2; the arms are 0 to 1"),
        (lambda: ArmState.start(2, horizon=5).asked(-1, 5), "no arm -1"),
        (lambda: ArmState.start(2, horizon=5).asked(0, 0), "at least one item; got 0"),
        (
            lambda: ArmState.start(2, horizon=5).asked(0, 5).answered(0, 2, 8),
            "arm 0 has 5 pending items; got an answer to 8",
        ),
        (
            lambda: ArmState.start(2, horizon=5).asked(0, 5).answered(0, 6, 5),
            "successes must lie between 0 and trials",
        ),
        (
            lambda: ArmState.start(1, horizon=5).reestimated([np.nan], [4]),
            "successes must lie between 0 and trials",
        ),
    ],
)
def test_bad_input(make: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        make()
