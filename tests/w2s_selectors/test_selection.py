"""Selection end to end: budgets, objectives, limits, bad arguments, and what a result says."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tests.w2s_selectors.pools import (
    NUMBERS,
    Fixed,
    callables,
    numbered,
    same,
    select,
    strong,
    tables,
    target,
)
from w2s_data import load_dataset
from w2s_data.errors import InputError
from w2s_selectors.objectives.base import Acquired, Judgement
from w2s_selectors.policies import available_policies
from w2s_selectors.selection import select_sources
from w2s_selectors.settings import SelectionSettings
from w2s_selectors.sources.base import Batch


@pytest.mark.parametrize("objective", ["auto", "screen", "screen_match", "overlap"])
def test_selection_spends_the_budget_on_different_items(objective: str) -> None:
    result = select(objective=objective, target=target())
    bought = [name for part in result.ids for name in part]
    assert len(set(bought)) == 300
    assert result.trace["spent"].iloc[-1] == result.spent == 300
    assert result.ended == "the budget is spent"
    assert result.objective == {"auto": "screen_match"}.get(objective, objective)
    names = [name.split()[0] for part in result.ids for name in part[:1]]
    assert names == result.trace["source"].tolist()
    counts = result.sources.set_index("source")["items"].to_dict()
    assert counts == pd.Series([n.split()[0] for n in bought]).value_counts().to_dict()
    assert result.sources["recommended"].sum() <= 480 - 300 + 1e-6


def test_the_target_decides_on_the_default() -> None:
    assert select().objective == "screen"
    assert select(target=target(100)).objective == "screen"


def test_settings_and_keywords_say_the_same() -> None:
    settings = SelectionSettings(budget=120, batch_size=10, replays=0, stop="good")
    whole = select_sources(tables(), settings, random_state=0)
    assert same(whole, select(budget=120, stop=["good"]))
    larger = replace(settings, budget=300)
    assert same(whole, select_sources(tables(), larger, budget=120, random_state=0))
    with pytest.raises(InputError, match="no setting 'bugdet'; did you mean 'budget'"):
        select_sources(tables(), bugdet=120)


def test_same_seed_same_trace() -> None:
    assert same(select(objective="overlap"), select(objective="overlap"))
    other = select(objective="overlap", random_state=1)
    assert not select(objective="overlap").trace.equals(other.trace)


def test_screen_stops_the_noisy_source_and_says_why() -> None:
    result = select()
    assert list(result.stopped) == ["noisy"]
    assert "do not follow from the strong features" in result.stopped["noisy"]
    row = result.sources.set_index("source").loc["noisy"]
    assert row["items"] <= 60
    assert row["recommended"] == 0
    assert "stopped 'noisy'" in repr(result)
    many = replace(result, sources=result.sources.assign(recommended=4321.0))
    assert "4,321" in repr(many)


def test_items_of_a_stopped_source_are_set_aside_and_paid_for() -> None:
    result = select()
    aside = result.set_aside
    assert set(aside["source"]) == {"noisy"}
    assert set(aside["reason"]) == {result.stopped["noisy"]}
    bought = [name for part in result.ids for name in part]
    assert [name for name in bought if not name.startswith("noisy")] == list(result.chosen_ids)
    assert sorted([*result.chosen_ids, *aside["id"]]) == sorted(bought)
    assert result.spent == result.trace["cost"].sum() == len(bought) == 300
    row = result.sources.set_index("source").loc["noisy"]
    assert row["set_aside"] == row["items"] == len(aside)
    trace = result.to_frame().query("source == 'noisy'")
    assert trace["set_aside"].sum() == len(aside)
    assert set(trace["reason"]) == {result.stopped["noisy"]}
    assert f"({len(aside)} more set aside)" in repr(result)


def scripted(stops: list[list[int]]) -> Any:
    """An objective that stops the sources that a script names for each judgement."""
    calls = iter(stops)

    def judge(acquired: Acquired) -> Judgement:
        nothing = np.full(acquired.n_sources, np.nan)
        stopped = dict.fromkeys(next(calls), "the script says so")
        return Judgement(nothing + 1, nothing, nothing, gains=nothing + 1, stopped=stopped)

    return judge


def test_a_source_that_came_back_keeps_all_that_it_sold() -> None:
    options: dict[str, Any] = {"budget": 50, "policy": "round_robin"}
    names = ["a", "b"]
    back = select(tables(("a", "b")), objective=scripted([[], [0], [0], []]), **options)
    assert back.trace["source"].tolist() == [*names, "a", "b", "b"]
    assert len(back.chosen_ids) == 50
    assert back.set_aside.empty
    again = select(tables(("a", "b")), objective=scripted([[], [0], [], [0]]), **options)
    assert {name.split()[0] for name in again.chosen_ids} == {"b"}
    assert set(again.set_aside["source"]) == {"a"}


def test_keep_overrules_what_was_set_aside_and_stop_sets_aside(tmp_path: Path) -> None:
    options: dict[str, Any] = {"checkpoint": tmp_path / "c"}
    first = select(**options)
    kept = select(keep=["noisy"], **options)
    assert kept.set_aside.empty
    assert kept.chosen_ids == tuple(name for part in first.ids for name in part)
    both = select(stop=["good"], **options)
    assert set(both.set_aside["source"]) == {"good", "noisy"}
    assert both.stopped["good"] == "stopped by the user"
    assert select(**options).chosen_ids == first.chosen_ids


def test_nothing_is_left_when_every_source_is_stopped() -> None:
    result = select(
        tables(("a", "b")),
        objective=scripted([[], [0, 1]]),
        replays=2,
        budget=40,
        evaluate=lambda _, proba: len(proba),
    )
    assert result.ended == "only stopped sources are left (`keep` overrules)"
    assert result.chosen_ids == ()
    assert len(result.set_aside) == 30
    assert result.notes == ("nothing is left to train on: every source that delivered was stopped",)
    assert result.baselines is not None
    values = result.baselines.set_index("strategy")["evaluated"]
    assert np.isnan(values["chosen"])
    assert values["all_bought"] == values["random"] == 30
    assert result.verdict == ""


def test_the_student_and_the_comparison_do_without_what_was_set_aside() -> None:
    result = select(
        replays=3, target=target(), evaluate=lambda features, proba: len(features) + proba.sum()
    )
    assert result.baselines is not None
    table = result.baselines.set_index("strategy")["evaluated"]
    n = len(result.chosen_ids)
    assert n < 300
    assert table[["chosen", "all_bought", "random"]].tolist() == pytest.approx([2 * n, 600, 600])
    assert result.replayed is not None
    chosen = result.replayed.query("strategy == 'chosen'")
    assert [name for part in chosen["ids"] for name in part] == list(result.chosen_ids)
    assert chosen["items"].sum() == 300


def test_the_user_overrules() -> None:
    kept = select(keep=["noisy"])
    assert not kept.stopped
    result = select(stop="good")
    assert result.stopped["good"] == "stopped by the user"
    assert result.sources.set_index("source").loc["good", "items"] == 0


def test_selection_ends_when_only_stopped_sources_are_left() -> None:
    result = select(budget=480)
    assert result.ended == "only stopped sources are left (`keep` overrules)"
    assert result.spent < 480


@pytest.mark.parametrize("policy", sorted(set(available_policies()) - {"oracle"}))
def test_all_policies(policy: str) -> None:
    assert select(objective="overlap", policy=policy, budget=120).spent == 120


def test_all_sources_run_dry() -> None:
    result = select(tables(("a", "b"), 25), budget=300, keep=["a", "b"])
    assert result.ended == "all sources are empty or given up"
    assert result.spent == 50
    assert set(result.sources["status"]) == {"gone"}


def test_budget_in_money() -> None:
    sources = tables(costs={"good": 5.0})
    result = select(sources, budget=400, budget_unit="money", objective="overlap")
    spent = (result.sources["items"] * result.sources["cost"]).sum()
    assert result.spent == spent
    assert 399 <= spent <= 400
    assert result.sources["spent"].sum() == spent


def test_limits() -> None:
    assert len(select(max_rounds=7).trace) == 7
    assert select(max_rounds=7).ended == "the limit of 7 rounds is reached"
    assert len(select(max_seconds=1e-9).trace) == 0
    result = select(objective="overlap", separation=0.1)
    assert "is the best with probability" in result.ended
    assert result.spent < 300


def test_custom_objective_is_greedy() -> None:
    result = select(objective=lambda acquired: np.arange(acquired.n_sources), budget=150)
    assert result.sources["items"].tolist() == [10, 10, 10, 120]


def test_equal_gains_leave_the_choice_to_the_policy() -> None:
    result = select(objective=lambda a: np.ones(a.n_sources), policy="round_robin", budget=120)
    assert result.sources["items"].tolist() == [30] * 4


def test_functions_as_sources_and_models() -> None:
    ready = select(tables(), objective="overlap", budget=120)
    computed = select(tables(ready=False), objective="overlap", budget=120, **NUMBERS)
    assert ready.ids == computed.ids
    result = select(callables(a=numbered("a"), b=numbered("b")), budget=100, **NUMBERS)
    assert result.sources["items"].tolist() == [50, 50]
    assert np.isinf(result.sizes).all()


def test_targets_of_items_and_of_a_dataset() -> None:
    items = [f"target {i}" for i in range(250)]
    by_items = select(target=items, **NUMBERS)
    assert by_items.ids == select(target=target()).ids
    table = pd.DataFrame({"text": items, "label": [0, 1] * 125})
    data = load_dataset(table, label="label", split_sizes={"labelled": 50})
    with pytest.raises(InputError, match="50 rows of the target are in the labelled split"):
        select(target=data, **NUMBERS)
    pool = data.subset(data.rows("pool"))
    assert select(target=pool, budget=60, **NUMBERS).objective == "screen_match"


def test_comparison_by_replay() -> None:
    result = select(
        replays=3, objective="overlap", evaluate=lambda _, proba: proba.max(axis=1).mean()
    )
    table = result.baselines.set_index("strategy")
    assert table["runs"].to_dict() == {"chosen": 1, "random": 3, "round_robin": 3}
    assert table["value"].between(0, 1).all()
    assert "noise" in result.verdict
    assert not result.notes
    assert np.isnan(table.loc["chosen", "value_low"])
    assert (table.loc[["random"], "evaluated_low"] <= table.loc["random", "evaluated"]).all()
    once = select(callables(a=numbered("a")), budget=20, replays=3, **NUMBERS)
    assert once.baselines is None
    assert "source 'a' delivers an item only once" in once.notes[-1]


def test_regret_is_known_estimated_or_undefined() -> None:
    result = select(objective="overlap", policy="ucb1")
    known = result.regret([0.5 if n == "good" else 0.1 for n in result.sources["source"]])
    good = result.trace["source"] == "good"
    expected = 0.4 * result.trace["kept"].where(~good, 0).cumsum()
    dry = np.flatnonzero(good.cumsum() >= 12)
    upto = dry[0] if len(dry) else len(expected)
    np.testing.assert_allclose(known.cumulative[:upto], expected[:upto])
    assert known.kind == "known"
    assert np.isfinite(known.bound).all()
    assert result.regret().kind == "estimated"
    assert select().regret().kind == "undefined"
    assert "label consistency" in select().regret().reason


def test_results_on_disk(tmp_path: Path) -> None:
    result = select()
    result.save(tmp_path)
    table = pd.read_parquet(tmp_path / "selection.parquet")
    chosen = table[table["set_aside"] == 0]
    assert [name for part in chosen["ids"] for name in part] == list(result.chosen_ids)
    summary = json.loads((tmp_path / "selection.json").read_text())
    assert summary["stopped"] == result.stopped
    assert summary["items"] == 300 - summary["set_aside"] == len(result.chosen_ids)
    assert summary == result.to_dict()
    row = result.sources.iloc[0]
    reward = {"value": row["reward"], "low": row["reward_low"], "high": row["reward_high"]}
    assert summary["sources"][0]["reward"] == reward | {"level": 0.95}
    assert len(repr(result).splitlines()) < 25


def test_on_round_sees_every_round() -> None:
    rows: list[dict[str, Any]] = []
    result = select(on_round=lambda row, _: rows.append(row))
    pd.testing.assert_frame_equal(pd.DataFrame(rows), result.trace)
    assert result.to_frame().columns.tolist() == [*result.trace.columns, "set_aside", "reason"]


def test_missing_models() -> None:
    with pytest.raises(InputError, match="'fine' delivers items without strong features: pass st"):
        select(tables(ready=False))
    with pytest.raises(InputError, match="without weak probabilities: pass weak_model"):
        select(tables(ready=False), strong_encoder=strong)
    with pytest.raises(InputError, match="strong_encoder must be an encoder or a function"):
        select(strong_encoder=3)
    with pytest.raises(InputError, match="weak_model must be a function of items"):
        select(weak_model="gpt")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (
            {"budget": 30},
            r"a budget of 30 items does not pay one batch of 10 from each of 4 sources "
            r"\(40 items\); raise the budget, or lower batch_size to 7",
        ),
        ({"budget": 3}, "or name some sources in stop"),
        ({"budget": -1}, "budget must be a number > 0; got -1"),
        ({"budget": None}, "budget must be a number > 0; got None"),
        ({"budget_unit": "euros"}, "budget_unit must be 'items' or 'money'; got 'euros'"),
        ({"batch_size": 0}, "batch_size must be an integer >= 1; got 0"),
        ({"batch_size": 2.5}, "batch_size must be an integer"),
        ({"policy": "tompson"}, "there is no policy 'tompson'; did you mean 'thompson'"),
        ({"objective": "density"}, "there is no objective 'density'; valid: 'auto', 'overlap'"),
        ({"objective": "screen_match"}, "needs target: 200"),
        ({"keep": ["web"]}, "keep: there is no source 'web'"),
        ({"stop": ["good", "fine", "noisy", "more"]}, "stop names every source"),
        ({"keep": ["good"], "stop": ["good"]}, "keep and stop both name 'good'"),
        ({"sources": []}, "there is no source to select from"),
        ({"sources": ["web"]}, "a source must have name, cost, size, open and query"),
        ({"sources": tables(("a",)) * 2}, "source names must differ; there are several named 'a'"),
        ({"target": np.ones((1, 8))}, "a target needs 200 items or more; got 1"),
        ({"target": np.full((9, 8), np.nan)}, "target have NaN or infinite values"),
        ({"separation": 0}, r"separation must be None or a number in \(0, 1\]; got 0"),
        ({"replays": -1}, "replays must be an integer >= 0; got -1"),
        ({"max_rounds": 0}, "max_rounds must be None or an integer >= 1; got 0"),
    ],
)
def test_bad_arguments(options: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        select(**options)


@pytest.mark.parametrize("cost", [0.0, -2.0, None, float("inf")])
def test_bad_costs_of_ones_own_source(cost: Any) -> None:
    source = Fixed(lambda: Batch(()))
    source.cost = cost
    with pytest.raises(InputError, match="the cost of source 'own' must be a number above 0"):
        select([source])


def test_an_empty_source() -> None:
    source = tables(("a",))[0]
    source._order = source._order[:0]
    with pytest.raises(InputError, match="source 'a' is empty; leave it out"):
        select([source])
