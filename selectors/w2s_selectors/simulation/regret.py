"""Regret of a sequence of choices against the best source, and its bounds in theory.

Densities are given: true ones in simulations, estimates elsewhere, and then the regret is an
estimate too.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from w2s_data.errors import InputError
from w2s_data.utils.intervals import LEVEL, Estimate, mean_estimate, prediction_halfwidth
from w2s_data.utils.io import jsonable
from w2s_data.utils.typing import AnyArray, FloatArray, IntArray
from w2s_selectors.policies.kl import bernoulli_kl
from w2s_selectors.policies.policy import (
    KLUCB,
    UCB1,
    EpsilonGreedy,
    Oracle,
    OverlapUCB,
    Policy,
    RoundRobin,
    ThompsonSampling,
    UniformRandom,
)
from w2s_selectors.simulation.sources import check_densities, check_per_source

MEASURES = ("overlap", "regret")  # of a selection and its replays, by round
GRID = np.linspace(0.02, 0.96, 48)  # shares of a gap at which a bound is minimised
# Why there is no bound with explicit constants for a policy.
_NO_BOUND: dict[type[Policy], str] = {
    ThompsonSampling: "the proofs reach the rate of Lai and Robbins without naming constants",
    OverlapUCB: "its width falls faster than the error of a mean; nothing is proven",
    EpsilonGreedy: "the regret is linear: at least epsilon times the mean gap per point",
    RoundRobin: "the regret is linear: the mean gap per point",
    UniformRandom: "the regret is linear: the mean gap per point",
}


def cumulative_regret(
    chosen: ArrayLike,
    densities: ArrayLike,
    *,
    items: ArrayLike | None = None,
    costs: ArrayLike | None = None,
    sizes: ArrayLike | None = None,
) -> FloatArray:
    r"""Compute the expected overlap points lost against the best remaining source.

    .. math:: R_t = \sum_{s \le t} m_s \left( c_{a_s} \max_k \frac{p_k}{c_k} - p_{a_s} \right)

    after each query t, over the sources k that still held items before query s: the same money
    would have bought so many more from the best of them. With unit costs this is the sum of the
    gaps, m_s (p* - p_a). An array (..., T) in points, at least 0, never falling.

    Parameters
    ----------
    chosen : int array (..., T)
        Source of each query; leading axes are runs.
    densities : array (K,)
        True overlap density of each source, in [0, 1].
    items : array (..., T), optional
        Items that each query brought, 1 by default. 0 marks a query that did not take place.
    costs : array (K,), optional
        Per item, 1 by default.
    sizes : array (K,), optional
        Items that each source holds; no limit by default.

    Examples
    --------
    >>> cumulative_regret([0, 1, 1, 0], [0.2, 0.5]).round(2)
    array([0.3, 0.3, 0.3, 0.6])

    Once source 1 has run dry, source 0 is the best that remains:

    >>> cumulative_regret([0, 1, 1, 0], [0.2, 0.5], sizes=[9, 2]).round(2)
    array([0.3, 0.3, 0.3, 0.3])
    """
    arms, density, cost = _check_choices(chosen, densities, costs)
    brought = _check_items(1.0 if items is None else items, arms.shape)
    rates = density / cost
    best = np.full(arms.shape, rates.max())
    if sizes is not None:
        stock = check_per_source(sizes, "sizes", len(density))
        best = _best_remaining(arms, brought, rates, stock)
    return np.asarray(np.cumsum(brought * (cost[arms] * best - density[arms]), axis=-1))


def simple_regret(
    recommended: ArrayLike, densities: ArrayLike, *, costs: ArrayLike | None = None
) -> FloatArray:
    """Compute how much worse the recommended source is than the best, per unit of cost.

    Examples
    --------
    >>> float(simple_regret(0, [0.4, 0.5]).round(2))
    0.1
    """
    arms, density, cost = _check_choices(recommended, densities, costs)
    rates = density / cost
    return np.asarray(rates.max() - rates[arms])


def lai_robbins_rate(densities: ArrayLike, points: ArrayLike) -> FloatArray:
    r"""Compute the regret that no uniformly good policy can undercut as T goes to infinity.

    .. math:: \log T \sum_{k: p_k < p^*} \frac{p^* - p_k}{kl(p_k, p^*)}

    A slope, not a bound at finite T, the `points` requested (at least 1): a policy may lie below
    the line early on. For unit costs.

    References
    ----------
    Lai, Robbins, *Asymptotically Efficient Adaptive Allocation Rules*, Advances in Applied
    Mathematics 6, 1985.

    Examples
    --------
    >>> float(lai_robbins_rate([0.5, 0.4, 0.3], 2000).round(1))
    56.2
    """
    density = check_densities(densities)
    best = density.max()
    worse = density[density < best]
    # Sources that tie with the best have no term, since nothing has to be learned about them.
    slope = ((best - worse) / bernoulli_kl(worse, best)).sum()
    return np.asarray(slope * np.log(_check_points(points)))


@dataclass(frozen=True, eq=False, repr=False)
class RegretBound:
    """Upper bound of the expected regret of a policy.

    Attributes
    ----------
    values : array
        The bound after each number of points; NaN where none is known. It is void where it exceeds
        the points times the largest gap, the most that a policy can lose.
    source : str
        Where it is proven; empty without a bound.
    reason : str
        Reason for its absence; empty with a bound.
    """

    values: FloatArray
    source: str = ""
    reason: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return plain lists and text; NaN becomes None."""
        return dict(jsonable(self))

    def __repr__(self) -> str:
        bound = f"at most {np.ravel(self.values)[-1]:.4g} points" if self.source else "none"
        return f"RegretBound({bound}; {self.source or self.reason})"


@functools.singledispatch
def regret_bound(policy: Policy, densities: ArrayLike, points: ArrayLike) -> RegretBound:
    """Compute a bound of the expected regret, for unit costs, single points and prompt answers.

    The proofs do not cover batches, delays and unequal costs. `regret_bound.register` adds the
    bound of another policy. NaN with a reason where no bound with explicit constants is known.

    Parameters
    ----------
    policy : Policy
    densities : array (K,)
    points : array
        Points requested, at least 1.

    Examples
    --------
    >>> regret_bound(UCB1(), [0.8, 0.3], 2000)
    RegretBound(at most 123.8 points; Auer, Cesa-Bianchi, Fischer 2002, Theorem 1)
    >>> regret_bound(EpsilonGreedy(), [0.8, 0.3], 2000)
    RegretBound(none; the regret is linear: at least epsilon times the mean gap per point)
    """
    name = getattr(policy, "name", None)
    if name is None or isinstance(policy, type):
        raise InputError(f"policy must be a policy such as UCB1(); got {policy!r}")
    check_densities(densities)
    total = _check_points(points)
    reason = _NO_BOUND.get(type(policy), f"no bound is registered for policy {name!r}")
    return RegretBound(np.full(total.shape, np.nan), reason=reason)


@regret_bound.register
def _(_policy: UCB1, densities: ArrayLike, points: ArrayLike) -> RegretBound:
    gaps, total = _gaps(densities), _check_points(points)
    values = 8 * np.log(total) * (1 / gaps).sum() + (1 + np.pi**2 / 3) * gaps.sum()
    return RegretBound(values, "Auer, Cesa-Bianchi, Fischer 2002, Theorem 1")


@regret_bound.register
def _(policy: KLUCB, densities: ArrayLike, points: ArrayLike) -> RegretBound:
    # Three kinds of draws of a worse source: the first; those while the best index is below
    # p* - e2, at most sum_t 1/f(t) / kl(p* - e2, p*) with f = exp(threshold); and those while its
    # own index is above, log f(T) / kl(p_k + e1, p* - e2) + 1 / kl(p_k + e1, p_k). The bound is
    # the least over e1 + e2 < gap.
    density, total = check_densities(densities), _check_points(points)
    horizon = int(total.max())
    inverse = np.cumsum(np.exp(-policy.threshold(np.arange(1, horizon + 1, dtype=np.float64))))
    summed = inverse[np.maximum(total.astype(np.int64), 1) - 1]
    best, values = density.max(), np.zeros(total.shape)
    own, other = (share.ravel() for share in np.meshgrid(GRID, GRID))
    own, other = own[own + other < 1], other[own + other < 1]
    for worse in density[density < best]:
        gap = best - worse
        low, high = worse + own * gap, best - other * gap
        apart, late, early = (
            bernoulli_kl(low, high),
            bernoulli_kl(low, worse),
            bernoulli_kl(high, best),
        )
        draws = policy.threshold(total)[..., None] / apart + 1 / late + summed[..., None] / early
        values += gap * (1 + draws.min(axis=-1))
    return RegretBound(values, "Lattimore, Szepesvári 2020, Theorem 10.6, for this exploration")


@regret_bound.register
def _(_policy: Oracle, densities: ArrayLike, points: ArrayLike) -> RegretBound:
    total = _check_points(points)
    return RegretBound(np.full(total.shape, _gaps(densities).sum()), "one query per source")


def _best_remaining(
    arms: IntArray, brought: FloatArray, rates: FloatArray, stock: FloatArray
) -> FloatArray:
    """Return the highest rate among the sources that held items before each query."""
    best = np.full(arms.shape, np.nan)
    for arm in np.argsort(-rates, kind="stable"):
        taken = np.where(arms == arm, brought, 0.0)
        # The stock before each query: without the items that the query itself brings.
        held = stock[arm] - (np.cumsum(taken, axis=-1) - taken) > 0
        best[np.isnan(best) & held] = rates[arm]
        if not np.isnan(best).any():
            break
    beyond = np.isnan(best) & (brought > 0)
    if beyond.any():
        source = int(arms[beyond][0])
        raise InputError(f"items exceed the stock given in `sizes` for source {source}")
    return np.asarray(np.nan_to_num(best))  # queries for nothing, after the end of a run


def _check_choices(
    chosen: ArrayLike, densities: ArrayLike, costs: ArrayLike | None
) -> tuple[IntArray, FloatArray, FloatArray]:
    density = check_densities(densities)
    arms: AnyArray = np.asarray(chosen)
    inside = np.issubdtype(arms.dtype, np.integer) and ((arms >= 0) & (arms < len(density))).all()
    if not inside:
        raise InputError(f"chosen sources must be numbers from 0 to {len(density) - 1}")
    cost = check_per_source(1.0 if costs is None else costs, "costs", len(density))
    return arms, density, cost


def _check_items(items: ArrayLike, shape: tuple[int, ...]) -> FloatArray:
    """Return the items that each query brought, of this shape, or raise InputError."""
    try:
        given = np.asarray(items, dtype=np.float64)
    except (TypeError, ValueError):
        raise InputError("items must be numbers, one per query") from None
    # A single number holds for all queries, and those of one run for all runs.
    if given.shape and given.shape != shape[-given.ndim :]:
        raise InputError(f"items must have shape {shape}, one per query; got {given.shape}")
    brought = np.broadcast_to(given, shape)
    bad = brought[~(np.isfinite(brought) & (brought >= 0))]
    if len(bad):
        raise InputError(f"items must be finite numbers >= 0; got {bad[0]:g}")
    return brought


def _check_points(points: ArrayLike) -> FloatArray:
    total: FloatArray = np.asarray(points, dtype=np.float64)
    bad = total[~(np.isfinite(total) & (total >= 1))]
    if len(bad) or not total.size:
        got = f"{bad[0]:g}" if len(bad) else "none"
        raise InputError(f"points must be finite numbers of at least 1; got {got}")
    return total


def _gaps(densities: ArrayLike) -> FloatArray:
    """Return the distances from the best density, without those of 0."""
    density = check_densities(densities)
    gaps = density.max() - density
    return np.asarray(gaps[gaps > 0])  # queries of a best source lose nothing


def measure_progress(
    replayed: pd.DataFrame, sources: pd.DataFrame, sizes: FloatArray, overlap: Mapping[str, bool]
) -> pd.DataFrame:
    """Accumulate overlap and regret of every run, round by round.

    `replayed` and `sources` are those of a `SelectionResult`, `sizes` (K,) the items that each
    source holds, and `overlap` says of each item of the pool whether it is an overlap point.

    Returns `replayed` without its ids, with `overlap` (points so far) and `regret` (the points so
    far that the same money would have been expected to bring more from the best source that held
    items then).

    The regions come from the detector that was fitted on the whole pool, not from those that a
    selection saw while it ran, so that a selection cannot flatter itself. They are estimates too,
    and so is a regret that is measured with them.
    """
    frame = replayed.drop(columns="ids")
    frame["overlap"] = [float(sum(overlap[name] for name in ids)) for ids in replayed["ids"]]
    runs = frame.groupby(["strategy", "run"], sort=False)
    frame["overlap"] = runs["overlap"].cumsum()
    # Run by run: only a single run's stock says which source was the best remaining one.
    number = pd.Index(sources["source"])
    for rows in runs.groups.values():
        part = frame.loc[rows]
        frame.loc[rows, "regret"] = cumulative_regret(
            number.get_indexer(part["source"]),
            sources["density"],
            items=part["items"],
            costs=sources["cost"],
            sizes=sizes,
        )
    return frame


def final_progress(progress: pd.DataFrame, level: float = LEVEL) -> dict[str, dict[str, Any]]:
    """Average the final overlap and regret over the runs of each strategy.

    `overlap_noise` and `regret_noise` say how far one more run may lie from the mean.
    """
    ends = progress.groupby(["strategy", "run"], sort=False)[list(MEASURES)].last()
    final: dict[str, dict[str, Any]] = {}
    for strategy, part in ends.groupby(level=0, sort=False):
        record = final[str(strategy)] = {}
        for name in MEASURES:
            record[name] = mean_estimate(part[name], level)
            record[f"{name}_noise"] = float(prediction_halfwidth(part[name], level))
    return final


def progress_curves(
    progress: pd.DataFrame, n_points: int = 41, level: float = LEVEL
) -> list[dict[str, Any]]:
    """Average each strategy at `n_points` evenly spaced spendings, with limits for one more run.

    Each point has `spent`, and by strategy the estimates of `overlap` and `regret`: the mean
    minus and plus `prediction_halfwidth`, NaN limits for one run.
    """
    grid = np.linspace(0.0, float(progress["spent"].max()), n_points)
    points: list[dict[str, Any]] = [{"spent": float(spent)} for spent in grid]
    for strategy, part in progress.groupby("strategy", sort=False):
        for name in MEASURES:
            lines = [_at(grid, run["spent"], run[name]) for _, run in part.groupby("run")]
            mean, noise = np.mean(lines, axis=0), prediction_halfwidth(lines, level)
            for point, value, half in zip(points, mean, noise, strict=True):
                # Neither measure can be negative; np.maximum passes the NaN of a single run on.
                low, high = float(np.maximum(0.0, value - half)), float(value + half)
                estimate = Estimate(float(value), low, high, level)
                point.setdefault(str(strategy), {})[name] = estimate
    return points


def _at(grid: FloatArray, spent: pd.Series[float], values: pd.Series[float]) -> FloatArray:
    """Interpolate a cumulative quantity between rounds, as if items came one by one."""
    return np.asarray(np.interp(grid, [0.0, *spent], [0.0, *values]))
