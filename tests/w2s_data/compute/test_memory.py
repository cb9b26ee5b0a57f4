"""Limits on memory: how they are read, what they bound, and that results do not hang on them."""

import json

import numpy as np
import pandas as pd
import pytest

from w2s_data import GainForecaster, load_dataset
from w2s_data.cli import main
from w2s_data.compute import memory
from w2s_data.compute.context import Compute
from w2s_data.compute.memory import MemoryLimit
from w2s_data.errors import DegenerateDataWarning, InputError
from w2s_data.features.matrix import ArrayFeatures, FeatureView, sampled
from w2s_data.run import Run
from w2s_data.stages import embed_stage, forecast_stage, score_stage
from w2s_data.stages.models import EmbedSettings
from w2s_data.stages.settings import ForecastSettings, ScoreSettings

SMALL, LARGE = MemoryLimit(memory.LEAST), MemoryLimit(8 * 10**9)


@pytest.mark.parametrize(
    ("text", "total"),
    [
        ("4GB", 4 * 10**9),
        ("4 gb", 4 * 10**9),
        ("1.5GB", 15 * 10**8),
        ("600MB", 6 * 10**8),
        ("2GiB", 2**31),
        ("1000000000", 10**9),
        (10**9, 10**9),
    ],
)
def test_sizes_are_read(text, total):
    assert MemoryLimit.parse(text).total == total


@pytest.mark.parametrize("text", ["", "lots", "4 GBytes", "-1GB", "4XB", "GB"])
def test_what_is_no_size_is_one_line(text):
    with pytest.raises(InputError, match="memory must be a size such as 4GB"):
        MemoryLimit.parse(text)


def test_too_little_says_what_is_needed():
    with pytest.raises(InputError, match=r"memory=100MB is too little.* to 512 MB or more"):
        MemoryLimit.parse("100MB")


def test_without_a_word_half_of_what_is_free(monkeypatch):
    monkeypatch.setattr(memory, "available_bytes", lambda: 10 * 10**9)
    assert MemoryLimit.parse(None).total == 5 * 10**9
    monkeypatch.setattr(memory, "available_bytes", lambda: 10**6)
    assert MemoryLimit.parse(None).total == memory.USUAL_LEAST > memory.LEAST


def test_available_memory_is_a_plausible_number():
    assert 10**7 < memory.available_bytes() <= memory.total_bytes() < 10**14


@pytest.mark.parametrize("limit", ["1000000", "max"])
def test_the_limit_of_a_container_counts(monkeypatch, tmp_path, limit):
    (tmp_path / "memory.max").write_text(f"{limit}\n")
    monkeypatch.setattr(memory, "Path", lambda path: tmp_path / path.rpartition("/")[2])
    assert (memory.total_bytes() == 10**6) == (limit != "max")


def test_what_a_container_uses_is_not_free_but_for_files_that_it_can_drop(monkeypatch, tmp_path):
    (tmp_path / "memory.max").write_text("5000000\n")
    (tmp_path / "memory.current").write_text("3000000\n")
    (tmp_path / "memory.stat").write_text("anon 1000\ninactive_file 500000\n")
    folder = "/sys/fs/cgroup"
    monkeypatch.setattr(memory, "Path", lambda path: tmp_path / path.removeprefix(f"{folder}/"))
    assert memory.total_bytes() == 5_000_000
    assert memory.available_bytes() == 2_500_000


def test_blocks_are_cut_and_too_many_rows_at_once_are_refused():
    array = np.broadcast_to(np.float32(1), (40_000, 1000))
    features = FeatureView(ArrayFeatures(array), name="strong features", limit=SMALL)
    assert max(block.nbytes for _, block in features.blocks()) <= SMALL.block_bytes
    assert features.take([3, 1]).shape == (2, 1000)
    assert features.take(slice(5)).shape == (5, 1000)
    with pytest.raises(
        InputError, match=r"40,000 rows of the strong features .* 160 MB .* set memory to 770MB"
    ):
        features.take(np.arange(40_000))


def test_a_sample_is_ascending_and_only_taken_where_needed(rng):
    rows = np.arange(10, 20)
    assert sampled(rows, 10, rng) is rows
    few = sampled(rows, 4, rng)
    assert len(few) == 4
    assert (np.diff(few) > 0).all()
    assert np.isin(few, rows).all()


def scored(folder, limit, n=1600, dim=384):
    rng = np.random.default_rng(0)
    label = rng.integers(2, size=n)
    easy, hard = rng.random((2, n)) < 0.6
    strong = rng.normal(size=(n, dim)).astype(np.float32)
    strong[:, 0] += 6 * hard
    weak = rng.normal(size=(n, 300)).astype(np.float32)
    weak[:, 0] += 3 * easy * (2 * label - 1)
    folder.mkdir()
    np.save(folder / "strong.npy", strong)
    np.save(folder / "weak.npy", weak)
    table = pd.DataFrame({"text": [f"text {i}" for i in range(n)], "label": label})
    dataset = load_dataset(table, item="text", label="label")
    run = Run.create(folder / "run", dataset)
    files = {f"{role}_features": folder / f"{role}.npy" for role in ("weak", "strong")}
    compute = Compute(device="cpu", memory=limit)
    embed_stage(run, EmbedSettings(**files), compute)
    score_stage(run, ScoreSettings(teacher_l2=0.01), compute)
    return run


@pytest.mark.slow
def test_scores_are_the_same_bytes_whatever_the_limit(tmp_path):
    small, large = scored(tmp_path / "a", SMALL), scored(tmp_path / "b", LARGE)
    assert SMALL.block_bytes < 1600 * 384 * 4 < LARGE.block_bytes  # several blocks, and one
    for file in ("weak_proba.parquet", "scores.parquet"):
        assert (small.path / file).read_bytes() == (large.path / file).read_bytes()


def test_a_teacher_of_too_many_rows_learns_from_a_sample_and_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(MemoryLimit, "rows", lambda *_: 100)
    run = scored(tmp_path / "a", LARGE, n=1000, dim=8)
    said = " ".join(run.read_summary("overlap.json")["warnings"])
    assert "a random 100 of the 200 labelled items" in said


@pytest.mark.slow
def test_a_forecast_of_too_many_rows_is_of_samples_and_says_so(tmp_path, monkeypatch):
    run = scored(tmp_path / "a", LARGE, n=1000, dim=8)
    monkeypatch.setattr(MemoryLimit, "rows", lambda *_: 120)
    found = forecast_stage(run, ForecastSettings(), Compute(memory=LARGE)).summary
    assert (found["n"], found["N"]) == (120, 120)
    assert "a random 120 of the 200 labelled rows" in " ".join(found["warnings"])


def test_a_sample_of_labelled_rows_holds_two_of_every_class(rng):
    codes = np.repeat([0, 1, 2], [600, 2, 2])
    features = rng.normal(size=(len(codes) + 90, 3))
    features[: len(codes), 0] += codes
    forecaster = GainForecaster(max_labelled=60, random_state=0)
    with pytest.warns(DegenerateDataWarning, match="a random 60 of the 604 labelled rows"):
        forecaster.fit(
            features[:604],
            features[:604, :2],
            codes,
            strong_pool=features[604:],
            weak_pool=features[604:, :2],
        )
    found = forecaster.forecast_
    assert (found.n, found.n_classes) == (60, 3)


def test_commands_refuse_what_is_no_size(tmp_path, capsys):
    data = tmp_path / "data.csv"
    pd.DataFrame({"text": list("abcdefghij"), "label": [0, 1] * 5}).to_csv(data, index=False)
    run = str(Run.create(tmp_path / "run", load_dataset(str(data), label="label")).path)
    for words in (
        ["score", str(data), "--label", "label", "-o", run],
        ["embed", run],
        ["select", run, "--budget", "10"],
        ["groups", run],
        ["forecast", run],
        ["gain", run],
    ):
        with pytest.raises(SystemExit) as stop:
            main([*words, "--memory", "much"])
        assert stop.value.code == 2
        assert capsys.readouterr().err.strip().endswith("got 'much'")


def test_vectors_as_items_stay_on_disk(tmp_path, rng):
    vectors = rng.normal(size=(40, 5)).astype(np.float32)
    table = pd.DataFrame({"label": [0, 1] * 20})
    run = Run.create(tmp_path / "run", load_dataset(table, features=vectors, label="label"))
    found = Run.open(run.path).dataset()
    assert isinstance(found.features, np.memmap)
    assert np.array_equal(found.features, vectors)
    assert (
        "items.npy"
        in json.loads((run.path / "manifest.json").read_text())["stages"]["items"]["files"]
    )
