"""Damaged files of every kind: bad input, never another error, and never other numbers."""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from tests.w2s_data.damage import damaged_bytes, damaged_json, thorough
from w2s_data import FeatureStore, PixelEncoder, TfidfEncoder, embed, load_dataset
from w2s_data.cli.pipeline import example_path
from w2s_data.data.images import unreadable_images
from w2s_data.errors import InputError
from w2s_data.finetune import fit_student, make_method
from w2s_data.finetune.gain.checkpoint import Checkpoint, Predictions
from w2s_data.finetune.student import Student
from w2s_data.neighbors import NeighborIndex
from w2s_data.stages.config import load_config
from w2s_selectors.session.checkpoint import Checkpoint as SelectionCheckpoint
from w2s_selectors.session.checkpoint import CheckpointError, Record
from w2s_selectors.sources.base import Batch
from w2s_selectors.sources.journal import read_batch, write_batch

N = 12
TEXTS = [f"text {i} of a {'good' if i % 2 else 'bad'} film" for i in range(N)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("damaged")


def outcome(read: Any) -> Any:
    """The result of a reader, None for bad input; any other error fails the test."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with contextlib.suppress(InputError):
            return read()
    return None


TABLE = pd.DataFrame(
    {
        "id": [f"row {i}" for i in range(N)],
        "text": TEXTS,
        "label": ["neg", "pos"] * (N // 2),
        "p_neg": np.tile([0.75, 0.25], N // 2),
        "p_pos": np.tile([0.25, 0.75], N // 2),
    }
)


def table_file(suffix: str, path: Path) -> bytes:
    if suffix.startswith((".csv", ".tsv")):
        TABLE.to_csv(path, index=False, sep="\t" if suffix == ".tsv" else ",")
    elif suffix == ".json":
        TABLE.to_json(path, orient="records")
    elif suffix == ".jsonl":
        TABLE.to_json(path, orient="records", lines=True)
    elif suffix == ".parquet":
        TABLE.to_parquet(path)
    else:
        TABLE.to_feather(path)
    return path.read_bytes()


@pytest.mark.parametrize(
    "suffix", [".csv", ".tsv", ".csv.gz", ".json", ".jsonl", ".parquet", ".feather"]
)
@thorough
@given(data=st.data())
def test_tables(folder: Path, suffix: str, data: st.DataObject) -> None:
    path = folder / f"table{suffix}"
    content = table_file(suffix, path)
    kinds = [damaged_bytes(content)]
    if suffix == ".json":
        kinds.append(damaged_json(content))
    path.write_bytes(data.draw(st.one_of(kinds)))
    options = data.draw(
        st.sampled_from(
            [
                {"label": "label", "weak_columns": ["p_neg", "p_pos"]},
                {"item": "text", "label": "label", "id": "id"},
                {},
            ]
        )
    )
    outcome(lambda: load_dataset(path, **options))


CONFIG = example_path().read_bytes()


@thorough
@given(content=damaged_bytes(CONFIG))
def test_configurations(folder: Path, content: bytes) -> None:
    path = folder / "w2s.toml"
    path.write_bytes(content)
    outcome(lambda: load_config(path))


@given(text=st.text(max_size=30), depth=st.sampled_from([0, 5000]))
def test_overrides(text: str, depth: int) -> None:
    data = {"data": {"path": "example:digits"}}
    for override in (text, f"gain.{text}", f"gain.methods={'[' * depth}{text}"):
        outcome(lambda override=override: load_config(data, [override]))


@pytest.mark.parametrize("content", ["[" * 5000, "a = " + "[" * 5000, "a = " + "{a=" * 5000])
def test_deep_toml(folder: Path, content: str) -> None:
    (folder / "deep.toml").write_text(content)
    with pytest.raises(InputError, match="cannot read"):
        load_config(folder / "deep.toml")


@pytest.fixture(scope="module")
def store(folder: Path) -> tuple[Path, Any]:
    encoder = TfidfEncoder(n_components=2).fit(TEXTS)
    features = embed(TEXTS, encoder, folder / "store", shard_rows=5)
    return folder / "store", features.array()


@thorough
@given(data=st.data())
def test_feature_stores(store: tuple[Path, Any], data: st.DataObject) -> None:
    path, right = store
    # Not the lock, which is empty: nothing in it can be damaged.
    files = [file for file in sorted(path.iterdir()) if file.stat().st_size]
    file = data.draw(st.sampled_from(files))
    content = file.read_bytes()
    kinds = [damaged_bytes(content)]
    kinds += [damaged_json(content)] * 2 if file.suffix == ".json" else []
    try:
        file.write_bytes(data.draw(st.one_of(kinds)))
        read = outcome(lambda: FeatureStore.open(path).select(TEXTS).array())
    finally:
        file.write_bytes(content)
    if read is not None:
        np.testing.assert_array_equal(read, right)


def test_swapped_and_missing_shards(store: tuple[Path, Any], tmp_path: Path) -> None:
    path = Path(shutil.copytree(store[0], tmp_path / "store"))
    first, second = sorted(path.glob("part-*"))[:2]
    content = first.read_bytes()
    first.write_bytes(second.read_bytes())
    second.write_bytes(content)
    with pytest.raises(InputError, match="checksum"):
        FeatureStore.open(path).array()
    first.unlink()
    first.mkdir()
    with pytest.raises(InputError, match="part-00000"):
        FeatureStore.open(path).array()


@thorough
@given(data=st.data())
def test_saved_indexes(folder: Path, data: st.DataObject) -> None:
    path, record = folder / "neighbors.faiss", folder / "neighbors.faiss.json"
    points = np.random.default_rng(0).normal(size=(30, 3)).astype(np.float32)
    if not (folder / "whole.faiss").exists():
        NeighborIndex(metric="l2").fit(points).save(folder / "whole.faiss")
    shutil.copy(folder / "whole.faiss", path)
    shutil.copy(folder / "whole.faiss.json", record)
    file = data.draw(st.sampled_from([path, record]))
    content = file.read_bytes()
    kinds = [damaged_bytes(content)]
    kinds += [damaged_json(content)] * 2 if file is record else []
    file.write_bytes(data.draw(st.one_of(kinds)))
    outcome(lambda: NeighborIndex.load(path, features=points))


@thorough
@given(data=st.data())
def test_saved_students(folder: Path, data: st.DataObject) -> None:
    path, whole = folder / "student", folder / "whole student"
    rng = np.random.default_rng(0)
    features, proba = rng.normal(size=(40, 3)), rng.dirichlet((1, 1), 40)
    if not whole.exists():
        fit_student("naive", features, proba, random_state=0, epochs=1).save(whole)
    shutil.rmtree(path, ignore_errors=True)
    shutil.copytree(whole, path)
    # Not the lock, which is empty: nothing in it can be damaged.
    files = [file for file in sorted(path.iterdir()) if file.stat().st_size]
    file = data.draw(st.sampled_from(files))
    content = file.read_bytes()
    kinds = [damaged_bytes(content)]
    kinds += [damaged_json(content)] * 2 if file.suffix == ".json" else []
    file.write_bytes(data.draw(st.one_of(kinds)))
    student = outcome(lambda: Student.load(path))
    if student is not None and file.suffix == ".safetensors":
        right = Student.load(whole).predict_proba(features)
        np.testing.assert_array_equal(student.predict_proba(features), right)


@thorough
@given(data=st.data())
def test_finished_students_of_a_gain(folder: Path, data: st.DataObject) -> None:
    path, naive = folder / "gain", make_method("naive")
    proba = np.random.default_rng(0).dirichlet((1, 1), 20)
    shutil.rmtree(path, ignore_errors=True)
    Checkpoint(path, {"a": [1]}, resume=True).write("naive", naive, 0, Predictions({"": proba}))
    file = data.draw(st.sampled_from(sorted(p for p in path.iterdir() if p.is_file())))
    content = file.read_bytes()
    kinds = [damaged_bytes(content)]
    kinds += [damaged_json(content)] * 2 if file.suffix == ".json" else []
    file.write_bytes(data.draw(st.one_of(kinds)))
    read = outcome(lambda: Checkpoint(path, {"a": [1]}, resume=True).read("naive", naive, 0))
    if read is not None:
        np.testing.assert_array_equal(read.test[""], proba)


def record(number: int) -> Record:
    numbers = dict.fromkeys(
        ["cost", "spent", "index", "observed", "reward", "reward_low", "reward_high"], 1.0
    )
    counts = dict.fromkeys(["source", "asked", "delivered", "kept", "n_open"], 1)
    return Record(
        round=number, kind="answer", note="", left_out=(), scores=(1.0,), generator={}, **numbers,
        **counts,
    )  # fmt: skip


@thorough
@given(data=st.data())
def test_selections(folder: Path, data: st.DataObject) -> None:
    path = folder / "selection"
    shutil.rmtree(path, ignore_errors=True)
    vectors = np.random.default_rng(0).normal(size=(2, 3)).astype(np.float32)
    batch = Batch(("a", "b"), ("x", "y"), vectors, np.full((2, 2), 0.5))
    begun = SelectionCheckpoint(path, {"budget": 3}, 0, resume=True)
    begun.commit(record(0), batch, {})
    file = data.draw(st.sampled_from([path / "checkpoint.json", *path.glob("rounds/*.parquet")]))
    content = file.read_bytes()
    kinds = [damaged_bytes(content)]
    kinds += [damaged_json(content)] * 2 if file.suffix == ".json" else []
    file.write_bytes(data.draw(st.one_of(kinds)))
    read = outcome(lambda: list(SelectionCheckpoint(path, {"budget": 3}, 0, resume=True).rounds()))
    if read:
        ((_, again),) = read
        np.testing.assert_array_equal(again.strong_features, vectors)
        assert again.ids == batch.ids


def test_a_changed_bit_of_received_items_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "batch.parquet"
    vectors = np.arange(6, dtype=np.float32).reshape(2, 3)
    write_batch(path, Batch(("a", "b"), strong_features=vectors))
    content = bytearray(path.read_bytes())
    at = content.find(np.float32(5).tobytes())
    content[at] ^= 1
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match="cannot read"):
        read_batch(path, CheckpointError)


IMAGE_FORMATS = ("PNG", "JPEG", "GIF", "TIFF", "BMP", "WEBP", "PPM", "JPEG2000")


@pytest.mark.parametrize("form", IMAGE_FORMATS)
@thorough
@given(data=st.data())
def test_images(form: str, data: st.DataObject) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (9, 7, 3)).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, form)
    content = data.draw(damaged_bytes(file.getvalue()))
    assert set(unreadable_images([content])) <= {0}
    outcome(lambda: PixelEncoder(size=2).encode([content]))


def test_what_is_no_file_of_an_image(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    for path in (tmp_path / "pipe.png", "/dev/zero", tmp_path, tmp_path / "none.png"):
        assert list(unreadable_images([str(path)])) == [0]
        with pytest.raises(InputError, match="cannot"):
            PixelEncoder(size=2).encode([str(path)])
