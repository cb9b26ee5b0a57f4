r"""Alignment of points with a set of anchors: how much of the hard pattern a point shows.

The alignment of a point is a statistic of its absolute cosines to the hard-only points (the
anchors): the mean of the largest share of them, or their maximum. Matrix products run in blocks
on any device; the memory used does not depend on the number of points. On CUDA the anchors stay on
the device, blocks are as large as its free memory allows, and the next one is read and copied while
one is computed. Float32 products are in full precision there unless TF32 is asked for; the largest
difference to the CPU's alignment is about 1e-6 of float32 and 1e-3 of TF32 products, and 1e-5 of
float32 in the one row of 10,000 where rounding changes a count of anchors.
"""

from __future__ import annotations

import logging
import math
import operator
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
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
from w2s_data.overlap.transfer import device_blocks
from w2s_data.utils.typing import BoolArray, FloatArray, IntArray
from w2s_data.utils.validation import check_feature_block

if TYPE_CHECKING:
    import torch

logger = logging.getLogger("w2s_data")

NAME = "strong_features"  # in error messages
# Cosines of one step: on a CPU those that its caches hold, on a GPU enough to keep it busy.
SIMILARITY_BYTES = {"cpu": 8 * 2**20, "mps": 256 * 2**20, "cuda": 1024 * 2**20}
FREE_SHARE = 4  # cosines take at most this part of free memory: the quantiles need as much again
READ_AHEAD = frozenset({"cuda"})  # devices that compute while the next block is read and copied
PILOT = 256  # anchors whose order statistics give the first guess of a row's quantile
# Against all hard-only points a sample of 4,096 changes .6 % of the regions, one of 2,048 1 %.
MAX_ANCHORS = 4096
TAIL_TOLERANCE = 0.025  # rows whose tail share is further off are computed exactly


def align(
    features: FeatureMatrix,
    wanted: BoolArray,
    anchors: FloatArray,
    *,
    top_share: float | None,
    device: str = "auto",
    dtype: str = "float32",
    tf32: bool = False,
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
        bank = _AnchorBank(anchors, top_share, engine.place(device), dtype, tf32)
        return _align_blocks(engine, features, wanted, bank)
    if not len(anchors):  # nothing to align with: the rows are only checked
        anchors, wanted = np.ones((1, features.shape[1])), np.zeros_like(wanted)
    if resolve_device(device).type == "mps":
        dtype = "float32"  # the hardware has no wider numbers
    result = np.full(features.shape[0], np.nan, dtype=dtype)

    def fill(chosen: str) -> None:
        aligner = _Aligner(anchors, top_share, resolve_device(chosen), dtype)
        read = _read_ahead if aligner.place.type in READ_AHEAD else _one_by_one
        remaining = wanted & np.isnan(result)  # blocks that a lost device had done stay
        with (
            torch.inference_mode(),
            highest_precision(aligner.place, tf32),
            closing(read(features, remaining, aligner)) as parts,
        ):
            for numbers, points in parts:
                result[numbers] = aligner(points)

    or_on_cpu(fill, device, "the alignment")
    return result


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
        self, anchors: FloatArray, top_share: float | None, place: torch.device, dtype: str
    ) -> None:
        import torch

        self.place = place
        self.kind = getattr(torch, dtype)
        self.bank = torch.as_tensor(anchors, dtype=self.kind, device=place).T.contiguous()
        self.top_share = top_share
        self._forget_buffers()
        budget = SIMILARITY_BYTES[place.type]
        free = free_bytes(place)
        if free is not None:
            budget = min(budget, free // FREE_SHARE)
        self.step = max(1, budget // (self.bank.shape[1] * self.bank.element_size()))

    def _forget_buffers(self) -> None:
        self._cosines: torch.Tensor | None = None
        self.reduce: Callable[[torch.Tensor], torch.Tensor] = operator.methodcaller("amax", dim=1)
        if self.top_share is not None:
            self.reduce = _TopShare(self.bank.shape[1], self.top_share)

    def __call__(self, points: torch.Tensor) -> FloatArray:
        """Align points (n, D) on the device; halve the step when memory runs out."""
        result = np.empty(len(points), dtype=str(self.kind).removeprefix("torch."))
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

        if self._cosines is None:
            shape = (self.step, self.bank.shape[1])
            self._cosines = torch.empty(shape, dtype=self.kind, device=self.place)
        points = points.to(self.kind)
        # Products of unit rows: dividing the cosines instead would be a pass over A columns.
        points = points / torch.linalg.vector_norm(points, dim=1, keepdim=True)
        cosines = torch.mm(points, self.bank, out=self._cosines[: len(points)]).abs_()
        reduced: torch.Tensor = self.reduce(cosines)
        return np.asarray(reduced.clamp_(max=1.0).cpu().numpy())


class _AnchorBank(NamedTuple):
    """Anchors and settings that the workers of an engine align blocks with; see `align`."""

    anchors: FloatArray
    top_share: float | None
    device: str
    dtype: str
    tf32: bool


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

    result = np.full(features.shape[0], np.nan, dtype=bank.dtype)
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


class _TopShare:
    r"""Mean of each row's k largest values, without sorting the row.

    .. math:: \bar a_{top} = \min_t\; t + \tfrac1s\,\mathrm{mean}(\max(a - t, 0)), \quad s = k / A

    The minimiser is the (1 - s)-quantile, and around it the value changes with the square of the
    error in t. A pilot sample of the anchors gives t and the local density f, a count over a
    quarter of them corrects t, and the remaining tail error e adds e^2 / (2 s f), which is
    subtracted. The few rows still off by more than `TAIL_TOLERANCE` are computed by `topk`. The
    remaining error is a hundredth of that of sampling the anchors.
    """

    def __init__(self, n_anchors: int, top_share: float) -> None:
        self.n = n_anchors
        self.k = max(1, math.ceil(top_share * n_anchors))
        self.share = self.k / n_anchors
        self.n_counted = min(n_anchors, max(n_anchors // 4, 4 * PILOT))
        self.pilot_k = round(PILOT * self.share)
        self._scratch: torch.Tensor | None = None
        self.reach = max(2, round(0.06 * PILOT))
        # A pilot of few anchors, or a quantile near its ends, says too little.
        self.exact = n_anchors < 4 * PILOT or not (self.reach < self.pilot_k < PILOT - self.reach)

    def __call__(self, cosines: torch.Tensor) -> torch.Tensor:
        import torch

        if self.exact:
            return self._sorted_mean(cosines)
        below, first, above = self._pilot_quantiles(cosines[:, :PILOT])
        spacing = (above - below) * (PILOT / (2 * self.reach))  # 1 / density at the quantile
        scratch = self._scratch_like(cosines)
        part = slice(0, self.n_counted)  # anchors come in random order: any part is a sample
        tail = torch.gt(cosines[:, part], first, out=scratch[:, part])
        off = tail.mean(dim=1, keepdim=True) - self.share
        level = first + (off * spacing).clamp(below - first, above - first)
        off = torch.gt(cosines, level, out=scratch).mean(dim=1, keepdim=True) - self.share
        excess = torch.clamp(cosines, min=level, out=scratch).mean(dim=1, keepdim=True) - level
        value = (level + (excess - 0.5 * off * off * spacing) / self.share)[:, 0]
        astray = torch.nonzero(off[:, 0].abs() > TAIL_TOLERANCE)[:, 0]
        if len(astray):
            value[astray] = self._sorted_mean(cosines[astray])
        return value

    def _pilot_quantiles(
        self, pilot: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return the wanted quantile and those `reach` ranks away, each of shape (n, 1)."""
        import torch

        # On a CPU numpy sorts short rows many times faster than torch.
        if pilot.device.type == "cpu":
            ordered = torch.from_numpy(np.sort(pilot.numpy(), axis=1))
        else:
            ordered = pilot.sort(dim=1).values
        middle = PILOT - self.pilot_k
        columns = (middle - self.reach, middle, middle + self.reach)
        below, first, above = (ordered[:, column, None] for column in columns)
        return below, first, above

    def _scratch_like(self, cosines: torch.Tensor) -> torch.Tensor:
        """Return a buffer kept between calls: allocating it costs as much as the passes."""
        import torch

        if self._scratch is None or len(self._scratch) < len(cosines):
            self._scratch = torch.empty_like(cosines)
        return self._scratch[: len(cosines)]

    def _sorted_mean(self, cosines: torch.Tensor) -> torch.Tensor:
        import torch

        if cosines.device.type == "cpu":  # numpy's vectorised selection is four times as fast
            rest = self.n - self.k
            top = np.partition(cosines.numpy(), rest, axis=1)[:, rest:]
            return torch.from_numpy(top.mean(axis=1))
        return cosines.topk(self.k, dim=1, sorted=False).values.mean(dim=1)
