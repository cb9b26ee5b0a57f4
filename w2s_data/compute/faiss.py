"""Wrapper of faiss, which no other module imports: GPUs, k-means, and indexes as bytes.

The global state of faiss stays unchanged: seeds and search efforts belong to one index, and a
limit on threads ends with the block that needs it.
"""

from __future__ import annotations

import functools
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, Literal

import numpy as np

from w2s_data.compute.device import release_memory
from w2s_data.errors import InputError, first_line
from w2s_data.utils.typing import AnyArray, FloatArray, IntArray

logger = logging.getLogger("w2s_data")

BuiltKind = Literal["flat", "ivf", "hnsw"]
WIDER = 0.25  # of the range seen in training: numbers beyond it would be cut off by 8 bits
HNSW_LINKS = 32  # faiss's own default
GPU_MAX_K = 2048  # faiss selects no more neighbours on a GPU
# The first search on a GPU. It has a process of its own, since faiss ends the process at any CUDA
# error but a lack of memory (which is a RuntimeError), and takes as little memory as it can.
FIRST_SEARCH = """
import sys
import faiss, numpy
resources = faiss.StandardGpuResources()
resources.noTempMemory()
points = numpy.eye(2, dtype=numpy.float32)
index = faiss.IndexFlatL2(2)
index.add(points)
found = faiss.index_cpu_to_gpu(resources, int(sys.argv[1]), index).search(points, 1)[1]
if found.ravel().tolist() != [0, 1]:
    sys.exit("it finds the wrong points")
"""
FIRST_SEARCH_SECONDS = 120.0  # a driver may compile its kernels first
SERIAL_WORK = 100_000_000  # N x lists x D below which IVF is built on one thread
ITERATION_SHARE = 20  # k-means stays on one thread, three times as fast, up to so much more work
# The OpenBLAS inside the wheels of faiss is older than many processors, for which it then takes
# kernels of 2004. By what numpy's, which is newer, calls a processor: what the older one knows.
KERNELS = {
    "Haswell": "Haswell",
    "Zen": "Haswell",
    "SkylakeX": "SkylakeX",
    "Cooperlake": "SkylakeX",
    "SapphireRapids": "SkylakeX",
}


def library() -> Any:
    """Return the faiss module, imported at first use with the kernels of this processor."""
    with nullcontext() if "faiss" in sys.modules else kernels_of_numpy():
        import faiss
    return faiss


@contextmanager
def kernels_of_numpy() -> Iterator[None]:
    """Choose the kernels of an OpenBLAS that is loaded meanwhile, unless the user has."""
    from threadpoolctl import threadpool_info

    known = (KERNELS.get(str(blas.get("architecture"))) for blas in threadpool_info())
    kernels = next(filter(None, known), None)
    if kernels is None or "OPENBLAS_CORETYPE" in os.environ:
        yield
        return
    os.environ["OPENBLAS_CORETYPE"] = kernels
    try:
        yield
    finally:
        del os.environ["OPENBLAS_CORETYPE"]


def faiss_status() -> tuple[str, int]:
    """Return the version of the installed faiss, and the number of GPUs that it can use.

    Raise ImportError, OSError if faiss, or a library that it needs, is missing or broken.
    """
    faiss = library()
    return str(faiss.__version__), int(faiss.get_num_gpus())


def empty_index(
    kind: BuiltKind,
    similarity: bool,
    dim: int,
    n_lists: int,
    seed: int,
    bits: int = 32,
) -> Any:
    """Make an index for inner products (`similarity`) or Euclidean distances."""
    faiss = library()
    metric = faiss.METRIC_INNER_PRODUCT if similarity else faiss.METRIC_L2
    if kind == "flat":
        return faiss.IndexFlat(dim, metric)
    if kind == "hnsw":
        index = faiss.IndexHNSWFlat(dim, HNSW_LINKS, metric)
        index.hnsw.rng = faiss.RandomGenerator(seed)
        return index
    coarse = faiss.IndexFlat(dim, metric)
    if bits < 32:
        quantizer = faiss.ScalarQuantizer
        code = quantizer.QT_fp16 if bits == 16 else quantizer.QT_8bit
        index = faiss.IndexIVFScalarQuantizer(coarse, dim, n_lists, code, metric, False)
        index.sq.rangestat_arg = WIDER
    else:
        index = faiss.IndexIVFFlat(coarse, dim, n_lists, metric)
    index.cp.seed = seed
    index.cp.min_points_per_centroid = 1  # small data are the caller's choice: nothing on stderr
    index.set_direct_map_type(faiss.DirectMap.Array)  # rows can be read back
    return index


def threads(kind: BuiltKind, work: int) -> AbstractContextManager[Any]:
    """Limit a graph or a small k-means to one thread."""
    from threadpoolctl import threadpool_limits

    # A graph depends on the order of its threads; those of a small k-means wait for each other
    # for seconds where other processes compute too.
    alone = kind == "hnsw" or (kind == "ivf" and work < SERIAL_WORK)
    return threadpool_limits(1, user_api="openmp") if alone else nullcontext()


def train_centroids(
    points: FloatArray,
    n_clusters: int,
    *,
    spherical: bool,
    n_iter: int,
    seed: int,
    gpu: int | None,
    n_init: int = 1,
    start: FloatArray | None = None,
) -> FloatArray:
    """Return the centroids (K, D) of the best of `n_init` random starts, or of the given start.

    `points` are float32. If `spherical`, points and centroids have length one.
    """
    faiss = library()
    settings = faiss.ClusteringParameters()
    settings.niter, settings.nredo, settings.seed = n_iter, n_init, seed
    settings.spherical = spherical
    settings.min_points_per_centroid = 1  # small data are the caller's choice: nothing on stderr
    settings.max_points_per_centroid = len(points)
    dim = points.shape[1]
    clustering = faiss.Clustering(dim, n_clusters, settings)
    if start is not None:
        faiss.copy_array_to_vector(start.ravel(), clustering.centroids)
    with threads("ivf", points.size * n_clusters // ITERATION_SHARE):
        clustering.train(points, _centroid_index(dim, spherical, gpu))
    return np.asarray(faiss.vector_to_array(clustering.centroids).reshape(n_clusters, dim))


def nearest_centroids(
    points: FloatArray, centroids: FloatArray, *, spherical: bool, gpu: int | None
) -> tuple[FloatArray, IntArray]:
    """Return the similarity or squared distance to the nearest centroid, and its number."""
    index = _centroid_index(centroids.shape[1], spherical, gpu)
    index.add(centroids)
    with threads("ivf", points.size * len(centroids) // ITERATION_SHARE):
        scores, codes = index.search(points, 1)
    return scores[:, 0], codes[:, 0]


def _centroid_index(dim: int, spherical: bool, gpu: int | None) -> Any:
    index = empty_index("flat", spherical, dim, 0, 0)
    return index if gpu is None else to_gpu(index, gpu)


def resolve_gpu(device: str) -> int | None:
    """Return the number of the GPU that searches, or None for the CPU (faiss has no MPS).

    Raise InputError if the device is unknown, or a CUDA device that faiss cannot use.
    """
    name, _, number = str(device).partition(":")
    if name in ("cpu", "mps") and not number:
        return None
    if (name, number) != ("auto", "") and (name != "cuda" or not (number or "0").isdigit()):
        raise InputError(f"unknown device {device!r}; use 'auto', 'cpu', 'cuda', 'cuda:1' or 'mps'")
    n_gpus = faiss_status()[1]
    wanted = int(number or 0)
    usable = wanted < n_gpus and gpu_works(wanted)
    if name == "cuda" and not usable:
        raise InputError(
            f"device {device!r} was asked for, but faiss can use {n_gpus} CUDA devices"
            + (" and its first search on this one failed" if wanted < n_gpus else "")
        )
    return wanted if usable else None


@functools.cache
def gpu_works(number: int) -> bool:
    """Search two points on a GPU; a failure is logged once, and the CPU searches instead."""
    paths = os.pathsep.join(filter(None, sys.path))  # the same faiss as in this process
    try:
        ended = subprocess.run(
            [sys.executable, "-c", FIRST_SEARCH, str(number)],
            env={**os.environ, "PYTHONPATH": paths, "PYTHONWARNINGS": "ignore"},
            capture_output=True,
            text=True,
            errors="replace",
            timeout=FIRST_SEARCH_SECONDS,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        reason = first_line(error)
    else:
        if ended.returncode == 0:
            return True
        lines = ended.stderr.strip().splitlines() or [f"exit code {ended.returncode}"]
        reason = first_line(lines[-1].rpartition("; details: ")[2])
    logger.warning("the CPU searches, since GPU %d fails: %s", number, reason)
    return False


def to_gpu(index: Any, number: int) -> Any:
    """Copy an index to a GPU.

    Raise RuntimeError if its memory does not suffice, or the kind of index has no form there.
    """
    move = functools.partial(library().index_cpu_to_gpu, _gpu_resources(number), number, index)
    try:
        return move()
    except RuntimeError:
        if "torch" not in sys.modules:
            raise
    import torch

    release_memory(torch.device("cuda"))  # what torch keeps for later tensors, faiss cannot use
    return move()


@functools.cache
def _gpu_resources(number: int) -> Any:  # noqa: ARG001
    """Return the streams and scratch memory of one GPU."""
    # Kept, since making them takes longer than a small search.
    return library().StandardGpuResources()


def has_gpu_form(index: Any) -> bool:
    """Return whether faiss searches indexes of this kind on a GPU."""
    return not isinstance(index, library().IndexHNSW)


def write_index(index: Any, path: str) -> None:
    """Write an index to a file; a failure is an OSError."""
    try:
        library().write_index(index, path)
    except RuntimeError as error:
        raise OSError(first_line(error)) from error


def index_bytes(index: Any) -> AnyArray:
    """Serialize an index to the bytes that `write_index` would write."""
    return np.asarray(library().serialize_index(index))


def index_of(content: AnyArray) -> Any:
    """Deserialize an index."""
    return library().deserialize_index(content)


def read_index(path: str) -> Any:
    """Read an index; faiss raises RuntimeError for a damaged file."""
    return library().read_index(path)
