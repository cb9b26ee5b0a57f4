"""The simulation harness: known answers, replay, and what the policies reach in it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pytest

from w2s_data.data.examples import gaussian_overlap
from w2s_data.data.regions import Region
from w2s_data.errors import InputError
from w2s_data.utils.typing import FloatArray, IntArray
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
)
from w2s_selectors.policies.state import ArmState
from w2s_selectors.simulation.regret import cumulative_regret, lai_robbins_rate, regret_bound
from w2s_selectors.simulation.simulate import SimulatedRun, SimulationResult, simulate
from w2s_selectors.simulation.sources import BernoulliSources, PoolSources

DENSITIES = [0.5, 0.4, 0.4, 0.3, 0.3]
SOURCES = BernoulliSources(DENSITIES)
LEARNERS = [OverlapUCB(), UCB1(), KLUCB(), ThompsonSampling(), EpsilonGreedy()]


def pools(rng: np.random.Generator, sizes: Any = (300, 300, 300), costs: Any = None) -> PoolSources:
    """Sources of density near .2, .4 and .6."""
    return PoolSources(
        [rng.random(n) < p for n, p in zip(sizes, (0.2, 0.4, 0.6), strict=True)], costs
    )


def same(one: SimulationResult, other: SimulationResult, policy: str) -> bool:
    return np.array_equal(one.regret[policy], other.regret[policy])


# --- What must be true of any game ------------------------------------------------------------


def test_a_seed_decides_everything_and_workers_nothing() -> None:
    play: Any = {"sources": SOURCES, "budget": 100, "n_runs": 300, "batch_size": 5}
    first = simulate(["thompson", "random"], random_state=1, **play)
    assert same(first, simulate(["thompson", "random"], random_state=1, **play), "thompson")
    assert same(first, simulate(["random", "thompson"], random_state=1, **play), "thompson")
    assert same(first, simulate(["ucb1", "thompson"], random_state=1, **play), "thompson")
    assert not same(first, simulate(["thompson"], random_state=2, **play), "thompson")


@pytest.mark.slow
def test_workers_do_not_change_the_result() -> None:
    play: Any = {"sources": SOURCES, "budget": 100, "n_runs": 300, "random_state": 1}
    one = simulate(["thompson", "kl_ucb"], n_jobs=1, **play)
    two = simulate(["thompson", "kl_ucb"], n_jobs=2, **play)
    assert all(same(one, two, policy) for policy in ("thompson", "kl_ucb"))


@pytest.mark.parametrize("outstanding", [1, 4])
def test_runs_side_by_side_choose_like_the_state_alone(outstanding: int) -> None:
    """A deterministic policy, replayed from the state's own methods."""
    outcomes = [np.random.default_rng(7).random(500) < p for p in DENSITIES]
    seen: list[SimulatedRun] = []
    simulate(
        [KLUCB()],
        PoolSources(outcomes),
        budget=400,
        batch_size=10,
        outstanding=outstanding,
        n_runs=3,
        metric=lambda run: seen.append(run) or 0.0,  # type: ignore[func-returns-value]
        random_state=0,
    )
    for run in seen:
        state = ArmState.start(5, horizon=40)
        taken, waiting = [0] * 5, []
        for arm, items in zip(run.chosen.tolist(), run.items.tolist(), strict=True):
            best = KLUCB().scores(state, np.random.default_rng(0))
            assert state.untried[arm] or best[arm] == best.max()
            rows = run.rows[arm][taken[arm] : taken[arm] + items]
            taken[arm] += items
            state = state.asked(arm, items)
            waiting.append((arm, outcomes[arm][rows].sum(), items))
            if len(waiting) == outstanding:
                state = state.answered(*waiting.pop(0))


def test_pools_are_drawn_without_replacement_until_all_is_spent(rng: np.random.Generator) -> None:
    sources = pools(rng, sizes=(30, 50, 20))

    def check(run: SimulatedRun) -> float:
        for rows, size in zip(run.rows, (30, 50, 20), strict=True):
            assert sorted(rows.tolist()) == list(range(size))
        assert run.items.sum() == 100
        return 0.0

    result = simulate(
        ["thompson", "round_robin"], sources, budget=1000, batch_size=7, n_runs=5, metric=check
    )
    total = np.concatenate(list(sources.outcomes)).mean()
    for density in result.density.values():
        np.testing.assert_allclose(density, total)


def test_regret_is_that_of_the_choices(rng: np.random.Generator) -> None:
    sources = pools(rng, costs=[1.0, 2.5, 1.5])

    def regret(run: SimulatedRun) -> float:
        lost = cumulative_regret(
            run.chosen,
            sources.densities,
            items=run.items,
            costs=sources.costs,
            sizes=sources.sizes,
        )
        assert (run.items * sources.costs[run.chosen]).sum() <= 500
        return float(lost[-1])

    result = simulate(
        ["ucb1", "random"],
        sources,
        budget=500,
        batch_size=20,
        n_runs=4,
        metric=regret,
        random_state=0,
    )
    for name, curves in result.regret.items():
        np.testing.assert_allclose(curves[:, -1], result.metric[name])


def test_budget_is_money() -> None:
    sources = BernoulliSources([0.5, 0.4], costs=[3.0, 0.7])
    spent = []

    def bill(run: SimulatedRun) -> float:
        spent.append(float((run.items * sources.costs[run.chosen]).sum()))
        return spent[-1]

    simulate(["random", "thompson"], sources, budget=100, batch_size=4, n_runs=20, metric=bill)
    assert max(spent) <= 100 + 1e-6
    assert min(spent) > 100 - 0.7


def test_equal_runs_have_the_regret_of_arithmetic() -> None:
    result = simulate(["round_robin"], SOURCES, budget=1000, n_runs=2, n_points=4)
    expected = [30.0, 60.0, 90.0, 120.0]
    np.testing.assert_allclose(result.regret["round_robin"], [expected, expected])
    oracle = simulate([Oracle(tuple(DENSITIES))], SOURCES, budget=1000, n_runs=2)
    np.testing.assert_allclose(oracle.regret["oracle"][:, -1], 0.6)


def test_random_bernoulli_density_is_the_mean() -> None:
    frame = simulate(["random"], SOURCES, budget=500, n_runs=200, random_state=0).to_frame()
    assert frame["density"][0] == pytest.approx(np.mean(DENSITIES), abs=0.006)
    assert frame["density_low"][0] < np.mean(DENSITIES) < frame["density_high"][0]


def test_a_policy_may_choose_by_itself() -> None:
    @dataclass(frozen=True)
    class InTurn(Policy):
        name: ClassVar[str] = "in_turn"

        def scores(self, state: ArmState, rng: np.random.Generator) -> FloatArray:  # noqa: ARG002
            return np.ones(state.trials.shape)

        def choose_many(self, state: ArmState, rng: np.random.Generator) -> Any:  # noqa: ARG002
            return np.full(len(state.trials), state.round % state.n_arms)

    result = simulate([InTurn(), "round_robin"], SOURCES, budget=50, n_runs=3)
    np.testing.assert_array_equal(result.regret["in_turn"], result.regret["round_robin"])


def test_gaussian_sources_of_known_types(rng: np.random.Generator) -> None:
    shares = {"web": 0.2, "forum": 0.7}
    example = gaussian_overlap(n=4000, sources=shares, dim=5, n_teacher=100)
    overlap = example.regions == Region.OVERLAP
    of_source = [overlap[example.dataset.sources == name] for name in shares]

    sources = PoolSources(of_source)
    result = simulate(
        ["thompson", "random"], sources, budget=400, batch_size=20, n_runs=20, random_state=rng
    )
    assert result.density["thompson"].mean() > 0.62
    assert result.density["random"].mean() == pytest.approx(0.45, abs=0.03)


def test_result_is_plain_and_fits_a_screen() -> None:
    result = simulate(
        {"mine": ThompsonSampling((2, 2)), "random": "random"},
        SOURCES,
        budget=200,
        n_runs=20,
        metric=lambda run: run.items.sum(),
        random_state=0,
    )
    summary = json.loads(json.dumps(result.to_dict(), allow_nan=False))
    assert [row["policy"] for row in summary["policies"]] == ["mine", "random"]
    frame = result.to_frame().set_index("policy")
    assert frame.loc["random", "regret_to_random"] == 1
    for measure in ("regret", "regret_to_random", "density", "simple_regret", "metric"):
        assert (frame[f"{measure}_low"] <= frame[measure]).all()
        assert (frame[measure] <= frame[f"{measure}_high"]).all()
    assert frame.loc["mine", "metric"] == 200
    assert result.curve("mine")["spent"].iloc[-1] == 200
    assert len(repr(result).splitlines()) < 10


def test_what_is_undefined_is_none_in_the_dict() -> None:
    result = simulate(["thompson"], SOURCES, budget=20, n_runs=1, n_points=2)
    summary = json.loads(json.dumps(result.to_dict(), allow_nan=False))
    assert summary["policies"][0]["regret_to_random"]["value"] is None
    assert summary["curves"]["thompson"]["regret_low"] == [None, None]


def test_equal_names_are_told_apart() -> None:
    result = simulate([KLUCB(), KLUCB(3.0), "random"], SOURCES, budget=20, n_runs=2)
    assert list(result.regret) == ["KLUCB(exploration=0.0)", "KLUCB(exploration=3.0)", "random"]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: simulate(["thomson"], SOURCES, budget=10), "did you mean 'thompson'"),
        (lambda: simulate([], SOURCES, budget=10), "policies must name at least one policy"),
        (lambda: simulate("ucb1", SOURCES, budget=0.5), "buy at least one item .cost 1.; got 0.5"),
        (lambda: simulate("ucb1", SOURCES, budget=np.nan), "buy at least one item"),
        (
            lambda: simulate("ucb1", SOURCES, budget=9, batch_size=0),
            "batch_size must be an integer >= 1; got 0",
        ),
        (
            lambda: simulate("ucb1", SOURCES, budget=9, outstanding=0),
            "outstanding must be",
        ),
        (
            lambda: simulate("ucb1", SOURCES, budget=9, level=95),
            "level must be a number in",
        ),
        (
            lambda: simulate("ucb1", SOURCES, budget=9).curve("ucb"),
            "no simulated policy 'ucb'; did you mean 'ucb1'",
        ),
        (lambda: BernoulliSources([0.5, 2.0]), r"densities must be numbers in \[0, 1\]"),
        (lambda: BernoulliSources([]), "densities must be numbers"),
        (lambda: BernoulliSources([0.5, 0.5], costs=[1, 0]), "costs must be 2 numbers above 0"),
        (lambda: PoolSources([[0, 1], []]), "outcomes of source 1 must be at least one number"),
        (lambda: PoolSources([[0, 2]]), "outcomes of source 0 must be"),
    ],
)
def test_bad_input(make: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        make()


# --- What the policies reach ------------------------------------------------------------------


@pytest.fixture(scope="module")
def played() -> SimulationResult:
    policies = [*LEARNERS, RoundRobin(), UniformRandom(), Oracle(tuple(DENSITIES))]
    return simulate(policies, SOURCES, budget=2000, n_runs=200, random_state=0)


@pytest.mark.slow
@pytest.mark.parametrize("policy", ["thompson", "kl_ucb"])
def test_regret_is_near_the_rate_of_lai_and_robbins(played: SimulationResult, policy: str) -> None:
    assert played.regret[policy][:, -1].mean() <= 1.3 * lai_robbins_rate(DENSITIES, 2000)


@pytest.mark.slow
@pytest.mark.parametrize("densities", [DENSITIES, [0.95, 0.3, 0.2]], ids=str)
@pytest.mark.parametrize("policy", [UCB1(), KLUCB(), KLUCB(3.0)], ids=repr)
def test_bounds_hold(policy: Any, densities: Any) -> None:
    sources = BernoulliSources(densities)
    result = simulate([policy], sources, budget=2000, n_runs=200, random_state=0)
    bound = regret_bound(policy, densities, result.spent)
    within = (result.regret[policy.name] <= bound.values).all(axis=1)
    assert within.mean() >= 0.95
    if densities != DENSITIES:  # wide gaps, where the bounds say something
        assert bound.values[-1] < 0.2 * 2000 * (max(densities) - min(densities))


@pytest.mark.slow
def test_learners_beat_chance_and_no_one_beats_the_oracle(played: SimulationResult) -> None:
    final = {name: curves[:, -1].mean() for name, curves in played.regret.items()}
    assert min(final, key=final.__getitem__) == "oracle"
    for policy in LEARNERS:
        assert final[policy.name] < 0.6 * final["random"]


@pytest.mark.slow
def test_published_index_explores_too_long_in_batches_and_locks_in_on_points() -> None:
    play: Any = {"budget": 2000, "random_state": 0}
    batches = simulate(["overlap_ucb", "random"], SOURCES, batch_size=50, **play).to_frame()
    assert 0.7 < batches["regret_to_random"][0] < 0.95
    two = BernoulliSources([0.5, 0.4])
    points = simulate(["overlap_ucb"], two, n_runs=1000, **play).regret["overlap_ucb"]
    # A walk with drift +.1 that must fall by the width's numerator, sqrt(2 log T): at most 4.2 %.
    assert 0.005 < np.mean(points[:, -1] > 100) < 0.042


@pytest.mark.slow
@pytest.mark.parametrize("policy", [UCB1(), KLUCB(), ThompsonSampling()], ids=repr)
def test_delayed_answers_cost_at_most_what_is_in_flight(policy: Any) -> None:
    play: Any = {"sources": SOURCES, "budget": 2000, "batch_size": 20, "random_state": 0}
    prompt = simulate([policy], **play).regret[policy.name][:, -1].mean()
    late = simulate([policy], outstanding=8, **play).regret[policy.name][:, -1].mean()
    in_flight = 7 * 20
    assert late < prompt + in_flight * (max(DENSITIES) - min(DENSITIES))


def mabwiser_regret(policy: Any, seed: int, n_points: int) -> float:
    """Regret of mabwiser's policy against the same densities; every source is tried first."""
    from mabwiser.mab import MAB

    world, gaps = np.random.default_rng(seed), max(DENSITIES) - np.array(DENSITIES)
    first = [int(world.random() < p) for p in DENSITIES]
    bandit = MAB(list(range(5)), policy, seed=seed)
    bandit.fit(list(range(5)), first)
    lost = gaps.sum()
    for _ in range(n_points - 5):
        arm = bandit.predict()
        bandit.partial_fit([arm], [int(world.random() < DENSITIES[arm])])
        lost += gaps[arm]
    return float(lost)


@pytest.mark.slow
@pytest.mark.parametrize("policy", [UCB1(), ThompsonSampling(), EpsilonGreedy(0.1)], ids=repr)
def test_regret_agrees_with_mabwiser(policy: Any) -> None:
    mab = pytest.importorskip("mabwiser.mab")
    theirs = {
        "ucb1": mab.LearningPolicy.UCB1(alpha=1),
        "thompson": mab.LearningPolicy.ThompsonSampling(),
        "epsilon_greedy": mab.LearningPolicy.EpsilonGreedy(epsilon=0.1),
    }[policy.name]
    other = np.array([mabwiser_regret(theirs, seed, 300) for seed in range(60)])
    result = simulate([policy], SOURCES, budget=300, n_runs=400, random_state=0)
    own = result.regret[policy.name][:, -1]
    error = np.hypot(own.std() / np.sqrt(len(own)), other.std() / np.sqrt(len(other)))
    assert abs(own.mean() - other.mean()) < 3.5 * error


def test_ucb1_index_is_mabwisers() -> None:
    mab = pytest.importorskip("mabwiser.mab")
    rng = np.random.default_rng(0)
    arms: IntArray = np.concatenate([np.arange(5), rng.integers(0, 5, 200)])
    rewards = (rng.random(205) < np.array(DENSITIES)[arms]).astype(int)
    bandit = mab.MAB(list(range(5)), mab.LearningPolicy.UCB1(alpha=1))
    bandit.fit(arms, rewards)
    state = ArmState.start(5, horizon=1000)
    for arm, reward in zip(arms.tolist(), rewards.tolist(), strict=True):
        state = state.asked(arm, 1).answered(arm, reward, 1)
    expected = [bandit.predict_expectations()[arm] for arm in range(5)]
    np.testing.assert_allclose(UCB1().scores(state, rng), expected)
