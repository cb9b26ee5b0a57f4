"""Kernel mean matching: how near acquired points are to a target."""

from __future__ import annotations

import numpy as np

from w2s_data.utils.typing import FloatArray, IntArray

N_FOURIER = 256  # the error of a kernel value is then about .06, of a mean over points far less
MEDIAN_ROWS = 500  # of the target, for the kernel's width; 124,750 pairs


class KernelMean:
    """Squared distance between the kernel means of acquired points and of a target.

    The kernel is Gaussian, its width the median distance of target rows; random Fourier features
    stand for it, so that a mean is a vector and points need not be kept.

    References
    ----------
    Rahimi, Recht, *Random Features for Large-Scale Kernel Machines*, NeurIPS 2007.
    """

    def __init__(self, target: FloatArray, n_sources: int, rng: np.random.Generator) -> None:
        few = target[rng.permutation(len(target))[:MEDIAN_ROWS]]
        squares = np.einsum("ij,ij->i", few, few)
        distances = np.maximum(squares[:, None] + squares - 2 * few @ few.T, 0)
        width = np.sqrt(np.median(distances[np.triu_indices(len(few), 1)]))
        self._frequencies = rng.normal(size=(target.shape[1], N_FOURIER)) / max(width, 1e-12)
        self._phases = rng.uniform(0, 2 * np.pi, N_FOURIER)
        self._target = self._map(target).mean(axis=0)
        self._sums = np.zeros((n_sources, N_FOURIER))
        self._counts = np.zeros(n_sources)

    def add(self, source: IntArray, components: FloatArray) -> None:
        """Add points; `source` (n,) holds the source of each."""
        np.add.at(self._sums, source, self._map(components))
        self._counts += np.bincount(source, minlength=len(self._counts))

    def distance(self) -> float:
        """Return the squared distance of the acquired points' mean to the target's."""
        gap = self._sums.sum(axis=0) / max(self._counts.sum(), 1) - self._target
        return float(gap @ gap)

    def distance_of(self, components: FloatArray) -> float:
        """Return the squared distance of the mean of other points to the target's."""
        gap = self._map(components).mean(axis=0) - self._target
        return float(gap @ gap)

    def distances_after(self, n_new: FloatArray, planned: FloatArray | None = None) -> FloatArray:
        """Return the squared distance if `n_new` (K,) more points came from each source alone.

        Parameters
        ----------
        planned : array (K,), optional
            Points that come from each source before that.

        Returns
        -------
        array (K,)
            NaN for sources without a point.
        """
        # New points of a source are expected to lie like those that it has brought.
        counted = self._counts > 0
        means = np.where(
            counted[:, None], self._sums / np.maximum(self._counts, 1)[:, None], np.nan
        )
        sums, n = self._sums.sum(axis=0), self._counts.sum()
        if planned is not None:
            sums, n = sums + planned[counted] @ means[counted], n + planned.sum()
        after = (sums + n_new[:, None] * means) / (n + n_new)[:, None]
        gap = after - self._target
        return np.asarray(np.einsum("ij,ij->i", gap, gap))

    def _map(self, components: FloatArray) -> FloatArray:
        angles = components @ self._frequencies + self._phases
        return np.asarray(np.cos(angles) * np.sqrt(2 / N_FOURIER))
