"""Connect to a Ray cluster or start one, and divide its resources among workers."""

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
LEAST_SHARE = 0.25  # of a CPU; with less, starting a worker costs more than it computes
# Environment of the processes of a cluster on this machine.
_ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",  # nothing is sent anywhere
    "RAY_worker_niceness": "0",  # as urgent as the local engine
    "OMP_WAIT_POLICY": "PASSIVE",  # waiting threads leave the cores to other workers
    "TOKENIZERS_PARALLELISM": "false",
}


@dataclass(frozen=True)
class Grant:
    """Resources that each worker reserves, and the threads for which it has CPUs of its own."""

    workers: int
    cpus: float
    gpus: float
    threads: int

    def __str__(self) -> str:
        many = "worker" if self.workers == 1 else "workers"
        return f"{self.workers} {many}, each with {self.share}"

    @property
    def share(self) -> str:
        """Resources of one worker, for a message."""
        gpu = f" and {self.gpus:g} GPU" if self.gpus else ""
        return f"{self.cpus:g} CPU{gpu}"


def connect(ray: Any, address: str | None) -> bool:
    """Connect this process to a cluster; return whether this call made the connection.

    An existing connection is used. Raise EngineError if the cluster cannot be reached, or runs
    other versions of Ray or Python.
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
    """Divide all CPUs but one, and the GPUs, among the workers; InputError if too few.

    `threads` is the number of threads that this process would use.
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
    # No worker spans two GPUs: one GPU is divided evenly among those that share it.
    gpu_share = 1 / math.ceil(workers / gpus) if on_gpu and gpus else 0.0
    return Grant(
        workers=workers,
        cpus=_rounded_down(share),
        gpus=_rounded_down(gpu_share),
        threads=max(1, int(cpus // workers)),
    )


def resources(ray: Any) -> str:
    """Describe the total and free resources of the cluster, for a message."""
    total, free = ray.cluster_resources(), ray.available_resources()
    return ", ".join(
        f"{free.get(name, 0):g} of {total[name]:g} {name} free"
        for name in ("CPU", "GPU")
        if total.get(name)
    )


def _free(cpus: float) -> float:
    return cpus - min(SPARE_CPUS, cpus / 2)


def _rounded_down(share: float) -> float:
    # Ray counts in ten-thousandths and refuses a sum that rounding pushed above the total.
    return int(share * 1000) / 1000


def _check_reachable(address: str) -> None:
    """Raise unless something answers at the address; "auto" is left to Ray."""
    match = re.fullmatch(r"(?:ray://)?\[?([^\[\]/]+)\]?:(\d+)", address)
    if address == "auto":
        return
    if match is None:
        raise InputError(f"address must be auto, HOST:PORT or ray://HOST:PORT; got {address!r}")
    try:
        socket.create_connection((match[1], int(match[2])), timeout=REACH_SECONDS).close()
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
        f"cannot connect to the Ray cluster at {address!r}: {line} (if it requires a token, set "
        "RAY_AUTH_MODE=token and RAY_AUTH_TOKEN as on the cluster)"
    )


@contextmanager
def _environment() -> Iterator[None]:
    """Set the environment that processes of a local cluster inherit, while it starts."""
    # Workers must import this very package, wherever it lies.
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
