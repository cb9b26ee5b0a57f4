"""The engine of a cluster, whose workers Ray starts, watches and replaces.

Ray's actors are used, not its data sets: a stage has an order, resumes at a block, and writes the
bytes that one process would write, and for all three it must decide itself what a block is.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

from w2s_data.compute import cluster
from w2s_data.compute.base import Engine, Job
from w2s_data.compute.device import resolve_device
from w2s_data.compute.pool import Pool
from w2s_data.compute.worker import own_threads
from w2s_data.errors import InputError, require
from w2s_data.utils.validation import check_parameters, one_of, whole

logger = logging.getLogger("w2s_data")

PATIENCE = 300.0  # longer than a slow node takes to start and to load a model
BLOCKS_A_WORKER = 4  # so that workers of different speed end at about the same time


class RayEngine(Engine):
    """Compute blocks in the workers of a Ray cluster.

    `address` is "auto", "HOST:PORT" or "ray://HOST:PORT"; None starts Ray on this machine.
    `workers` are by default one per GPU or, without GPUs, CPUs / threads of this process. After
    `patience` seconds without progress a stage fails, naming the workers it waited for.
    """

    name = "ray"

    def __init__(
        self, address: str | None = None, workers: int | None = None, patience: float = PATIENCE
    ) -> None:
        self._ray = require("ray", "ray")
        check_parameters({"workers": workers}, {"workers": one_of(None) | whole(1)})
        self.address = address
        self.workers = workers
        self.patience = patience
        self._is_ours = False
        self._pool: Pool | None = None

    def run(self, job: Job) -> Iterator[tuple[int, Any]]:
        """Compute the blocks on the cluster; a worker that dies costs the block it computed.

        Raise EngineError if the cluster cannot be reached or has other versions, workers keep
        dying on one block, one runs out of memory, or nothing happens for `patience` seconds.
        """
        ray = self._connected()
        threads = own_threads()
        share = cluster.grant(ray, self.workers, job.device, threads)
        if not job.same_threads:
            threads = min(threads, share.threads)
        if self._pool is None or self._pool.grant != share:
            self._close()
            logger.info("ray: %s", share)
            self._pool = Pool(ray, share)
        yield from self._pool.map(job, threads=threads, patience=self.patience)

    def place(self, device: str) -> str:
        """Return "cuda" if the cluster has GPUs and `device` is not "cpu", else "cpu".

        A cluster that is still to be started here has the GPUs of this machine. Raise InputError
        if a GPU is asked for and the cluster has none.
        """
        if device == "cpu":
            return "cpu"
        if self.address is None and not self._ray.is_initialized():
            return "cuda" if resolve_device(device).type == "cuda" else "cpu"
        if self._connected().cluster_resources().get("GPU", 0) > 0:
            return "cuda"
        if device == "auto":
            return "cpu"
        raise InputError(f"device {device!r} was asked for, but the Ray cluster has no GPU")

    def parts(self, n_blocks: int, device: str) -> int:
        """Return enough parts for every worker to get several."""
        share = cluster.grant(self._connected(), self.workers, device, own_threads())
        return max(1, -(-BLOCKS_A_WORKER * share.workers // max(1, n_blocks)))

    def __exit__(self, *raised: object) -> None:
        """Stop a cluster that was started here; disconnect from another."""
        self._close()
        if self._is_ours:
            self._ray.shutdown()
            self._is_ours = False

    def _close(self) -> None:
        if self._pool is not None:
            self._pool.close()
            self._pool = None

    def _connected(self) -> Any:
        if not self._ray.is_initialized():
            self._is_ours = cluster.connect(self._ray, self.address)
        return self._ray
