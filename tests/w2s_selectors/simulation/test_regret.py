"""Regret against an independent count, and bounds against the formulas of their papers."""

from __future__ import annotations

import json
from typing import Any, ClassVar

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from w2s_data.errors import InputError
from w2s_data.utils.intervals import mean_interval
from w2s_selectors.policies import (
    KLUCB,
    UCB1,
    EpsilonGreedy,
    Oracle,
    OverlapUCB,
    RoundRobin,
    ThompsonSampling,
    UniformRandom,
)
from w2s_selectors.simulation.regret import (
    cumulative_regret,
    lai_robbins_rate,
    regret_bound,
    simple_regret,
)

DENSITIES = [0.5, 0.4, 0.3]


def counted_regret(chosen: Any, densities: Any, items: Any, costs: Any, sizes: Any) -> list[float]:
    """The definition, query by query."""
    left, total, found = list(sizes), 0.0, []
    for arm, m in zip(chosen, items, strict=True):
        rates = [p / c for p, c, n in zip(densities, costs, left, strict=True) if n > 0]
        total += m * (costs[arm] * max(rates) - densities[arm]) if m else 0.0
        left[arm] -= m
        found.append(total)
    return found


@given(st.integers(0, 10_000))
def test_regret_is_what_the_definition_counts(seed: int) -> None:
    rng = np.random.default_rng(seed)
    densities, costs = rng.random(4), rng.uniform(0.5, 3, 4)
    sizes = rng.integers(1, 30, 4)
    left, chosen, items = sizes.copy(), [], []
    for _ in range(rng.integers(1, 30)):
        arm = rng.choice(np.flatnonzero(left > 0)) if left.any() else 0
        m = min(int(rng.integers(0, 6)), left[arm])
        left[arm] -= m
        chosen.append(int(arm))
        items.append(int(m))
    expected = counted_regret(chosen, densities, items, costs, sizes)
    found = cumulative_regret(chosen, densities, items=items, costs=costs, sizes=sizes)
    np.testing.assert_allclose(found, expected, atol=1e-12)
    assert (np.diff(found, prepend=0) >= -1e-12).all()
    order = rng.permutation(4)
    place = np.argsort(order)
    permuted = cumulative_regret(
        place[chosen], densities[order], items=items, costs=costs[order], sizes=sizes[order]
    )
    np.testing.assert_allclose(permuted, found, atol=1e-12)


def test_runs_are_measured_side_by_side() -> None:
    chosen = np.random.default_rng(0).integers(0, 3, (5, 40))
    sizes = [20, 30, 40]
    together = cumulative_regret(chosen, DENSITIES, sizes=sizes)
    for row, expected in zip(chosen, together, strict=True):
        np.testing.assert_array_equal(cumulative_regret(row, DENSITIES, sizes=sizes), expected)


def test_all_items_of_all_sources_cost_no_regret_in_the_best_order() -> None:
    chosen = np.repeat([0, 1, 2], [4, 5, 6])
    assert (cumulative_regret(chosen, DENSITIES, sizes=[4, 5, 6]) == 0).all()
    assert cumulative_regret(chosen, DENSITIES)[-1] == pytest.approx(5 * 0.1 + 6 * 0.2)


def test_cost_decides_which_source_is_best() -> None:
    dear = cumulative_regret([0, 1], [0.6, 0.4], costs=[2, 1])
    np.testing.assert_allclose(dear, [2 * 0.4 - 0.6, 2 * 0.4 - 0.6])


def test_simple_regret_is_that_of_the_recommendation() -> None:
    np.testing.assert_allclose(simple_regret([0, 1, 2], DENSITIES), [0, 0.1, 0.2])
    np.testing.assert_allclose(simple_regret(0, [0.6, 0.4], costs=[2, 1]), 0.1)


def test_rate_is_the_sum_of_gaps_over_divergences() -> None:
    def kl(p: float, q: float) -> float:
        return p * np.log(p / q) + (1 - p) * np.log((1 - p) / (1 - q))

    expected = (0.1 / kl(0.4, 0.5) + 0.2 / kl(0.3, 0.5)) * np.log([10, 2000])
    np.testing.assert_allclose(lai_robbins_rate(DENSITIES, [10, 2000]), expected)
    assert lai_robbins_rate([0.5, 0.5], 100) == 0
    assert lai_robbins_rate([1.0, 0.5], 100) == 0


def test_ucb1_bound_is_auers() -> None:
    gaps = np.array([0.1, 0.2])
    expected = 8 * np.log(2000) * np.sum(1 / gaps) + (1 + np.pi**2 / 3) * gaps.sum()
    assert regret_bound(UCB1(), DENSITIES, 2000).values == pytest.approx(expected)


def test_kl_ucb_bound_is_near_the_published_one_and_nears_the_rate() -> None:
    def published(p: float, best: float, total: float) -> float:
        """Theorem 10.6 of Lattimore and Szepesvári, for f(t) = 1 + t log(t)^2."""
        gap, grid = best - p, np.linspace(0.02, 0.96, 48)
        own, other = (g.ravel() * gap for g in np.meshgrid(grid, grid))
        own, other = own[own + other < gap - 1e-9], other[own + other < gap - 1e-9]
        low, high = p + own, best - other
        apart = low * np.log(low / high) + (1 - low) * np.log((1 - low) / (1 - high))
        log = np.log(1 + total * np.log(total) ** 2)
        return float(gap * np.min(log / apart + 1 / (2 * own**2) + 2 / other**2))

    for total in (2e3, 2e5):
        found = float(regret_bound(KLUCB(exploration=2.0), [0.8, 0.3], total).values)
        assert 0.4 * published(0.3, 0.8, total) < found < published(0.3, 0.8, total)
    totals = np.array([1e2, 1e3, 1e4, 1e5, 1e6])
    bound = regret_bound(KLUCB(exploration=3.0), [0.8, 0.3], totals).values
    above = bound / lai_robbins_rate([0.8, 0.3], totals)
    assert (np.diff(above) < 0).all()
    assert above[-1] > 1


@pytest.mark.parametrize(
    "policy",
    [ThompsonSampling(), OverlapUCB(), EpsilonGreedy(), RoundRobin(), UniformRandom()],
    ids=repr,
)
def test_no_bound_is_nan_with_a_reason(policy: Any) -> None:
    bound = regret_bound(policy, DENSITIES, [10, 100])
    assert np.isnan(bound.values).all()
    assert bound.reason
    assert not bound.source
    assert json.loads(json.dumps(bound.to_dict(), allow_nan=False))["values"] == [None, None]


@pytest.mark.parametrize("policy", [UCB1(), KLUCB(), KLUCB(3.0), Oracle(DENSITIES)], ids=repr)
def test_bounds_rise_and_name_their_source(policy: Any) -> None:
    bound = regret_bound(policy, DENSITIES, np.arange(1, 500))
    assert (np.diff(bound.values) >= 0).all()
    assert bound.source
    assert not bound.reason
    assert bound.source in repr(bound)


def test_an_unknown_policy_has_no_bound() -> None:
    class Mine:
        name: ClassVar[str] = "mine"

    assert regret_bound(Mine(), DENSITIES, 10).reason == "no bound is registered for policy 'mine'"


def test_interval_covers_the_mean() -> None:
    rng = np.random.default_rng(0)
    _, low, high = mean_interval(rng.exponential(size=(30, 2000)), level=0.9)
    assert np.mean((low <= 1) & (high >= 1)) == pytest.approx(0.88, abs=0.03)
    assert np.isnan(mean_interval([[3.0]])[1:]).all()


ITEMS = r"items must have shape \(2,\), one per query"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: cumulative_regret([0, 3], DENSITIES), "must be numbers from 0 to 2"),
        (lambda: cumulative_regret([0.5], DENSITIES), "must be numbers from 0 to 2"),
        (lambda: cumulative_regret([0], [0.5, 1.5]), r"densities must be numbers in \[0, 1\]"),
        (lambda: cumulative_regret([0], [0.5, np.nan]), r"densities must be numbers in \[0, 1\]"),
        (lambda: cumulative_regret([0], DENSITIES, costs=[1, 1]), "costs must be 3 numbers above"),
        (lambda: cumulative_regret([0], DENSITIES, sizes=[1, 1, 0]), "sizes must be 3 numbers"),
        (
            lambda: cumulative_regret([0, 1, 0], [0.5, 0.4], sizes=[1, 1]),
            "items exceed the stock given in `sizes` for source",
        ),
        (lambda: lai_robbins_rate(DENSITIES, 0), "points must be finite numbers of at least"),
        (lambda: regret_bound(KLUCB(), DENSITIES, []), "of at least 1; got none"),
        (lambda: regret_bound(KLUCB(), DENSITIES, np.inf), "of at least 1; got inf"),
        (lambda: regret_bound("ucb1", DENSITIES, 9), "policy must be a policy such as UCB1"),
        (lambda: cumulative_regret([0, 1], DENSITIES, items=[1]), ITEMS),
        (lambda: cumulative_regret([0, 1], DENSITIES, items=[1, 1, 1]), ITEMS),
        (lambda: cumulative_regret([0, 1], DENSITIES, items=[1, -1]), "numbers >= 0; got -1"),
        (lambda: cumulative_regret([0, 1], DENSITIES, items=[1, np.nan]), "numbers >= 0; got nan"),
        (lambda: regret_bound(UCB1(), [], 10), "densities must be numbers"),
    ],
)
def test_bad_input(make: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        make()
