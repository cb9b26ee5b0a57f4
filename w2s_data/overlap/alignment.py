r"""Alignment of points with a set of anchors: how much of the hard pattern a point shows.

The alignment of a point is a statistic of its absolute cosines to the hard-only points (the
anchors): the mean of the largest share of them, or their maximum. Matrix products run in blocks
on any device; the memory used does not depend on the number of points. The next block is read while
one is computed: on a CPU every core computes steps of its own, on CUDA the anchors stay on the
device and blocks are as large as its free memory allows. The largest difference between devices is
about 1e-6 of float32 and 1e-3 of TF32 products.
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from w2s_data.compute.base import Advance, Engine
from w2s_data.compute.device import (
    free_bytes,
    highest_precision,
    is_out_of_memory,
    or_on_cpu,
    release_memory,
    resolve_device,
)
from w2s_data.features.matrix import DEFAULT_BLOCK_BYTES, ArrayFeatures, FeatureMatrix
from w2s_data.overlap.precision import Cosines, Int8Products, Products, choose_precision
from w2s_data.overlap.top_share import TopShare
from w2s_data.overlap.transfer import device_blocks
from w2s_data.utils.threads import for_each, one_torch_thread
from w2s_data.utils.typing import BoolArray, FloatArray, IntArray
from w2s_data.utils.validation import check_feature_block

if TYPE_CHECKING:
    import torch

logger = logging.getLogger("w2s_data")

NAME = "strong_features"  # in error messages
# Cosines of one step: on a CPU as many as make fast products, on a GPU enough to keep it busy.
SIMILARITY_BYTES = {"cpu": 8 * 2**20, "mps": 256 * 2**20, "cuda": 1024 * 2**20}
# Cosines that are averaged at a time: on a CPU those that a core's own cache holds.
REDUCED_BYTES = {"cpu": 2 * 2**20}
FREE_SHARE = 4  # cosines take at most this part of free memory: the quantiles need as much again
READ_AHEAD = frozenset({"cuda"})  # devices to which blocks are copied in a stream of their own
# Against all hard-only points a sample of 4,096 changes .6 % of the regions, one of 2,048 1 %.
MAX_ANCHORS = 4096


def align(
    features: FeatureMatrix,
    wanted: BoolArray,
    anchors: FloatArray,
    *,
    top_share: float | None,
    device: str = "auto",
    precision: str = "float32",
    engine: Engine | None = None,
) -> FloatArray:
    """Return the alignment (N,) of the wanted rows with anchors of length one, in random order.

    The mean of the largest `top_share` of the absolute cosines, None for their maximum; in [0, 1],
    NaN where not wanted and everywhere without anchors. All rows are checked on the way, and bad
    ones are named. A CUDA device that "auto" chose and that is lost leaves the remaining rows to
    the CPU, with a warning in the log; one that was asked for by name raises InputError.
    """
    import torch

    if engine is not None and engine.name != "local":
        bank = _AnchorBank(anchors, top_share, engine.place(device), precision)
        return _align_blocks(engine, features, wanted, bank)
    if not len(anchors):  # nothing to align with: the rows are only checked
        anchors, wanted = np.ones((1, features.shape[1])), np.zeros_like(wanted)
    if resolve_device(device).type == "mps" and precision == "float64":
        precision = "float32"  # the hardware has no wider numbers
    result = np.full(features.shape[0], np.nan, dtype=_result_dtype(precision))

    def fill(chosen: str) -> None:
        place = resolve_device(chosen)
        known = choose_precision(precision, place)  # of the CPU, where a GPU is lost
        aligner = _Aligner(anchors, top_share, place, known)
        remaining = wanted & np.isnan(result)  # blocks that a lost device had done stay
        if place.type == "cpu" and place.type not in READ_AHEAD:
            _align_on_cores(features, remaining, aligner, result)
            return
        read = _read_ahead if place.type in READ_AHEAD else _one_by_one
        with (
            torch.inference_mode(),
            highest_precision(place, known == "tf32"),
            closing(read(features, remaining, aligner)) as parts,
        ):
            for numbers, points in parts:
                result[numbers] = aligner(points)

    or_on_cpu(fill, device, "the alignment")
    return result


def _result_dtype(precision: str) -> str:
    return "float64" if precision == "float64" else "float32"


def _align_on_cores(
    features: FeatureMatrix, wanted: BoolArray, aligner: _Aligner, result: FloatArray
) -> None:
    """Align the wanted rows, a step at a time on every core, while the next block is read."""
    import torch

    lanes = SimpleQueue[_Aligner]()

    def work(step: tuple[IntArray, torch.Tensor]) -> None:
        numbers, points = step
        try:
            lane = lanes.get_nowait()
        except Empty:
            lane = aligner.with_own_buffers()
        with torch.inference_mode():
            result[numbers] = lane(points)
        lanes.put(lane)

    # torch would share a product among the cores, and all that follows it in small pieces.
    with one_torch_thread() as cores:
        for_each(work, _one_by_one(features, wanted, aligner), threads=cores)


def _one_by_one(
    features: FeatureMatrix, wanted: BoolArray, aligner: _Aligner
) -> Generator[tuple[IntArray, torch.Tensor], None, None]:
    """Yield numbers and points of the wanted rows, a step at a time; all rows are checked."""
    import torch

    for rows, block in features.blocks():
        check_feature_block(block, np.arange(rows.start, rows.stop), NAME, nonzero=True)
        chosen = np.flatnonzero(wanted[rows])
        for start in range(0, len(chosen), aligner.step):
            part = chosen[start : start + aligner.step]
            yield rows.start + part, torch.as_tensor(block[part], device=aligner.place)


def _read_ahead(
    features: FeatureMatrix, wanted: BoolArray, aligner: _Aligner
) -> Generator[tuple[IntArray, torch.Tensor], None, None]:
    """Yield the same a block at a time, read and copied while the previous one is computed."""
    import torch

    size = min(DEFAULT_BLOCK_BYTES, aligner.step * 4 * features.shape[1])
    with closing(device_blocks(features, aligner.place, size)) as blocks:
        for rows, block, points in blocks:
            # Checked on the device, which is faster than the CPU; only a block with a doubtful row
            # is checked again, for the message.
            lengths = torch.linalg.vector_norm(points, dim=1)
            if not bool((lengths.isfinite() & (lengths > 0)).all()):
                check_feature_block(block, np.arange(rows.start, rows.stop), NAME, nonzero=True)
            chosen = np.flatnonzero(wanted[rows])
            picked = torch.as_tensor(chosen, device=aligner.place)
            yield rows.start + chosen, points.index_select(0, picked)


class _Aligner:
    """Anchors on a device, and the buffers in which points are compared with them."""

    def __init__(
        self, anchors: FloatArray, top_share: float | None, place: torch.device, precision: str
    ) -> None:
        self.place = place
        self.dtype = _result_dtype(precision)
        if precision == "int8":
            self.products: Products = Int8Products(anchors, place)
        else:
            self.products = Products(anchors, place, precision)
        self.top_share = top_share
        self._forget_buffers()
        budget = SIMILARITY_BYTES[place.type]
        free = free_bytes(place)
        if free is not None:
            budget = min(budget, free // FREE_SHARE)
        row = self.products.n_anchors * np.dtype(self.dtype).itemsize
        self.step = max(1, budget // row)
        self.reduced = max(1, REDUCED_BYTES.get(place.type, budget) // row)

    def with_own_buffers(self) -> _Aligner:
        """Return the same with buffers for another thread."""
        other = copy.copy(self)
        other._forget_buffers()
        return other

    def _forget_buffers(self) -> None:
        self._buffers: tuple[torch.Tensor, torch.Tensor] | None = None
        self.reduce: Callable[[Cosines, int, torch.Tensor], torch.Tensor] = _largest
        if self.top_share is not None:
            self.reduce = TopShare(self.products.n_anchors, self.top_share)

    def __call__(self, points: torch.Tensor) -> FloatArray:
        """Align points (n, D) on the device; halve the step when memory runs out."""
        result = np.empty(len(points), dtype=self.dtype)
        start = 0
        while start < len(points):
            part = points[start : start + self.step]
            try:
                result[start : start + len(part)] = self._aligned(part)
            except RuntimeError as error:
                if not is_out_of_memory(error) or len(part) == 1:
                    raise
            else:
                start += len(part)
                continue
            # Only here, outside of the handler, is the traceback gone that held the tensors.
            self._forget_buffers()
            self.step = len(part) // 2
            release_memory(self.place)
            logger.warning("out of memory: aligning %d points at a time", self.step)
        return result

    def _aligned(self, points: torch.Tensor) -> FloatArray:
        import torch

        products, values = self._buffers = self._buffers or self._make_buffers()
        points = points.to(values.dtype)
        # Products of unit rows: dividing the cosines instead would be a pass over A columns.
        points = points / torch.linalg.vector_norm(points, dim=1, keepdim=True)
        cosines = self.products(points, products[: len(points)])
        result = self.reduce(cosines, self.reduced, values)
        if cosines.unit is not None:
            result *= cosines.unit
        return np.asarray(result.clamp_(max=1.0).cpu().numpy())

    def _make_buffers(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Return memory for the products of a step, and for the cosines that are averaged."""
        import torch

        exact, width = getattr(torch, self.dtype), self.products.n_anchors
        kind = self.products.out_kind
        rows = min(self.step, self.reduced) if kind != exact else 0
        return (
            torch.empty((self.step, width), dtype=kind, device=self.place),
            torch.empty((rows, width), dtype=exact, device=self.place),
        )


def _largest(cosines: Cosines, at_once: int, buffer: torch.Tensor) -> torch.Tensor:
    import torch

    return torch.cat([values.amax(dim=1) for values in cosines.pieces(at_once, buffer)])


class _AnchorBank(NamedTuple):
    """Anchors and settings that the workers of an engine align blocks with; see `align`."""

    anchors: FloatArray
    top_share: float | None
    device: str
    precision: str


def _align_blocks(
    engine: Engine, features: FeatureMatrix, wanted: BoolArray, bank: _AnchorBank
) -> FloatArray:
    """Align block by block of the features in the workers of an engine."""
    spans: list[slice] = []

    def blocks() -> Iterator[tuple[FloatArray, BoolArray]]:
        for rows, block in features.blocks():
            # Checked here: a worker does not know the numbers of its rows.
            check_feature_block(block, np.arange(rows.start, rows.stop), NAME, nonzero=True)
            spans.append(rows)
            yield block, wanted[rows]

    result = np.full(features.shape[0], np.nan, dtype=_result_dtype(bank.precision))
    for number, values in engine.map_blocks(_align_block, bank, blocks(), device=bank.device):
        result[spans[number]] = values
    return result


def _align_block(
    bank: _AnchorBank,
    block: tuple[FloatArray, BoolArray],
    advance: Advance,  # noqa: ARG001
) -> FloatArray:
    rows, wanted = block
    return align(ArrayFeatures(rows), wanted, **bank._asdict())


def draw_anchors(
    features: FeatureMatrix, candidates: IntArray, n_anchors: int | str, dtype: str
) -> FloatArray:
    """Return the first of the candidates, of length one: "auto", "full" or a number of them.

    They come in random order, so that any prefix is a sample of them.
    """
    limits = {"auto": MAX_ANCHORS, "full": len(candidates)}
    limit = int(limits.get(str(n_anchors), n_anchors))
    return unit_rows(features, candidates[:limit], dtype)


def unit_rows(features: FeatureMatrix, rows: IntArray, dtype: str = "float32") -> FloatArray:
    """Return the given rows, scaled to length one; refuse NaN and zero rows."""
    chosen = features.take(rows).astype(dtype)
    check_feature_block(chosen, rows, NAME, nonzero=True)
    return np.asarray(chosen / np.linalg.norm(chosen, axis=1, keepdims=True))
