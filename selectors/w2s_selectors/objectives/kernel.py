"""Kernel means of points: how near what is acquired lies to a target."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from w2s_data.utils.typing import FloatArray, IntArray

N_FOURIER = 256  # the error of a kernel value is then about .06, of a mean over points far less
MEDIAN_ROWS = 500  # of the target, for the kernel's width; 124,750 pairs


class FourierMap:
    """Random Fourier features of a Gaussian kernel (Rahimi, Recht 2007).

    The width of the kernel is the median distance of `rows` (n, d), or a `share` of it.
    """

    def __init__(self, rows: FloatArray, rng: np.random.Generator, share: float = 1.0) -> None:
        few = rows[rng.permutation(len(rows))[:MEDIAN_ROWS]]
        squares = np.einsum("ij,ij->i", few, few)
        distances = np.maximum(squares[:, None] + squares - 2 * few @ few.T, 0)
        width = share * np.sqrt(np.median(distances[np.triu_indices(len(few), 1)]))
        self._frequencies = rng.normal(size=(rows.shape[1], N_FOURIER)) / max(width, 1e-12)
        self._phases = rng.uniform(0, 2 * np.pi, N_FOURIER)

    def __call__(self, components: FloatArray) -> FloatArray:
        """Map points (n, d) to vectors (n, 256) whose products are kernel values."""
        angles = components @ self._frequencies + self._phases
        return np.asarray(np.cos(angles) * np.sqrt(2 / N_FOURIER))


class KernelMean:
    """Squared distance between the kernel means of acquired points and of a target.

    Means are vectors of a `FourierMap`, so that points need not be kept.
    """

    def __init__(self, target: FloatArray, n_sources: int, rng: np.random.Generator) -> None:
        self._map = FourierMap(target, rng)
        self._target = self._map(target).mean(axis=0)
        self._sums = np.zeros((n_sources, N_FOURIER))
        self._counts = np.zeros(n_sources)
        self._counted = np.ones(n_sources, dtype=np.bool_)

    def leave_out(self, sources: Collection[int]) -> None:
        """Take the points of these sources out of the mean of what is acquired."""
        self._counted[:] = True
        self._counted[list(sources)] = False

    def add(self, source: IntArray, components: FloatArray) -> None:
        """Add points; `source` (n,) holds the source of each."""
        np.add.at(self._sums, source, self._map(components))
        self._counts += np.bincount(source, minlength=len(self._counts))

    def distance(self) -> float:
        """Return the squared distance of the acquired points' mean to the target's."""
        sums, n = self._acquired()
        gap = sums / max(n, 1) - self._target
        return float(gap @ gap)

    def distance_of(self, components: FloatArray) -> float:
        """Return the squared distance of the mean of other points to the target's."""
        gap = self._map(components).mean(axis=0) - self._target
        return float(gap @ gap)

    def distances_after(self, n_new: FloatArray, planned: FloatArray | None = None) -> FloatArray:
        """Return the squared distance (K,) if `n_new` (K,) more points came from each source alone.

        `planned` (K,) points come from each source before that. NaN for sources without a point.
        """
        # New points of a source are expected to lie like those that it has brought.
        counted = self._counts > 0
        means = np.where(
            counted[:, None], self._sums / np.maximum(self._counts, 1)[:, None], np.nan
        )
        sums, n = self._acquired()
        if planned is not None:
            sums, n = sums + planned[counted] @ means[counted], n + planned.sum()
        after = (sums + n_new[:, None] * means) / np.maximum(n + n_new, 1e-12)[:, None]
        gap = after - self._target
        return np.asarray(np.einsum("ij,ij->i", gap, gap))

    def _acquired(self) -> tuple[FloatArray, float]:
        """Return the sum of the points that count, and their number."""
        return self._sums[self._counted].sum(axis=0), float(self._counts[self._counted].sum())
