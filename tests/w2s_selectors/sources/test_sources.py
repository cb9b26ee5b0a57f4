"""Sources: order, retries, timeouts, partial and surplus answers, and what bad ones say."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tests.w2s_selectors.pools import tables
from w2s_data import TfidfEncoder, embed, load_dataset
from w2s_data.errors import FileFormatError, InputError
from w2s_selectors.sources import (
    CallableSource,
    DataSource,
    ReplayableSource,
    SourceError,
    SourceTimeout,
    TableSource,
)
from w2s_selectors.sources.base import Batch
from w2s_selectors.sources.journal import read_batch, write_batch


def stream(size: int = 100) -> Any:
    """A function that delivers numbered items."""
    numbers = iter(range(size))
    return lambda n: [(f"{i}", f"text {i}") for _, i in zip(range(n), numbers, strict=False)]


def test_tables_deliver_each_row_once_in_a_seeded_order() -> None:
    first, again, other = (tables(("a",), 30, random_state=seed)[0] for seed in (0, 0, 1))
    ids = [name for _ in range(4) for name in first.query(10).ids]
    assert sorted(ids) == sorted(f"a {i}" for i in range(30))
    assert list(again.query(30).ids) == ids
    assert list(other.query(30).ids) != ids
    assert isinstance(first, DataSource)
    assert isinstance(first, ReplayableSource)


def test_tables_go_on_and_look_up() -> None:
    source, whole = tables(("a",), 30)[0], tables(("a",), 30)[0].query(30)
    source.open(whole.ids[:12], None)
    assert source.query(5).ids == whole.ids[12:17]
    found = source.lookup(whole.ids[3:6][::-1])
    np.testing.assert_array_equal(found.strong_features, whole.strong_features[3:6][::-1])
    with pytest.raises(InputError, match="source 'a' holds no item with the id 'b 1'"):
        source.lookup(["b 1"])


def test_a_shuffled_table_is_another_one() -> None:
    source = tables(("a",), 30)[0]
    fingerprint, ids = source.fingerprint, source.lookup(["a 3"]).ids
    shuffled = source.shuffled(np.random.default_rng(1))
    assert shuffled.fingerprint != fingerprint
    assert shuffled.lookup(["a 3"]).ids == ids
    assert sorted(shuffled.query(30).ids) == sorted(source.query(30).ids)


def test_sources_of_a_dataset_take_costs_and_average_weak_models() -> None:
    table = pd.DataFrame({"text": list("abcd"), "from": ["x", "y"] * 2})
    data = load_dataset(table, source="from")
    several = np.array([[[0.2, 0.8], [0.4, 0.6]]] * 4)
    x, y = TableSource.from_dataset(data, costs={"y": 3}, weak_proba=several)
    assert (x.cost, y.cost, y.size) == (1, 3, 2)
    np.testing.assert_allclose(x.query(1).weak_proba, [[0.3, 0.7]])
    assert not x.ready


def test_a_store_serves_as_ready_features(tmp_path: Path) -> None:
    colours, things = ("red", "green", "blue"), ("car", "dog", "sun", "sky")
    texts = [f"{colours[i % 3]} {things[i % 4]} {i}" for i in range(30)]
    encoder = TfidfEncoder(n_components=3).fit(texts)
    store = embed(texts, encoder, tmp_path, shard_rows=7)
    data = load_dataset(pd.DataFrame({"text": texts, "from": ["x", "y"] * 15}), source="from")
    batch = TableSource.from_dataset(data, strong_features=store)[1].query(4)
    rows = [list(data.ids).index(name) for name in batch.ids]
    np.testing.assert_array_equal(batch.strong_features, store.array()[rows])


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"costs": {"z": 1}}, "there is no source 'z'"),
        ({"costs": {"x": -1}}, "the cost of source 'x' must be a number above 0; got -1"),
        ({"costs": {"x": None}}, "the cost of source 'x' must be a number above 0; got None"),
        ({"costs": {"x": float("nan")}}, "above 0; got nan"),
        ({"split": "test"}, "no row of the split 'test' has a source"),
        ({"strong_features": np.ones((3, 2))}, "strong_features have 3 rows; the data set has 4"),
        ({"weak_proba": np.ones((5, 2))}, "weak_proba have 5 rows; the data set has 4"),
    ],
)
def test_bad_options_of_a_dataset(options: dict[str, Any], said: str) -> None:
    table = pd.DataFrame({"text": list("abcd"), "from": ["x", "y"] * 2})
    with pytest.raises(InputError, match=said):
        TableSource.from_dataset(load_dataset(table, source="from"), **options)


def test_a_dataset_without_sources() -> None:
    data = load_dataset(pd.DataFrame({"text": list("ab")}))
    with pytest.raises(InputError, match="has no sources: pass source, the name of"):
        TableSource.from_dataset(data)


def test_texts_get_ids_of_their_content() -> None:
    batch = CallableSource(lambda _: ["red", "green", "red"], "crawler").query(3)
    assert batch.items == ("red", "green", "red")
    assert batch.ids[0] == batch.ids[2] != batch.ids[1]


def test_retries_after_exceptions() -> None:
    calls = []

    def flaky(n: int) -> list[str]:
        calls.append(n)
        if len(calls) < 3:
            raise ConnectionError("busy")
        return ["a"]

    source = CallableSource(flaky, "api", retries=2, backoff=0.001)
    assert source.query(5).items == ("a",)
    assert calls == [5, 5, 5]


def test_failures_name_the_source_and_the_last_exception() -> None:
    def broken(_: int) -> list[str]:
        raise ConnectionError("no route")

    source = CallableSource(broken, "api", retries=1, backoff=0.001)
    said = "source 'api' failed 2 times, last with ConnectionError: no route"
    with pytest.raises(SourceError, match=said) as caught:
        source.query(5)
    assert isinstance(caught.value.__cause__, ConnectionError)


def test_what_was_yielded_before_a_failure_is_delivered_and_not_asked_for_again() -> None:
    calls = []

    def breaks(n: int) -> Any:
        calls.append(n)
        yield "a"
        yield "b"
        raise ConnectionError("cut")

    source = CallableSource(breaks, "api", retries=3, backoff=0.001)
    assert source.query(5).items == ("a", "b")
    assert len(calls) == 1


def test_a_late_answer_is_kept_and_no_second_call_is_made() -> None:
    calls, ready = [], threading.Event()

    def slow(n: int) -> list[str]:
        calls.append(n)
        ready.wait(5)
        return ["a", "b"]

    source = CallableSource(slow, "queue", timeout=0.05)
    for _ in range(2):
        with pytest.raises(SourceTimeout, match=r"source 'queue' did not answer within 0.05 s"):
            source.query(2)
    ready.set()
    assert source.query(2).items == ("a", "b")
    assert calls == [2]
    source.query(2)
    assert calls == [2, 2]


def test_a_timeout_delivers_what_is_there_and_the_rest_later() -> None:
    ready = threading.Event()

    def slow(_: int) -> Any:
        yield "a"
        ready.wait(5)
        yield "b"

    source = CallableSource(slow, "queue", timeout=0.2)
    assert source.query(2).items == ("a",)
    ready.set()
    time.sleep(0.05)
    assert source.query(2).items == ("b",)


def test_late_answers_survive_the_process(tmp_path: Path) -> None:
    ready, done = threading.Event(), threading.Event()

    def slow(n: int) -> list[tuple[str, str]]:
        ready.wait(5)
        done.set()
        return [(str(i), f"text {i}") for i in range(n)]

    source = CallableSource(slow, "queue", timeout=0.05)
    source.open((), tmp_path)
    with pytest.raises(SourceTimeout):
        source.query(3)
    ready.set()
    done.wait(5)
    for _ in range(100):
        if list(tmp_path.glob("answer-*.parquet")):
            break
        time.sleep(0.02)
    after = CallableSource(stream(0), "queue")
    after.open(["0"], tmp_path)
    assert after.query(9).ids == ("1", "2")
    after.open(["0", "1", "2"], tmp_path)
    assert not list(tmp_path.glob("answer-*.parquet"))


def test_surplus_is_kept_for_the_next_query(tmp_path: Path) -> None:
    answers = iter([["a", "b", "c"], ["d"]])
    source = CallableSource(lambda _: next(answers), "api")
    source.open((), tmp_path)
    assert source.query(2).items == ("a", "b")
    assert list(tmp_path.glob("answer-*.parquet"))
    assert source.query(2).items == ("c",)
    assert source.query(2).items == ("d",)


def test_the_request_is_named_where_the_function_asks() -> None:
    heard = []

    def paid(n: int, request: str) -> list[str]:
        heard.append((n, request))
        return ["a"]

    CallableSource(paid, "api").query(3, "7-1")
    assert heard == [(3, "7-1")]


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (None, "source 'api' must answer with items: texts, or pairs .* got NoneType"),
        ("abc", "got str"),
        ([1, 2], r"must answer with texts, pairs \(id, item\), or mappings with item .* got 1"),
        ([("a", "b", "c")], "got \\('a', 'b', 'c'\\)"),
    ],
)
def test_answers_that_are_no_items(answer: Any, said: str) -> None:
    with pytest.raises(SourceError, match=said):
        CallableSource(lambda _: answer, "api").query(3)


@pytest.mark.parametrize(
    "options", [{"cost": 0}, {"cost": "much"}, {"retries": -1}, {"timeout": 0}, {"backoff": -1}]
)
def test_bad_options_of_a_function(options: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=f"{next(iter(options))} .*must be"):
        CallableSource(lambda _: [], "api", **options)
    with pytest.raises(InputError, match="source 'x' needs a function of n"):
        CallableSource("no function", "x")  # type: ignore[arg-type]


def test_batches_come_back_from_disk(tmp_path: Path) -> None:
    batch = Batch(
        ("a", "b", "c", "d"),
        ("text", b"\x00bytes", Path("x.png"), np.array([1.0, 2.0])),
        np.arange(8, dtype=np.float32).reshape(4, 2),
        np.full((4, 2), 0.5),
    )
    write_batch(tmp_path / "batch.parquet", batch, "beside")
    found, beside = read_batch(tmp_path / "batch.parquet")
    assert beside == "beside"
    assert found.ids == batch.ids
    assert found.items[:3] == batch.items[:3]
    np.testing.assert_array_equal(found.items[3], batch.items[3])
    np.testing.assert_array_equal(found.strong_features, batch.strong_features)
    np.testing.assert_array_equal(found.weak_proba, batch.weak_proba)
    with pytest.raises(InputError, match="an item must be a text, bytes, a path or a vector"):
        write_batch(tmp_path / "b.parquet", Batch(("a",), ({"text": 1},)))
    (tmp_path / "batch.parquet").write_bytes(b"cut")
    with pytest.raises(FileFormatError, match=r"batch\.parquet' as a batch of items"):
        read_batch(tmp_path / "batch.parquet")
