"""Base class of policies, and the policies by their kind: optimistic, randomized, baselines."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from w2s_data.errors import InputError, listing
from w2s_data.utils.typing import AnyArray, FloatArray, IntArray
from w2s_data.utils.validation import between, check_parameters, nonnegative
from w2s_selectors.policies.kl import kl_upper_limit
from w2s_selectors.policies.state import ArmState

UNKNOWN_MEAN = 0.5  # of a source without a judged point: the mean of the uniform prior


class Policy(ABC):
    """Base class: query the source with the highest score per unit of cost.

    A subclass defines `name` and `scores`, as a frozen dataclass of its parameters. Scores are at
    least 0, and computed along the last axis, so that one call can score many runs.

    Examples
    --------
    >>> class Cheapest(Policy):
    ...     name = "cheapest"
    ...
    ...     def scores(self, state, rng):
    ...         return np.ones(state.trials.shape)
    >>> state = ArmState.start(3, costs=[3, 1, 2], horizon=9)
    >>> for arm in range(3):
    ...     state = state.asked(arm, 5)
    >>> Cheapest().choose(state, np.random.default_rng(0))
    1
    """

    name: ClassVar[str]
    weighs_costs: ClassVar[bool] = True

    @abstractmethod
    def scores(self, state: ArmState, rng: np.random.Generator) -> FloatArray:
        """Score the sources, (..., K), before costs; the highest is chosen."""

    def choose(self, state: ArmState, rng: np.random.Generator) -> int:
        """Return the number of the source to query next.

        Untried sources come first, in their order; then the highest score per unit of cost, ties
        by the generator. Raises InputError if no source is active.
        """
        return int(self.choose_many(state, rng))

    def choose_many(self, state: ArmState, rng: np.random.Generator) -> IntArray:
        """Choose for every run of a state whose arrays are (..., K)."""
        if not state.active.any(axis=-1).all():
            raise InputError("no source is active: all ran dry or were stopped")
        scores = self.scores(state, rng)
        if np.isnan(scores).any():
            undefined = np.unique(np.nonzero(np.isnan(scores))[-1]).tolist()
            raise InputError(f"policy {self.name!r} scored NaN for source {listing(undefined)}")
        value = scores / state.costs if self.weighs_costs else scores
        value = np.where(state.active, value, -np.inf)
        best = value == value.max(axis=-1, keepdims=True)
        # One draw per source, tied or not, so that all runs use up the generator alike.
        drawn = np.where(best, rng.random(best.shape), -1.0).argmax(axis=-1)
        # An index is undefined or infinite before the first answer: untried sources go first.
        untried = state.untried
        return np.asarray(np.where(untried.any(axis=-1), untried.argmax(axis=-1), drawn))


@dataclass(frozen=True)
class OverlapUCB(Policy):
    r"""Score by the published index: mean plus a width that counts rounds.

    .. math:: \hat p_k + \sqrt{2 \log T} / r_k

    with r_k the queries asked of source k, answered or not, and T the queries that the budget
    allows. This is not the usual :math:`\sqrt{2 \log T / n_k}`: the width falls with the number of
    queries and not with its root, and it ignores how many points an answer holds. With few large
    queries it therefore explores too long; with many small ones it can settle on a worse source
    for good, with a regret that is linear on average. The published bound does not apply to it;
    it is kept for comparison.

    References
    ----------
    Shin, Cooper, Sala, *Weak-to-Strong Generalization Through the Data-Centric Lens*, ICLR 2025.

    Examples
    --------
    >>> state = ArmState.start(2, horizon=20)
    >>> for arm, overlap in enumerate([10, 20]):
    ...     state = state.asked(arm, 50).answered(arm, overlap, 50)
    >>> OverlapUCB().scores(state, np.random.default_rng(0)).round(3)
    array([2.648, 2.848])
    """

    name: ClassVar[str] = "overlap_ucb"

    def scores(self, state: ArmState, rng: np.random.Generator) -> FloatArray:  # noqa: ARG002
        # Queries without an answer yet count as rounds: each would lower the width.
        rounds = state.queries + state.outstanding
        return _estimates(state) + _divide(np.sqrt(2 * np.log(state.horizon)), rounds)


@dataclass(frozen=True)
class UCB1(Policy):
    r"""Score by the mean plus Hoeffding's width, in points.

    .. math:: \hat p_k + \sqrt{2 \log t / n_k}

    with n_k the points asked of source k, judged or pending, and t those of all sources.
    Constraint: rewards in [0, 1]. Regret after T points, with single points and prompt answers:

    .. math:: E R_T \le 8 \sum_k \frac{\log T}{\Delta_k} + (1 + \pi^2 / 3) \sum_k \Delta_k

    References
    ----------
    Auer, Cesa-Bianchi, Fischer, *Finite-time Analysis of the Multiarmed Bandit Problem*, Machine
    Learning 47, 2002, Theorem 1.

    Examples
    --------
    >>> state = ArmState.start(2, horizon=20).asked(0, 50).answered(0, 10, 50).asked(1, 100)
    >>> UCB1().scores(state.answered(1, 20, 100), np.random.default_rng(0)).round(3)
    array([0.648, 0.517])
    """

    name: ClassVar[str] = "ucb1"

    def scores(self, state: ArmState, rng: np.random.Generator) -> FloatArray:  # noqa: ARG002
        points, total = _points(state)
        return _estimates(state) + np.sqrt(_divide(2 * np.log(total), points))


@dataclass(frozen=True)
class KLUCB(Policy):
    r"""Score by the largest density that the points do not refute: the deterministic choice.

    .. math:: \max \{ q : n_k \, kl(\hat p_k, q) \le \log t + c \log \max(\log t, 1) \}

    with kl the divergence of Bernoulli distributions, n_k the points asked of source k, judged or
    pending, and t those of all sources. Constraint: rewards in [0, 1]. For c >= 3 the regret
    reaches the rate of Lai and Robbins (1985),
    :math:`\sum_k \Delta_k \log T / kl(p_k, p^*)`; a bound for finite T and any c is in
    `regret_bound`.

    Parameters
    ----------
    exploration : float
        c >= 0. Garivier and Cappé recommend 0 in practice; their proof of the rate takes 3.

    References
    ----------
    Garivier, Cappé, *The KL-UCB Algorithm for Bounded Stochastic Bandits and Beyond*, COLT 2011,
    Theorems 1 and 2; Lattimore, Szepesvári, *Bandit Algorithms*, 2020, Theorem 10.6.

    Examples
    --------
    >>> state = ArmState.start(2, horizon=20).asked(0, 50).answered(0, 10, 50).asked(1, 100)
    >>> KLUCB().scores(state.answered(1, 20, 100), np.random.default_rng(0)).round(3)
    array([0.41 , 0.344])
    """

    name: ClassVar[str] = "kl_ucb"
    exploration: float = 0.0  # what the authors recommend in practice

    def __post_init__(self) -> None:
        check_parameters(self, {"exploration": nonnegative})

    def threshold(self, total: FloatArray) -> FloatArray:
        """Return log t + c log max(log t, 1) after `total` points."""
        log = np.log(total)
        return np.asarray(log + self.exploration * np.log(np.maximum(log, 1.0)))

    def scores(self, state: ArmState, rng: np.random.Generator) -> FloatArray:  # noqa: ARG002
        points, total = _points(state)
        return kl_upper_limit(_estimates(state), _divide(self.threshold(total), points))


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
        means = _estimates(state)
        explores = rng.random((*means.shape[:-1], 1)) < self.epsilon
        # Scores are divided by costs afterwards; exploration must not favour cheap sources.
        return np.where(explores, rng.random(means.shape) * state.costs, means)


@dataclass(frozen=True)
class RoundRobin(Policy):
    r"""Query active sources in turn, whatever they cost and hold; a baseline.

    The regret is linear, :math:`\bar\Delta T` with the mean gap.

    Examples
    --------
    >>> state, turns = ArmState.start(3, horizon=9), []
    >>> for _ in range(5):
    ...     turns.append(RoundRobin().choose(state, np.random.default_rng(0)))
    ...     state = state.asked(turns[-1], 10)
    >>> turns
    [0, 1, 2, 0, 1]
    """

    name: ClassVar[str] = "round_robin"
    weighs_costs: ClassVar[bool] = False

    def scores(self, state: ArmState, rng: np.random.Generator) -> FloatArray:  # noqa: ARG002
        # The turn counts active sources only, so that a source that leaves is not waited for.
        place = state.active.cumsum(axis=-1) - 1
        turn = state.round % np.maximum(state.active.sum(axis=-1, keepdims=True), 1)
        return np.where(state.active & (place == turn), 1.0, 0.0)


@dataclass(frozen=True)
class UniformRandom(Policy):
    r"""Query an active source at random, whatever it costs and holds; the baseline.

    The expected regret is linear, :math:`\bar\Delta T` with the mean gap.

    Examples
    --------
    >>> state, rng = ArmState.start(3, horizon=9), np.random.default_rng(0)
    >>> UniformRandom().scores(state, rng).round(2)
    array([0.64, 0.27, 0.04])
    """

    name: ClassVar[str] = "random"
    weighs_costs: ClassVar[bool] = False

    def scores(self, state: ArmState, rng: np.random.Generator) -> FloatArray:
        return rng.random(state.trials.shape)


@dataclass(frozen=True)
class Oracle(Policy):
    r"""Query the source with the highest true density per unit of cost; for tests and reports.

    Constraint: the densities of all sources are known. Apart from one query of every source, which
    all policies make, its regret is 0.

    Parameters
    ----------
    densities : sequence of float
        True overlap densities, one per source, in [0, 1].

    Examples
    --------
    >>> state = ArmState.start(2, horizon=9)
    >>> for arm in range(2):
    ...     state = state.asked(arm, 10).answered(arm, 5, 10)
    >>> Oracle((0.4, 0.6)).choose(state, np.random.default_rng(0))
    1
    """

    name: ClassVar[str] = "oracle"
    densities: tuple[float, ...]

    def __post_init__(self) -> None:
        densities = tuple(float(density) for density in self.densities)
        if not densities or not all(0 <= density <= 1 for density in densities):
            raise InputError(f"densities must lie in [0, 1]; got {self.densities!r}")
        object.__setattr__(self, "densities", densities)  # a tuple: hashable, and cannot change

    def scores(self, state: ArmState, rng: np.random.Generator) -> FloatArray:  # noqa: ARG002
        if len(self.densities) != state.n_arms:
            raise InputError(
                f"there are {state.n_arms} sources; the oracle knows {len(self.densities)}"
            )
        return np.broadcast_to(np.array(self.densities), state.trials.shape)


def _estimates(state: ArmState) -> FloatArray:
    """Return the means, and 1/2 where nothing is judged yet."""
    return np.where(state.trials > 0, state.means, UNKNOWN_MEAN)


def _points(state: ArmState) -> tuple[FloatArray, FloatArray]:
    """Return the points requested of each source, and of all, at least 1.

    Pending points count, or outstanding queries would all go to the same source.
    """
    points = state.trials + state.pending
    return points, np.maximum(points.sum(axis=-1, keepdims=True), 1.0)


def _divide(width: AnyArray | float, counts: AnyArray) -> FloatArray:
    """Return width / counts, infinite where there are none."""
    return np.where(counts > 0, width / np.where(counts > 0, counts, 1.0), np.inf)
