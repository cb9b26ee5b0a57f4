"""FeatureStore: reuse, growth, damage, kills; the same bytes however it came about."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tests.w2s_data.encoders.tiny import save_text_model
from w2s_data import FeatureStore, PixelEncoder, TextEncoder, TfidfEncoder, embed
from w2s_data.encoders import Encoder, ItemError
from w2s_data.errors import EmptyDataError, EncoderError, InputError, StoreError
from w2s_data.features.matrix import FeatureMatrix, as_feature_matrix
from w2s_data.features.shards import Shards
from w2s_data.utils.lock import LOCK
from w2s_data.utils.storage import DiskFolder


class HashEncoder(Encoder):
    """Vectors that are a hash of the text; counts what it was asked for."""

    kind = "text"

    def __init__(self, dim=4, salt=""):
        self.dim = dim
        self.salt = salt

    def spec(self):
        return {"encoder": "HashEncoder", "dim": self.dim, "salt": self.salt}

    def _encode(self, items, advance):
        self.seen_ = [*getattr(self, "seen_", []), *items]
        vectors = np.array([self.vector(item) for item in items], dtype=np.float32)
        advance(len(items))
        return vectors.reshape(len(items), self.dim)

    def vector(self, text):
        if text == "bad":
            return np.full(self.dim, np.nan)
        digest = hashlib.sha256((self.salt + text).encode()).digest()
        return np.frombuffer(digest, dtype=np.uint8)[: self.dim] / 255


TEXTS = [f"text {i}" for i in range(25)]


def expected(texts):
    encoder = HashEncoder()
    return np.array([encoder.vector(text) for text in texts], dtype=np.float32)


def parts(folder):
    return {file.name: file.read_bytes() for file in sorted(Path(folder).glob("part-*.parquet"))}


def content(folder):
    files = (file for file in sorted(Path(folder).iterdir()) if file.name != LOCK)
    return {file.name: file.read_bytes() for file in files}


@pytest.fixture
def store(tmp_path):
    embed(TEXTS, HashEncoder(), tmp_path / "store", shard_rows=10)
    return tmp_path / "store"


def test_a_store_gives_back_what_was_encoded(store):
    opened = FeatureStore.open(store)
    assert opened.shape == (25, 4)
    assert len(opened) == 25
    assert repr(opened).endswith("shape=(25, 4), encoder='HashEncoder')")
    np.testing.assert_array_equal(opened.array(), expected(TEXTS))
    assert opened.array().dtype == np.float32
    assert opened.encoder == HashEncoder().spec()
    assert opened.kind == "text"
    assert opened.verify() == []


def test_manifest_names_what_the_features_depend_on(store):
    manifest = json.loads((store / "manifest.json").read_text())
    assert manifest["schema"] == 1
    assert manifest["encoder"] == HashEncoder().spec()
    assert (manifest["kind"], manifest["dim"], manifest["dtype"]) == ("text", 4, "float32")
    assert [shard["rows"] for shard in manifest["shards"]] == [10, 10, 5]
    for shard in manifest["shards"]:
        assert shard["sha256"] == hashlib.sha256((store / shard["file"]).read_bytes()).hexdigest()
    keys = FeatureStore.open(store).keys[:10]
    assert manifest["shards"][0]["keys_sha256"] == hashlib.sha256(keys.tobytes()).hexdigest()


def test_shards_are_readable_by_pandas(store):
    table = pd.read_parquet(store / "part-00000.parquet")
    np.testing.assert_array_equal(np.stack(table["vector"].tolist()), expected(TEXTS[:10]))


def test_a_store_is_a_feature_matrix(store):
    opened = FeatureStore.open(store)
    assert isinstance(opened, FeatureMatrix)
    assert as_feature_matrix(opened) is opened
    for max_bytes in (1, 48, 10_000):
        blocks = list(opened.blocks(max_bytes))
        assert all(block.nbytes <= max(16, max_bytes) for _, block in blocks)
        assert [rows.start for rows, _ in blocks[1:]] == [rows.stop for rows, _ in blocks[:-1]]
        np.testing.assert_array_equal(np.vstack([block for _, block in blocks]), expected(TEXTS))
    np.testing.assert_array_equal(opened.take([24, 0, 0, -1]), expected(TEXTS)[[24, 0, 0, -1]])
    np.testing.assert_array_equal(opened.take(np.arange(25) % 2 == 0), expected(TEXTS)[::2])
    assert opened.take([]).shape == (0, 4)


def test_blocks_hold_one_shard_at_a_time(store, monkeypatch):
    opened = FeatureStore.open(store)
    reads = []
    whole = DiskFolder.read

    def counted(folder, name):
        reads.append(name)
        return whole(folder, name)

    monkeypatch.setattr(DiskFolder, "read", counted)
    list(opened.blocks(max_bytes=48))
    assert reads == ["part-00000.parquet", "part-00001.parquet", "part-00002.parquet"]


def test_embed_returns_the_order_of_the_items_and_encodes_duplicates_once(tmp_path):
    encoder = HashEncoder()
    texts = ["b", "a", "b", "", "a", "c"]
    view = embed(pd.Series(texts), encoder, tmp_path / "store", shard_rows=2)
    np.testing.assert_array_equal(view.array(), expected(texts))
    assert encoder.seen_ == ["b", "a", "", "c"]
    assert FeatureStore.open(tmp_path / "store").shape == (4, 4)


def test_a_second_run_encodes_and_writes_nothing(store):
    before = content(store)
    encoder = HashEncoder()
    embed(TEXTS, encoder, store, shard_rows=3)
    assert not hasattr(encoder, "seen_")
    assert content(store) == before


def test_growth_and_reordering_cost_only_what_is_new(store):
    before = parts(store)
    encoder = HashEncoder()
    grown = ["new 1", *TEXTS[::-1], "new 2", "text 3"]
    view = embed(grown, encoder, store, shard_rows=10)
    assert encoder.seen_ == ["new 1", "new 2"]
    np.testing.assert_array_equal(view.array(), expected(grown))
    after = parts(store)
    assert {name: after[name] for name in before} == before
    assert set(after) - set(before) == {"part-00003.parquet"}


def test_select_by_items_and_by_keys(store):
    opened = FeatureStore.open(store)
    wanted = ["text 20", "text 3", "text 3"]
    view = opened.select(wanted)
    np.testing.assert_array_equal(view.array(), expected(wanted))
    np.testing.assert_array_equal(opened.select(view.keys).array(), expected(wanted))
    np.testing.assert_array_equal(view.select(["text 7"]).array(), expected(["text 7"]))
    np.testing.assert_array_equal(view.take([1]), expected(["text 3"]))
    assert opened.select([]).shape == (0, 4)
    with pytest.raises(StoreError, match="has no features of rows 1, 2; embed"):
        opened.select(["text 1", "absent", "zzz"])


@pytest.mark.slow
@settings(max_examples=25)
@given(
    first=st.lists(st.text(max_size=3).filter(lambda s: s.isprintable()), min_size=1, max_size=12),
    second=st.lists(st.text("ab", max_size=3), min_size=1, max_size=12),
    shard_rows=st.integers(1, 5),
)
def test_whatever_was_there_the_items_asked_for_come_back(
    tmp_path_factory, first, second, shard_rows
):
    folder = tmp_path_factory.mktemp("store")
    embed(first, HashEncoder(), folder, shard_rows=shard_rows)
    view = embed(second, HashEncoder(), folder, shard_rows=shard_rows)
    np.testing.assert_array_equal(view.array(), expected(second))
    assert FeatureStore.open(folder).shape[0] == len({*first, *second})


def test_images_are_keyed_by_content(tmp_path):
    image = Image.new("L", (8, 8), 51)
    image.save(tmp_path / "a.png")
    image.save(tmp_path / "b.png")
    items = [tmp_path / "a.png", str(tmp_path / "b.png"), (tmp_path / "a.png").read_bytes(), image]
    view = embed(items, PixelEncoder(size=1), tmp_path / "store")
    np.testing.assert_allclose(view.array(), 0.2)
    assert FeatureStore.open(tmp_path / "store").shape == (2, 1)  # the file, and the bare pixels
    np.testing.assert_allclose(FeatureStore.open(tmp_path / "store").select(items).array(), 0.2)


# --- damage -------------------------------------------------------------------------------------


def flip_a_byte(file):
    raw = bytearray(file.read_bytes())
    raw[len(raw) // 2] ^= 1
    file.write_bytes(raw)


def truncate(file):
    file.write_bytes(file.read_bytes()[:-7])


def empty(file):
    file.write_bytes(b"")


DAMAGES = [flip_a_byte, truncate, empty, Path.unlink]


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_shard_is_refused_and_recomputed(damage, store, caplog):
    before = content(store)
    damage(store / "part-00001.parquet")
    opened = FeatureStore.open(store)
    assert opened.verify() == ["part-00001.parquet"]
    with pytest.raises(StoreError, match=r"part-00001.parquet.*pass its encoder to embed again"):
        opened.array()
    np.testing.assert_array_equal(opened.take([0, 24]), expected(TEXTS)[[0, 24]])

    encoder = HashEncoder()
    view = embed(TEXTS, encoder, store, shard_rows=10)
    np.testing.assert_array_equal(view.array(), expected(TEXTS))
    assert encoder.seen_ == TEXTS[10:20]
    assert content(store) == before
    warnings = [record for record in caplog.records if record.levelname == "WARNING"]
    assert len(warnings) == 1
    assert "part-00001.parquet" in warnings[0].getMessage()


def test_every_shard_damaged(store):
    before = content(store)
    for file in store.glob("part-*.parquet"):
        truncate(file)
    embed(TEXTS, HashEncoder(), store, shard_rows=10)
    assert content(store) == before


def test_leftovers_of_a_killed_run_are_removed(store):
    before = content(store)
    (store / ".part-00003.parquet.123.partial").write_bytes(b"half")
    (store / "part-00003.parquet").write_bytes(b"whole, but not yet in the manifest")
    embed(TEXTS, HashEncoder(), store)
    assert content(store) == before


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "cannot read"),
        ("[]", "cannot read"),
        ('{"schema": 1}', "cannot read"),
        ('{"schema": 99}', "schema version 99"),
    ],
)
def test_a_damaged_manifest_is_refused(text, message, store):
    (store / "manifest.json").write_text(text)
    with pytest.raises(StoreError, match=message):
        FeatureStore.open(store)
    with pytest.raises(StoreError, match=message):
        embed(TEXTS, HashEncoder(), store)
    view = embed(TEXTS, HashEncoder(), store, overwrite=True)
    np.testing.assert_array_equal(view.array(), expected(TEXTS))


def test_folders_that_are_no_store(tmp_path):
    with pytest.raises(StoreError, match=r"is not a feature store: it has no manifest.json"):
        FeatureStore.open(tmp_path / "absent")
    file = tmp_path / "file"
    file.write_text("content")
    with pytest.raises(StoreError, match="is a file"):
        embed(TEXTS, HashEncoder(), file)
    for overwrite in (False, True):
        with pytest.raises(StoreError, match=r"holds other files .*'file'.*another folder"):
            embed(TEXTS, HashEncoder(), tmp_path, overwrite=overwrite)
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    (foreign / "part-00000.parquet").write_bytes(b"somebody's data")
    with pytest.raises(StoreError, match="holds other files"):
        embed(TEXTS, HashEncoder(), foreign, overwrite=True)
    assert (foreign / "part-00000.parquet").read_bytes() == b"somebody's data"


# --- other encoders, bad items ------------------------------------------------------------------


def test_another_encoder_is_refused_with_the_way_out(store):
    before = content(store)
    with pytest.raises(StoreError, match=r"made with salt='' \(not 'x'\).*overwrite=True"):
        embed(TEXTS, HashEncoder(salt="x"), store)
    with pytest.raises(StoreError, match=r"items='text' \(not 'image'\)"):
        embed([Image.new("L", (2, 2))], PixelEncoder(), store)
    assert content(store) == before
    view = embed(TEXTS[:3], HashEncoder(salt="x"), store, overwrite=True)
    assert view.shape == (3, 4)
    assert list(parts(store)) == ["part-00000.parquet"]
    assert FeatureStore.open(store).encoder["salt"] == "x"


def test_a_refitted_encoder_is_another_encoder(tmp_path):
    texts = [f"{a} {b}" for a in "abcdef" for b in ("good film", "bad film", "dull story")]
    encoder = TfidfEncoder(n_components=2).fit(texts)
    embed(texts, encoder, tmp_path / "store")
    embed(texts, TfidfEncoder(n_components=2).fit(texts), tmp_path / "store")
    with pytest.raises(StoreError, match="state_sha256"):
        embed(texts, TfidfEncoder(n_components=2).fit(texts[:-3]), tmp_path / "store")


def test_vectors_that_are_not_finite_stop_the_run_before_their_shard(tmp_path):
    texts = [*TEXTS[:10], "dull", "bad"]
    with pytest.raises(ItemError, match=r"row 11 \('bad'\): HashEncoder gave NaN") as caught:
        embed(texts, HashEncoder(), tmp_path / "store", shard_rows=5)
    assert caught.value.positions == [11]
    assert FeatureStore.open(tmp_path / "store").shape == (10, 4)
    rest = [text for text in texts if text != "bad"]
    np.testing.assert_array_equal(
        embed(rest, HashEncoder(), tmp_path / "store").array(), expected(rest)
    )


def test_bad_items_are_named_by_their_row(tmp_path):
    good = tmp_path / "good.png"
    Image.new("L", (4, 4)).save(good)
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"\x89PNG")
    with pytest.raises(ItemError, match=r"row 2 \('.*broken.png'\)"):
        embed([good, good, broken], PixelEncoder(), tmp_path / "store")
    with pytest.raises(ItemError, match=r"row 1 \('.*absent.png'\): No such file"):
        embed([good, tmp_path / "absent.png"], PixelEncoder(), tmp_path / "store")
    with pytest.raises(ItemError, match=r"row 1 .*not str but float"):
        embed(["a", float("nan")], HashEncoder(), tmp_path / "texts")
    with pytest.raises(ItemError, match=r"row 0 .*surrogate"):
        embed(["\ud800"], HashEncoder(), tmp_path / "texts")
    with pytest.raises(EncoderError, match="sequence"):
        embed("text", HashEncoder(), tmp_path / "texts")
    with pytest.raises(EmptyDataError):
        embed([], HashEncoder(), tmp_path / "texts")
    with pytest.raises(InputError, match="shard_rows"):
        embed(["a"], HashEncoder(), tmp_path / "texts", shard_rows=0)
    assert not (tmp_path / "texts").exists()


def test_an_encoder_that_changes_its_width_is_refused(tmp_path):
    class Wide(HashEncoder):
        def spec(self):
            return HashEncoder().spec()

    embed(["a"], HashEncoder(), tmp_path / "store")
    with pytest.raises(StoreError, match="gave 5 dimensions"):
        embed(["b"], Wide(dim=5), tmp_path / "store")


# --- kill -9 ------------------------------------------------------------------------------------

SLOW = """
import hashlib
import sys
import time

import numpy as np

from w2s_data import embed
from w2s_data.encoders import Encoder


class Slow(Encoder):
    kind = "text"
    pause = 0.0

    def spec(self):
        return {"encoder": "Slow"}

    def _encode(self, items, advance):
        time.sleep(self.pause)
        digests = b"".join(hashlib.sha512(item.encode()).digest() for item in items)
        return np.frombuffer(digests, dtype=np.uint8).reshape(len(items), -1).astype(np.float32)


def run(folder):
    embed([f"text {i}" for i in range(400)], Slow(), folder, shard_rows=10)
"""
START = """
print("ready", flush=True)
Slow.pause = 0.01
run(sys.argv[1])
"""


def start_slow_run(folder):
    return subprocess.Popen(
        [sys.executable, "-c", SLOW + START, str(folder)],
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parents[3],
    )


@pytest.mark.slow
def test_a_killed_run_resumes_to_the_same_bytes(tmp_path):
    moments = int(os.environ.get("W2S_KILL_MOMENTS", "3"))
    here = {}
    exec(SLOW, here)  # what is killed in a process of its own is resumed in this one
    here["run"](tmp_path / "whole")
    reference = content(tmp_path / "whole")
    assert len(reference) == 41
    rng = np.random.default_rng()
    killed_with = []
    for moment in range(moments):
        folder = tmp_path / f"killed-{moment}"
        with start_slow_run(folder) as run:
            run.stdout.readline()
            time.sleep(rng.uniform(0, 0.6))
            run.send_signal(signal.SIGKILL)
            run.communicate()
        killed_with.append(len(parts(folder)) if folder.exists() else 0)
        here["run"](folder)
        assert content(folder) == reference
    assert min(killed_with) < 40


def test_texts_are_read_while_others_are_encoded(tmp_path, monkeypatch):
    """Each shard is read once, and from the second one on by a thread of its own."""
    encoder = TextEncoder(str(save_text_model(tmp_path / "model")), dtype="float32", device="cpu")
    read = []
    plain = TextEncoder._read

    def spy(self, items):
        read.append((items, threading.current_thread() is threading.main_thread()))
        return plain(self, items)

    monkeypatch.setattr(TextEncoder, "_read", spy)
    items = [f"good film {i} {'bad ' * (i % 5)}" for i in range(10)]
    view = embed(items, encoder, tmp_path / "store", shard_rows=3)
    assert read == [(items[:3], True), *((items[i : i + 3], False) for i in (3, 6, 9))]
    np.testing.assert_allclose(view.array(), encoder.encode(items), atol=1e-5)


def test_a_shard_that_cannot_be_written_ends_the_command(tmp_path, monkeypatch):
    monkeypatch.setattr(Shards, "append", Mock(side_effect=OSError("no space left")))
    for n_items in (2, 20):
        encoder = HashEncoder()
        with pytest.raises(OSError, match="no space left"):
            embed([str(i) for i in range(n_items)], encoder, tmp_path / str(n_items), shard_rows=2)
        assert len(encoder.seen_) == min(n_items, 4)  # the next shard is encoded meanwhile
