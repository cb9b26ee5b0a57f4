"""Two groups as features show them: shifts and similarity without their chance parts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from w2s_data.discrepancy.dimensions import correlation_dimension
from w2s_data.discrepancy.moments import Moments, mapped_blocks
from w2s_data.errors import FeatureError
from w2s_data.features.matrix import FeatureMatrix
from w2s_data.spurious.model import GroupGeometry, GroupModel
from w2s_data.utils.typing import FloatArray, IntArray

DETERMINED = 1e-6  # within-group share of a direction's variance below which the group fixes it


@dataclass(frozen=True)
class GroupMoments:
    """Moments of [weak, strong] columns by group and by part of the rows, from one reading.

    Attributes
    ----------
    groups : Moments of each of K groups
    parts : Moments of each of J parts of the rows
    counts, totals : array (K, J), (K, J, D)
        Rows and sums of each group in each part.
    """

    groups: Sequence[Moments]
    parts: Sequence[Moments]
    counts: IntArray
    totals: FloatArray

    @classmethod
    def read(
        cls,
        weak: FeatureMatrix,
        strong: FeatureMatrix,
        origin: FloatArray,
        maps: tuple[FloatArray, FloatArray],
        groups: IntArray,
        parts: IntArray,
    ) -> GroupMoments:
        """Read the features once; `groups` and `parts` are codes 0 ... of each row."""
        d_w, d = maps[0].shape[1], maps[0].shape[1] + maps[1].shape[1]
        shape = int(groups.max()) + 1, int(parts.max()) + 1
        by_group, by_part = ([Moments.zero(d, d_w) for _ in range(size)] for size in shape)
        counts, totals = np.zeros(shape, dtype=np.int64), np.zeros((*shape, d))
        for rows, both in mapped_blocks(weak, strong, origin, maps):
            group, part = groups[rows], parts[rows]
            for codes, found in ((group, by_group), (part, by_part)):
                for code in np.unique(codes):
                    found[code] += Moments.of(both[codes == code], d_w)
            cells, first, size = np.unique(
                np.sort(group * shape[1] + part), return_index=True, return_counts=True
            )
            order = np.argsort(group * shape[1] + part, kind="stable")
            counts.flat[cells] += size
            totals.reshape(-1, d)[cells] += np.add.reduceat(both[order], first)
        return cls(by_group, by_part, counts, totals)

    def model(self, group: int, white: Whitened) -> GroupModel:
        """One group against all other rows."""
        return white.group_model(int(self.counts[group].sum()), self.totals[group].sum(axis=0))

    @property
    def whole(self) -> Moments:
        """All rows."""
        return sum(self.parts[1:], self.parts[0])

    def replicates(self, asked: Sequence[int]) -> list[GroupGeometry]:
        """For each group asked for, its geometry with each part of the rows left out (J,).

        Raises
        ------
        InputError, LinAlgError
            Where rows are too few without some part.
        """
        whole, found = self.whole, []
        for j, part in enumerate(self.parts):
            white = Whitened.of(whole - part)
            rows = self.counts.sum(axis=1) - self.counts[:, j]
            totals = self.totals.sum(axis=1) - self.totals[:, j]
            found.append([white.group_model(int(rows[k]), totals[k]).geometry for k in asked])
        return [_stack(column) for column in zip(*found, strict=True)]


@dataclass(frozen=True)
class Whitened:
    """All rows, mapped to unit variance on either side; groups then differ by one direction.

    The covariance inside and outside a group is that of all rows less tau delta delta', with
    delta the shift of the mean: no group needs a decomposition of its own.
    """

    n: int
    total: FloatArray
    maps: tuple[FloatArray, FloatArray]
    xi: FloatArray

    @classmethod
    def of(cls, moments: Moments) -> Whitened:
        """Whiten by Cholesky factors; LinAlgError where a side is collinear."""
        from scipy.linalg import solve_triangular

        d, scatter = moments.d_w, moments.scatter / (moments.n - 2)
        maps = [
            solve_triangular(np.linalg.cholesky(side), np.eye(len(side)), lower=True)
            for side in (scatter[:d, :d], scatter[d:, d:])
        ]
        xi = maps[0] @ scatter[:d, d:] @ maps[1].T
        return cls(moments.n, moments.total, (maps[0], maps[1]), xi)

    def group_model(self, size: int, total: FloatArray) -> GroupModel:
        """Model of the group with `size` rows and this sum against all other rows.

        Raises
        ------
        FeatureError
            A direction of the features that the group determines.
        InputError
            No more than d_w + d_s + 2 rows.
        """
        d_w, d_s = self.xi.shape
        others, freedom = self.n - size, self.n - 2
        shift = total / size - (self.total - total) / others
        chance = 1 / size + 1 / others
        tau = 1 / (chance * freedom)
        a, b = self.maps[0] @ shift[:d_w], self.maps[1] @ shift[d_w:]
        (mu_t, map_t), (mu_s, map_s) = (_inside(a, tau, "weak"), _inside(b, tau, "strong"))
        xi = self.xi - tau * np.outer(a, b)
        xi = xi + np.outer(map_t * a, a @ xi)
        xi = xi + np.outer(xi @ b, map_s * b)
        shared = correlation_dimension(np.sum(xi**2), freedom, d_w, d_s)
        return GroupModel(
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
            f"it: drop it, or give fewer {side}_components"
        )
    scale = kept**-0.5
    return shift * scale, (scale - 1) / square if square > 0 else 0.0


def covariance_difference(inside: Moments, others: Moments) -> float:
    """How far a group's covariance is from that of the other rows, over the chance part.

    Mean over directions of the squared difference, in units of the covariance inside groups, on
    the side where it is larger: 0 where the group only shifts the mean, .25 where a typical
    standard deviation differs by a quarter.
    """
    found = []
    freedom = inside.n - 1, others.n - 1
    for part in (slice(0, inside.d_w), slice(inside.d_w, None)):
        one, other = inside.scatter[part, part], others.scatter[part, part]
        values, vectors = np.linalg.eigh((one + other) / sum(freedom))
        half = vectors / np.sqrt(values)
        apart = half.T @ (one / freedom[0] - other / freedom[1]) @ half
        chance = (len(one) + 1) * (1 / freedom[0] + 1 / freedom[1])
        found.append(float(np.sum(apart**2)) / len(one) - chance)
    return max(0.0, *found)


def _debiased(shift: FloatArray, freedom: int, chance: float) -> FloatArray:
    """Same direction, with |mu|^2 = (1 - (d + 1) / freedom) |shift|^2 - d chance, at least 0."""
    d, square = len(shift), float(shift @ shift)
    wanted = (freedom - d - 1) / freedom * square - d * chance
    return np.asarray(shift * np.sqrt(max(0.0, wanted) / square)) if square > 0 else shift


def _stack(replicates: Sequence[GroupGeometry]) -> GroupGeometry:
    """Replicates as one geometry of arrays (J,)."""
    names = ("m_t", "m_s", "across", "imported", "returned", "shared")
    columns: dict[str, Any] = {
        name: np.array([getattr(r, name) for r in replicates]) for name in names
    }
    return replace(replicates[0], **columns)
