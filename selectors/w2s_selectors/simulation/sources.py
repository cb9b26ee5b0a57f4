"""Sources of known density, to try policies on."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from w2s_data.errors import InputError
from w2s_data.utils.typing import FloatArray, IntArray


class Draws:
    """Items drawn from endless sources, in R runs side by side."""

    def __init__(self, densities: FloatArray, rng: np.random.Generator) -> None:
        self._densities, self._rng = densities, rng

    def draw(self, arms: IntArray, items: IntArray) -> FloatArray:
        """Return the overlap points (R,) among the next `items` (R,) of source `arms` (R,)."""
        return self._rng.binomial(items, self._densities[arms]).astype(np.float64)

    def rows(self, run: int) -> tuple[IntArray, ...]:  # noqa: ARG002
        """Return the row numbers that a run drew from each source; () if there are no rows."""
        return ()


class SimulatedSources(ABC):
    """K sources with true overlap densities, costs per item, and the items that each holds."""

    def __init__(
        self, densities: ArrayLike, costs: ArrayLike | None = None, sizes: ArrayLike = np.inf
    ) -> None:
        self.densities = check_densities(densities)
        n_sources = len(self.densities)
        self.costs = check_per_source(1.0 if costs is None else costs, "costs", n_sources)
        self.sizes = check_per_source(sizes, "sizes", n_sources)

    @abstractmethod
    def start(self, n_runs: int, most: IntArray, rng: np.random.Generator) -> Draws:
        """Begin `n_runs` runs that draw at most `most` (K,) items of each source."""

    def __repr__(self) -> str:
        shown = ", ".join(f"{density:.3g}" for density in self.densities[:8])
        more = ", ..." if len(self.densities) > 8 else ""
        return f"{type(self).__name__}(densities=[{shown}{more}])"


class BernoulliSources(SimulatedSources):
    """Endless sources; each item is an overlap point with the source's density.

    Examples
    --------
    >>> sources = BernoulliSources([0.0, 1.0], costs=[1, 2])
    >>> draws = sources.start(2, np.array([50, 25]), np.random.default_rng(0))
    >>> draws.draw(np.array([0, 1]), np.array([50, 25]))
    array([ 0., 25.])
    """

    def __init__(self, densities: ArrayLike, costs: ArrayLike | None = None) -> None:
        super().__init__(densities, costs)

    def start(self, n_runs: int, most: IntArray, rng: np.random.Generator) -> Draws:  # noqa: ARG002
        """Begin `n_runs` runs."""
        return Draws(self.densities, rng)


class PoolSources(SimulatedSources):
    """Pools of items of known type, drawn without replacement until none is left.

    Parameters
    ----------
    outcomes : sequence of K arrays of 0 and 1
        Whether each item of each source is an overlap point; values between are rewards.
    costs : array (K,), optional
        Per item, 1 by default.

    Examples
    --------
    >>> pools = PoolSources([[0, 1], [1, 1, 1, 0]])
    >>> pools.densities, pools.sizes
    (array([0.5 , 0.75]), array([2., 4.]))
    """

    def __init__(self, outcomes: Sequence[ArrayLike], costs: ArrayLike | None = None) -> None:
        self.outcomes: list[FloatArray] = [np.asarray(pool, np.float64) for pool in outcomes]
        for source, pool in enumerate(self.outcomes):
            if pool.ndim != 1 or not len(pool) or not ((pool >= 0) & (pool <= 1)).all():
                raise InputError(
                    f"outcomes of source {source} must be at least one number in [0, 1]; "
                    f"got an array of shape {pool.shape}"
                )
        densities = [pool.mean() for pool in self.outcomes]
        super().__init__(densities, costs, [len(pool) for pool in self.outcomes])

    def start(self, n_runs: int, most: IntArray, rng: np.random.Generator) -> Draws:
        """Begin `n_runs` runs, each with its own order of the items."""
        return _PoolDraws(self.outcomes, n_runs, most, rng)


class _PoolDraws(Draws):
    """Draws without replacement, every order decided at the start.

    Sources lie side by side in a row per run: of `order`, and of `sums`, the cumulative outcomes,
    where each source starts with 0. An answer is then a difference of two sums.
    """

    def __init__(
        self,
        outcomes: Sequence[FloatArray],
        n_runs: int,
        most: IntArray,
        rng: np.random.Generator,
    ) -> None:
        self.starts = np.concatenate([[0], np.cumsum(most)])
        self.taken = np.zeros((n_runs, len(outcomes)), dtype=np.int64)
        self.order = np.empty((n_runs, self.starts[-1]), dtype=np.int32)
        self.sums = np.zeros((n_runs, self.starts[-1] + len(outcomes)))
        for source, (pool, limit) in enumerate(zip(outcomes, most, strict=True)):
            start = self.starts[source]
            for run in range(n_runs):
                # No more than the budget pays: shuffling whole pools would take most of the time.
                chosen = rng.choice(len(pool), size=limit, replace=False)
                self.order[run, start : start + limit] = chosen
                ahead = start + source + 1
                self.sums[run, ahead : ahead + limit] = np.cumsum(pool[chosen])

    def draw(self, arms: IntArray, items: IntArray) -> FloatArray:
        runs = np.arange(len(arms))
        first = self.starts[arms] + arms + self.taken[runs, arms]
        self.taken[runs, arms] += items
        return np.asarray(self.sums[runs, first + items] - self.sums[runs, first])

    def rows(self, run: int) -> tuple[IntArray, ...]:
        return tuple(
            self.order[run, start : start + taken]
            for start, taken in zip(self.starts[:-1], self.taken[run], strict=True)
        )


def check_densities(densities: ArrayLike) -> FloatArray:
    """Return densities as an array (K,), or raise unless they are numbers in [0, 1]."""
    density: FloatArray = np.asarray(densities, dtype=np.float64)
    if density.ndim != 1 or not len(density) or not ((density >= 0) & (density <= 1)).all():
        raise InputError(
            f"densities must be numbers in [0, 1], one per source; got {density.tolist()}"
        )
    return density


def check_per_source(values: ArrayLike, name: str, n_sources: int) -> FloatArray:
    """Return one number above 0 per source, (K,); a single number holds for all."""
    array: FloatArray = np.asarray(values, dtype=np.float64)
    array = np.full(n_sources, array) if array.ndim == 0 else array
    if array.shape != (n_sources,) or not (array > 0).all():
        raise InputError(
            f"{name} must be {n_sources} numbers above 0, one per source; got {array.tolist()}"
        )
    return array
