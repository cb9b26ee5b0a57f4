"""Mean of the largest values of each row, in three passes and without sorting the rows."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch

    from w2s_data.overlap.precision import Cosines

PILOT = 256  # anchors whose order statistics give the first guess of a row's quantile
TAIL_TOLERANCE = 0.08  # rows whose first guess is further off are sorted: 1 or 2 in 1,000


class TopShare:
    r"""Mean of each row's k largest values, without sorting the row.

    .. math:: \bar a_{top} = \min_t\; t + \tfrac1s\,\mathrm{mean}(\max(a - t, 0)), \quad s = k / A

    The minimiser is the (1 - s)-quantile, and around it the value changes with the square of the
    error in t. A pilot sample of the columns gives t and the local density, and the share of all
    columns beyond t corrects it. The few rows whose pilot is further off than `TAIL_TOLERANCE` are
    selected by `topk`. The remaining error is a hundredth of that of sampling the columns.
    """

    def __init__(self, n_anchors: int, top_share: float) -> None:
        self.n = n_anchors
        self.k = max(1, math.ceil(top_share * n_anchors))
        self.share = self.k / n_anchors
        self.pilot_k = round(PILOT * self.share)
        self._scratch: torch.Tensor | None = None
        self.reach = max(2, round(0.06 * PILOT))
        # A pilot of few anchors, or a quantile near its ends, says too little.
        self.exact = n_anchors < 4 * PILOT or not (self.reach < self.pilot_k < PILOT - self.reach)

    def __call__(self, cosines: Cosines, at_once: int, buffer: torch.Tensor) -> torch.Tensor:
        """Return the means (n,) of cosines (n, A) in random order of columns.

        So many rows are made absolute `at_once`, in a buffer of the type of the result.
        """
        import torch

        if self.exact:
            return torch.cat([self._sorted_mean(v) for v in cosines.pieces(at_once, buffer)])
        # All that is small is computed for all rows together: threads that take turns in Python
        # would wait longer for each other than the sums take.
        pilot = cosines.absolute(slice(None), slice(PILOT), buffer.dtype)
        below, first, above = self._pilot_quantiles(pilot)
        spacing = (above - below).mul_(PILOT / (2 * self.reach))  # 1 / density at the quantile
        off, level, mean = torch.empty_like(first), torch.empty_like(first), torch.empty_like(first)
        columns = (torch.split(each, at_once) for each in (first, spacing, off, level, mean))
        for values, *rows in zip(cosines.pieces(at_once, buffer), *columns, strict=True):
            self._pass(values, *rows)
        result = (level + (mean - level) / self.share)[:, 0]
        astray = torch.nonzero(off[:, 0].abs() > TAIL_TOLERANCE)[:, 0]
        if len(astray):
            every = cosines.absolute(astray, slice(None), buffer.dtype)
            result[astray] = self._sorted_mean(every)
        return result

    def _pass(
        self,
        values: torch.Tensor,
        first: torch.Tensor,
        spacing: torch.Tensor,
        off: torch.Tensor,
        level: torch.Tensor,
        mean: torch.Tensor,
    ) -> None:
        """Fill in how far the first guess is off, the level, and the mean of all cut off there."""
        import torch

        scratch = self._scratch_like(values)
        torch.mean(torch.gt(values, first, out=scratch), dim=1, keepdim=True, out=off)
        off -= self.share
        torch.addcmul(first, off, spacing, out=level)
        torch.mean(torch.maximum(values, level, out=scratch), dim=1, keepdim=True, out=mean)

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

    def _scratch_like(self, values: torch.Tensor) -> torch.Tensor:
        """Return a buffer kept between calls: allocating it costs as much as the passes."""
        import torch

        if self._scratch is None or len(self._scratch) < len(values):
            self._scratch = torch.empty_like(values)
        return self._scratch[: len(values)]

    def _sorted_mean(self, values: torch.Tensor) -> torch.Tensor:
        import torch

        if values.device.type == "cpu":  # numpy's vectorised selection is four times as fast
            rest = self.n - self.k
            top = np.partition(values.numpy(), rest, axis=1)[:, rest:]
            return torch.from_numpy(top.mean(axis=1))
        return values.topk(self.k, dim=1, sorted=False).values.mean(dim=1)
