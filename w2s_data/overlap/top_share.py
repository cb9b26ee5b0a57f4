"""Mean of the largest values of each row, in three passes and without sorting the rows."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch

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

    def __call__(self, values: torch.Tensor) -> torch.Tensor:
        """Return the means (n,) of rows (n, A) that are 0 or more, in columns of random order."""
        import torch

        if self.exact:
            return self._sorted_mean(values)
        below, first, above = self._pilot_quantiles(values[:, :PILOT])
        spacing = (above - below) * (PILOT / (2 * self.reach))  # 1 / density at the quantile
        scratch = self._scratch_like(values)
        off = torch.gt(values, first, out=scratch).mean(dim=1, keepdim=True) - self.share
        level = first + off * spacing
        beyond = torch.maximum(values, level, out=scratch).mean(dim=1, keepdim=True) - level
        result = (level + beyond / self.share)[:, 0]
        astray = torch.nonzero(off[:, 0].abs() > TAIL_TOLERANCE)[:, 0]
        if len(astray):
            result[astray] = self._sorted_mean(values[astray])
        return result

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
