"""Tables as files: every format, written whole or block by block, and what a kill leaves."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from w2s_data.data.tables import WRITTEN, write_blocks, write_table
from w2s_data.errors import InputError

TABLE = pd.DataFrame({"id": list("abcd"), "name": ["ä", "b,c", '"d"', None], "p": [0.5, 1, 0, 2]})


def read(path):
    if path.suffix == ".parquet":
        return pd.read_parquet(path)
    if path.suffix == ".jsonl":
        return pd.read_json(path, lines=True)
    return pd.read_csv(path, sep="\t" if path.suffix == ".tsv" else ",")


@pytest.mark.parametrize("suffix", WRITTEN)
def test_blocks_make_the_table_that_is_written_whole(tmp_path, suffix):
    whole, blocks = tmp_path / f"whole{suffix}", tmp_path / f"blocks{suffix}"
    write_table(TABLE, whole)
    write_blocks((TABLE[start : start + 2] for start in (0, 2)), blocks)
    pd.testing.assert_frame_equal(read(whole), TABLE, check_dtype=False)
    pd.testing.assert_frame_equal(read(blocks), read(whole))
    if suffix != ".parquet":
        assert blocks.read_bytes() == whole.read_bytes()
        # Spreadsheets know UTF-8 by its mark, which JSON must not have.
        assert whole.read_bytes().startswith(b"\xef\xbb\xbf") == (suffix != ".jsonl")


def test_an_unknown_format_is_refused(tmp_path):
    with pytest.raises(InputError, match=re.escape("must end in one of .csv, .tsv")):
        write_table(TABLE, tmp_path / "table.xlsx")


def test_a_block_that_fails_leaves_nothing_and_what_stood_there_stays(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("before")

    def blocks():
        yield TABLE
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_blocks(blocks(), path)
    assert [file.name for file in tmp_path.iterdir()] == ["table.csv"]
    assert path.read_text() == "before"


def test_the_next_writer_removes_what_killed_ones_left_of_the_same_table(tmp_path):
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    host = re.sub(r"[^\w.-]", "-", platform.node(), flags=re.ASCII)[:32]
    left = tmp_path / f".a[1].csv.{ended.pid}@{host}.partial"
    others = [
        tmp_path / f".b.csv.{ended.pid}@{host}.partial",
        tmp_path / f".a[1].csv.{os.getppid()}@{host}.partial",  # that one still runs
    ]
    for file in (left, *others):
        file.write_text("half")
    write_table(pd.DataFrame({"n": np.arange(3)}), tmp_path / "a[1].csv")
    assert not left.exists()
    assert all(file.exists() for file in others)
