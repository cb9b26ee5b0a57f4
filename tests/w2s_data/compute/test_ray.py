"""The engine of a cluster leaves the bytes of the local one, whatever happens to its workers."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.w2s_data.compute import ray_work as work
from w2s_data import FeatureStore, TextEncoder, embed
from w2s_data.compute import cluster, pool
from w2s_data.compute.base import LocalEngine
from w2s_data.compute.engines import make_engine
from w2s_data.compute.worker import own_threads
from w2s_data.encoders.base import ItemError
from w2s_data.errors import EngineError, InputError, MissingExtraError

pytest.importorskip("ray", reason="Ray (the extra 'ray') is not installed")
ROOT = Path(__file__).resolve().parents[3]
UNREACHABLE = "127.0.0.1:1"


@pytest.fixture(scope="module")
def ray() -> Iterator[Any]:
    """One local cluster for all tests, and this process connected to it."""
    import ray

    before = os.environ.get("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO")
    os.environ["RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO"] = "0"  # or Ray warns of a coming change
    assert cluster.connect(ray, None)
    yield ray
    ray.shutdown()
    if before is None:
        del os.environ["RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO"]


@pytest.fixture(scope="module")
def engine(ray: Any) -> Iterator[Any]:  # noqa: ARG001
    """Two workers, for tests that do not kill them."""
    with make_engine("ray", workers=2) as made:
        yield made


def files(folder: Path) -> dict[str, bytes]:
    """Return the files of a folder by name, without those that record the time."""
    found = {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
    for name in ("manifest.json", "report.html"):
        found.pop(name, None)
    return found


@pytest.mark.slow
@pytest.mark.parametrize("ordered", [True, False])
def test_blocks_are_computed_once_each_whatever_the_order(engine: Any, ordered: bool) -> None:
    blocks = [np.arange(n, n + 3.0) for n in range(9)]
    seen: list[int] = []
    found = list(engine.map_blocks(work.scaled, 2.0, blocks, seen.append, ordered=ordered))
    expected = list(LocalEngine().map_blocks(work.scaled, 2.0, blocks))
    assert ordered is False or [number for number, _ in found] == list(range(9))
    for (number, result), (wanted, truth) in zip(sorted(found), expected, strict=True):
        assert number == wanted
        np.testing.assert_array_equal(result, truth)
    assert sum(seen) == 27


@pytest.mark.slow
def test_workers_use_the_threads_of_this_process(engine: Any) -> None:
    found = dict(engine.map_blocks(work.threads, None, range(2)))
    assert set(found.values()) == {own_threads()}
    assert list(engine.map_blocks(work.threads, None, [])) == []


@pytest.mark.slow
def test_a_killed_worker_costs_its_block_only(engine: Any, tmp_path: Path) -> None:
    found = list(engine.map_blocks(work.die_once, str(tmp_path), range(4)))
    assert found == [(n, n) for n in range(4)]
    assert (tmp_path / "killed").is_file()


@pytest.mark.slow
def test_an_error_of_the_work_arrives_as_it_was_raised(engine: Any) -> None:
    with pytest.raises(ItemError, match="torn") as caught:
        list(engine.map_blocks(work.unreadable, None, [3]))
    assert caught.value.positions == [3]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("function", "message"),
    [
        (work.too_large, "a worker ran out of memory .*1 EiB.*fewer workers"),
        (work.always_die, "3 workers died on the same block.*lack of memory"),
    ],
)
def test_lack_of_memory_is_one_line(engine: Any, function: Any, message: str) -> None:
    with pytest.raises(EngineError, match=message) as caught:
        list(engine.map_blocks(function, None, [0]))
    assert "\n" not in str(caught.value)


@pytest.mark.slow
def test_no_progress_is_an_error_that_says_why(ray: Any) -> None:
    from w2s_data.compute.ray import RayEngine

    with RayEngine(workers=1) as engine:
        assert len(list(engine.map_blocks(work.threads, None, [0]))) == 1
        engine.patience = 3
        with pytest.raises(EngineError, match="no progress for 3 s: 1 workers hold a block"):
            list(engine.map_blocks(work.wait, None, [0]))
    free = ray.cluster_resources()["CPU"]
    blocker = ray.remote(num_cpus=free)(type("Blocker", (), {"ready": lambda _: True})).remote()
    assert ray.get(blocker.ready.remote())
    try:
        message = r"no progress for 2 s: 1 of 1 workers have not started.* 0 of .* CPU free"
        with (
            RayEngine(workers=1, patience=2) as engine,
            pytest.raises(EngineError, match=message),
        ):
            list(engine.map_blocks(work.threads, None, [0]))
    finally:
        ray.kill(blocker)


@pytest.mark.slow
def test_other_versions_on_workers_are_refused(
    engine: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = pool.versions()
    monkeypatch.setattr(pool, "versions", lambda: {**here, "w2s-data": "0.0.0"})
    with pytest.raises(EngineError, match=r"a worker has w2s-data .*, this process 0\.0\.0"):
        list(engine.map_blocks(work.threads, None, [0]))


@pytest.mark.slow
@pytest.mark.usefixtures("ray")
def test_a_store_resumes_after_workers_died(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool, "MOST_DEATHS", 2)
    texts = [f"{'abcde'[n % 5] * n}" for n in range(1, 40)] + ["poison"]
    embed(texts, work.Letters(), tmp_path / "local", shard_rows=8)
    with make_engine("ray", workers=2) as engine:
        deadly = work.Letters(str(tmp_path), always=True)
        with pytest.raises(EngineError, match="died on the same block"):
            embed(texts, deadly, tmp_path / "ray", shard_rows=8, engine=engine)
        kept = len(FeatureStore.open(tmp_path / "ray"))
        assert 0 < kept <= 32
        seen = files(tmp_path / "ray")
        embed(texts, work.Letters(str(tmp_path)), tmp_path / "ray", shard_rows=8, engine=engine)
    assert seen.items() <= files(tmp_path / "ray").items()
    assert files(tmp_path / "local") == files(tmp_path / "ray")


@pytest.mark.slow
@pytest.mark.usefixtures("ray")
def test_a_pretrained_encoder_leaves_the_same_bytes_though_a_worker_is_killed(
    tmp_path: Path,
    minilm_path: Path,
) -> None:
    words = ["what", "a", "piece", "of", "work", "is", "man", "how", "noble", "in", "reason"]
    texts = [" ".join(words[n % 11 :] * (1 + n % 5)) + f" {n}" for n in range(150)]
    local = embed(texts, TextEncoder(str(minilm_path), device="cpu"), tmp_path / "local")
    with make_engine("ray", workers=2) as engine:
        fragile = work.Fragile(str(minilm_path), str(tmp_path))
        found = embed(texts, fragile, tmp_path / "ray", engine=engine)
    assert (tmp_path / "killed").is_file()
    assert local.array().tobytes() == found.array().tobytes()
    assert files(tmp_path / "local") == files(tmp_path / "ray")


@pytest.mark.slow
def test_parts_of_a_shard_are_cut_where_batches_start(minilm_path: Path) -> None:
    texts = ["word " * (1 + n * 7 % 40) for n in range(120)]
    encoder = TextEncoder(str(minilm_path), device="cpu", max_tokens=200).fit(())
    whole = encoder.encode(texts)
    for n_parts in (1, 2, 3, 50):
        parts = [encoder.encode_part(texts, part, n_parts) for part in range(n_parts)]
        assert sorted(np.concatenate([rows for rows, _ in parts])) == list(range(120))
        for rows, vectors in parts:
            assert vectors.tobytes() == whole[rows].tobytes()


@pytest.mark.slow
@pytest.mark.usefixtures("ray")
def test_all_stages_leave_the_same_bytes(
    tmp_path: Path,
    w2s: Callable[..., tuple[Any, str, str]],
) -> None:
    printed = {}
    for name, options in (("local", ()), ("ray", ("--engine", "ray", "--workers", "2"))):
        run = tmp_path / name
        encoders = ("--weak", "pixels:3", "--strong", "pixels:8")
        options = (*options, "--memory", "4GB")  # or the record of the index has what was free
        steps = [
            w2s("score", "example:digits", *encoders, "-o", run, *options),
            w2s("groups", run, *options),
            w2s("gain", run, "--methods", "naive,enhanced", "--seeds", 2, "--epochs", 20, *options),
        ]
        assert [code for code, _, _ in steps] == [0, 0, 0], [err for _, _, err in steps]
        printed[name] = [out.replace(name, "") for _, out, _ in steps]
    assert printed["local"] == printed["ray"]
    local, found = files(tmp_path / "local"), files(tmp_path / "ray")
    assert local.keys() == found.keys()
    assert {name for name in local if local[name] != found[name]} == set()


@pytest.mark.slow
def test_what_was_started_is_stopped(tmp_path: Path) -> None:
    arguments = ("embed", "example:digits", "--weak", "pixels:3", "-o", str(tmp_path / "run"))
    script = "from w2s_data.cli import main; main()"
    paths = [str(ROOT / folder) for folder in ("", "selectors", "reports")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments, "--engine", "ray", "--workers", "1"],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    features, run = done.stdout.splitlines()
    assert features == "weak features: 1,797 x 9"
    assert run.startswith(f"run: {tmp_path / 'run'}")
    assert "ray: 1 worker, each with" in done.stderr


def test_a_cluster_that_cannot_be_reached_is_named_at_once() -> None:
    class Ray:
        @staticmethod
        def is_initialized() -> bool:
            return False

    started = time.monotonic()
    with pytest.raises(EngineError, match=r"no Ray cluster answers at '127\.0\.0\.1:1'"):
        cluster.connect(Ray, UNREACHABLE)
    assert time.monotonic() - started < 15
    with pytest.raises(InputError, match="address must be auto, HOST:PORT"):
        cluster.connect(Ray, "s3://somewhere")


def test_more_workers_than_cpus_can_share_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    class Ray:
        @staticmethod
        def cluster_resources() -> dict[str, float]:
            return {"CPU": 2.0, "GPU": 1.0}

        @staticmethod
        def nodes() -> list[dict[str, Any]]:
            return [{"Alive": True, "Resources": {"CPU": 2.0}}]

    with pytest.raises(InputError, match="workers must be from 1 to 4 on 2 CPUs; got 5"):
        cluster.grant(Ray, 5, "cpu", threads=2)
    assert cluster.grant(Ray, 2, "cpu", threads=2) == cluster.Grant(2, 0.5, 0.0, 1)
    assert cluster.grant(Ray, None, "cpu", threads=2) == cluster.Grant(1, 1.0, 0.0, 2)
    assert cluster.grant(Ray, 4, "cuda", threads=2).gpus == 0.25
    assert cluster.grant(Ray, None, "cuda", threads=64).workers == 1
    with monkeypatch.context() as patched:
        patched.setattr(Ray, "cluster_resources", lambda: {"CPU": 8.0, "GPU": 2.0})
        shares = [cluster.grant(Ray, workers, "cuda", threads=2).gpus for workers in (1, 2, 3, 5)]
    assert shares == [1.0, 1.0, 0.5, 0.333]  # all fit: no worker spans two GPUs


def test_an_engine_is_chosen_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="no engine 'rya'; did you mean 'ray'"):
        make_engine("rya")
    with pytest.raises(InputError, match="engine 'local' takes no workers"):
        make_engine("local", workers=2)
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'w2s-data\[ray\]'"):
        make_engine("ray")
