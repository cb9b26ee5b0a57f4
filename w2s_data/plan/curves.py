r"""Error over the numbers of gold and weak labels: a floor, and powers of both sizes above it.

.. math::
    E(n, N) = e \left[\varphi + (1 - \varphi) \left(
        (1 - s) (n / n_0)^{-a} + s (N / N_0)^{-b}\right)\right]

with e the error at present sizes n_0, N_0, \varphi the part of it that no label removes, and s the
part of the rest that is due to N. Where few labels are measured, all of these are little more than
their priors; without a prior the floor would be 0, and forecasts twice too good.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import ndtri

from w2s_data.utils.intervals import Estimate, tails
from w2s_data.utils.typing import FloatArray

N_DRAWS, N_KEPT = 20_000, 400  # of the prior, and of those weighted by the errors
STORED = 100  # draws in a summary, for intervals of two digits
# Priors by option: Beta parameters of the floor's part of the present error and of the pool's part
# of the rest (None where labels of that kind do not count), median and spread of the logarithm of
# both exponents. From tasks of text and digits, with other draws than those of the evidence.
FLOOR = {"gold": (0.5, 2.5), "weak": (4.8, 1.2), "both": (0.75, 2.25)}
GOLD_RATE, POOL_RATE = (0.3, 0.5), (0.6, 0.5)
POOL_PART = {"gold": None, "weak": (8.0, 1.0), "both": (0.6, 3.4)}
# Trainings on parts of the same rows vary together, which the covariance of left-out rows misses:
# factors of the variances of differences and of the level.
SHARED_TRAINING, SHARED_LEVEL = 4.0, 2.0
# Standard deviation of the error of one training, as a part of it, if all labels were new ones.
GOLD_LUCK, POOL_LUCK = 0.1, 0.06


@dataclass(frozen=True)
class Curve:
    """Draws of the error of one option at any sizes, given what was measured."""

    error: FloatArray  # (K,), at the present sizes
    floor: FloatArray  # (K,), part of it
    pool_part: FloatArray  # (K,), part of the rest
    gold_rate: FloatArray  # (K,)
    pool_rate: FloatArray  # (K,)
    luck: FloatArray  # (K,), of the labels that come, in standard deviations
    n: float  # present sizes
    N: float

    def draws(self, n: ArrayLike, n_pool: ArrayLike) -> FloatArray:
        """Return draws (K, ...) of the error at sizes that broadcast."""
        ratio_n, ratio_pool = np.broadcast_arrays(
            np.asarray(n) / self.n, np.asarray(n_pool) / self.N
        )
        wide = (slice(None), *(None,) * ratio_n.ndim)
        part = shape(
            *(self.floor[wide], self.pool_part[wide], self.gold_rate[wide], self.pool_rate[wide]),
            *(ratio_n, ratio_pool),
        )
        return np.asarray(np.clip(self.error[wide] * part, 0.0, 1.0))

    def accuracy(self, n: float, n_pool: float, level: float) -> Estimate:
        """Return the accuracy of one training at one pair of sizes."""
        return as_share(estimate(1 - self.draws(n, n_pool) + self._luck(n, n_pool), level))

    def gain(self, n: float, n_pool: float, level: float) -> Estimate:
        """Return the accuracy of one training there minus that at the present sizes."""
        return estimate(self._gains(n, n_pool) + self._luck(n, n_pool), level)

    def expected_gain(self, n: float, n_pool: float, level: float) -> Estimate:
        """Return the same gain as the mean of many trainings on other labels."""
        return estimate(self._gains(n, n_pool), level)

    def _gains(self, n: float, n_pool: float) -> FloatArray:
        return self.draws(self.n, self.N) - self.draws(n, n_pool)

    def _luck(self, n: float, n_pool: float) -> FloatArray:
        """Return draws (K,) of what the labels that come add beyond expectation."""
        new_gold, new_pool = (
            max(0.0, 1 - old / new) for old, new in ((self.n, n), (self.N, n_pool))
        )
        spread = np.sqrt(GOLD_LUCK**2 * new_gold + POOL_LUCK**2 * new_pool)
        return np.asarray(self.luck * self.error * spread)

    def without(self, sides: Collection[int]) -> Curve:
        """Return the curve without a slope over gold rows (0), pool rows (1) or both."""
        flat = np.zeros_like(self.error)
        return replace(
            self,
            gold_rate=flat if 0 in sides else self.gold_rate,
            pool_rate=flat if 1 in sides else self.pool_rate,
        )

    def to_dict(self) -> dict[str, Any]:
        """Return some of the draws by name, rounded."""
        named = vars(self)
        return {
            name: value if np.isscalar(value) else np.round(value[:STORED], 5).tolist()
            for name, value in named.items()
        }

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> Curve:
        """Return the curve of `to_dict`."""
        values: dict[str, Any] = {
            name: np.asarray(value) if isinstance(value, list) else value
            for name, value in content.items()
        }
        return cls(**values)


def shape(
    floor: Any, pool_part: Any, gold_rate: Any, pool_rate: Any, ratio_n: Any, ratio_pool: Any
) -> Any:
    """Return the error at multiples of the present sizes, as a part of the present error."""
    by_gold = (1 - pool_part) * ratio_n**-gold_rate
    by_pool = pool_part * ratio_pool**-pool_rate
    return floor + (1 - floor) * (by_gold + by_pool)


def fit_curve(
    option: str,
    sizes: FloatArray,
    errors: FloatArray,
    covariance: FloatArray,
    present: tuple[float, float],
    rng: np.random.Generator,
    pace: float = 1.0,
) -> Curve:
    """Weight draws of the prior by how well they explain errors (P,) at sizes (P, 2).

    The first size is the largest. Only differences from it are compared: as the levels of all vary
    together, a fit to them would trade a wrong level for a wrong slope. `pace` multiplies the
    exponents that the prior expects.
    """
    floor, pool_part, gold_rate, pool_rate = _prior(option, pace, rng)
    ratio = sizes / np.asarray(present)
    wide = np.s_[:, None]
    design = shape(
        *(floor[wide], pool_part[wide], gold_rate[wide], pool_rate[wide]),
        *(ratio[:, 0], ratio[:, 1]),
    )
    excess = errors[0] * (design[:, 1:] / design[:, :1] - 1) - (errors[1:] - errors[0])
    contrast = np.hstack([-np.ones((len(errors) - 1, 1)), np.eye(len(errors) - 1)])
    precision = np.linalg.inv(SHARED_TRAINING * contrast @ covariance @ contrast.T)
    fit = -((excess @ precision) * excess).sum(axis=1) / 2
    chance = np.exp(fit - fit.max())
    kept = rng.choice(len(floor), N_KEPT, p=chance / chance.sum())
    noise = rng.normal(size=N_KEPT) * np.sqrt(SHARED_LEVEL * covariance[0, 0])
    present_error = np.clip((errors[0] + noise) / design[kept, 0], 0.0, 1.0)
    # Quantiles in random order, so that luck adds nothing to a mean.
    luck = rng.permutation(ndtri((np.arange(N_KEPT) + 0.5) / N_KEPT))
    return Curve(
        error=present_error,
        floor=floor[kept],
        pool_part=pool_part[kept],
        gold_rate=gold_rate[kept],
        pool_rate=pool_rate[kept],
        luck=luck,
        n=present[0],
        N=present[1],
    )


def covariance_of(wrong: FloatArray) -> FloatArray:
    """Return the covariance (P, P) of mean errors over gold rows (n, P)."""
    n, n_points = wrong.shape
    rows = np.atleast_2d(np.cov(wrong.T)) / n
    # One row more that is half wrong keeps the variance of rows that are all right from being 0.
    return np.asarray(rows + np.eye(n_points) * 0.25 / n**2)


def estimate(draws: FloatArray, level: float) -> Estimate:
    """Return mean and central interval of draws (K,)."""
    low, high = np.quantile(draws, tails(level))
    return Estimate(float(draws.mean()), float(low), float(high), level)


def as_share(estimate: Estimate) -> Estimate:
    """Return an estimate of an accuracy with value and limits in [0, 1].

    >>> as_share(Estimate(0.96, 0.9, 1.02))
    Estimate(0.96, 0.9 to 1)
    """
    # Not draw by draw, after which luck would lower the mean.
    low, value, high = np.clip([estimate.low, estimate.value, estimate.high], 0.0, 1.0)
    return Estimate(float(value), float(low), float(high), estimate.level)


def _prior(option: str, pace: float, rng: np.random.Generator) -> tuple[FloatArray, ...]:
    floor = rng.beta(*FLOOR[option], size=N_DRAWS)
    part = POOL_PART[option]
    pool_part = np.zeros(N_DRAWS) if part is None else rng.beta(*part, size=N_DRAWS)
    rates = (
        pace * median * np.exp(spread * rng.normal(size=N_DRAWS))
        for median, spread in (GOLD_RATE, POOL_RATE)
    )
    return floor, pool_part, *rates
