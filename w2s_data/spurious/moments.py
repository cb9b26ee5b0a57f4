"""Moments of the features by group: shifts and similarity without their chance parts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from w2s_data.discrepancy.dimensions import correlation_dimension
from w2s_data.discrepancy.moments import Moments, mapped_blocks
from w2s_data.errors import FeatureError
from w2s_data.spurious.inputs import Rows
from w2s_data.spurious.model import GroupGeometry
from w2s_data.utils.linalg import eigh
from w2s_data.utils.threads import each_of
from w2s_data.utils.typing import FloatArray, IntArray

# Within-group share of a direction's variance below which the group determines it: far above the
# rounding of second moments, far below any feature that is only correlated with the group.
DETERMINED = 1e-6


@dataclass(frozen=True)
class GroupMoments:
    """Moments of [strong, weak] columns by group and by part of the rows, from one reading."""

    groups: Sequence[Moments]  # K
    parts: Sequence[Moments]  # J
    counts: IntArray  # (K, J), rows of each group in each part
    totals: FloatArray  # (K, J, D), their sums

    @classmethod
    def read(
        cls, rows: Rows, origin: FloatArray, maps: tuple[FloatArray, FloatArray], parts: IntArray
    ) -> GroupMoments:
        """Read the features once; `maps` are those of strong and weak columns."""
        groups = rows.codes
        d_s, d = maps[0].shape[1], maps[0].shape[1] + maps[1].shape[1]
        shape = int(groups.max()) + 1, int(parts.max()) + 1
        by_group, by_part = ([Moments.zero(d, d_s) for _ in range(size)] for size in shape)
        counts, totals = np.zeros(shape, dtype=np.int64), np.zeros((*shape, d))
        for where, both in mapped_blocks(rows.strong, rows.weak, origin=origin, maps=maps):
            group, part = groups[where], parts[where]
            for codes, moments in ((group, by_group), (part, by_part)):
                for code in np.unique(codes):
                    moments[code] += Moments.of(both[codes == code], d_s)
            # Sums by cell from one sort: np.add.at is many times slower.
            cell = group * shape[1] + part
            order = np.argsort(cell, kind="stable")
            cells, first, size = np.unique(cell[order], return_index=True, return_counts=True)
            counts.flat[cells] += size
            totals.reshape(-1, d)[cells] += np.add.reduceat(both[order], first)
        return cls(by_group, by_part, counts, totals)

    @cached_property
    def whole(self) -> Moments:
        """All rows."""
        return sum(self.parts[1:], self.parts[0])

    def geometry(self, group: int, white: Whitened) -> GroupGeometry:
        """Compare one group with all other rows."""
        return white.geometry(int(self.counts[group].sum()), self.totals[group].sum(axis=0))

    def replicates(self, asked: Sequence[int]) -> list[GroupGeometry]:
        """Return each group's geometry with each part of the rows left out, as arrays (J,)."""
        counts, totals, whole = self.counts.sum(axis=1), self.totals.sum(axis=1), self.whole

        def without(j: int) -> list[GroupGeometry]:
            white = Whitened.of(whole - self.parts[j])
            rows, sums = counts - self.counts[:, j], totals - self.totals[:, j]
            return [white.geometry(int(rows[k]), sums[k]) for k in asked]

        left_out = each_of(without, range(len(self.parts)))
        names = ("m_t", "m_s", "across", "imported", "returned", "shared")
        stacked = []
        for replicates in zip(*left_out, strict=True):
            columns: dict[str, Any] = {
                name: np.array([getattr(r, name) for r in replicates]) for name in names
            }
            stacked.append(replace(replicates[0], **columns))
        return stacked


@dataclass(frozen=True)
class Whitened:
    """All rows, mapped to unit variance on either side, where groups differ by one direction.

    The covariance inside and outside a group is that of all rows less tau delta delta', with
    delta the shift of the mean: no group needs a decomposition of its own.
    """

    n: int
    total: FloatArray
    maps: tuple[FloatArray, FloatArray]
    xi: FloatArray

    @classmethod
    def of(cls, moments: Moments) -> Whitened:
        """Whiten by Cholesky factors; raises LinAlgError where a side is collinear."""
        from scipy.linalg import solve_triangular

        # Two group means are estimated: the covariance inside groups has n - 2 degrees of freedom.
        d, scatter = moments.d_s, moments.scatter / (moments.n - 2)
        maps = [
            solve_triangular(np.linalg.cholesky(side), np.eye(len(side)), lower=True)
            for side in (scatter[:d, :d], scatter[d:, d:])
        ]
        xi = maps[1] @ scatter[d:, :d] @ maps[0].T
        return cls(moments.n, moments.total, (maps[0], maps[1]), xi)

    def geometry(self, size: int, total: FloatArray) -> GroupGeometry:
        """Compare the group with `size` rows and this sum with all other rows."""
        d_w, d_s = self.xi.shape
        others, freedom = self.n - size, self.n - 2
        shift = total / size - (self.total - total) / others
        chance = 1 / size + 1 / others
        tau = 1 / (chance * freedom)
        a, b = self.maps[1] @ shift[d_s:], self.maps[0] @ shift[:d_s]
        (mu_t, map_t), (mu_s, map_s) = (_inside(a, tau, "weak"), _inside(b, tau, "strong"))
        # Remove the part of the covariance that the two means explain, then whiten what is left.
        xi = self.xi - tau * np.outer(a, b)
        xi = xi + np.outer(map_t * a, a @ xi)
        xi = xi + np.outer(xi @ b, map_s * b)
        # Noise adds to the squared norm: without correction unrelated features would share some.
        shared = correlation_dimension(np.sum(xi**2), freedom, d_w=d_w, d_s=d_s)
        return GroupGeometry.of(
            _debiased(mu_t, freedom, chance),
            _debiased(mu_s, freedom, chance),
            xi,
            shared=float(np.clip(shared, 0, min(d_w, d_s))),
        )


def _inside(shift: FloatArray, tau: float, side: str) -> tuple[FloatArray, float]:
    """Whiten with (I - tau delta delta')^(-1/2) = I + w delta delta': delta's image, and w."""
    square = float(shift @ shift)
    kept = 1 - tau * square
    if kept <= DETERMINED:
        raise FeatureError(
            f"determines a direction of the {side} features, which is constant inside and outside "
            f"it: drop that column, or use fewer {side}_components"
        )
    scale = kept**-0.5
    # Without a shift the map is the identity.
    return shift * scale, (scale - 1) / square if square > 0 else 0.0


def covariance_difference(inside: Moments, others: Moments) -> float:
    """Measure how far a group's covariance is from that of the other rows, over the chance part.

    Mean over directions of the squared difference, in units of the covariance inside groups, on
    the side where it is larger: 0 where the group only shifts the mean, .25 where a typical
    standard deviation differs by a quarter.
    """
    differences = []
    freedom = inside.n - 1, others.n - 1
    for part in (slice(0, inside.d_s), slice(inside.d_s, None)):
        one, other = inside.scatter[part, part], others.scatter[part, part]
        values, vectors = eigh((one + other) / sum(freedom))
        half = vectors / np.sqrt(values)  # whitens both sides by their pooled covariance
        apart = half.T @ (one / freedom[0] - other / freedom[1]) @ half
        # Expected sum of squares of two equal covariances, per direction (Wishart).
        chance = (len(one) + 1) * (1 / freedom[0] + 1 / freedom[1])
        differences.append(float(np.sum(apart**2)) / len(one) - chance)
    return max(0.0, *differences)


def _debiased(shift: FloatArray, freedom: int, chance: float) -> FloatArray:
    """Keep the direction, with |mu|^2 = (1 - (d + 1) / freedom) |shift|^2 - d chance >= 0."""
    d, square = len(shift), float(shift @ shift)
    # The first factor undoes the inverse Wishart of the estimated covariance.
    wanted = (freedom - d - 1) / freedom * square - d * chance
    return np.asarray(shift * np.sqrt(max(0.0, wanted) / square)) if square > 0 else shift
