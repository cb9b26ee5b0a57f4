"""Trust as an objective: worth by hand, stops, missing and unusable trust, gold rows instead."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.w2s_selectors.pools import NUMBERS, Fixed, numbers_of, same, select, tables
from w2s_data.errors import InputError, ProbabilityError
from w2s_selectors.objectives.base import Acquired, Task
from w2s_selectors.objectives.trust import Trust, TrustJudge
from w2s_selectors.session.checkpoint import CheckpointError
from w2s_selectors.sources import CallableSource
from w2s_selectors.sources.base import Batch

TASK = Task(np.ones(3), 20, None, 0, names=("a", "b", "c"))


def acquired_of(trust: tuple[Any, ...], n: int = 80) -> Acquired:
    acquired = Acquired(3)
    for k, (name, of_source) in enumerate(zip("abc", trust, strict=True)):
        features, proba = numbers_of([f"{name} {i}" for i in range(n)])
        acquired.add(k, features, proba, np.full(n, of_source))
    return acquired


def judged(acquired: Acquired, task: Task = TASK) -> tuple[TrustJudge, np.ndarray]:
    judge = Trust().start(task)
    gains = judge(acquired).gains
    assert isinstance(judge, TrustJudge)
    assert gains is not None
    return judge, gains


def test_worth_is_the_slope_of_the_effective_right_labels() -> None:
    # A source of one item, repeated, is worth what one more of it would add: in the limit, since
    # the value is not linear. Its first points come from the middle of the others.
    point, proba = numbers_of(["b 0"])
    for target in (None, numbers_of([f"target {i}" for i in range(250)])[0]):
        acquired = acquired_of((0.9, 0.6, 0.8))
        alone = Acquired(3)
        for k in (0, 2):
            of_k = acquired.source == k
            proba_k, trust_k = acquired.weak_proba[of_k], acquired.trust[of_k]
            alone.add(k, acquired.strong_features.array[of_k], proba_k, trust_k)
        alone.add(1, np.repeat(point, 20, axis=0), np.repeat(proba, 20, axis=0), np.full(20, 0.6))
        judge, gains = judged(alone, replace(TASK, target=target))
        before = judge.values([alone])[0]
        alone.add(1, point, proba, np.array([1e-4]))
        assert judge.values([alone])[0] - before == pytest.approx(1e-4 * gains[1] / 0.6, rel=1e-3)


def test_the_value_counts_right_labels_that_lie_like_the_target() -> None:
    acquired = acquired_of((0.9, 0.6, 0.8))
    like = np.concatenate([acquired.strong_features.array] * 3)
    judge, gains = judged(acquired, replace(TASK, target=like))
    assert judge.values([acquired])[0] == pytest.approx(80 * (0.9 + 0.6 + 0.8), rel=0.05)
    assert gains == pytest.approx([0.9, 0.6, 0.8], rel=0.15)
    elsewhere = replace(TASK, target=numbers_of([f"x {i}" for i in range(250)])[0] + 3)
    far, _ = judged(acquired, elsewhere)
    assert far.values([acquired])[0] < 0.5 * judge.values([acquired])[0]


def test_right_and_new_is_worth_more() -> None:
    _, even = judged(acquired_of((0.8, 0.8, 0.8)))
    _, uneven = judged(acquired_of((0.8, 0.4, 0.8)))
    assert uneven[1] < 0.7 * min(uneven[[0, 2]])
    assert even[1] == pytest.approx(even[0], rel=0.1)
    repeated = acquired_of((0.8, 0.8, 0.8))
    features, proba = numbers_of(["c 0"])
    for _ in range(10):
        repeated.add(2, np.repeat(features, 20, axis=0), np.repeat(proba, 20, axis=0), np.ones(20))
    _, gains = judged(repeated)
    assert gains[2] < 0.5 * gains[0]


def test_reward_is_the_mean_trust_with_its_interval() -> None:
    trust = np.linspace(0.4, 1, 80)
    judgement = Trust().start(TASK)(acquired_of((trust, 0.7, 1.0)))
    assert judgement.rewards == pytest.approx([0.7, 0.7, 1])
    half = 1.96 * trust.std(ddof=1) / np.sqrt(80)
    assert judgement.low[0] == pytest.approx(0.7 - half, abs=1e-3)
    assert judgement.high[0] == pytest.approx(0.7 + half, abs=1e-3)
    assert judgement.low[1:] == pytest.approx([0.7, 1])


def test_costs_divide() -> None:
    acquired = acquired_of((0.8, 0.8, 0.8))
    _, even = judged(acquired)
    _, dear = judged(acquired, replace(TASK, costs=np.array([1.0, 4, 1])))
    assert dear == pytest.approx(even / [1, 4, 1])


def test_confident_noise_is_stopped_whatever_its_trust_says() -> None:
    trust = np.where(np.repeat(["good", "fine", "noisy", "more"], 120) == "noisy", 1.0, 0.7)
    result = select(tables(trust=trust), objective="trust", replays=2)
    assert list(result.stopped) == ["noisy"]
    assert set(result.set_aside["source"]) == {"noisy"}
    rewards = result.sources.set_index("source")["reward"]
    assert rewards.to_dict() == pytest.approx({"good": 0.7, "fine": 0.7, "more": 0.7, "noisy": 1})
    assert result.baselines is not None
    value = result.baselines.set_index("strategy")["value"]
    assert value["chosen"] == pytest.approx(value["all_bought"])  # stopped labels count nothing
    assert value["chosen"] > value["random"]


def test_the_trusted_source_is_bought() -> None:
    trust = np.repeat([0.95, 0.6, 0.6, 0.6], 120)
    sources = tables(("good", "fine", "more", "rest"), trust=trust)
    result = select(sources, objective="trust", budget=200)
    assert result.sources.set_index("source")["items"].idxmax() == "good"
    assert result.sources["recommended"].sum() == 200
    room = 120 - result.sources["items"]
    assert (result.sources["recommended"] <= room).all()


def test_an_item_without_a_weak_label_is_worth_nothing() -> None:
    acquired = acquired_of((0.8, 0.8, 0.8))
    _, before = judged(acquired)
    features = numbers_of([f"b {i}" for i in range(80, 160)])[0]
    acquired.add(1, features, np.full((80, 2), 0.5), np.full(80, np.nan))
    judge, gains = judged(acquired)
    assert gains[1] == pytest.approx(before[1] / 2, rel=0.05)
    assert judge(acquired).rewards[1] == pytest.approx(0.4)


def test_items_without_trust_are_refused_with_their_source() -> None:
    with pytest.raises(InputError, match="and source 'fine' delivers items without it: give it tr"):
        select(objective="trust")
    trust = np.where(np.repeat(["good", "fine", "noisy", "more"], 120) == "more", np.nan, 0.8)
    with pytest.raises(InputError, match="'more' delivers items without it") as caught:
        select(tables(trust=trust), objective="trust")
    assert "\n" not in str(caught.value)
    assert select(tables(trust=trust), objective="screen").spent == 300  # others need none


@pytest.mark.parametrize(
    ("trust", "said"),
    [
        (np.full(480, 1.2), "trust must be a probability in .0, 1.; got 1.2 in rows 0, 1, 2, 3"),
        (np.append(np.ones(479), -0.1), "got -0.1 in row 479"),
        (np.append(np.ones(479), np.inf), "got inf in row 479"),
        (np.ones((480, 2)), r"trust must be numbers of shape \(480,\), one per item; got float64"),
        (np.ones(3), r"of shape \(480,\)"),
        (["sure"] * 480, r"trust must be numbers of shape \(480,\)"),
    ],
)
def test_unusable_trust_is_refused(trust: Any, said: str) -> None:
    with pytest.raises(ProbabilityError, match=said):
        tables(trust=trust)


def test_unusable_trust_of_an_answer_is_a_failure_of_its_source() -> None:
    features, proba = numbers_of([f"own {i}" for i in range(10)])
    ids = tuple(f"own {i}" for i in range(10))
    own = Fixed(lambda: Batch(ids, None, features, proba, np.full(10, 80.0)))
    trust = np.full(240, 0.9)
    result = select([*tables(("a", "b"), trust=trust), own], objective="trust", budget=100)
    assert "delivered unusable numbers: trust must be a probability" in " ".join(result.notes)
    assert result.sources.set_index("source").loc["own", "status"] == "gone"
    assert len(result.chosen_ids) == 100


def gold_rows(n: int = 60) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    features, proba = numbers_of([f"gold {i}" for i in range(n)])
    return features, proba, (features[:, :2].sum(axis=1) > 0).astype(int)


@pytest.mark.slow
def test_gold_rows_give_trust_to_items_that_come_without_it() -> None:
    names = ("good", "noisy", "more")
    result = select(tables(names), objective=Trust(gold=gold_rows()), budget=150)
    rewards = result.sources.set_index("source")["reward"]
    assert rewards["noisy"] < rewards[["good", "more"]].min()
    # Trust that comes with an item is taken as it is.
    trust = np.where(np.repeat(names, 120) == "noisy", 0.25, np.nan)
    mixed = select(tables(names, trust=trust), objective=Trust(gold=gold_rows()), budget=150)
    assert mixed.sources.set_index("source").loc["noisy", "reward"] == pytest.approx(0.25)


@pytest.mark.slow
def test_a_selection_by_gold_rows_resumes_to_the_same_trace(tmp_path: Path) -> None:
    options: dict[str, Any] = {"objective": Trust(gold=gold_rows()), "budget": 120}
    whole = select(tables(("good", "noisy")), **options)
    for n_rounds in (3, 7):
        select(tables(("good", "noisy")), checkpoint=tmp_path / "c", max_rounds=n_rounds, **options)
    assert same(whole, select(tables(("good", "noisy")), checkpoint=tmp_path / "c", **options))
    other = Trust(gold=gold_rows(50))
    with pytest.raises(CheckpointError, match=r"with objective 'Trust.gold=60 rows"):
        select(tables(("good", "noisy")), checkpoint=tmp_path / "c", objective=other, budget=120)


def test_gold_must_be_three_parts() -> None:
    with pytest.raises(InputError, match="gold must be "):
        Trust(gold=gold_rows()[:2])  # type: ignore[arg-type]


def test_functions_deliver_trust_and_resume_with_it(tmp_path: Path) -> None:
    def sources() -> list[CallableSource]:
        made = []
        for name, trust in (("a", 0.9), ("b", 0.6)):
            count = iter(range(10**6))

            def deliver(n: int, name: str = name, trust: float = trust, count: Any = count) -> Any:
                items = [f"{name} {next(count)}" for _ in range(n)]
                rows = numbers_of(items)[1]
                return [
                    {"id": item, "item": item, "weak_proba": list(row), "trust": trust}
                    for item, row in zip(items, rows, strict=True)
                ]

            made.append(CallableSource(deliver, name))
        return made

    options: dict[str, Any] = {"objective": "trust", "budget": 100}
    options["strong_encoder"] = NUMBERS["strong_encoder"]
    result = select(sources(), checkpoint=tmp_path / "c", **options)
    rewards = result.sources.set_index("source")["reward"]
    assert rewards.to_dict() == pytest.approx({"a": 0.9, "b": 0.6})
    assert result.sources.set_index("source")["items"].idxmax() == "a"
    again = select(sources(), checkpoint=tmp_path / "c", **options)
    assert same(result, again)
    np.testing.assert_allclose(again.sources["reward"], result.sources["reward"])
