"""Optimistic policies: each source is scored by the highest density it may still have."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from w2s_data.utils.typing import AnyArray, FloatArray
from w2s_data.utils.validation import check_parameters, nonnegative
from w2s_selectors.policies.base import Policy, estimates
from w2s_selectors.policies.kl import kl_upper_limit
from w2s_selectors.policies.state import ArmState


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
        """Return mean plus width, (..., K)."""
        # Queries without an answer yet count as rounds: each would lower the width.
        rounds = state.queries + state.outstanding
        return estimates(state) + _divide(np.sqrt(2 * np.log(state.horizon)), rounds)


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
        """Return mean plus width, (..., K)."""
        points, total = _points(state)
        return estimates(state) + np.sqrt(_divide(2 * np.log(total), points))


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
        """Return the upper limit of each density, (..., K), in [0, 1]."""
        points, total = _points(state)
        return kl_upper_limit(estimates(state), _divide(self.threshold(total), points))


def _points(state: ArmState) -> tuple[FloatArray, FloatArray]:
    """Return the points requested of each source, and of all, at least 1.

    Pending points count, or outstanding queries would all go to the same source.
    """
    points = state.trials + state.pending
    return points, np.maximum(points.sum(axis=-1, keepdims=True), 1.0)


def _divide(width: AnyArray | float, counts: AnyArray) -> FloatArray:
    """Return width / counts, infinite where there are none."""
    return np.where(counts > 0, width / np.where(counts > 0, counts, 1.0), np.inf)
