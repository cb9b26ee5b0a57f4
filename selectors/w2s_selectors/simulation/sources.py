"""Sources whose densities are known, to try policies on."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike

from w2s_data.errors import InputError
from w2s_data.utils.typing import AnyArray, FloatArray, IntArray

Draw = Callable[[int, int, np.random.Generator], Any]


class Draws(Protocol):
    """Items drawn from simulated sources, in R runs side by side."""

    def draw(self, arms: IntArray, items: IntArray) -> FloatArray:
        """Overlap points (R,) among the next `items` (R,) of source `arms` (R,), run by run."""
        ...

    def rows(self, run: int) -> tuple[IntArray, ...]:
        """Row numbers that a run drew from each source, in order; () if there are no rows."""
        ...


class SimulatedSources(ABC):
    """K sources of known density.

    Attributes
    ----------
    densities : array (K,)
        True overlap densities, in [0, 1].
    costs : array (K,)
        Per item, above 0.
    sizes : array (K,)
        Items that a source holds; infinite without a limit.
    """

    def __init__(
        self, densities: ArrayLike, costs: ArrayLike | None = None, sizes: ArrayLike = np.inf
    ) -> None:
        self.densities: FloatArray = np.asarray(densities, dtype=np.float64)
        if self.densities.ndim != 1 or not len(self.densities):
            raise InputError(f"densities must be one number per source; got {densities!r}")
        if not ((self.densities >= 0) & (self.densities <= 1)).all():
            raise InputError(f"densities must lie in [0, 1]; got {self.densities.tolist()}")
        shape = self.densities.shape
        self.costs: FloatArray = np.asarray(
            np.ones(shape) if costs is None else costs, dtype=np.float64
        )
        if self.costs.shape != shape or not ((self.costs > 0) & (self.costs < np.inf)).all():
            raise InputError(
                f"costs must be {len(self.densities)} finite numbers above 0, one per source; "
                f"got {self.costs.tolist()}"
            )
        self.sizes: FloatArray = np.array(np.broadcast_to(sizes, shape), dtype=np.float64)

    @abstractmethod
    def start(self, n_runs: int, most: IntArray, rng: np.random.Generator) -> Draws:
        """Begin `n_runs` runs, none of which draws more than `most` (K,) items of a source."""

    def __repr__(self) -> str:
        shown = ", ".join(f"{density:.3g}" for density in self.densities[:8])
        more = ", ..." if len(self.densities) > 8 else ""
        return f"{type(self).__name__}(densities=[{shown}{more}])"


class BernoulliSources(SimulatedSources):
    """Sources without end; each item is an overlap point with the source's density.

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
        return _BernoulliDraws(self.densities, rng)


class FunctionSources(SimulatedSources):
    """Sources without end that a function draws from.

    Parameters
    ----------
    draw : callable (source, n, rng) -> array (n,)
        Types of n new items of a source: 1 for overlap, 0 for others; values between are rewards.
    densities : array (K,)
        Their expected values.
    costs : array (K,), optional
        Per item, 1 by default.

    Examples
    --------
    >>> def far_out(source, n, rng):
    ...     return abs(rng.normal(size=n)) > (1.0, 0.5)[source]
    >>> sources = FunctionSources(far_out, [0.317, 0.617])
    >>> draws = sources.start(1, np.array([1000, 1000]), np.random.default_rng(0))
    >>> draws.draw(np.array([1]), np.array([1000]))
    array([628.])
    """

    def __init__(self, draw: Draw, densities: ArrayLike, costs: ArrayLike | None = None) -> None:
        super().__init__(densities, costs)
        self.draw = draw

    def start(self, n_runs: int, most: IntArray, rng: np.random.Generator) -> Draws:  # noqa: ARG002
        """Begin `n_runs` runs, each with a generator of its own."""
        return _FunctionDraws(self.draw, rng.spawn(n_runs))


class PoolSources(SimulatedSources):
    """Real pools whose types are known; items are drawn without replacement until none is left.

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


class _BernoulliDraws:
    def __init__(self, densities: FloatArray, rng: np.random.Generator) -> None:
        self.densities, self.rng = densities, rng

    def draw(self, arms: IntArray, items: IntArray) -> FloatArray:
        return self.rng.binomial(items, self.densities[arms]).astype(np.float64)

    def rows(self, run: int) -> tuple[IntArray, ...]:  # noqa: ARG002
        return ()


class _FunctionDraws:
    def __init__(self, function: Draw, generators: Sequence[np.random.Generator]) -> None:
        self.function, self.generators = function, generators

    def draw(self, arms: IntArray, items: IntArray) -> FloatArray:
        found = np.zeros(len(arms))
        for run in np.flatnonzero(items):
            arm, n = int(arms[run]), int(items[run])
            drawn = self.function(arm, n, self.generators[int(run)])
            types: AnyArray = np.asarray(drawn, dtype=np.float64)
            if types.shape != (n,) or not ((types >= 0) & (types <= 1)).all():
                raise InputError(
                    f"draw must return {n} numbers in [0, 1] for {n} items of source {arm}; "
                    f"got an array of shape {types.shape}"
                )
            found[run] = types.sum()
        return found

    def rows(self, run: int) -> tuple[IntArray, ...]:  # noqa: ARG002
        return ()


class _PoolDraws:
    """Sources lie side by side in one row of `order` and of `sums` (which starts each with 0)."""

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
