"""One contract for every policy, and what each of them promises by itself."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, dataclass, fields
from typing import Any, ClassVar

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import brentq

from tests.w2s_selectors.policies.states import joined, without
from w2s_data.errors import InputError
from w2s_data.utils.typing import FloatArray
from w2s_selectors.policies import (
    KLUCB,
    UCB1,
    EpsilonGreedy,
    Oracle,
    OverlapUCB,
    Policy,
    RoundRobin,
    ThompsonSampling,
    UniformRandom,
    available_policies,
    make_policy,
    register_policy,
)
from w2s_selectors.policies.kl import bernoulli_kl, kl_upper_limit
from w2s_selectors.policies.state import ArmState

DENSITIES = (0.2, 0.6, 0.4, 0.5)
POLICIES: list[Any] = [
    OverlapUCB(),
    UCB1(),
    KLUCB(),
    KLUCB(exploration=3.0),
    ThompsonSampling(),
    ThompsonSampling(prior=(0.5, 2.0)),
    EpsilonGreedy(),
    RoundRobin(),
    UniformRandom(),
    Oracle(DENSITIES),
]
LEARNERS = [p for p in POLICIES if not isinstance(p, RoundRobin | UniformRandom | Oracle)]
every_policy = pytest.mark.parametrize("policy", POLICIES, ids=repr)


def known(costs: Any = None, items: int = 50, densities: Any = DENSITIES) -> ArmState:
    """Every source has answered one query with exactly its density."""
    state = ArmState.start(len(densities), costs=costs, horizon=40)
    for arm, density in enumerate(densities):
        state = state.asked(arm, items).answered(arm, items * density, items)
    return state


def play(policy: Policy, seed: int, n_queries: int = 30) -> list[int]:
    """Choices against sources of known density."""
    world, rng = np.random.default_rng(seed), np.random.default_rng(seed + 1)
    state, chosen = ArmState.start(len(DENSITIES), horizon=n_queries), []
    for _ in range(n_queries):
        arm = policy.choose(state, rng)
        chosen.append(arm)
        state = state.asked(arm, 20).answered(arm, world.binomial(20, DENSITIES[arm]), 20)
    return chosen


# --- The contract -----------------------------------------------------------------------------


def test_every_registered_policy_is_under_contract() -> None:
    assert {policy.name for policy in POLICIES} == set(available_policies())


@every_policy
def test_policy_is_an_immutable_printable_record(policy: Any) -> None:
    assert isinstance(policy, Policy)
    assert eval(repr(policy), globals()) == policy
    assert hash(policy) == hash(eval(repr(policy), globals()))
    for name in [field.name for field in fields(policy)] or ["anything"]:
        with pytest.raises((FrozenInstanceError, TypeError)):
            setattr(policy, name, 1)


@every_policy
def test_policy_is_found_by_its_name(policy: Any) -> None:
    parameters = {field.name: getattr(policy, field.name) for field in fields(policy)}
    assert make_policy(policy.name, **parameters) == policy
    assert make_policy(policy) is policy


@every_policy
def test_scores_are_finite_and_at_least_zero(policy: Any) -> None:
    scores = policy.scores(known(), np.random.default_rng(0))
    assert scores.shape == (4,)
    assert np.isfinite(scores).all()
    assert (scores >= 0).all()


@every_policy
def test_untried_sources_come_first_in_their_order(policy: Any) -> None:
    assert play(policy, 0)[:4] == [0, 1, 2, 3]


@every_policy
def test_a_source_with_a_pending_query_is_not_untried(policy: Any) -> None:
    state, rng = ArmState.start(4, horizon=40), np.random.default_rng(0)
    for expected in range(4):
        assert policy.choose(state, rng) == expected
        state = state.asked(expected, 20)
    assert 0 <= policy.choose(state, rng) < 4


@every_policy
def test_inactive_sources_are_never_chosen(policy: Any) -> None:
    state, rng = without(known(), 1, 2), np.random.default_rng(0)
    chosen = set()
    for _ in range(50):
        arm = policy.choose(state, rng)
        chosen.add(arm)
        state = state.asked(arm, 5)
    assert chosen <= {0, 3}
    with pytest.raises(InputError, match="no source is active: all ran dry or were stopped"):
        policy.choose(without(state, 0, 3), rng)


@every_policy
def test_a_source_that_joins_late_is_asked_next(policy: Any) -> None:
    if isinstance(policy, Oracle):
        policy = Oracle((*DENSITIES, 0.0))
    assert policy.choose(joined(known(), 100), np.random.default_rng(0)) == 4


@every_policy
def test_a_seed_decides_everything(policy: Any) -> None:
    assert play(policy, 3) == play(policy, 3)


@every_policy
def test_choosing_changes_nothing(policy: Any) -> None:
    state = known()
    before = state.to_dict()
    policy.choose(state, np.random.default_rng(0))
    assert state.to_dict() == before


@every_policy
def test_answers_without_a_judged_point_are_legal(policy: Any) -> None:
    state, rng = ArmState.start(4, horizon=9), np.random.default_rng(0)
    for arm in range(4):
        state = state.asked(arm, 10).answered(arm, 0, 0, items=10)
    assert 0 <= policy.choose(state, rng) < 4


@every_policy
def test_many_runs_are_scored_at_once(policy: Any) -> None:
    runs = [known(), known(items=30), without(known().asked(2, 20), 0)]
    arrays = ("successes", "trials", "queries", "pending", "active")
    stacked = ArmState(
        **{name: np.stack([getattr(run, name) for run in runs]) for name in arrays},
        costs=runs[0].costs,
        round=4,
        horizon=40,
    )
    scores = policy.scores(stacked, np.random.default_rng(0))
    assert scores.shape == (3, 4)
    if not isinstance(policy, ThompsonSampling | EpsilonGreedy | UniformRandom):
        for run in (0, 1):
            alone = policy.scores(runs[run], np.random.default_rng(0))
            np.testing.assert_allclose(scores[run], alone)
    assert policy.choose_many(stacked, np.random.default_rng(0)).shape == (3,)


@pytest.mark.parametrize("policy", [p for p in POLICIES if not isinstance(p, RoundRobin)], ids=repr)
def test_a_permutation_of_the_sources_permutes_the_choices(policy: Any) -> None:
    order = np.array([2, 0, 3, 1])
    moved = policy
    if isinstance(policy, Oracle):
        moved = Oracle(tuple(np.array(DENSITIES)[order]))

    def shares(policy: Policy, state: ArmState) -> FloatArray:
        rng = np.random.default_rng(0)
        counts = np.bincount([policy.choose(state, rng) for _ in range(1000)], minlength=4)
        return counts / 1000

    straight = shares(policy, known(items=20))
    permuted = shares(moved, known(items=20, densities=np.array(DENSITIES)[order]))
    np.testing.assert_allclose(permuted, straight[order], atol=0.06)


@pytest.mark.parametrize("policy", [*LEARNERS, Oracle(DENSITIES)], ids=repr)
def test_costs_divide(policy: Any) -> None:
    rng = np.random.default_rng(0)
    state = known(costs=[1, 10, 10, 10], items=2000)
    chosen = [policy.choose(state, rng) for _ in range(200)]
    assert np.mean(np.array(chosen) == 0) > 0.9


@pytest.mark.parametrize("policy", LEARNERS, ids=repr)
def test_learners_find_the_best_source(policy: Any) -> None:
    last = np.concatenate([play(policy, seed, 200)[100:] for seed in range(5)])
    assert np.mean(last == 1) > (0.4 if isinstance(policy, UCB1) else 0.6)


@pytest.mark.parametrize("policy", [OverlapUCB(), UCB1(), KLUCB(), KLUCB(3.0)], ids=repr)
def test_pending_items_narrow_the_width(policy: Any) -> None:
    rng, state = np.random.default_rng(0), known(items=20)
    pending = state.asked(1, 20)
    assert policy.scores(pending, rng)[1] < policy.scores(state, rng)[1]
    asked = []
    for _ in range(30):
        arm = policy.choose(state, rng)
        asked.append(arm)
        state = state.asked(arm, 20)
    assert len(set(asked)) > 1


# --- Single policies --------------------------------------------------------------------------


def test_published_index_counts_rounds_and_not_points() -> None:
    rng = np.random.default_rng(0)
    small, large = known(items=10), known(items=1000)
    np.testing.assert_allclose(OverlapUCB().scores(small, rng), OverlapUCB().scores(large, rng))
    expected = np.array(DENSITIES) + np.sqrt(2 * np.log(40)) / 1
    np.testing.assert_allclose(OverlapUCB().scores(small, rng), expected)
    asked = small.asked(0, 10).asked(0, 10)
    assert OverlapUCB().scores(asked, rng)[0] == pytest.approx(0.2 + np.sqrt(2 * np.log(40)) / 3)


def test_ucb1_is_the_textbook_formula() -> None:
    scores = UCB1().scores(known(items=50), np.random.default_rng(0))
    np.testing.assert_allclose(scores, np.array(DENSITIES) + np.sqrt(2 * np.log(200) / 50))


def brute_force_limit(p: float, divergence: float) -> float:
    """Largest q with kl(p, q) <= divergence, by bisection on the definition."""
    top = np.nextafter(1.0, 0.0)
    if p == 1 or float(bernoulli_kl(p, top)) <= divergence:
        return 1.0
    return float(
        brentq(lambda q: float(bernoulli_kl(p, q)) - divergence, p, top, xtol=1e-16, rtol=1e-15)
    )


@pytest.mark.parametrize("p", [0, 1e-9, 1e-4, 0.01, 0.2, 0.5, 0.8, 0.99, 1 - 1e-4, 1 - 1e-9, 1])
def test_kl_limit_is_the_brute_force_root(p: float) -> None:
    divergences = np.array([10.0**exponent for exponent in range(-13, 4)])
    roots = [brute_force_limit(p, divergence) for divergence in divergences]
    np.testing.assert_allclose(kl_upper_limit(p, divergences), roots, rtol=0, atol=1e-8)


def test_kl_index_is_the_brute_force_root_over_the_state() -> None:
    for items in (1, 7, 1000, 10**9):
        state = known(items=items, densities=(0.0, 1.0, 3 / 7, 0.999))
        index = KLUCB(exploration=3.0).scores(state, np.random.default_rng(0))
        log = np.log(4 * items)
        threshold = log + 3 * np.log(max(log, 1))
        roots = [brute_force_limit(float(mean), threshold / items) for mean in state.means]
        np.testing.assert_allclose(index, roots, rtol=0, atol=1e-8)


@given(st.floats(0, 1), st.floats(0, 1e3))
def test_kl_limit_lies_above_and_within_the_divergence(p: float, divergence: float) -> None:
    limit = float(kl_upper_limit(p, divergence))
    assert p <= limit <= 1
    # Near 1 the last digits of q move kl by percents; q itself is right to two units of the last.
    below = max(p, limit - 2 * np.spacing(limit))
    assert limit == 1 or float(bernoulli_kl(p, below)) <= divergence * (1 + 1e-6) + 1e-15


def test_kl_limit_of_no_and_of_endless_divergence() -> None:
    assert kl_upper_limit([0.0, 0.3, 1.0], 0.0).tolist() == [0.0, 0.3, 1.0]
    assert kl_upper_limit([0.0, 0.3, 1.0], np.inf).tolist() == [1.0, 1.0, 1.0]


def test_thompson_draws_from_the_posterior() -> None:
    rng, state = np.random.default_rng(0), known(items=10)
    draws = np.array([ThompsonSampling((2, 3)).scores(state, rng) for _ in range(20_000)])
    a, b = 2 + 10 * np.array(DENSITIES), 3 + 10 * (1 - np.array(DENSITIES))
    np.testing.assert_allclose(draws.mean(axis=0), a / (a + b), atol=0.004)
    np.testing.assert_allclose(draws.var(axis=0), a * b / ((a + b) ** 2 * (a + b + 1)), rtol=0.05)


def test_epsilon_is_the_share_of_uniform_choices_whatever_they_cost() -> None:
    rng, state = np.random.default_rng(0), known(costs=[1, 1, 8, 30])
    chosen = [EpsilonGreedy(0.4).choose(state, rng) for _ in range(8000)]
    shares = np.bincount(chosen, minlength=4) / len(chosen)
    np.testing.assert_allclose(shares, [0.1, 0.7, 0.1, 0.1], atol=0.015)


def test_ties_are_broken_by_chance() -> None:
    rng, state = np.random.default_rng(0), known(densities=(0.5, 0.5, 0.2))
    chosen = [EpsilonGreedy(0.0).choose(state, rng) for _ in range(2000)]
    assert np.bincount(chosen, minlength=3)[[0, 1]] == pytest.approx([1000, 1000], abs=120)


def test_round_robin_goes_on_over_what_is_left() -> None:
    rng, state, chosen = np.random.default_rng(0), without(known(), 1), []
    for _ in range(6):
        chosen.append(RoundRobin().choose(state, rng))
        state = state.asked(chosen[-1], 5)
    assert sorted(chosen[:3]) == [0, 2, 3]
    assert chosen[:3] == chosen[3:]


def test_random_is_uniform_whatever_it_costs() -> None:
    rng, state = np.random.default_rng(0), known(costs=[1, 2, 5, 50])
    chosen = [UniformRandom().choose(state, rng) for _ in range(8000)]
    np.testing.assert_allclose(np.bincount(chosen) / 8000, 0.25, atol=0.02)


# --- Registration and bad input ---------------------------------------------------------------


def test_a_new_policy_is_a_few_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("w2s_selectors.policies.registry._POLICIES", {})

    @register_policy
    @dataclass(frozen=True)
    class Stubborn(Policy):
        name: ClassVar[str] = "stubborn"
        favourite: int = 0

        def scores(self, state: ArmState, rng: np.random.Generator) -> FloatArray:  # noqa: ARG002
            return np.eye(state.n_arms)[self.favourite]

    assert available_policies() == ["stubborn"]
    policy = make_policy("stubborn", favourite=2)
    assert policy.choose(known(), np.random.default_rng(0)) == 2
    with pytest.raises(InputError, match="there is a policy 'stubborn' already: Stubborn"):
        register_policy(Stubborn)
    with pytest.raises(InputError, match="int must be a subclass of Policy with a name"):
        register_policy(int)


def test_scores_that_are_not_numbers_are_refused() -> None:
    @dataclass(frozen=True)
    class Broken(Policy):
        name: ClassVar[str] = "broken"

        def scores(self, state: ArmState, rng: np.random.Generator) -> FloatArray:  # noqa: ARG002
            return state.means

    state = joined(known(), 1).asked(4, 5)
    with pytest.raises(InputError, match="policy 'broken' scored NaN for source 4"):
        Broken().choose(state, np.random.default_rng(0))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: make_policy("thomson"), "no policy 'thomson'; did you mean 'thompson'"),
        (lambda: make_policy("kl_ucb", c=3), r"policy 'kl_ucb' cannot take \{'c': 3\}"),
        (lambda: make_policy(UCB1(), c=3), r"UCB1\(\) has its parameters; got \['c'\]"),
        (lambda: make_policy(3), "policy must be a name or a Policy; got 3"),
        (
            lambda: make_policy("oracle"),
            "policy 'oracle' needs parameters: missing .*densities",
        ),
        (lambda: KLUCB(exploration=-1), "exploration must be a number >= 0; got -1"),
        (lambda: ThompsonSampling(prior=(0, 1)), r"prior must be two numbers above 0; got \(0, 1"),
        (lambda: ThompsonSampling(prior=(1, 1, 1)), "prior must be two numbers above 0"),
        (lambda: EpsilonGreedy(1.5), r"epsilon must be a number in \[0, 1\]; got 1.5"),
        (lambda: Oracle((0.5, 1.5)), r"densities must lie in \[0, 1\]"),
        (lambda: Oracle(()), r"densities must lie in \[0, 1\]"),
        (
            lambda: Oracle((0.5,)).choose(known(), np.random.default_rng(0)),
            "there are 4 sources; the oracle knows 1",
        ),
    ],
)
def test_bad_input(make: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        make()
