"""Reaching a Ray cluster or starting one, and what it has to give."""

from __future__ import annotations

import logging
import math
import os
import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from w2s_data.errors import EngineError, InputError, MissingExtraError

# Seconds within which a cluster must take a connection; Ray itself would try for minutes.
REACH_SECONDS = 10.0
# Workers never take all CPUs: Ray's own tasks need some, or they would wait for ever.
SPARE_CPUS = 1.0
LEAST_SHARE = 0.25
# What the processes of a cluster on this machine are given on their way.
_ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",  # nothing is sent anywhere
    "RAY_worker_niceness": "0",  # as urgent as the local engine
    "OMP_WAIT_POLICY": "PASSIVE",  # threads of several workers share the cores
    "TOKENIZERS_PARALLELISM": "false",
}


@dataclass(frozen=True)
class Grant:
    """What each worker reserves, and the threads for which it has CPUs to itself."""

    workers: int
    cpus: float
    gpus: float
    threads: int

    def __str__(self) -> str:
        many = "worker" if self.workers == 1 else "workers"
        return f"{self.workers} {many}, each with {self.share}"

    @property
    def share(self) -> str:
        """What one worker reserves."""
        gpu = f" and {self.gpus:g} GPU" if self.gpus else ""
        return f"{self.cpus:g} CPU{gpu}"


def connect(ray: Any, address: str | None) -> bool:
    """Connect this process to a cluster; return whether it is for us to disconnect.

    A connection that this process has already is used as it is.

    Raises
    ------
    EngineError
        If the cluster cannot be reached, or runs other versions of Ray or Python.
    """
    from ray.exceptions import RayError

    if ray.is_initialized():
        return False
    quiet = {"log_to_driver": False, "logging_level": logging.ERROR}
    try:
        if address is None:
            with _environment():
                ray.init(address="local", include_dashboard=False, **quiet)
        else:
            _check_reachable(address)
            ray.init(address=address, **quiet)
    except (ConnectionError, TimeoutError, RuntimeError, ValueError, RayError) as error:
        if isinstance(error, InputError):
            raise
        raise _not_connected(address, str(error)) from error
    return True


def grant(ray: Any, workers: int | None, device: str, threads: int) -> Grant:
    """Divide what the cluster has: all but a CPU, so that it cannot starve itself.

    Parameters
    ----------
    workers : int or None
    threads : int
        What this process would use.

    Raises
    ------
    InputError
        If there is not enough for so many workers.
    """
    total = ray.cluster_resources()
    cpus, gpus = float(total.get("CPU", 0)), float(total.get("GPU", 0))
    nodes = [node["Resources"].get("CPU", 0.0) for node in ray.nodes() if node["Alive"]]
    largest = max(nodes, default=0.0)
    if not largest:
        raise EngineError("the Ray cluster has no CPUs to compute on")
    on_gpu = device != "cpu"
    if workers is None:
        workers = int(gpus) if on_gpu else int(cpus // min(threads, largest))
        workers = max(1, workers)
    most = int(_free(cpus) / LEAST_SHARE)
    if not 1 <= workers <= most:
        raise InputError(f"workers must be from 1 to {most} on {cpus:g} CPUs; got {workers}")
    share = min(float(threads), _free(largest), _free(cpus) / workers)
    return Grant(
        workers=workers,
        cpus=_rounded_down(share),
        gpus=_rounded_down(_gpu_share(gpus, workers)) if on_gpu and gpus else 0.0,
        threads=max(1, int(cpus // workers)),
    )


def has_gpu(ray: Any) -> bool:
    """Whether the cluster has a GPU."""
    return float(ray.cluster_resources().get("GPU", 0)) > 0


def resources(ray: Any) -> str:
    """What the cluster has and what is free of it, for a message."""
    total, free = ray.cluster_resources(), ray.available_resources()
    return ", ".join(
        f"{free.get(name, 0):g} of {total[name]:g} {name} free"
        for name in ("CPU", "GPU")
        if total.get(name)
    )


def _free(cpus: float) -> float:
    return cpus - min(SPARE_CPUS, cpus / 2)


def _gpu_share(gpus: float, workers: int) -> float:
    """Part of one GPU for a worker: as many share each GPU as it takes, since none spans two."""
    return 1 / math.ceil(workers / gpus)


def _rounded_down(share: float) -> float:
    """Ray counts shares in ten-thousandths."""
    return int(share * 1000) / 1000


def _check_reachable(address: str) -> None:
    """Knock at the address, where it is one."""
    found = re.fullmatch(r"(?:ray://)?\[?([^\[\]/]+)\]?:(\d+)", address)
    if address == "auto":
        return
    if found is None:
        raise InputError(f"address must be auto, HOST:PORT or ray://HOST:PORT; got {address!r}")
    try:
        socket.create_connection((found[1], int(found[2])), timeout=REACH_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise EngineError(
            f"no Ray cluster answers at {address!r} ({error}): start one with `ray start --head`, "
            "or leave address out to start one on this machine"
        ) from error


def _not_connected(address: str | None, reason: str) -> Exception:
    line = " ".join(reason.split())[:300]
    if "ray[client]" in line:
        return MissingExtraError("ray:// addresses need Ray's client: pip install 'ray[client]'")
    if "mismatch" in line.lower():
        return EngineError(f"the cluster at {address!r} runs other versions: {line}")
    if address is None:
        return EngineError(f"Ray does not start on this machine: {line}")
    return EngineError(
        f"cannot connect to the Ray cluster at {address!r}: {line} (one that wants a token: set "
        "RAY_AUTH_MODE=token and RAY_AUTH_TOKEN as it was started with)"
    )


@contextmanager
def _environment() -> Iterator[None]:
    """Set what processes of a local cluster inherit, while it starts.

    Its workers import this very package, wherever it lies.
    """
    here = str(Path(__file__).resolve().parents[2])
    paths = [here, *filter(None, [os.environ.get("PYTHONPATH")])]
    given = {**_ENVIRONMENT, "PYTHONPATH": os.pathsep.join(paths)}
    before = {name: os.environ.get(name) for name in given}
    os.environ.update(given)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
