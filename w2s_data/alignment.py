r"""Alignment of points with a set of anchors: how much of the hard pattern a point shows.

The alignment of a point is a statistic of its absolute cosines to the hard-only points (the
anchors): the mean of the largest share of them, or their maximum. Matrix products run in blocks
on any device; the memory used does not depend on the number of points.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from w2s_data._blocks import ArrayFeatures, FeatureMatrix
from w2s_data._device import resolve_device
from w2s_data._typing import BoolArray, FloatArray, IntArray
from w2s_data._validation import check_feature_block
from w2s_data.engines import Advance, Engine

if TYPE_CHECKING:
    import torch

SIMILARITY_BYTES = {"cpu": 8 * 2**20, "mps": 256 * 2**20, "cuda": 1024 * 2**20}
PILOT = 256  # anchors whose order statistics give the first guess of a row's quantile
TAIL_TOLERANCE = 0.025  # rows whose tail share is still further off are sorted out exactly


def align(
    features: FeatureMatrix,
    wanted: BoolArray,
    anchors: FloatArray,
    top_share: float | None,
    device: str = "auto",
    dtype: str = "float32",
    name: str = "strong_features",
) -> FloatArray:
    """Alignment of the wanted rows with the anchors.

    Parameters
    ----------
    features : FeatureMatrix (N, D)
    wanted : bool array (N,)
        Rows to align; all rows are checked for NaN and for zero length on the way.
    anchors : array (A, D)
        Rows of length one, in random order.
    top_share : float or None
        Mean of this largest share of the A absolute cosines; None takes the maximum.
    dtype : {"float32", "float64"}
        Precision of the products.

    Returns
    -------
    float array (N,)
        In [0, 1]; NaN where not wanted, and everywhere without anchors.
    """
    import torch

    if not len(anchors):  # nothing to align with: the rows are only checked
        anchors, wanted = np.ones((1, features.shape[1])), np.zeros_like(wanted)
    place = resolve_device(device)
    if place.type == "mps":
        dtype = "float32"  # the hardware has no wider numbers
    kind = getattr(torch, dtype)
    bank = torch.as_tensor(anchors, dtype=kind, device=place).T.contiguous()
    reduce = _maximum if top_share is None else _TopShare(bank.shape[1], top_share)
    step = max(1, SIMILARITY_BYTES[place.type] // (bank.shape[1] * bank.element_size()))
    result = np.full(features.shape[0], np.nan, dtype=dtype)
    with torch.inference_mode():
        buffer = torch.empty((step, bank.shape[1]), dtype=kind, device=place)
        for rows, block in features.blocks():
            numbers = np.arange(rows.start, rows.stop)
            check_feature_block(block, numbers, name, nonzero=True)
            chosen = np.flatnonzero(wanted[rows])
            for start in range(0, len(chosen), step):
                part = chosen[start : start + step]
                points = torch.as_tensor(block[part], device=place).to(kind)
                points /= torch.linalg.vector_norm(points, dim=1, keepdim=True)
                cosines = torch.mm(points, bank, out=buffer[: len(part)]).abs_()
                result[rows.start + part] = reduce(cosines).clamp_(max=1.0).cpu().numpy()
    return result


def align_blocks(
    engine: Engine,
    features: FeatureMatrix,
    wanted: BoolArray,
    anchors: FloatArray,
    top_share: float | None,
    device: str = "auto",
    dtype: str = "float32",
    name: str = "strong_features",
) -> FloatArray:
    """What `align` returns, block by block of the features in the workers of an engine."""
    place = engine.place(device)
    spans: list[slice] = []

    def blocks() -> Iterator[tuple[FloatArray, BoolArray]]:
        for rows, block in features.blocks():
            check_feature_block(block, np.arange(rows.start, rows.stop), name, nonzero=True)
            spans.append(rows)
            yield block, wanted[rows]

    result = np.full(features.shape[0], np.nan, dtype=dtype)
    bank = AnchorBank(anchors, top_share, place, dtype)
    for number, values in engine.map_blocks(align_block, bank, blocks(), device=place):
        result[spans[number]] = values
    return result


class AnchorBank(NamedTuple):
    """What all blocks are aligned with, and how: see `align`."""

    anchors: FloatArray
    top_share: float | None
    device: str
    dtype: str


def align_block(
    bank: AnchorBank,
    block: tuple[FloatArray, BoolArray],
    advance: Advance,  # noqa: ARG001
) -> FloatArray:
    """Alignment of the wanted rows of one block."""
    rows, wanted = block
    return align(ArrayFeatures(rows), wanted, *bank)


def unit_rows(
    features: FeatureMatrix,
    rows: IntArray,
    dtype: str = "float32",
    name: str = "strong_features",
) -> FloatArray:
    """The given rows, scaled to length one; NaN and zero rows are refused."""
    chosen = features.take(rows).astype(dtype)
    check_feature_block(chosen, rows, name, nonzero=True)
    return np.asarray(chosen / np.linalg.norm(chosen, axis=1, keepdims=True))


def _maximum(cosines: torch.Tensor) -> torch.Tensor:
    return cosines.amax(dim=1)


class _TopShare:
    r"""Mean of each row's k largest values, without sorting the row.

    .. math:: \bar a_{top} = \min_t\; t + \tfrac1s\,\mathrm{mean}(\max(a - t, 0)), \quad s = k / A

    The minimiser is the (1 - s)-quantile, and around it the value changes with the square of the
    error in t. A pilot sample of the anchors gives t and the local density f, a count over a
    quarter of them corrects t, and the remaining tail error e adds e^2 / (2 s f), which is taken
    off again. The few rows still off by more than `TAIL_TOLERANCE` are sorted out by `topk`. What
    error remains is a hundredth of what sampling the anchors costs.
    """

    def __init__(self, n_anchors: int, top_share: float) -> None:
        self.n = n_anchors
        self.k = max(1, math.ceil(top_share * n_anchors))
        self.share = self.k / n_anchors
        self.n_counted = min(n_anchors, max(n_anchors // 4, 4 * PILOT))
        self.pilot_k = round(PILOT * self.share)
        self._scratch: torch.Tensor | None = None
        self.reach = max(2, round(0.06 * PILOT))
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
        """The quantile sought and its neighbours `reach` ranks away, each of shape (n, 1)."""
        import torch

        # Short rows are numpy's case on a CPU: its vectorised sort beats torch's many times over.
        if pilot.device.type == "cpu":
            ordered = torch.from_numpy(np.sort(pilot.numpy(), axis=1))
        else:
            ordered = pilot.sort(dim=1).values
        middle = PILOT - self.pilot_k
        columns = (middle - self.reach, middle, middle + self.reach)
        below, first, above = (ordered[:, column, None] for column in columns)
        return below, first, above

    def _scratch_like(self, cosines: torch.Tensor) -> torch.Tensor:
        """A buffer kept between calls: allocating megabytes costs as much as the passes."""
        import torch

        if self._scratch is None or len(self._scratch) < len(cosines):
            self._scratch = torch.empty_like(cosines)
        return self._scratch[: len(cosines)]

    def _sorted_mean(self, cosines: torch.Tensor) -> torch.Tensor:
        return cosines.topk(self.k, dim=1, sorted=False).values.mean(dim=1)
