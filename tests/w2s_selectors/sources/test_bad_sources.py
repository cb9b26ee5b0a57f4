"""Sources and models that misbehave in the middle of a selection."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
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
    weak,
)
from w2s_data.errors import DegenerateDataWarning, FeatureError, InputError, ProbabilityError
from w2s_selectors.sources import CallableSource
from w2s_selectors.sources.base import Batch


def test_a_source_that_raises_is_given_up() -> None:
    def broken(_: int) -> list[str]:
        raise ConnectionError("no route")

    result = select(callables(a=numbered("a"), b=broken, c=numbered("c")), budget=100, **NUMBERS)
    row = result.sources.set_index("source").loc["b"]
    assert row["status"] == "gone"
    assert "given up after 3 failures in a row: source 'b' failed 1 time" in row["reason"]
    assert result.spent == 100
    assert (result.trace["kind"] == "failure").sum() == 3
    assert any("no route" in note for note in result.notes)


def test_a_source_that_hangs_is_given_up_and_its_budget_set_aside() -> None:
    import threading

    ready = threading.Event()
    sources = callables(a=numbered("a"), b=lambda _: ready.wait(10) or [])
    sources[1].timeout = 0.02
    result = select(sources, budget=100, **NUMBERS)
    ready.set()
    assert (result.trace["kind"] == "timeout").sum() == 3
    assert result.sources["items"].tolist() == [90, 0]  # 10 may still be charged


def test_a_late_answer_comes_in_at_the_end() -> None:
    import time

    def late(n: int) -> list[str]:
        time.sleep(0.3)
        return [f"b {i}" for i in range(n)]

    sources = callables(a=numbered("a"), b=late)
    sources[1].timeout = 0.25
    result = select(sources, budget=100, max_rounds=2, **NUMBERS)
    assert result.trace["kind"].tolist() == ["answer", "timeout", "answer"]
    assert result.sources["items"].tolist() == [10, 10]


def test_fewer_items_than_asked_are_taken() -> None:
    whole = numbered("a")
    result = select(callables(a=lambda n: whole(n)[:4], b=numbered("b")), budget=70, **NUMBERS)
    rows = result.trace[result.trace["source"] == "a"]
    assert (rows["asked"] == 10).any()
    assert (rows["delivered"] <= 4).all()
    assert result.spent == 70


def test_an_empty_answer_means_dry() -> None:
    result = select(callables(a=lambda _: [], b=numbered("b")), budget=70, **NUMBERS)
    assert result.sources.set_index("source").loc["a", "reason"] == "it is empty"
    assert result.sources["items"].tolist() == [0, 70]


def test_duplicates_are_dropped_charged_and_named() -> None:
    def repeats(n: int) -> list[tuple[str, str]]:
        return [(f"a {i}", f"a {i}") for i in range(n)]

    sources = callables(a=repeats, b=numbered("b"))
    said = "source 'a': 10 of 10 delivered items were delivered before; dropped, and charged for"
    with pytest.warns(DegenerateDataWarning, match=said):
        result = select(sources, budget=100, keep=["a", "b"], **NUMBERS)
    assert len(set(result.chosen_ids)) == len(result.chosen_ids)
    row = result.sources.set_index("source").loc["a"]
    assert row["reason"] == "3 answers in a row brought nothing new"
    assert row["spent"] == 40
    assert row["items"] == 10


def test_another_sources_items_are_named() -> None:
    sources = callables(a=numbered("a"), b=numbered("a"))
    with pytest.warns(DegenerateDataWarning, match=r"delivered before \(from source 'a'\)"):
        select(sources, budget=40, **NUMBERS)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (lambda: ["a"], "must deliver a Batch whose ids are str; got"),
        (lambda: Batch((1,)), "must deliver a Batch whose ids are str"),
        (lambda: Batch(("a",), ("a",), np.full((1, 8), np.nan)), "NaN or infinite"),
        (lambda: Batch(("a",), ("a",), np.zeros((1, 8))), "all zero"),
        (lambda: Batch(("a",), ("a",), np.ones(1)), "must have the shape .1, D."),
        (lambda: Batch(("a",), ("a",), np.ones((1, 9))), "had 8 dimensions so far; now 9"),
        (lambda: Batch(("a",), None, np.ones((1, 8)), np.ones((1, 2))), "must sum to 1"),
        (lambda: Batch(("a",), None, np.ones((1, 8)), np.ones((1, 3)) / 3), "had 2 classes"),
        (lambda: Batch(("a",), ("a", "b")), "a batch has 1 ids and 2 items"),
    ],
)
def test_a_source_whose_answers_are_of_no_use_is_given_up(answer: Any, said: str) -> None:
    result = select([*tables(("b",)), Fixed(answer)], budget=50, **NUMBERS)
    assert result.sources["items"].tolist() == [50, 0]
    assert "given up after 3 failures in a row: source 'own'" in result.sources["reason"][1]
    assert re.search(said, result.sources["reason"][1])


def test_a_model_that_fails_can_be_mended(tmp_path: Path) -> None:
    sources = tables(ready=False)
    for model, error, said in (
        ({"strong_encoder": lambda items: np.ones((len(items) + 1, 8))}, FeatureError, "the shape"),
        ({"strong_encoder": lambda items: strong(items) * np.nan}, FeatureError, "NaN or inf"),
        ({"weak_model": lambda items: weak(items)[1:]}, ProbabilityError, "10 for source"),
        ({"weak_model": lambda items: weak(items) * 2}, ProbabilityError, "sum to 1|leaves"),
    ):
        with pytest.raises(error, match=said):
            select(sources, checkpoint=tmp_path / "c", **NUMBERS | model)
    assert same(select(sources, checkpoint=tmp_path / "c", **NUMBERS), select(sources, **NUMBERS))


def test_items_that_cannot_be_kept(tmp_path: Path) -> None:
    sources = [CallableSource(lambda _: [("a", {"text": 1})], "api"), *tables(("b",))]
    with pytest.raises(InputError, match="an item must be a text, bytes, a path or a vector"):
        select(sources, checkpoint=tmp_path / "c", **NUMBERS)
