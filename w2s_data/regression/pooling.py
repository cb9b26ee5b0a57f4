r"""A linear pool of views with weights >= 0, fitted to gold values."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from w2s_data.utils.typing import BoolArray, FloatArray

# Standard deviation of the weights around equal ones before any gold row is seen. Without such a
# prior the squared error at 50 gold rows is 1 to 3 % larger, at 200 next to nothing smaller.
SPREAD = 0.3
OFFSET_ROWS = 1.0  # without an offset, beside the gold rows


@dataclass(frozen=True)
class LinearPool:
    r"""Weights of views, for every set of views that answer.

    .. math:: q = \bar y + \sum_v a_v (p_v - \bar p_v), \qquad a_v \ge 0

    minimises the squared error on gold rows with a normal prior on the weights, around equal ones.
    Where a view abstains the weights of the others are fitted without it.
    """

    views: FloatArray  # (n, V), held out; NaN where a view abstains
    targets: FloatArray  # (n,)
    _fitted: dict[bytes, tuple[FloatArray, float]] = field(default_factory=dict, repr=False)

    @property
    def weights(self) -> FloatArray:
        """Weight (V,) of each view where all of those answer that ever do."""
        return self._weights(self._ever)[0]

    @property
    def offset(self) -> float:
        """Constant of the pool where all views answer."""
        return self._weights(self._ever)[1]

    @property
    def _ever(self) -> BoolArray:
        """Whether each view (V,) answers on any gold row."""
        return np.asarray(np.isfinite(self.views).any(axis=0))

    def values(self, views: FloatArray) -> FloatArray:
        """Return the pooled value (m,) of views (m, V); the mean target where all abstain."""
        known = np.isfinite(views)
        pooled = np.empty(len(views))
        patterns, which = np.unique(known, axis=0, return_inverse=True)
        for number, pattern in enumerate(patterns):
            own = which.ravel() == number
            weights, offset = self._weights(pattern)
            pooled[own] = offset + np.where(known[own], views[own], 0.0) @ weights
        return pooled

    def held_out(self, folds: int, rng: np.random.Generator) -> FloatArray:
        """Return the pooled value (n,) of each gold row by the weights of other folds."""
        n = len(self.targets)
        if n < 2:
            return np.full(n, np.nan)
        fold = rng.permutation(np.arange(n) % min(folds, n))
        pooled = np.empty(n)
        for number in range(min(folds, n)):
            out = fold == number
            rest = LinearPool(self.views[~out], self.targets[~out])
            pooled[out] = rest.values(self.views[out])
        return pooled

    def _weights(self, answering: BoolArray) -> tuple[FloatArray, float]:
        """Return weights (V,) and offset for the views that answer."""
        key = answering.tobytes()
        if key not in self._fitted:
            self._fitted[key] = self._fit(answering)
        return self._fitted[key]

    def _fit(self, answering: BoolArray) -> tuple[FloatArray, float]:
        from scipy.optimize import nnls

        weights = np.zeros(self.views.shape[1])
        rows = np.isfinite(self.views[:, answering]).all(axis=1)
        if not answering.any():
            return weights, float(self.targets.mean())
        n_views, n = int(answering.sum()), int(rows.sum())
        if not n:  # no gold row on which these views answer
            weights[answering] = 1 / n_views
            return weights, 0.0
        own, targets = self.views[rows][:, answering], self.targets[rows]
        middle, mean = own.mean(axis=0), float(targets.mean())
        apart = own - middle - (targets - mean)[:, None]
        noise = float((apart**2).mean(axis=0).min()) if n > 1 else 1.0
        # The floor keeps the equations solvable where a view is exact.
        prior = np.sqrt(max(noise, 1e-12 * float(targets.var()), 1e-300)) / SPREAD
        equations = np.vstack([own - middle, prior * np.eye(n_views)])
        solution, _ = nnls(
            equations, np.concatenate([targets - mean, np.full(n_views, prior / n_views)])
        )
        weights[answering] = solution
        # A mean difference to the targets is noise in a few rows.
        total = float(solution.sum())
        bias = total * mean - float(middle @ solution)
        return weights, (1 - total) * mean + n / (n + OFFSET_ROWS) * bias
