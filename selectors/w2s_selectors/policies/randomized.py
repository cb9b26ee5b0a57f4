"""Randomized policies: they explore by chance."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from w2s_data.errors import InputError
from w2s_data.utils.typing import FloatArray
from w2s_data.utils.validation import between, check_parameters
from w2s_selectors.policies.base import Policy, estimates
from w2s_selectors.policies.state import ArmState


@dataclass(frozen=True)
class ThompsonSampling(Policy):
    r"""Score by a draw from the posterior of each density: the default.

    .. math:: \theta_k \sim \mathrm{Beta}(a + s_k, b + n_k - s_k)

    with s_k successes among n_k judged points. Constraint: rewards in [0, 1]; fractions count as
    such. Draws differ from query to query, so that several outstanding queries spread by
    themselves, and delayed answers cost little. For every eps > 0,

    .. math:: E R_T \le (1 + \epsilon) \sum_k \Delta_k \frac{\log T}{kl(p_k, p^*)} + C(\epsilon, p)

    which reaches the rate of Lai and Robbins (1985); C has no explicit value.

    Parameters
    ----------
    prior : (float, float)
        a, b > 0: overlap points and others, as if seen before the first query.

    References
    ----------
    Agrawal, Goyal, *Analysis of Thompson Sampling for the Multi-armed Bandit Problem*, COLT 2012,
    and *Near-Optimal Regret Bounds for Thompson Sampling*, J. ACM 64, 2017, Theorem 1.1; Kaufmann,
    Korda, Munos, *Thompson Sampling: An Asymptotically Optimal Finite-Time Analysis*, ALT 2012.

    Examples
    --------
    >>> state = ArmState.start(2, horizon=20).asked(0, 50).answered(0, 10, 50).asked(1, 100)
    >>> ThompsonSampling().choose(state.answered(1, 80, 100), np.random.default_rng(0))
    1
    """

    name: ClassVar[str] = "thompson"
    prior: tuple[float, float] = (1.0, 1.0)  # uniform: no density is favoured

    def __post_init__(self) -> None:
        prior = tuple(self.prior)
        if len(prior) != 2 or not all(0 < value < np.inf for value in prior):
            raise InputError(f"prior must be two numbers above 0; got {self.prior!r}")
        object.__setattr__(self, "prior", prior)

    def scores(self, state: ArmState, rng: np.random.Generator) -> FloatArray:
        """Draw a density for each source, (..., K), in [0, 1]."""
        a, b = self.prior
        # Pending points are left out: chance alone spreads outstanding queries.
        return rng.beta(a + state.successes, b + state.trials - state.successes)


@dataclass(frozen=True)
class EpsilonGreedy(Policy):
    r"""Score by the mean, except for a share of the queries, which go to a random source.

    Constraint: rewards of at least 0. The regret is linear, at least
    :math:`\epsilon \bar\Delta T` with the mean gap; an epsilon that falls as 1/t would make it
    logarithmic.

    Parameters
    ----------
    epsilon : float
        Share of random queries, in [0, 1].

    References
    ----------
    Auer, Cesa-Bianchi, Fischer, *Finite-time Analysis of the Multiarmed Bandit Problem*, Machine
    Learning 47, 2002, section 2 and Theorem 3 (falling epsilon).

    Examples
    --------
    >>> state = ArmState.start(2, horizon=20).asked(0, 50).answered(0, 10, 50).asked(1, 100)
    >>> EpsilonGreedy(0.0).scores(state.answered(1, 80, 100), np.random.default_rng(0))
    array([0.2, 0.8])
    """

    name: ClassVar[str] = "epsilon_greedy"
    epsilon: float = 0.1

    def __post_init__(self) -> None:
        check_parameters(self, {"epsilon": between(0, 1)})

    def scores(self, state: ArmState, rng: np.random.Generator) -> FloatArray:
        """Return means, or random numbers whose ratio to the cost is uniform, (..., K)."""
        means = estimates(state)
        explores = rng.random((*means.shape[:-1], 1)) < self.epsilon
        # Scores are divided by costs afterwards; exploration must not favour cheap sources.
        return np.where(explores, rng.random(means.shape) * state.costs, means)
