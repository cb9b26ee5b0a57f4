"""Data and features at URLs, through fsspec's file system in memory."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fsspec
import pandas as pd
import pytest

from w2s_data import FeatureStore, TfidfEncoder, embed, load_dataset
from w2s_data.errors import FileFormatError, MissingExtraError, StoreError
from w2s_data.utils.storage import storage_at

TEXTS = [f"{'good' if n % 2 else 'bad'} film number {n % 7}" for n in range(40)]


@pytest.fixture
def memory() -> Iterator[Any]:
    """An empty object store."""
    filesystem = fsspec.filesystem("memory")
    filesystem.store.clear()
    filesystem.pseudo_dirs[:] = [""]
    yield filesystem
    filesystem.store.clear()


def table() -> pd.DataFrame:
    return pd.DataFrame({"text": TEXTS, "label": [n % 2 for n in range(40)]}).drop_duplicates()


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet", "csv.gz"])
@pytest.mark.parametrize("place", ["memory://data", "file://{}"])
def test_tables_are_read_from_urls(memory: Any, tmp_path: Path, suffix: str, place: str) -> None:
    url = f"{place.format(tmp_path)}/films.{suffix}"
    frame, file = table(), tmp_path / f"films.{suffix}"
    if suffix == "parquet":
        frame.to_parquet(file)
    elif suffix == "jsonl":
        frame.to_json(file, orient="records", lines=True)
    else:
        frame.to_csv(file, index=False)
    memory.pipe_file(f"/data/films.{suffix}", file.read_bytes())
    found, local = load_dataset(url, label="label"), load_dataset(file, label="label")
    assert found.name == "films"
    assert found.fingerprint == local.fingerprint


def test_parquet_files_of_a_folder_are_one_table(memory: Any) -> None:
    frame = table()
    for number, part in enumerate((frame[:15], frame[15:])):
        memory.pipe_file(f"/bucket/films/part-{number}.parquet", part.to_parquet())
    found = load_dataset("memory://bucket/films", label="label")
    assert found.name == "films"
    assert found.items == frame["text"].tolist()


def test_what_is_not_there_or_not_whole_is_named_by_its_url(memory: Any) -> None:
    with pytest.raises(FileFormatError, match=r"no table file at 'memory://bucket/none\.csv'"):
        load_dataset("memory://bucket/none.csv")
    memory.pipe_file("/bucket/torn.parquet", b"PAR1")
    with pytest.raises(FileFormatError, match=r"cannot read 'memory://bucket/torn\.parquet' as"):
        load_dataset("memory://bucket/torn.parquet")
    with pytest.raises(FileFormatError, match="Protocol not known: nowhere"):
        load_dataset("nowhere://bucket/table.csv")


@pytest.mark.parametrize(("url", "package"), [("s3://b/t.csv", "s3fs"), ("gs://b/t.csv", "gcsfs")])
def test_a_missing_package_is_one_line_with_its_command(
    monkeypatch: pytest.MonkeyPatch, url: str, package: str
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingExtraError, match=f"pip install '{package}'"):
        load_dataset(url)
    with pytest.raises(MissingExtraError, match=f"pip install '{package}'"):
        embed(TEXTS, TfidfEncoder(2).fit(TEXTS), url)


def test_a_store_at_a_url_holds_the_bytes_of_one_on_disk(memory: Any, tmp_path: Path) -> None:
    encoder = TfidfEncoder(2).fit(TEXTS)
    url = "memory://bucket/features"
    local = embed(TEXTS, encoder, tmp_path / "store", shard_rows=5)
    there = embed(TEXTS, encoder, url, shard_rows=5)
    assert there.path == url
    assert there.array().tobytes() == local.array().tobytes()
    for file in (tmp_path / "store").glob("[!.]*"):
        assert memory.cat_file(f"/bucket/features/{file.name}") == file.read_bytes()
    assert FeatureStore.open(url).shape == FeatureStore.open(tmp_path / "store").shape


def test_a_store_at_a_url_resumes_and_heals(memory: Any, caplog: pytest.LogCaptureFixture) -> None:
    encoder, url = TfidfEncoder(2).fit(TEXTS), "memory://bucket/features"
    whole = embed(TEXTS, encoder, url, shard_rows=5).array()
    memory.pipe_file("/bucket/features/part-00001.parquet", b"torn")
    memory.pipe_file("/bucket/features/part-00099.parquet", b"left over")
    assert FeatureStore.open(url).verify() == ["part-00001.parquet"]
    with caplog.at_level("WARNING", "w2s_data"):
        again = embed(TEXTS, encoder, url, shard_rows=5)
    assert again.array().tobytes() == whole.tobytes()
    assert "part-00099.parquet" not in storage_at(url).names()
    memory.pipe_file("/bucket/other/notes.txt", b"mine")
    with pytest.raises(StoreError, match=r"holds other files \('notes\.txt'\)"):
        embed(TEXTS, encoder, "memory://bucket/other")
    with pytest.raises(StoreError, match=r"'memory://bucket/none' is not a feature store"):
        FeatureStore.open("memory://bucket/none")


def test_a_run_directory_is_on_this_machine(w2s: Callable[..., tuple[Any, str, str]]) -> None:
    code, _, err = w2s("embed", "example:digits", "--weak", "pixels:3", "-o", "s3://bucket/run")
    assert code == 2
    assert "output must be a folder on this machine's disk" in err
