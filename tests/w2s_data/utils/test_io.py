"""Files are whole or absent, also on a full disk; what was finished stays."""

import errno
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest

from w2s_data import FeatureStore, embed
from w2s_data.cli import main
from w2s_data.encoders import Encoder
from w2s_data.errors import InputError, WriteError
from w2s_data.utils.io import atomic_path, make_folder, write_json


class Ready(Encoder):
    """Vectors that cost nothing."""

    kind = "text"

    def spec(self):
        return {"encoder": "Ready"}

    def _encode(self, items, advance):
        del advance
        lengths = [len(item) for item in items]
        return np.repeat(np.array(lengths, np.float32)[:, None], 2000, axis=1)


TEXTS = [f"text {i} " + "x" * (i % 7) for i in range(600)]


def full_disk(*_, **__):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_full_disk_is_one_line_and_what_stood_there_stays(tmp_path):
    file = tmp_path / "file.json"
    write_json(file, {"a": 1})

    def fail():
        with atomic_path(file) as partial:
            partial.write_text("half")
            full_disk()

    with pytest.raises(WriteError, match="no space left on device; finished files are kept"):
        fail()
    assert file.read_text().startswith("{")
    assert [entry.name for entry in tmp_path.iterdir()] == ["file.json"]
    assert issubclass(WriteError, InputError)
    assert issubclass(WriteError, OSError)


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(WriteError, match=r"cannot make the folder .*: not a directory; choose"):
        make_folder(tmp_path / "file" / "folder")


def test_a_store_on_a_full_disk_keeps_its_shards_and_goes_on(tmp_path, monkeypatch):
    def write(path, content):
        if "part-00002" in path.name:
            full_disk()
        with path.open("wb") as file:
            return file.write(content)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", write)
        with pytest.raises(WriteError, match=r"part-00002.parquet': no space left on device"):
            embed(TEXTS, Ready(), tmp_path / "store", shard_rows=100)
    assert len(FeatureStore.open(tmp_path / "store")) == 200
    assert FeatureStore.open(tmp_path / "store").verify() == []
    resumed = embed(TEXTS, Ready(), tmp_path / "store", shard_rows=100)
    whole = embed(TEXTS, Ready(), tmp_path / "other", shard_rows=100)
    assert np.array_equal(resumed.array(), whole.array())
    for file in sorted((tmp_path / "other").iterdir()):
        assert (tmp_path / "store" / file.name).read_bytes() == file.read_bytes()


@pytest.fixture
def tiny_disk(tmp_path):
    """Four megabytes of disk; needs the right to mount."""
    folder = tmp_path / "disk"
    folder.mkdir()
    words = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(folder)]
    try:
        done = subprocess.run(words, capture_output=True, check=False)
    except OSError:
        pytest.skip("there is no mount command")
    if done.returncode:
        pytest.skip("a small file system cannot be mounted here")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_disk_that_really_is_full(tiny_disk):
    with pytest.raises(WriteError, match="no space left on device"):
        embed(TEXTS, Ready(), tiny_disk / "store", shard_rows=100)
    kept = FeatureStore.open(tiny_disk / "store")
    assert 0 < len(kept) < len(TEXTS)
    assert kept.verify() == []
    subprocess.run(["mount", "-o", "remount,size=16m", str(tiny_disk)], check=True)
    assert len(embed(TEXTS, Ready(), tiny_disk / "store", shard_rows=100)) == len(TEXTS)


def test_a_place_that_cannot_be_written_is_one_line_and_exit_2(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    output = str(tmp_path / "file" / "run")
    with pytest.raises(SystemExit) as stop:
        main(["--quiet", "score", "example:gaussian_overlap", "-o", output])
    assert stop.value.code == 2
    said = capsys.readouterr().err.strip().splitlines()
    assert said[-1].endswith("is a file, not a folder: choose another output")
