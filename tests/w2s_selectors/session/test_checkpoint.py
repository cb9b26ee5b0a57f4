"""Checkpoints: the same trace in pieces, and what is refused."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tests.w2s_selectors.pools import (
    NUMBERS,
    Service,
    numbered,
    same,
    select,
    strong,
    tables,
    weak,
)
from w2s_data import FeatureStore, TfidfEncoder, load_dataset
from w2s_data.utils.io import read_json, write_json
from w2s_selectors.session.checkpoint import CheckpointError
from w2s_selectors.sources import CallableSource, TableSource


@pytest.mark.parametrize("objective", ["screen", "overlap"])
def test_a_selection_in_pieces_is_the_same_one(tmp_path: Path, objective: str) -> None:
    whole = select(objective=objective)
    for n_rounds in (3, 7, 20):
        select(objective=objective, checkpoint=tmp_path / "c", max_rounds=n_rounds)
    assert same(whole, select(objective=objective, checkpoint=tmp_path / "c"))
    assert same(whole, select(objective=objective, checkpoint=tmp_path / "c"))
    state = read_json(tmp_path / "c" / "state.json")
    assert state["spent"] == 300
    assert state["rounds"] == len(whole.trace)


def test_a_resumed_selection_may_have_a_larger_budget(tmp_path: Path) -> None:
    small = select(checkpoint=tmp_path / "c", budget=100)
    large = select(checkpoint=tmp_path / "c", budget=200)
    assert large.ids[: len(small.ids)] == small.ids
    assert large.spent == 200


def test_paid_services_are_asked_once(tmp_path: Path) -> None:
    def sources(folder: str) -> list[CallableSource]:
        return [
            CallableSource(Service(tmp_path / folder / name, name), name, retries=0)
            for name in ("good", "noisy", "fine")
        ]

    whole = select(sources("one"), budget=200, **NUMBERS)
    calls = []

    def failing(items: list[str]) -> np.ndarray:
        calls.append(items)
        if len(calls) % 3 == 0:
            raise RuntimeError("killed after the answer had come")
        return strong(items)

    for _ in range(40):
        try:
            result = select(
                sources("two"),
                budget=200,
                strong_encoder=failing,
                weak_model=weak,
                checkpoint=tmp_path / "c",
            )
            break
        except RuntimeError:
            continue
    assert same(whole, result)
    for name in ("good", "noisy", "fine"):
        one, two = (Service(tmp_path / folder / name, name).charged() for folder in ("one", "two"))
        assert one == two


def test_an_encoder_goes_through_the_feature_store(tmp_path: Path) -> None:
    items = [f"{name} {i % 7} {i % 5} {i}" for name in ("red", "blue") for i in range(40)]
    table = pd.DataFrame({"text": items, "from": np.repeat(["red", "blue"], 40)})
    data = load_dataset(table, source="from")
    encoder = TfidfEncoder(n_components=4).fit(items)
    options: dict[str, Any] = {
        "strong_encoder": encoder,
        "weak_model": lambda texts: np.array(
            [[0.3, 0.7] if "1" in t else [0.6, 0.4] for t in texts]
        ),
        "budget": 60,
        "checkpoint": tmp_path / "c",
    }
    half = select(TableSource.from_dataset(data), **options, max_rounds=3)
    assert len(FeatureStore.open(tmp_path / "c" / "features")) == len(half.chosen_ids)
    done = select(TableSource.from_dataset(data), **options)
    assert len(FeatureStore.open(tmp_path / "c" / "features")) == len(done.chosen_ids) == 60


def test_checkpoints_of_others_are_refused_and_left_alone(tmp_path: Path) -> None:
    folder = tmp_path / "c"
    select(checkpoint=folder, max_rounds=5)
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    for options, said in (
        ({"batch_size": 5}, "belongs to another selection, with batch_size 10 .not 5.; pass"),
        ({"sources": tables(size=60)}, "belongs to another selection, with sources"),
        ({"random_state": 1}, "with random_state 0 .not 1."),
        ({"objective": "overlap"}, "with objective 'Screen..' .not 'Overlap"),
        ({"resume": False}, "holds a selection already; pass resume=True"),
    ):
        with pytest.raises(CheckpointError, match=said):
            select(checkpoint=folder, **options)
    assert before == {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert select(checkpoint=folder).spent == 300


def test_checkpoints_of_other_versions_and_damaged_ones(tmp_path: Path) -> None:
    folder = tmp_path / "c"
    select(checkpoint=folder, max_rounds=5)
    header = read_json(folder / "checkpoint.json")
    write_json(folder / "checkpoint.json", header | {"schema": 99})
    with pytest.raises(CheckpointError, match=r"was written by another version .schema 99"):
        select(checkpoint=folder)
    (folder / "checkpoint.json").write_text("{")
    with pytest.raises(CheckpointError, match=r"checkpoint\.json' as the checkpoint"):
        select(checkpoint=folder)
    write_json(folder / "checkpoint.json", header)
    path = folder / "rounds" / "round-000003.parquet"
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(CheckpointError, match=r"round-000003\.parquet' as a batch"):
        select(checkpoint=folder)
    for number in (3, 4):
        (folder / "rounds" / f"round-{number:06d}.parquet").unlink()
    assert same(select(checkpoint=folder), select())


def test_a_folder_of_other_files_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(CheckpointError, match="is not the checkpoint of a selection"):
        select(checkpoint=tmp_path)
    assert (tmp_path / "notes.txt").read_text() == "mine"


@pytest.mark.filterwarnings("ignore:source 'b'")
@pytest.mark.parametrize("ready", [True, False])
def test_items_that_were_left_out_are_not_delivered_again(tmp_path: Path, ready: bool) -> None:
    def sources() -> list[TableSource]:
        first, second = (tables((name,), ready=ready)[0] for name in ("a", "a"))
        second.name = "b"  # the same items in the same order
        return [first, second]

    options: dict[str, Any] = {"budget": 200, "keep": ["a", "b"], **NUMBERS}
    whole = select(sources(), **options)
    for n_rounds in (2, 3, 9):
        select(sources(), checkpoint=tmp_path / "c", max_rounds=n_rounds, **options)
    resumed = select(sources(), checkpoint=tmp_path / "c", **options)
    assert same(whole, resumed)
    assert whole.spent == resumed.spent == 150
    assert len(resumed.chosen_ids) == 120


def test_an_unanswered_request_is_repeated_under_its_name(tmp_path: Path) -> None:
    heard: list[str] = []
    ready = threading.Event()

    def slow(n: int, request: str) -> list[str]:
        heard.append(request)
        ready.wait(5)
        return [f"slow {i}" for i in range(n)]

    def sources() -> list[CallableSource]:
        quick = CallableSource(numbered("a"), "a")
        return [CallableSource(slow, "slow", timeout=0.05), quick]

    options: dict[str, Any] = {"budget": 40, "checkpoint": tmp_path / "c", **NUMBERS}
    first = select(sources(), max_rounds=1, **options)
    assert set(first.trace["kind"]) == {"timeout"}
    ready.set()
    result = select(sources(), **options)
    assert len(set(heard[:2])) == 1
    assert result.sources["items"].sum() == 40
